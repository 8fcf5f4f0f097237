"""Decode steps that were measured on one Trainium3 by a third party, and the fixed cost per layer that they demand.

AWS publishes no decode step of Trainium3. These runs are batch 1 in BF16 on all four pairs of cores of one chip, by the
compiler alone and with kernels written by hand, the fastest of which fuse all layers of a step into one kernel. What
their bytes take is computed with the shares of HBM bandwidth that AWS's rows of Trainium1 and 2 gave; what is left,
over the layers, is the fixed cost. Its median over the rows is Trainium3's, by the same meaning as Trainium1's and 2's.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from statistics import median
from typing import Final

from trnlab.models.projection.calibration import Residual, fit_decode
from trnlab.models.projection.measured_rows import MeasuredDecode
from trnlab.models.workloads.catalogue import get_model

MEGAKERNEL: Final = (
    "GitHub KevGomes1403/nki-moe-megakernel (Apache-2.0), READMEs of its models at commit 621932e, SDK 2.27, "
    "median token latency on one Trainium3"
)


def _row(model: str, software: str, tokens: int, ms: float) -> MeasuredDecode:
    """tokens: of prompt and answer together; half of them are cached on average."""
    return MeasuredDecode(
        name=f"{model}, {tokens} tokens, {software}",
        model=model,
        chip="trn3",
        chips=1,
        precision="bf16",
        batch=1,
        context=tokens / 2,
        seconds=ms * 1e-3,
        source=MEGAKERNEL,
        stack="third party",
    )


_COMPILED, _EXPERTS, _FUSED = "compiler alone", "experts' kernel", "all layers in one kernel"

TRAINIUM3_ROWS: Final[tuple[MeasuredDecode, ...]] = (
    _row("Qwen3-30B-A3B", _COMPILED, 640, 14.37),
    _row("Qwen3-30B-A3B", _EXPERTS, 640, 9.43),
    _row("Qwen3-30B-A3B", _FUSED, 640, 8.15),
    _row("gpt-oss-20b", _COMPILED, 640, 8.62),
    _row("gpt-oss-20b", _COMPILED, 2048, 5.50),
    _row("gpt-oss-20b", _COMPILED, 4096, 5.54),
    _row("gpt-oss-20b", _COMPILED, 8192, 5.78),
    _row("gpt-oss-20b", _FUSED, 640, 5.88),
    _row("gpt-oss-20b", _FUSED, 2048, 4.92),
    _row("gpt-oss-20b", _FUSED, 4096, 4.85),
    _row("gpt-oss-20b", _FUSED, 8192, 4.98),
)
"""The source's runs at batch 4 and 8 are left out: it says that their kernels spill and lose to the compiler there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trainium3Fit:
    """Seconds per layer and decode step: median, least and largest over the rows; residuals with the median.

    fused: the largest over the rows whose layers are all in one kernel.
    """

    fixed_seconds: float
    low: float
    high: float
    fused: float
    residuals: tuple[Residual, ...]


def fixed_of(row: MeasuredDecode) -> float:
    """The fixed cost per layer with which the row comes out exactly: (measured - what its bytes take) / layers."""
    return (row.seconds - fit_decode().moved(row)) / get_model(row.model).layers


@cache
def fit_trainium3() -> Trainium3Fit:
    """The fit to every row, with each row also predicted by the median of the others."""
    costs = [fixed_of(row) for row in TRAINIUM3_ROWS]

    def seconds(row: MeasuredDecode, fixed: float) -> float:
        return fit_decode().moved(row) + fixed * get_model(row.model).layers

    residuals = tuple(
        Residual(
            name=row.name,
            measured=row.seconds,
            modelled=seconds(row, median(costs)),
            left_out=seconds(row, median(costs[:index] + costs[index + 1 :])),
        )
        for index, row in enumerate(TRAINIUM3_ROWS)
    )
    return Trainium3Fit(
        fixed_seconds=median(costs),
        low=min(costs),
        high=max(costs),
        fused=max(fixed_of(row) for row in TRAINIUM3_ROWS if row.name.endswith(_FUSED)),
        residuals=residuals,
    )
