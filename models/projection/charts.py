"""Pictures of projections with matplotlib, which is loaded only when a figure is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from trnlab.emulator.errors import TrnlabError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from trnlab.models.projection.outcome import Projection

# Okabe and Ito's palette, with hatches, so that the parts stay apart in grey print and for colour-blind readers.
STYLES: Final = {
    "dense weights": ("#0072b2", ""),
    "experts": ("#e69f00", "///"),
    "attention and KV": ("#009e73", "..."),
    "collectives": ("#cc79a7", "xxx"),
    "fixed cost": ("#999999", ""),
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
    bars = [(f"{point.chip}, {found.name}", found) for point in projections for found in point.layers]
    figure = new_figure(8.0, 1.4 + 0.42 * len(bars))
    axes = figure.add_subplot()
    for row, (_, found) in enumerate(bars):
        left = 0.0
        for part, value in found.parts.items():
            colour, hatch = STYLES[part]
            label = part if row == 0 else None
            axes.barh(row, value.value * 1e3, left=left, color=colour, hatch=hatch, edgecolor="white", label=label)
            left += value.value * 1e3
        low, high = (end * 1e3 for end in found.tpot.interval)
        axes.plot([low, high], [row, row], color="#222222", linewidth=1.2, marker="|", markersize=8)
    axes.set_yticks(range(len(bars)), [title for title, _ in bars])
    axes.invert_yaxis()
    axes.set_xlabel("milliseconds per decode step; lines span the band")
    axes.set_title(projections[0].title, fontsize=9, loc="left", wrap=True)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(fontsize=8, frameon=False, loc="outside lower center", ncols=len(STYLES))
    made: Figure = figure
    return made
