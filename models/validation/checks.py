"""Numeric cross-checks: a published calculation, its inputs, and what our formulas make of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from trnlab.models.frozen import FrozenMapping
from trnlab.models.quantity import ModelError
from trnlab.models.workloads.formats import LINEAR_CLASSES, Precision
from trnlab.models.workloads.model import GroupedAttention, LanguageModel

SCALING_BOOK = "Google DeepMind, How to Scale Your Model (jax-ml/scaling-book)"
MEGATRON = "Narayanan et al., Megatron-LM (arXiv 2104.04473), as in cli99/llm-analysis"
NLG = "Smith et al., Megatron-Turing NLG 530B (arXiv 2201.11990), as in cli99/llm-analysis"
LLM_ANALYSIS = "cli99/llm-analysis"
LLM_VIEWER = "hahnyuan/LLM-Viewer"
GENZ = "abhibambhaniya/GenZ-LLM-Analyzer"
CALCULON = "calculon-ai/calculon, self-test"
BY_HAND = "computed apart from this code, closed formulas"
KORTHIKANTI = "Korthikanti et al. (arXiv 2205.05198), as in calculon-ai/calculon"


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossCheck:
    """One published result beside ours.

    expected: as the source prints it, in `unit`. tolerance: relative, from the source's rounding. flaw: what is known
    to be wrong or rounded in the source, "" when nothing is; the error then shows by how much.
    """

    name: str
    source: str
    inputs: str
    unit: str
    expected: float
    compute: Callable[[], float]
    tolerance: float = 0.01
    flaw: str = ""

    @property
    def ours(self) -> float:
        """What our formulas give."""
        return float(self.compute())

    @property
    def error(self) -> float:
        """Signed relative error, ours over the source's."""
        return self.ours / self.expected - 1

    @property
    def passes(self) -> bool:
        """Whether ours agrees within the tolerance; a flawed source may differ by what its flaw explains."""
        return abs(self.error) <= self.tolerance


def critical_batch(peak: float, bandwidth: float, weight_bytes: float) -> float:
    """Tokens from which a matmul is bound by compute rather than by reading its weights: peak x bytes / (2 bandwidth).

    Raises:
        ModelError: a number that is not above zero.
    """
    for name, value in (("peak", peak), ("bandwidth", bandwidth), ("weight_bytes", weight_bytes)):
        if value <= 0:
            raise ModelError(name, value, "above 0")
    return peak * weight_bytes / (2 * bandwidth)


def everything_in(weights: str, activations: str, kv: str) -> Precision:
    """Every linear map, the output head as well, in one format."""
    return Precision(
        name=f"all {weights}",
        weights=FrozenMapping(dict.fromkeys(LINEAR_CLASSES, weights)),
        activations=FrozenMapping(dict.fromkeys(LINEAR_CLASSES, activations)),
        kv=kv,
    )


def plain_model(
    layers: int,
    width: int,
    ffn_width: int,
    vocabulary: int,
    heads: tuple[int, int, int],
    *,
    tied: bool = False,
) -> LanguageModel:
    """A dense model that only serves a check; heads: query heads, key/value heads, head size."""
    return LanguageModel(
        name="example",
        source="a published example",
        layers=layers,
        width=width,
        vocabulary=vocabulary,
        ffn_width=ffn_width,
        attention=GroupedAttention(heads=heads[0], kv_heads=heads[1], head_dim=heads[2]),
        tied=tied,
    )
