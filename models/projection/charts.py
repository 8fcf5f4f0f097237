"""Pictures of projections with matplotlib, which is loaded only when a figure is drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from trnlab.emulator.errors import TrnlabError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from trnlab.models.projection.outcome import Projection
    from trnlab.models.projection.training_outcome import TrainingProjection
    from trnlab.models.quantity import Quantity

# Okabe and Ito's palette, with hatches, so that the parts stay apart in grey print and for colour-blind readers.
STYLES: Final = {
    "dense weights": ("#0072b2", ""),
    "experts": ("#e69f00", "///"),
    "attention and KV": ("#009e73", "..."),
    "collectives": ("#cc79a7", "xxx"),
    "fixed cost": ("#999999", ""),
    "compute": ("#0072b2", ""),
    "bubble": ("#e69f00", "///"),
}


def new_figure(width: float, height: float) -> Any:
    """An empty figure that no display needs.

    Raises:
        TrnlabError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise TrnlabError("drawing needs matplotlib, which is not installed: pip install trnlab[viz]") from error
    return Figure(figsize=(width, height), dpi=120, layout="constrained", facecolor="white")


def breakdown(projections: Sequence[Projection]) -> Figure:
    """Stacked bars of a decode step's milliseconds, one per projection and layer, whiskers over the band."""
    bars = [
        Bar(f"{point.chip}, {found.name}", found.parts, found.tpot) for point in projections for found in point.layers
    ]
    return _stacked(projections[0].title, bars, "milliseconds per decode step", 1e3)


def training_breakdown(projection: TrainingProjection) -> Figure:
    """Stacked bars of a training step's seconds, one per layer, whiskers over the band."""
    bars = [Bar(found.name, found.parts, found.step) for found in projection.layers]
    return _stacked(projection.title, bars, "seconds per training step", 1.0)


class Bar(NamedTuple):
    """One bar: what is written beside it, its parts, and what they add up to, with its band."""

    label: str
    parts: Mapping[str, Quantity]
    total: Quantity


def _stacked(title: str, bars: Sequence[Bar], unit: str, scale: float) -> Figure:
    figure = new_figure(8.0, 1.4 + 0.42 * len(bars))
    axes = figure.add_subplot()
    for row, bar in enumerate(bars):
        left = 0.0
        for part, value in bar.parts.items():
            colour, hatch = STYLES[part]
            label = part if row == 0 else None
            axes.barh(row, value.value * scale, left=left, color=colour, hatch=hatch, edgecolor="white", label=label)
            left += value.value * scale
        low, high = (end * scale for end in bar.total.interval)
        axes.plot([low, high], [row, row], color="#222222", linewidth=1.2, marker="|", markersize=8)
    axes.set_yticks(range(len(bars)), [bar.label for bar in bars])
    axes.invert_yaxis()
    axes.set_xlabel(f"{unit}; lines span the band")
    axes.set_title(title, fontsize=9, loc="left", wrap=True)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(fontsize=8, frameon=False, loc="outside lower center", ncols=len(bars[0].parts))
    made: Figure = figure
    return made
