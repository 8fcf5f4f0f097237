"""What quantising a tensor loses, as tables and as a picture; the picture needs matplotlib, loaded when it is drawn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from trnlab.emulator.errors import TrnlabError
from trnlab.emulator.numerics.quantization_report import QuantizationReport

_KEPT, _FLUSHED, _CLIPPED, _INK = "#0072b2", "#e69f00", "#d55e00", "#222222"  # Okabe and Ito's palette


def print_report(report: QuantizationReport, console: Console) -> None:
    """Print the facts of a report, then the distribution of its blocks."""
    facts = Table(box=None, show_header=False, pad_edge=False)
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column(overflow="fold")
    for name, value in _facts(report):
        facts.add_row(name, Text(value))
    console.print(facts)
    blocks = Table("blocks", "SQNR, dB", box=SIMPLE_HEAD, title="SQNR by block", title_justify="left")
    for percent, decibels in report.block_sqnr_db.items():
        blocks.add_row({0: "worst", 50: "median", 100: "best"}.get(percent, f"{percent} %"), _decibels(decibels))
    if report.block_sqnr_db:
        console.print(blocks)


def _facts(report: QuantizationReport) -> Iterator[tuple[str, str]]:
    rule = f", scale rule {report.rule}, policy {report.policy}" if report.rule else ""
    yield "tensor", f"{_shape(report.shape)} {report.dtype}"
    yield "format", f"{report.format}: {report.element} in blocks of {report.block} along axis {report.axis}{rule}"
    yield "defined by", report.source
    yield "bits per element", f"{report.bits_per_element:g}"
    yield "SQNR", f"{_decibels(report.sqnr_db)} dB"
    yield "largest error", f"{report.largest_error:.4g}"
    yield "clipped", _share(report.clipped, report.elements)
    yield "flushed to zero", _share(report.flushed, report.elements)
    yield "blocks of zeros", _share(report.zero_blocks, report.blocks)
    yield "blocks not finite", _share(report.non_finite_blocks, report.blocks)
    if report.worst is not None:
        worst = report.worst
        yield (
            "worst block",
            f"starts at {list(worst.start)}: {_decibels(worst.sqnr_db)} dB, largest {worst.largest:.4g}, "
            f"scale {worst.scale:.4g}",
        )


def _decibels(value: float) -> str:
    return "no error" if value == float("inf") else f"{value:.2f}"


def _share(count: int, total: int) -> str:
    return f"{100 * count / total:.3g} % ({count:,} of {total:,})"


def _shape(shape: Sequence[int]) -> str:
    return f"[{', '.join(map(str, shape))}]"


def draw_report(report: QuantizationReport, path: Path) -> None:
    """Write two histograms as PNG: elements by binade with what became of them, and blocks by SQNR.

    Raises:
        TrnlabError: matplotlib is missing.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise TrnlabError("pictures need matplotlib: pip install 'trnlab[viz]'") from error
    figure = Figure(figsize=(10, 4), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    exponents = [binade.exponent for binade in report.binades]
    kept = [binade.elements - binade.flushed - binade.clipped for binade in report.binades]
    flushed = [binade.flushed for binade in report.binades]
    clipped = [binade.clipped for binade in report.binades]
    left.bar(exponents, kept, color=_KEPT, label="kept")
    left.bar(exponents, flushed, bottom=kept, color=_FLUSHED, label="flushed to zero")
    under = [first + second for first, second in zip(kept, flushed, strict=True)]
    left.bar(exponents, clipped, bottom=under, color=_CLIPPED, label="clipped")
    left.set(xlabel="binade, floor(log2 |x|)", ylabel="elements", title="what became of the elements")
    figure.legend(frameon=False, fontsize=8, loc="outside lower left", ncols=3)  # "best" is a search
    counts = report.block_sqnr_counts
    right.bar([low + 0.5 for low in counts], list(counts.values()), width=1, color=_KEPT)
    right.set(xlabel="SQNR of a block, dB", ylabel="blocks", title=f"{report.format}: {_decibels(report.sqnr_db)} dB")
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(colors=_INK, labelsize=8)
    figure.savefig(path, format="png", dpi=150)
