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
from trnlab.models.quantity import ModelError
from trnlab.models.workloads.catalogue import get_model
from trnlab.models.workloads.formats import Precision, get_precision
from trnlab.models.workloads.model import LanguageModel

SIXTEEN_CHIPS: Final = Partitioning(tp=16)


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """A model, the chip, the formats, and the partitioning; equal requests of `prompt` and `answer` tokens."""

    model: str | LanguageModel
    chip: Chip
    precision: Precision
    split: Partitioning = SIXTEEN_CHIPS

    @classmethod
    def of(cls, model: str | LanguageModel, chip: Chip, precision: str, kv: str) -> Deployment:
        """The deployment on 16 chips with tensor parallelism.

        Raises:
            ModelError: no such precision or KV format.
        """
        return cls(model=model, chip=chip, precision=get_precision(precision, kv))

    @property
    def name(self) -> str:
        """The model's name."""
        return get_model(self.model).name

    @property
    def label(self) -> str:
        """Chip and formats."""
        return f"{self.chip.label} in {self.precision.name}"

    def serve(
        self,
        layer: str,
        batch: Values,
        prompt: Values,
        answer: Values,
        case: Case = "central",
        fixed_seconds: float | None = None,
    ) -> ServingTime:
        """Its times in one layer of the projection, with the fixed cost per layer of the model at one end of its band.

        Efficiencies stay central: both sides of a ratio have them, so they would move together. fixed_seconds: the
        calibrated layer's fixed cost, instead of the chip's own.

        Raises:
            ModelError: no such layer, or a format that the chip does not multiply.
        """
        constants = _fixed_at(layer_of(layer, Machine.of(self.chip)), case).told(fixed_seconds=fixed_seconds)
        return self.serve_by(constants, batch, prompt, answer)

    def serve_by(self, constants: Layer, batch: Values, prompt: Values, answer: Values) -> ServingTime:
        """Its times by the constants of any layer.

        Raises:
            ModelError: a format that the chip does not multiply.
        """
        machine, splits = Machine.of(self.chip), Splits.of([self.split], ())
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
    old_case: Case = "central",
) -> Speedup:
    """The ratios at the same requests; `case` is that of the new deployment's fixed cost, `old_case` of the old one's.

    Raises:
        ModelError: see `Deployment.serve`.
    """
    before, after = old.serve(layer, batch, prompt, answer, old_case), new.serve(layer, batch, prompt, answer, case)
    return Speedup(
        throughput=after.tokens_per_second_per_chip / before.tokens_per_second_per_chip,
        latency=before.tpot_seconds / after.tpot_seconds,
        first_token=before.ttft_seconds / after.ttft_seconds,
        decode=(after.decode_tokens_per_second / after.chips) / (before.decode_tokens_per_second / before.chips),
    )


_BATCHES: Final = 2.0 ** (np.arange(0, 4 * 18 + 1) / 4)
"""Where the batch of the same interactivity is looked for: 1 to 262,144 requests, four points an octave."""
_BISECTIONS: Final = 30


@dataclass(frozen=True, slots=True)
class EqualPace:
    """Two deployments that give each user as many tokens a second: that rate, the requests of the new one, the ratio.

    throughput: output tokens a second per chip, new over old. is_full: the new one's memory is full before it is as
    slow as the old one, so the ratio could not be used up.
    """

    user_rate: float
    batch: float
    throughput: float
    is_full: bool


def at_equal_pace(
    old: Deployment, new: Deployment, layer: str, batch: float, prompt: int, answer: int = 1024, case: Case = "central"
) -> EqualPace:
    """The new deployment with so many requests that each is served as fast as each of the old one's `batch`.

    Raises:
        ModelError: even one request is served more slowly by the new deployment, or see `Deployment.serve`.
    """
    before = old.serve(layer, batch, prompt, answer)
    pace = float(before.tpot_seconds)
    fitting = _BATCHES[new.fits(_BATCHES, prompt + answer)]
    slow = np.flatnonzero(new.serve(layer, fitting, prompt, answer, case).tpot_seconds > pace)
    if not len(fitting) or (len(slow) and slow[0] == 0):
        raise ModelError(f"tokens/s per user of {new.label}", 1 / pace, "a rate that it reaches with one request")
    low, high = (fitting[-1], fitting[-1]) if not len(slow) else (fitting[slow[0] - 1], fitting[slow[0]])
    for _ in range(_BISECTIONS if len(slow) else 0):
        middle = float(np.sqrt(low * high))
        is_slow = float(new.serve(layer, middle, prompt, answer, case).tpot_seconds) > pace
        low, high = (low, middle) if is_slow else (middle, high)
    after = new.serve(layer, low, prompt, answer, case)
    return EqualPace(
        user_rate=1 / pace,
        batch=float(low),
        throughput=float(after.tokens_per_second_per_chip / before.tokens_per_second_per_chip),
        is_full=not len(slow),
    )


@cache
def gpt_oss(chip: str, precision: str, kv: str) -> Deployment:
    """gpt-oss-120b on 16 chips.

    Raises:
        ModelError, TargetError: no such chip or formats.
    """
    return Deployment.of("gpt-oss-120b", chip_named(chip), precision, kv)
