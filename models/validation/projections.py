"""`trnlab validate projections`: published end-to-end figures and cross-checks beside ours, with signed errors."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from trnlab.models.parallel.partitioning import Partitioning, Splits
from trnlab.models.projection.calibration import (
    DecodeFit,
    GemmFit,
    PrefillFit,
    Residual,
    fit_decode,
    fit_gemm,
    fit_prefill,
    mean_absolute_error,
)
from trnlab.models.projection.constants import layer_of
from trnlab.models.projection.decode import decode_step
from trnlab.models.projection.efficiency import EfficiencyTable
from trnlab.models.projection.kernel_shapes import DEFAULTS, with_kernels
from trnlab.models.projection.machine import Machine
from trnlab.models.projection.measured_rows import DECODE_ROWS, MeasuredDecode
from trnlab.models.validation.checks import CrossCheck
from trnlab.models.validation.checks_gpt_oss import GPT_OSS_CHECKS
from trnlab.models.validation.checks_inference import INFERENCE_CHECKS
from trnlab.models.validation.checks_training import TRAINING_CHECKS
from trnlab.models.validation.checks_trainium import TRAINIUM_CHECKS
from trnlab.models.validation.gemm_files import read_gemms
from trnlab.models.validation.serving_rows import ServingResult, median_achieved, serving_results
from trnlab.models.workloads.catalogue import get_model
from trnlab.models.workloads.formats import get_precision

CROSS_CHECKS: Final[tuple[CrossCheck, ...]] = (
    *INFERENCE_CHECKS,
    *TRAINING_CHECKS,
    *TRAINIUM_CHECKS,
    *GPT_OSS_CHECKS,
)


@dataclass(frozen=True, kw_only=True)
class ProjectionValidation:
    """Everything that is compared, as data."""

    decode: DecodeFit
    kernels: tuple[Residual, ...]
    prefill: PrefillFit
    gemm: GemmFit
    serving: tuple[ServingResult, ...]
    checks: tuple[CrossCheck, ...]

    @classmethod
    def make(cls, gemm_folder: Path | None = None) -> ProjectionValidation:
        """All of it; the GEMM rows of a folder instead of the six that are quoted here.

        Raises:
            ModelError: the folder holds no GEMM profiles.
        """
        return cls(
            decode=fit_decode(),
            kernels=kernel_residuals(),
            prefill=fit_prefill(),
            gemm=fit_gemm() if gemm_folder is None else fit_gemm(read_gemms(gemm_folder)),
            serving=serving_results(),
            checks=CROSS_CHECKS,
        )

    @property
    def summary(self) -> dict[str, float]:
        """The means: absolute relative errors by group, fitted and left out, and the fitted constants."""
        fitted = [row for row in self.decode.residuals if row.left_out is not None]
        others = [row for row in self.decode.residuals if row.left_out is None]
        return {
            "decode rows, AWS": mean_absolute_error(fitted),
            "decode rows, AWS, each left out": mean_absolute_error(fitted, left_out=True),
            "decode rows, third party, not fitted": mean_absolute_error(others),
            "decode rows, AWS, middle layer, nothing fitted": mean_absolute_error(
                [row for row in self.kernels if row.name in {other.name for other in fitted}]
            ),
            "prompt rows": mean_absolute_error(self.prefill.residuals),
            "GEMM rows": mean_absolute_error(self.gemm.residuals),
            "GEMM rows, each left out": mean_absolute_error(self.gemm.residuals, left_out=True),
            "serving rows, middle layer": float(np.mean([abs(row.error) for row in self.serving])),
            "cross-checks": float(np.mean([abs(check.error) for check in self.checks])),
        }

    def to_json(self) -> str:
        """Rows, constants and means as JSON."""
        data = {
            "summary": self.summary,
            "constants": constants(self),
            "decode": [_residual(row) for row in self.decode.residuals],
            "decode_middle_layer": [_residual(row) for row in self.kernels],
            "prompts": [_residual(row) for row in self.prefill.residuals],
            "gemm": [_residual(row) for row in self.gemm.residuals],
            "serving": [_serving(row) for row in self.serving],
            "cross_checks": [_check(check) for check in self.checks],
        }
        return json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False)


def kernel_residuals() -> tuple[Residual, ...]:
    """The decode rows by the middle layer with the timelines of our own kernels: nothing in it is fitted to them."""
    table = EfficiencyTable(DEFAULTS)
    return tuple(_kernel_residual(row, table) for row in DECODE_ROWS)


def _kernel_residual(row: MeasuredDecode, table: EfficiencyTable) -> Residual:
    model, machine, precision = get_model(row.model), Machine.of(row.chip), get_precision(row.precision)
    split = Partitioning(tp=row.chips)
    layer, _ = with_kernels(
        layer_of("efficiencies", machine), table, model, precision, machine, split, row.batch, int(row.context)
    )
    splits = Splits.of([split], ())
    step = decode_step(model, precision, machine, layer.decode, splits, row.batch, row.context)
    return Residual(name=row.name, measured=row.seconds, modelled=float(step.total), left_out=None)


def constants(found: ProjectionValidation) -> dict[str, float]:
    """The fitted constants, in base units."""
    fixed = {f"fixed cost per layer, {chip} (s)": value for chip, value in found.decode.fixed_seconds.items()}
    return {
        "HBM efficiency of weights, decode": found.decode.weight_efficiency,
        "HBM efficiency of the cache, decode": found.decode.cache_efficiency,
        **fixed,
        "compute efficiency of prompts": found.prefill.efficiency,
        "launch of a matmul (s)": found.gemm.launch_seconds,
        "compute efficiency of large matmuls": found.gemm.efficiency,
        "median of measured over roofline, NVIDIA serving": median_achieved(),
    }


def _residual(row: Residual) -> dict[str, Any]:
    return {
        "name": row.name,
        "measured_seconds": row.measured,
        "modelled_seconds": row.modelled,
        "error": row.error,
        "left_out_error": row.left_out_error,
    }


def _serving(row: ServingResult) -> dict[str, Any]:
    names = ("name", "measured", "batch", "roofline", "efficiencies", "achieved", "error")
    return {name: getattr(row, name) for name in names}


def _check(check: CrossCheck) -> dict[str, Any]:
    names = ("name", "source", "inputs", "unit", "expected", "ours", "error", "tolerance", "passes", "flaw")
    return {name: getattr(check, name) for name in names}


def print_validation(found: ProjectionValidation, console: Console) -> None:
    """Every table, then the constants and the means."""
    _residuals("Decode: time per output token", found.decode.residuals, 1e3, "ms", console)
    _residuals("Decode again: middle layer, timelines of our kernels", found.kernels, 1e3, "ms", console)
    _residuals("Prompts: time to first token", found.prefill.residuals, 1e3, "ms", console)
    _residuals("BF16 matmuls on a pair of Trainium3 cores", found.gemm.residuals, 1e6, "µs", console)
    _serving_table(found.serving, console)
    _check_table(found.checks, console)
    pairs: list[tuple[str, str]] = [(name, f"{value:.4g}") for name, value in constants(found).items()]
    _two_columns("Fitted constants", pairs, console)
    _two_columns("Mean absolute errors", [(name, f"{value:.1%}") for name, value in found.summary.items()], console)


def _table(title: str, columns: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
    for index, column in enumerate(columns):
        # Without a least width the names, which alone can shrink, get one character each on a narrow terminal.
        table.add_column(
            column, justify="left" if index == 0 else "right", min_width=24 if index == 0 else None, overflow="fold"
        )
    return table


def _percent(value: float | None) -> str:
    return "not fitted" if value is None else f"{value:+.1%}"


def _residuals(title: str, rows: Sequence[Residual], scale: float, unit: str, console: Console) -> None:
    table = _table(title, ("row", f"measured, {unit}", f"model, {unit}", "error", "error when left out"))
    for row in rows:
        times = (f"{row.measured * scale:.3g}", f"{row.modelled * scale:.3g}")
        table.add_row(row.name, *times, _percent(row.error), _percent(row.left_out_error))
    console.print(table)


def _serving_table(rows: Sequence[ServingResult], console: Console) -> None:
    columns = ("NVIDIA, output tokens/s per chip", "measured", "batch", "roofline", "of it", "middle layer", "error")
    table = _table("Maximum throughput; nothing is fitted to these", columns)
    for row in rows:
        rates = (f"{row.measured:,.0f}", f"{row.batch:,}", f"{row.roofline:,.0f}", f"{row.achieved:.0%}")
        table.add_row(row.name, *rates, f"{row.efficiencies:,.0f}", f"{row.error:+.0%}")
    console.print(table)


def _check_table(checks: Sequence[CrossCheck], console: Console) -> None:
    table = _table("Cross-checks", ("check", "unit", "source says", "ours", "error", "known flaw of the source"))
    for check in checks:
        table.add_row(
            check.name, check.unit, f"{check.expected:g}", f"{check.ours:.5g}", f"{check.error:+.2%}", check.flaw
        )
    console.print(table)


def _two_columns(title: str, pairs: Sequence[tuple[str, str]], console: Console) -> None:
    table = _table(title, ("", ""))
    for name, value in pairs:
        table.add_row(name, value)
    console.print(table)
