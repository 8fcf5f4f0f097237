"""What is asked of a deployment, and the formats it has unless told."""

from __future__ import annotations

from dataclasses import dataclass

from trnlab.models.chips import Chip
from trnlab.models.quantity import ModelError
from trnlab.models.workloads.formats import Precision, get_precision
from trnlab.models.workloads.model import LanguageModel


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingPoint:
    """What is asked: running requests, tokens of prompt and answer, and the prompt's chunk if it is cut.

    Raises:
        ModelError: a number below 1.
    """

    batch: int
    prompt: int
    answer: int = 1024
    chunk: int | None = None

    def __post_init__(self) -> None:
        for name in ("batch", "prompt", "answer", "chunk"):
            value = getattr(self, name)
            if value is None and name == "chunk":
                continue
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ModelError(name, value, "a whole number >= 1")


def default_precision(model: LanguageModel, chip: Chip) -> Precision:
    """bf16; MXFP4 experts where the model ships with them, with MXFP8 activations on chips that multiply those.

    Elsewhere such experts only save bytes, and multiply at the rate of BF16 activations; on Trainium1 and 2 software
    runs the whole model in BF16 (AWS Neuron, gpt-oss model recipe).
    """
    if model.experts_format != "mxfp4":
        return get_precision("bf16")
    if "mxfp8" in chip.peaks:
        return get_precision("experts-mxfp4-a8")
    return get_precision("experts-mxfp4-a16" if chip.target is None else "bf16")
