"""Published times to the first token on Trainium1 and 2, and the compute efficiency of prompts that they demand.

    measured = max(compute at peak / efficiency, bytes) of each group of operators + fixed cost per layer x layers

with the bytes' shares of HBM and the fixed cost of the decode fit. A chip's efficiency is the median over its own rows
that compute bounds; it contains whatever collectives take. Software pads a prompt to the bucket that it was compiled
for, and the padding is computed like any token.

Rows of one chip differ by up to ten times in what they reach, which no term here tells apart. Prompts of 4,096 tokens
and more in SDK 2.18.0 reach 3 to 4 % of Trainium1's peak, as attention without a kernel, at about 1 % of it, would
explain; the others 14 to 21 %. AWS's kernels on Trainium2 reach 22 and 34 %. The two rows that are not fitted and miss
by most are of mixtures of experts, early software for prompts. So the band is that of the rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from statistics import median
from typing import Final

from trnlab.models.frozen import FrozenMapping
from trnlab.models.parallel.partitioning import Partitioning, Splits
from trnlab.models.projection.calibration import Residual, fit_decode
from trnlab.models.projection.decode import Bounds
from trnlab.models.projection.machine import Machine
from trnlab.models.projection.measured_rows import OPTIMUM, RECIPES, TABLES, TUTORIALS, Stack
from trnlab.models.projection.method import ROOFLINE
from trnlab.models.projection.prefill import prefill_pass
from trnlab.models.workloads.catalogue import get_model
from trnlab.models.workloads.formats import get_precision


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredPrefill:
    """Seconds until the first token of one prompt, as published, and what was run.

    prompt: tokens that were sent; bucket: tokens that were computed, the prompt and its padding.
    """

    model: str
    chip: str
    chips: int
    precision: str
    prompt: int
    bucket: int
    seconds: float
    source: str
    stack: Stack = "AWS"

    @property
    def name(self) -> str:
        """Model, chip and tokens."""
        padding = f" padded to {self.bucket}" if self.bucket > self.prompt else ""
        return f"{self.model}, {self.chips} x {self.chip}, {self.prompt}{padding}"


def _trn1(model: str, prompt: int, ms: float, precision: str = "bf16") -> MeasuredPrefill:
    return MeasuredPrefill(
        model=model,
        chip="trn1",
        chips=16,
        precision=precision,
        prompt=prompt,
        bucket=prompt,
        seconds=ms * 1e-3,
        source=TABLES,
    )


def _trn2(
    model: str, chips: int, tokens: tuple[int, int], ms: float, source: str, stack: Stack = "AWS"
) -> MeasuredPrefill:
    return MeasuredPrefill(
        model=model,
        chip="trn2",
        chips=chips,
        precision="bf16",
        prompt=tokens[0],
        bucket=tokens[1],
        seconds=ms * 1e-3,
        source=source,
        stack=stack,
    )


PREFILL_ROWS: Final[tuple[MeasuredPrefill, ...]] = (
    _trn2("Llama-3.1-70B", 16, (10_000, 12_288), 814, TUTORIALS),
    _trn2("Llama-3.1-405B", 16, (10_000, 10_240), 2442, TUTORIALS),
    _trn2("gpt-oss-120b", 4, (512, 512), 252.3, RECIPES),
    _trn1("Llama-3.1-8B", 128, 17.1, "int8-weights"),
    _trn1("Llama-3.1-8B", 4096, 153, "int8-weights"),
    _trn1("Llama-3.1-70B", 128, 53.2),
    _trn1("Llama-3.1-70B", 2048, 547),
    _trn1("Llama-2-7B", 128, 13.3),
    _trn1("Llama-2-13B", 4096, 864),
    _trn1("Llama-2-13B", 8192, 2368),
    _trn1("Llama-2-70B", 128, 53.9),
    _trn1("Llama-2-70B", 256, 81.9),
    _trn1("Llama-2-70B", 1024, 232),
    _trn1("Llama-2-70B", 2048, 691),
    _trn1("Mistral-7B", 8192, 1323),
    _trn2("Qwen3-235B-A22B", 16, (1500, 1500), 4600, OPTIMUM, "third party"),
)
"""One prompt at a time. Llama 3.1 stands for Llama 3 and 3.3, which have its shapes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefillFit:
    """Compute efficiency of prompts by chip: median, and (least, largest) over the rows it was fitted to."""

    efficiency: Mapping[str, float]
    spread: Mapping[str, tuple[float, float]]
    residuals: tuple[Residual, ...]


@dataclass(frozen=True, slots=True)
class _Terms:
    """Seconds at peak of a row's groups of operators, and of its fixed cost."""

    groups: tuple[Bounds, ...]
    fixed: float

    @property
    def compute(self) -> float:
        return sum(float(group.compute) for group in self.groups)

    @property
    def bound_by_compute(self) -> bool:
        return self.compute > sum(float(group.memory) for group in self.groups)

    def seconds(self, efficiency: float) -> float:
        share = fit_decode().weight_efficiency
        return self.fixed + sum(max(float(g.compute) / efficiency, float(g.memory) / share) for g in self.groups)


@cache
def _terms(row: MeasuredPrefill) -> _Terms:
    model, machine = get_model(row.model), Machine.of(row.chip)
    splits = Splits.of([Partitioning(tp=row.chips)], ())
    step = prefill_pass(model, get_precision(row.precision), machine, ROOFLINE, splits, row.bucket)
    fixed = fit_decode().fixed_seconds[row.chip] * model.layers
    return _Terms((step.dense, step.experts, step.attention), fixed)


def _efficiencies(rows: Sequence[MeasuredPrefill]) -> list[float]:
    return [_terms(row).compute / (row.seconds - _terms(row).fixed) for row in rows]


@cache
def fit_prefill() -> PrefillFit:
    """The fit to AWS's prompt rows that are bound by compute, with every row's residual."""
    fitted = [row for row in PREFILL_ROWS if row.stack == "AWS" and _terms(row).bound_by_compute]
    found = {chip: _efficiencies([row for row in fitted if row.chip == chip]) for chip in ("trn1", "trn2")}
    middle = {chip: median(values) for chip, values in found.items()}

    def without(row: MeasuredPrefill) -> float | None:
        others = [other for other in fitted if other is not row and other.chip == row.chip]
        return _terms(row).seconds(median(_efficiencies(others))) if row in fitted else None

    return PrefillFit(
        efficiency=FrozenMapping(middle),
        spread=FrozenMapping({chip: (min(values), max(values)) for chip, values in found.items()}),
        residuals=tuple(
            Residual(
                name=row.name,
                measured=row.seconds,
                modelled=_terms(row).seconds(middle[row.chip]),
                left_out=without(row),
            )
            for row in PREFILL_ROWS
        ),
    )
