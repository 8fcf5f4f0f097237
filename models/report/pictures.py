"""The report's figures for print and for Markdown, drawn with matplotlib, which is loaded only here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from trnlab.emulator.errors import TrnlabError
from trnlab.models.claims import Claim
from trnlab.models.claims.picture import draw_maps
from trnlab.models.claims.serving import MAPPED
from trnlab.models.plots import draw
from trnlab.models.projection.charts import breakdown as draw_breakdown, new_figure
from trnlab.models.report.contents import Contents
from trnlab.models.report.front import CHIPS
from trnlab.models.report.heatmap import FACTORS, PAIRS, VARIANTS
from trnlab.models.report.marks import GROUPS, VERDICTS, errors, is_first, ratio, readings, short
from trnlab.models.report.theme import BLUE, FAINT, INK, VERMILION
from trnlab.models.report.tornado import MEASURES, Tornado
from trnlab.models.sweep.charts import pareto_chart
from trnlab.models.validation.projections import ProjectionValidation

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ENDINGS: Final = ("png", "svg")
_MARKERS: Final = dict(zip(VERDICTS, ("o", "s", "D", "X", "^", "v"), strict=True))


def pictures(contents: Contents) -> Mapping[str, tuple[str, Callable[[], Figure]]]:
    """By file name without its ending: the section's key, and what draws it."""
    return {
        "claims": ("claims", lambda: draw_claims(contents.claims)),
        **{
            f"speedup-{new}-over-{old}": ("heatmap", lambda new=new: _maps(contents, new))  # type: ignore[misc]
            for old, new in PAIRS
        },
        "pareto": ("pareto", lambda: _pareto(contents)),
        "decode-step": ("breakdown", lambda: _decode_step(contents)),
        "roofline": ("roofline", lambda: _rooflines(contents)),
        "sensitivity": ("tornado", lambda: draw_tornado(contents.tornado)),
        "validation": ("errors", lambda: draw_errors(contents.validation)),
    }


def save(figure: Figure, path: Any, ending: str) -> None:
    """Write the figure; the same figure gives the same bytes.

    Raises:
        TrnlabError: matplotlib is not installed.
    """
    try:
        from matplotlib import rc_context
    except ImportError as error:
        raise TrnlabError("drawing needs matplotlib, which is not installed: pip install trnlab[viz]") from error
    with rc_context({"svg.hashsalt": "trnlab"}):
        figure.savefig(path, format=ending, metadata={"Date": None} if ending == "svg" else None)


def _maps(contents: Contents, new: str) -> Figure:
    """Trainium3's map in every layer; Trainium4's in the calibrated one by assumption set, and its roofline."""
    maps = contents.maps.maps
    if new == "trn3":
        shown = [maps["trn2", "trn3", layer, case] for layer, case in MAPPED]
    else:
        shown = [maps["trn3", chip, "calibrated", "central"] for chip in VARIANTS.values()]
        shown.append(maps["trn3", "trn4", "roofline", "central"])
    return draw_maps(shown, [factor for factor, _ in FACTORS])


