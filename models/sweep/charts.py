"""Pictures of sweeps with matplotlib, which is loaded only when a figure is drawn."""

from __future__ import annotations

from itertools import cycle, product
from typing import TYPE_CHECKING, Final

import numpy as np

from trnlab.models.projection.charts import new_figure
from trnlab.models.quantity import ModelError
from trnlab.models.sweep.search import frontier
from trnlab.models.sweep.table import SweepTable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's palette with markers, so that lines stay apart in grey print and for colour-blind readers.
COLOURS: Final = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
MARKERS: Final = ("o", "s", "^", "D", "v", "P", "X")


def pareto_chart(table: SweepTable) -> Figure:
    """Output tokens per second and chip over tokens per second and user, on logarithmic axes, one line per front.

    The variants of a projection are a solid line between two dotted ones.

    Raises:
        ModelError: no point fits its memory.
        TrnlabError: matplotlib is not installed.
    """
    fronts = _fronts(table)
    if not fronts:
        raise ModelError("points to draw", 0, "at least one that fits its memory")
    figure = new_figure(8.0, 5.2)
    axes = figure.add_subplot()
    bases = dict.fromkeys(_base(label) for label in fronts)
    styles = dict(zip(bases, zip(cycle(COLOURS), cycle(MARKERS), strict=False), strict=False))
    for label, front in fronts.items():
        colour, marker = styles[_base(label)]
        end = "(low)" in label or "(high)" in label
        axes.plot(
            front.column("tokens_per_second_per_user"),
            front.column("tokens_per_second_per_chip"),
            color=colour,
            marker="" if end else marker,
            linestyle=":" if end else "-",
            linewidth=1.0 if end else 1.6,
            markersize=4,
            label=label,
        )
    axes.set(xscale="log", yscale="log")
    _plain_ticks(axes)
    axes.set_xlabel("interactivity: output tokens/s per user")
    axes.set_ylabel("throughput: output tokens/s per chip, prompts included")
    axes.grid(visible=True, color="#e6e6e6", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(f"Pareto fronts, {' and '.join(table.names['layer'])} layer", fontsize=9, loc="left")
    axes.legend(fontsize=8, frameon=False, loc="lower left")  # fronts fall to the right, so that corner is theirs least
    made: Figure = figure
    return made


def _plain_ticks(axes: Axes) -> None:
    """1, 2 and 5 of each decade, as whole numbers: a front often spans less than a decade."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
        axis.set_minor_locator(NullLocator())


def _base(label: str) -> str:
    """The label without the variant of a projection, whose lines share a colour: central solid, its ends dotted."""
    for variant in ("low", "central", "high"):
        label = label.replace(f" ({variant})", "")
    return label


def _fronts(table: SweepTable) -> dict[str, SweepTable]:
    """The front of every model, chip and precision that has a fitting point, by label."""
    found = {}
    keys = ("model", "chip", "precision")
    for codes in product(*(range(len(table.names[key])) for key in keys)):
        mask = np.logical_and.reduce([table.columns[key] == code for key, code in zip(keys, codes, strict=True)])
        front = frontier(table.where(mask))
        if len(front):
            found[", ".join(table.names[key][code] for key, code in zip(keys, codes, strict=True))] = front
    return found
