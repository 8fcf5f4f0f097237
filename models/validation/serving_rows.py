"""Published maximum throughputs on NVIDIA chips, beside the roofline and the efficiencies that Trainium's rows gave.

The batch is the largest whose weights and cache fit; all chips process prompts and answers. Nothing is fitted to these
rows: they show how far a good serving stack stays below a roofline, and what the middle layer makes of another vendor.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from statistics import median
from typing import Final

from trnlab.models.chips import get_chip
from trnlab.models.parallel.memory import largest_batch
from trnlab.models.parallel.partitioning import Partitioning, Splits
from trnlab.models.projection.constants import layer_of
from trnlab.models.projection.machine import Machine
from trnlab.models.projection.serving import serve
from trnlab.models.quantity import ModelError
from trnlab.models.workloads.catalogue import get_model
from trnlab.models.workloads.formats import get_precision

TENSORRT = "NVIDIA TensorRT-LLM documentation, performance overview, maximum throughput"
LENGTHS: Final = ((1024, 1024), (1024, 8192), (8192, 1024), (32_768, 1024))
"""Tokens of prompt and answer of the four columns."""
MOST_BATCH: Final = 8192
"""Requests per deployment beyond which a server does not go; assumed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredServing:
    """Output tokens per second and chip by the columns of `LENGTHS`; None where nothing was published."""

    model: str
    chip: str
    split: Partitioning
    precision: str
    kv: str
    rates: tuple[float | None, float | None, float | None, float | None]


def _row(
    model: str, chip: str, split: Partitioning, precision: str, rates: tuple[float | None, ...], kv: str = "fp8"
) -> MeasuredServing:
    first, second, third, fourth = rates
    return MeasuredServing(
        model=model, chip=chip, split=split, precision=precision, kv=kv, rates=(first, second, third, fourth)
    )


def _dep(ranks: int) -> Partitioning:
    """Attention in data parallel, experts in expert parallel."""
    return Partitioning(ep=ranks, dp=ranks)


_ONE: Final = Partitioning()
_W4A16, _W4A8, _FP4 = "experts-mxfp4-a16", "experts-mxfp4-a8", "nvfp4"

SERVING_ROWS: Final[tuple[MeasuredServing, ...]] = (
    _row("gpt-oss-120b", "b200", _dep(2), _W4A8, (25_870, 17_289, 6_111, 1_392), kv="bf16"),
    _row("gpt-oss-120b", "h200", _ONE, _W4A16, (6_798, 3_543, 1_828, 519), kv="bf16"),
    _row("gpt-oss-120b", "h100", _dep(4), _W4A16, (4_715, None, 1_169, 333), kv="bf16"),
    _row("gpt-oss-20b", "b200", _ONE, _W4A8, (53_491, 34_702, 11_904, 2_645), kv="bf16"),
    _row("gpt-oss-20b", "h200", _ONE, _W4A16, (13_890, 12_743, 4_015, 915), kv="bf16"),
    _row("gpt-oss-20b", "h100", _ONE, _W4A16, (11_403, 8_617, 3_366, 785), kv="bf16"),
    _row("Llama-3.1-70B", "b200", _ONE, _FP4, (6_842, 3_242, 1_362, 274)),
    _row("Llama-3.1-70B", "h200", Partitioning(tp=2), "fp8", (2_582, 2_009, 537, 120)),
    _row("Qwen3-235B-A22B", "b200", _dep(4), _FP4, (5_756, 3_389, 1_410, 319)),
    _row("Qwen3-235B-A22B", "h200", _dep(4), "fp8", (3_268, 1_417, 627, 134)),
    _row("DeepSeek-V3", "b200", _dep(4), _FP4, (6_430, 3_862, 1_168, None)),
    _row("DeepSeek-V3", "h200", _dep(8), "fp8", (1_620, 1_218, None, None)),
)
"""DeepSeek-R1 has DeepSeek-V3's shapes, Llama-3.3-70B those of Llama-3.1-70B. The page says that its FP8 and FP4
checkpoints have an FP8 cache; GPT-OSS's is none of these and quantises no cache, so its own BF16 is taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingResult:
    """One measured rate beside the model's, in output tokens per second and chip."""

    name: str
    measured: float
    batch: int
    roofline: float
    efficiencies: float

    @property
    def achieved(self) -> float:
        """Measured over roofline: what the stack reaches of it."""
        return self.measured / self.roofline

    @property
    def error(self) -> float:
        """Signed relative error of the middle layer."""
        return self.efficiencies / self.measured - 1


def _result(row: MeasuredServing, prompt: int, answer: int, measured: float) -> ServingResult:
    model, machine = get_model(row.model), Machine.of(get_chip(row.chip))
    precision, splits = get_precision(row.precision, row.kv), Splits.of([row.split], ())
    # The cache grows while an answer is written; half of it is there on average.
    batch = min(MOST_BATCH, largest_batch(model, precision, row.split, machine.hbm_bytes, prompt + answer / 2))
    if batch < 1:
        raise ModelError(
            f"{row.model} on {row.split.chips} {machine.label}", "no room for one request", "a larger chip"
        )

    def rate(layer: str) -> float:
        time = serve(model, precision, machine, layer_of(layer, machine), splits, batch, prompt, answer)
        return float(time.tokens_per_second_per_chip)

    return ServingResult(
        name=f"{row.model}, {machine.chip.name}, {row.split}, {row.precision}, {prompt} / {answer}",
        measured=measured,
        batch=batch,
        roofline=rate("roofline"),
        efficiencies=rate("efficiencies"),
    )


@cache
def serving_results() -> tuple[ServingResult, ...]:
    """Every published rate beside the model's."""
    return tuple(
        _result(row, prompt, answer, rate)
        for row in SERVING_ROWS
        for (prompt, answer), rate in zip(LENGTHS, row.rates, strict=True)
        if rate is not None
    )


def median_achieved() -> float:
    """Median of measured over roofline."""
    return median(result.achieved for result in serving_results())
