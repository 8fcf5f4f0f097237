"""The demonstration as text: one block a kernel, accuracy first, then a table of targets."""

from __future__ import annotations

from collections.abc import Callable

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from trnlab.models.demo import CaseReport, DemoReport, Projection

TARGET_NAMES = {"trn1": "Trainium1", "trn2": "Trainium2", "trn3": "Trainium3", "trn4": "Trainium4"}
RESOURCES = ("tensor", "vector", "scalar", "gpsimd", "dma", "hbm")
FOOTNOTES = (
    "One NeuronCore each; the core's Tensor Engine, HBM share and DMA engines make the roofline.",
    "Times: busiest resource / list order / program order at the slow end of assumed costs.",
    "Trainium4 is a projection from announced multipliers (3x FP8, 6x FP4, 4x memory bandwidth) and assumptions.",
)


def render(report: DemoReport, console: Console) -> None:
    """Print the report on the console."""
    for case in report.cases:
        console.print(f"\n[bold]{case.title}[/bold]")
        console.print(
            f"{case.kernel}: {case.instructions} instructions, executed on an emulated "
            f"{TARGET_NAMES[report.executed_on]} core in {case.run_seconds:.1f} s"
        )
        console.print(_accuracy(case))
        console.print(_projections(case))
    for note in FOOTNOTES:
        console.print(f"[dim]{note}[/dim]")


def _accuracy(case: CaseReport) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in ("error against", "max abs", "max rel", "SQNR"):
        table.add_column(heading, justify="left" if heading == "error against" else "right")
    for accuracy in case.accuracy:
        table.add_row(
            accuracy.against, f"{accuracy.max_abs:.3g}", f"{accuracy.max_rel:.2e}", f"{accuracy.sqnr_db:.1f} dB"
        )
    return table


def _projections(case: CaseReport) -> Table:
    """Targets side by side, one figure a row: fits a terminal of 80 columns."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("one core of", no_wrap=True)
    for projection in case.projections:
        table.add_column(_heading(projection), justify="right", overflow="fold")
    for name, figure in FIGURES:
        table.add_row(name, *(figure(projection) for projection in case.projections))
    return table


def _heading(projection: Projection) -> str:
    name = TARGET_NAMES[projection.target]
    return name if projection.variant == "published" else f"{name}\n{projection.variant}"


def _kernel(projection: Projection) -> str:
    if not projection.missing:
        return projection.kernel
    what = "MX" if projection.missing.endswith("_mx") else projection.missing
    return f"no {what}:\n{projection.kernel}"


def _busy(resource: str) -> Callable[[Projection], str]:
    return lambda projection: f"{100 * projection.utilisation[resource]:.0f}"


def _microseconds(index: int) -> Callable[[Projection], str]:
    return lambda projection: f"{1e6 * projection.seconds[index]:.1f}"


FIGURES: tuple[tuple[str, Callable[[Projection], str]], ...] = (
    ("kernel", _kernel),
    ("instructions", lambda projection: str(projection.instructions)),
    ("time µs, low", _microseconds(0)),
    ("time µs, central", _microseconds(1)),
    ("time µs, high", _microseconds(2)),
    *((f"busy %, {resource}", _busy(resource)) for resource in RESOURCES),
    ("busiest", lambda projection: projection.busiest),
    ("FLOP per HBM byte", lambda projection: f"{projection.intensity:.0f}"),
    ("roofline's bound", lambda projection: projection.bound),
    ("% of roofline", lambda projection: f"{projection.roofline_percent:.0f}"),
)
