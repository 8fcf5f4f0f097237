"""What the report asks of every generation: one model on 16 chips, in the formats that each of them multiplies."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from trnlab.models.chips import Chip, chip_named
from trnlab.models.claims.deployment import Deployment
from trnlab.models.parallel.partitioning import Partitioning, problem
from trnlab.models.projection.commands import model_named
from trnlab.models.projection.machine import Machine
from trnlab.models.projection.serving_point import ServingPoint
from trnlab.models.workloads.catalogue import get_model
from trnlab.models.workloads.formats import Precision, get_precision
from trnlab.models.workloads.model import GroupedAttention, LanguageModel

GENERATIONS: Final = ("trn2", "trn3", "trn4")
NARROW: Final = frozenset({"trn3", "trn4"})
"""Generations that multiply microscaled formats."""
CHIPS: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A model and an operating point. batch: running requests; prompt, answer: tokens.

    shape: the model's record; see `of` for names. split: 16 chips with as much tensor parallelism as the model divides
    into, and replicas beyond it.

    Raises:
        ModelError: an unknown model, one that 16 chips cannot share, or a number below 1.
    """

    shape: LanguageModel = field(default_factory=lambda: get_model("gpt-oss-120b"))
    batch: int = 64
    prompt: int = 8192
    answer: int = 1024
    split: Partitioning = field(init=False)

    def __post_init__(self) -> None:
        ServingPoint(batch=self.batch, prompt=self.prompt, answer=self.answer)
        object.__setattr__(self, "split", _split_of(self.shape))

    @classmethod
    def of(cls, model: str, batch: int = 64, prompt: int = 8192) -> Scenario:
        """The scenario of a model of the catalogue, or of a Hugging Face config.json.

        Raises:
            ModelError: see the class; or the file is no configuration that is known here.
        """
        return cls(shape=model_named(model), batch=batch, prompt=prompt)

    @property
    def model(self) -> str:
        """The model's name."""
        return self.shape.name

    @property
    def where(self) -> str:
        """The chips and how the model is spread over them: "16 chips, TP16"."""
        return f"{CHIPS} chips, {self.split}"

    @property
    def is_gpt_oss(self) -> bool:
        """Whether it ships with its experts alone in MXFP4: GPT-OSS, the one architecture with attention sinks."""
        return isinstance(self.shape.attention, GroupedAttention) and self.shape.attention.sinks

    @property
    def narrow(self) -> Precision:
        """MXFP4 weights, MXFP8 activations, FP8 KV cache; for GPT-OSS the experts only, as it ships."""
        prefix = "experts-" if self.is_gpt_oss else ""
        return get_precision(f"{prefix}mxfp4-a8", "fp8")

    @property
    def narrowest(self) -> Precision:
        """The same with activations in FP4."""
        prefix = "experts-" if self.is_gpt_oss else ""
        return get_precision(f"{prefix}mxfp4-a4", "fp8")

    def precision(self, generation: str) -> Precision:
        """BF16 with a BF16 KV cache on Trainium2, `narrow` on later ones."""
        return self.narrow if generation.partition("-")[0] in NARROW else get_precision("bf16", "bf16")

    def deployment(self, generation: str) -> Deployment:
        """The model on 16 chips of a generation."""
        return Deployment(
            model=self.shape, chip=self.chip(generation), precision=self.precision(generation), split=self.split
        )

    def chip(self, generation: str) -> Chip:
        """The chip of a generation; Trainium4 is its central variant."""
        return chip_named(generation)

    def point(self, batch: int | None = None, prompt: int | None = None) -> ServingPoint:
        """The operating point, or the same with another batch or prompt."""
        return ServingPoint(batch=batch or self.batch, prompt=prompt or self.prompt, answer=self.answer)

    def __str__(self) -> str:
        return f"{self.model} on {self.where}, {self.batch} requests of {self.prompt:,} + {self.answer:,} tokens"


def _split_of(shape: LanguageModel) -> Partitioning:
    """The most tensor parallelism of 16 chips that the model divides into on every generation, and replicas.

    Raises:
        ModelError: not even whole replicas can be laid on the chips.
    """
    fabrics = [Machine.of(chip).fabric for chip in GENERATIONS]
    splits = [Partitioning(tp=CHIPS // replicas, dp=replicas) for replicas in (1, 2, 4, 8, 16)]
    for split in splits:
        found = [problem(shape, split, fabric) for fabric in fabrics]
        if not any(found):
            return split
    raise next(filter(None, found))
