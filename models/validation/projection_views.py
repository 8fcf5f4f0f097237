"""The validation of projections as records and as a picture: every measured time beside the model's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from trnlab.models.projection.charts import new_figure
from trnlab.models.quantity import ModelError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from trnlab.models.projection.calibration import Residual

Groups = Mapping[str, Sequence["Residual"]]
# Okabe and Ito's palette with markers, so that groups stay apart in grey print and for colour-blind readers.
_STYLES: Final = (("#0072b2", "o"), ("#d55e00", "s"), ("#009e73", "^"), ("#cc79a7", "D"), ("#e69f00", "v"))
GOAL: Final = 0.15
"""Mean absolute error that decode rows are to stay below: the shaded band of the picture."""


def residual_records(groups: Groups) -> list[dict[str, Any]]:
    """One record per row: group, name, measured and modelled seconds, errors; None where a row was not fitted."""
    return [
        {
            "group": group,
            "name": row.name,
            "measured_seconds": row.measured,
            "modelled_seconds": row.modelled,
            "error": row.error,
            "left_out_error": row.left_out_error,
        }
        for group, rows in groups.items()
        for row in rows
    ]


def residual_chart(groups: Groups) -> Figure:
    """Modelled over measured seconds, both logarithmic, one marker a group; the band is within 15 %.

    Raises:
        ModelError: no rows.
        TrnlabError: matplotlib is not installed.
    """
    seconds = [time for rows in groups.values() for row in rows for time in (row.measured, row.modelled)]
    if not seconds:
        raise ModelError("rows to draw", 0, "at least one")
    ends = [min(seconds) / 1.5, max(seconds) * 1.5]
    figure = new_figure(7.4, 6.0)
    axes = figure.add_subplot()
    low, high = ([end * (1 + side * GOAL) for end in ends] for side in (-1, 1))
    axes.fill_between(ends, low, high, color="#dddddd", label=f"within {GOAL:.0%}")
    axes.plot(ends, ends, color="#222222", linewidth=1.0)
    for (group, rows), (colour, marker) in zip(groups.items(), _STYLES, strict=False):
        times = [row.measured for row in rows], [row.modelled for row in rows]
        axes.scatter(*times, color=colour, marker=marker, s=26, label=group, zorder=3)
    axes.set(xscale="log", yscale="log", xlim=ends, ylim=ends)
    axes.set_xlabel("measured, seconds")
    axes.set_ylabel("model, seconds")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=8, frameon=False, loc="upper left")
    made: Figure = figure
    return made
