"""The validation of projections as tables in the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from trnlab.models.projection.calibration import Residual
from trnlab.models.validation.checks import CrossCheck
from trnlab.models.validation.projections import ProjectionValidation, constants
from trnlab.models.validation.serving_rows import ServingResult


def print_validation(found: ProjectionValidation, console: Console) -> None:
    """Every table, then the constants and the means."""
    _residuals("Decode: time per output token", found.decode.residuals, 1e3, "ms", console)
    _residuals("Decode on one Trainium3, third party", found.trainium3.residuals, 1e3, "ms", console)
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
    table = _table(title, ("row", f"measured, {unit}", f"model, {unit}", "error", "left out"))
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
