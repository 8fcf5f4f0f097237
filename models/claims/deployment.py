"""A model on some chips in some formats, and how much faster another such deployment is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt

from trnlab.models.arrays import Array, Values
from trnlab.models.chips import Chip, chip_named
from trnlab.models.parallel.memory import footprint
from trnlab.models.parallel.partitioning import Partitioning, Splits
from trnlab.models.projection.constants import Layer, layer_of
from trnlab.models.projection.machine import Machine
from trnlab.models.projection.method import Case
from trnlab.models.projection.serving import ServingTime, serve
from trnlab.models.workloads.catalogue import get_model
from trnlab.models.workloads.formats import Precision, get_precision

SIXTEEN_CHIPS: Final = Partitioning(tp=16)


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """A model, the chip, the formats, and the partitioning; equal requests of `prompt` and `answer` tokens."""

    model: str
    chip: Chip
    precision: Precision
    split: Partitioning = SIXTEEN_CHIPS

    @classmethod
    def of(cls, model: str, chip: Chip, precision: str, kv: str) -> Deployment:
        """The deployment on 16 chips with tensor parallelism.

        Raises:
            ModelError: no such precision or KV format.
        """
        return cls(model=model, chip=chip, precision=get_precision(precision, kv))

    @property
    def label(self) -> str:
        """Chip and formats."""
        return f"{self.chip.label} in {self.precision.name}"

    def serve(self, layer: str, batch: Values, prompt: Values, answer: Values, case: Case = "central") -> ServingTime:
        """Its times in one layer of the projection, with the fixed cost per layer of the model at one end of its band.

        Efficiencies stay central: both sides of a ratio have them, so they would move together.

        Raises:
            ModelError: no such layer, or a format that the chip does not multiply.
        """
        machine = Machine.of(self.chip)
        constants = _fixed_at(layer_of(layer, machine), case)
        splits = Splits.of([self.split], ())
        return serve(get_model(self.model), self.precision, machine, constants, splits, batch, prompt, answer)

    def fits(self, batch: Values, tokens: Values) -> npt.NDArray[np.bool_]:
        """Where weights and the KV cache of `batch` sequences of `tokens` fit the chips' memory."""
        splits, capacity = Splits.of([self.split], ()), self.chip.hbm_bytes.value
        return np.asarray(
            footprint(get_model(self.model), self.precision, splits, capacity, batch, tokens).fits, np.bool_
        )


def _fixed_at(layer: Layer, case: Case) -> Layer:
    decode, prefill = (replace(method, fixed=method.at(case).fixed) for method in (layer.decode, layer.prefill))
    return replace(layer, decode=decode, prefill=prefill)


@dataclass(frozen=True, slots=True)
class Speedup:
    """Of the new deployment over the old: output tokens a second per chip, 1 / TPOT, 1 / TTFT, and decode alone."""

    throughput: Array
    latency: Array
    first_token: Array
    decode: Array


def speedup(
    old: Deployment,
    new: Deployment,
    layer: str,
    batch: Values,
    prompt: Values,
    answer: Values = 1024,
    case: Case = "central",
) -> Speedup:
    """The ratios at the same requests; `case` is that of the new deployment's fixed cost, the old one's is central.

    Raises:
        ModelError: see `Deployment.serve`.
    """
    before, after = old.serve(layer, batch, prompt, answer), new.serve(layer, batch, prompt, answer, case)
    return Speedup(
        throughput=after.tokens_per_second_per_chip / before.tokens_per_second_per_chip,
        latency=before.tpot_seconds / after.tpot_seconds,
        first_token=before.ttft_seconds / after.ttft_seconds,
        decode=(after.decode_tokens_per_second / after.chips) / (before.decode_tokens_per_second / before.chips),
    )


@cache
def gpt_oss(chip: str, precision: str, kv: str) -> Deployment:
    """gpt-oss-120b on 16 chips.

    Raises:
        ModelError, TargetError: no such chip or formats.
    """
    return Deployment.of("gpt-oss-120b", chip_named(chip), precision, kv)
