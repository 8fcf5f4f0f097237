"""The speed-up maps as heat maps with the contours of the announced factors; matplotlib is loaded only to draw."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from trnlab.emulator.errors import TrnlabError
from trnlab.models.claims.speedup_map import TITLES, Measure, SpeedupMap
from trnlab.models.quantity import ModelError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_INK: Final = "#222222"


def _matplotlib(module: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        raise TrnlabError("drawing needs matplotlib, which is not installed: pip install trnlab[viz]") from error


def draw_maps(maps: Sequence[SpeedupMap], factors: Sequence[float] = (3, 4)) -> Figure:
    """One row a map: throughput per chip and speed of a request over batch and prompt, with the factors' contours.

    Grey: one of the two deployments does not fit its memory. Colours run from below 1 to the largest ratio on one
    scale for all panels.

    Raises:
        ModelError: no map.
        TrnlabError: matplotlib is not installed.
    """
    if not maps:
        raise ModelError("maps to draw", 0, "at least one")
    figure_class = _matplotlib("matplotlib.figure").Figure
    figure: Figure = figure_class(figsize=(12.4, 4.4 * len(maps)), dpi=120, layout="constrained", facecolor="white")
    top = float(max(np.nanmax(each.values(measure)) for each in maps for measure in TITLES))
    grid = figure.subplots(len(maps), 2, squeeze=False)
    for axes_row, each in zip(grid, maps, strict=True):
        for axes, measure in zip(axes_row, TITLES, strict=True):
            mesh = _panel(axes, each, measure, factors, top)
            if len({other.new.chip.label for other in maps}) > 1:
                axes.set_title(each.new.chip.label, fontsize=10, color=_INK, loc="right")
    bar = figure.colorbar(mesh, ax=grid, shrink=0.7, pad=0.01)
    bar.set_label("times as fast", color=_INK)
    new = maps[0].new
    chips = {each.new.label for each in maps}
    where = f"{new.name} on {new.split.chips} chips, {new.split}"
    title = f"{where}: {new.label if len(chips) == 1 else new.chip.name} over {maps[0].old.label}; grey: does not fit"
    figure.suptitle(title, fontsize=11, color=_INK)
    return figure


def _panel(axes: Axes, each: SpeedupMap, measure: Measure, factors: Sequence[float], top: float) -> Any:
    values = each.values(measure)
    axes.set(xscale="log", yscale="log")
    axes.set_facecolor("#dddddd")
    mesh = axes.pcolormesh(each.batches, each.prompts, values, cmap="cividis", vmin=1, vmax=top, shading="nearest")
    for factor, style in zip(factors, ("solid", "dashed", "dotted"), strict=False):
        if np.nanmin(values) < factor < np.nanmax(values):
            lines = axes.contour(each.batches, each.prompts, values, [factor], colors="white", linestyles=style)
            halo = _matplotlib("matplotlib.patheffects").withStroke(linewidth=3, foreground=_INK)
            lines.set(path_effects=[halo])
            for text in axes.clabel(lines, fmt=f"{factor:g}x", fontsize=9):
                text.set_path_effects([halo])
    axes.set_title(f"{TITLES[measure]}, {each.title}", fontsize=10, color=_INK, loc="left")
    axes.set_xlabel("running requests", fontsize=9, color=_INK)
    axes.set_ylabel("tokens of the prompt", fontsize=9, color=_INK)
    plain = _matplotlib("matplotlib.ticker").FuncFormatter(lambda x, _: f"{x:,.0f}")
    for axis, ticks in ((axes.xaxis, each.batches[::4]), (axes.yaxis, each.prompts)):
        axis.set_ticks(list(ticks))
        axis.set_major_formatter(plain)
        axis.set_minor_locator(_matplotlib("matplotlib.ticker").NullLocator())
    axes.tick_params(labelsize=8, colors=_INK)
    return mesh