def _pareto(contents: Contents) -> Figure:
    """The fronts that the page shows at first: each chip in its own formats."""
    scenario, table = contents.scenario, contents.fronts.table
    chips, precisions = table.column("chip"), table.column("precision")
    own = [(scenario.chip(chip).label, scenario.precision(chip).name) for chip in CHIPS]
    kept = np.logical_or.reduce([(chips == label) & (precisions == precision) for label, precision in own])
    figure = pareto_chart(table.where(kept))
    axes = figure.axes[0]
    legend = axes.legend(fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    for text in legend.get_texts():
        text.set_text(text.get_text().removeprefix(f"{scenario.model}, "))
    axes.set_title(f"{scenario.model}, calibrated layer, prompts of {scenario.prompt:,} tokens", fontsize=9, loc="left")
    figure.set_size_inches(10.0, 5.2)
    for axis in (axes.xaxis, axes.yaxis):
        _plain_ticks(axis)
    return figure


def _decode_step(contents: Contents) -> Figure:
    figure = draw_breakdown(contents.projections)
    figure.axes[0].set_title(f"{contents.scenario}, middle layer: timelines of our kernels", fontsize=9, loc="left")
    return figure


def _rooflines(contents: Contents) -> Figure:
    points = [point for panel in contents.panels for point in panel.points]
    return draw(points, [panel.line for panel in contents.panels])


def draw_claims(claims: Sequence[Claim]) -> Figure:
    """Computed over claimed, one row a claim, one mark a reading."""
    figure = new_figure(10.0, 1.2 + 0.26 * len(claims))
    axes = figure.add_subplot()
    places = {claim.statement: row for row, claim in enumerate(claims)}
    for verdict, (colour, _) in VERDICTS.items():
        found = readings(verdict, claims)
        if not found:
            continue
        spans = np.array([ratio(claim, reading) for claim, reading in found])
        rows = np.array([places[claim.statement] for claim, _ in found])
        axes.hlines(rows, spans[:, 0], spans[:, 2], color=colour, linewidth=1)
        first = np.array([is_first(claim, reading) for claim, reading in found])
        for kept, face, label in ((~first, "white", None), (first, colour, verdict)):
            marks = {"markerfacecolor": face, "markeredgecolor": colour, "markeredgewidth": 1.2, "markersize": 6}
            axes.plot(spans[kept, 1], rows[kept], _MARKERS[verdict], label=label, zorder=3, **marks)
    axes.axvline(1, color=INK, linewidth=1, linestyle="--")
    axes.set(xscale="log")
    axes.set_yticks(range(len(claims)), [short(claim.statement) for claim in claims], fontsize=8)
    axes.invert_yaxis()
    _finish(axes, "computed / claimed (ratio); filled: the plainest reading, open: others")
    _plain_ticks(axes.xaxis)
    figure.legend(fontsize=8, frameon=False, loc="outside lower center", ncols=len(VERDICTS))
    made: Figure = figure
    return made


def draw_tornado(found: Tornado) -> Figure:
    """One panel a measure: percent against the central value."""
    rows = max(map(len, found.rows.values()))
    figure = new_figure(10.0, len(MEASURES) * (0.9 + 0.25 * rows))
    panels = figure.subplots(len(MEASURES), 1)
    for axes, (measure, (title, _)) in zip(panels, MEASURES.items(), strict=True):
        middle = found.central[measure]
        for end, (colour, hatch) in enumerate(((BLUE, ""), (VERMILION, "///"))):
            lengths = np.array([100 * (_known(row.values[end], middle) / middle - 1) for row in found.rows[measure]])
            places = np.arange(len(lengths)) + (-0.2, 0.2)[end]
            axes.barh(places, lengths, height=0.4, color=colour, hatch=hatch, edgecolor="white", linewidth=0)
        names = [row.swing.label for row in found.rows[measure]]
        axes.set_yticks(range(len(names)), names, fontsize=8)
        axes.invert_yaxis()
        axes.axvline(0, color=INK, linewidth=1)
        axes.set_title(f"{title}: central {middle:.4g}", fontsize=9, loc="left")
        _finish(axes, "change against the central value (%)")
    figure.suptitle(f"{found.scenario}, Trainium4 (central); plain: first end, hatched: second", fontsize=9)
    made: Figure = figure
    return made


def _known(value: float | None, otherwise: float) -> float:
    """The value; for an end that does not fit its memory no bar, which the table says."""
    return otherwise if value is None else value


def draw_errors(found: ProjectionValidation) -> Figure:
    """Signed errors by group, and the mean absolute error on both sides."""
    groups = errors(found)
    figure = new_figure(9.0, 1.0 + 0.45 * len(groups))
    axes = figure.add_subplot()
    for number, rows in enumerate(groups.values()):
        percents = [100 * error for _, error in rows]
        spread = number + 0.5 * (np.modf(np.arange(len(rows)) * 0.618034)[0] - 0.5)
        axes.plot(percents, spread, "o", color=GROUPS[number], markeredgecolor=INK, markeredgewidth=0.4, markersize=5)
        mean = float(np.mean(np.abs(percents)))
        axes.vlines(mean, number - 0.32, number + 0.32, color=INK, linewidth=1.6)
    axes.set_yticks(range(len(groups)), list(groups), fontsize=8)
    axes.invert_yaxis()
    axes.axvline(0, color=INK, linewidth=1)
    _finish(axes, "error of the model (% of the measurement); bars: mean absolute error of the group")
    made: Figure = figure
    return made


def _finish(axes: Any, title: str) -> None:
    axes.set_xlabel(title, fontsize=9, color=INK)
    axes.grid(visible=True, axis="x", which="both", color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)


def _plain_ticks(axis: Any) -> None:
    """Decimal numbers on a logarithmic axis, at 1, 2 and 5."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,g}"))
    axis.set_minor_formatter(NullFormatter())
