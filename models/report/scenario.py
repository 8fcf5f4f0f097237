"""What the report asks of every generation: one model on 16 chips, in the formats that each of them multiplies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from trnlab.models.chips import Chip, chip_named
from trnlab.models.claims.deployment import SIXTEEN_CHIPS, Deployment
from trnlab.models.parallel.partitioning import check
from trnlab.models.projection.machine import Machine
from trnlab.models.projection.serving_point import ServingPoint
from trnlab.models.workloads.catalogue import get_model
from trnlab.models.workloads.formats import Precision, get_precision
from trnlab.models.workloads.model import LanguageModel

GENERATIONS: Final = ("trn2", "trn3", "trn4")
NARROW: Final = frozenset({"trn3", "trn4"})
"""Generations that multiply microscaled formats."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A model and an operating point. batch: running requests; prompt, answer: tokens.

    Raises:
        ModelError: an unknown model, one that 16 chips with tensor parallelism cannot divide, or a number below 1.
    """

    model: str = "gpt-oss-120b"
    batch: int = 64
    prompt: int = 8192
    answer: int = 1024

    def __post_init__(self) -> None:
        object.__setattr__(self, "model", get_model(self.model).name)
        ServingPoint(batch=self.batch, prompt=self.prompt, answer=self.answer)
        for chip in GENERATIONS:
            check(self.shape, SIXTEEN_CHIPS, Machine.of(chip).fabric)

    @property
    def shape(self) -> LanguageModel:
        """The model's record."""
        return get_model(self.model)

    @property
    def narrow(self) -> Precision:
        """MXFP4 weights, MXFP8 activations, FP8 KV cache; for GPT-OSS the experts only, as it ships."""
        prefix = "experts-" if self.model.startswith("gpt-oss") else ""
        return get_precision(f"{prefix}mxfp4-a8", "fp8")

    @property
    def narrowest(self) -> Precision:
        """The same with activations in FP4."""
        prefix = "experts-" if self.model.startswith("gpt-oss") else ""
        return get_precision(f"{prefix}mxfp4-a4", "fp8")

    def precision(self, generation: str) -> Precision:
        """BF16 with a BF16 KV cache on Trainium2, `narrow` on later ones."""
        return self.narrow if generation in NARROW else get_precision("bf16", "bf16")

    def deployment(self, generation: str) -> Deployment:
        """The model on 16 chips of a generation."""
        return Deployment(model=self.model, chip=self.chip(generation), precision=self.precision(generation))

    def chip(self, generation: str) -> Chip:
        """The chip of a generation; Trainium4 is its central variant."""
        return chip_named(generation)

    def point(self, batch: int | None = None, prompt: int | None = None) -> ServingPoint:
        """The operating point, or the same with another batch or prompt."""
        return ServingPoint(batch=batch or self.batch, prompt=prompt or self.prompt, answer=self.answer)

    def __str__(self) -> str:
        return f"{self.model} on 16 chips, {self.batch} requests of {self.prompt:,} + {self.answer:,} tokens"
