"""Roofline diagrams with matplotlib, which is loaded only when a figure is drawn."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Final

from trnlab.emulator.errors import TrnlabError
from trnlab.emulator.target import Target
from trnlab.models.chips.record import Chip
from trnlab.models.kernel_point import KernelPoint, Memory
from trnlab.models.plot_labels import Labels
from trnlab.models.quantity import ModelError, Quantity
from trnlab.models.roofline import Roof, Roofline

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's palette, which readers with colour-vision deficiency can tell apart.
_COLOURS: Final = {
    "fp32": "#7f7f7f",
    "bf16": "#0072b2",
    "fp8": "#009e73",
    "mxfp8": "#d55e00",
    "mxfp4": "#cc79a7",
    "sparse": "#e69f00",
    "tf32": "#56b4e9",
    "int8": "#000000",
}
_NAMES: Final = {rate: rate.upper() for rate in _COLOURS} | {"sparse": "sparse"}
_INK, _FAINT = "#222222", "#b8b8b8"
_COLUMNS: Final = 2
_LEFT: Final = 4.0
"""Every panel starts at 4 FLOP/B or, for kernels below that, a factor 2 under the lowest."""
_ABOVE_RIGHT_END: Final = ((-2.0, 3.0), (-2.0, -4.0))
_BESIDE_CORNER: Final = ((-5.0, 4.0), (-6.0, 9.0), (-12.0, 5.0), (5.0, -5.0), (3.0, 6.0), (-14.0, 12.0))
"""Where names of ceilings and numbers of ridge points may stand: offsets in points."""


@dataclass(frozen=True)
class _Window:
    """The part of the plane a panel shows, in FLOP/B and FLOP/s."""

    memory: Memory
    left: float
    right: float
    bottom: float
    top: float


def draw(
    points: Iterable[KernelPoint] = (),
    targets: Sequence[str | Target | Chip | Roofline] = ("trn1", "trn2", "trn3", "trn4"),
    *,
    sparse: bool = False,
    memory: Memory = "HBM",
) -> Figure:
    """A log-log roofline diagram, one panel per target: FLOP/s over FLOP per byte of one memory level.

    Solid slope: that memory. Dashed slope, for HBM: the DMA engines, read at the HBM intensity, so for a kernel whose
    DMA bytes are its HBM bytes. Ceilings: peaks by dtype, equal ones on one line, with their ridge point. Bands: low to
    high of a projection's ceilings and memory. Filled dots are measured kernels; hollow dots, without a time, sit at
    their bound.

    A name or `Target` gives the roofline of one core, a `Chip` that of the chip; all panels share their axes.
    A point with a `target` is drawn in the panel of that roofline only.

    Raises:
        ModelError: no target, a mixture of cores and chips, or a point whose target is not among the panels or that
            has no FLOP or no bytes of that memory, which a log-log plane cannot show; a chip without such a roof.
        TrnlabError: matplotlib is not installed.
    """
    lines, kernels = [_roofline(target) for target in targets], list(points)
    _check(lines, kernels, memory)
    figure_class = _matplotlib("matplotlib.figure").Figure
    shown = {line.name: [rate for rate in line.peaks if sparse or rate != "sparse"] for line in lines}
    window = _window(lines, shown, kernels, memory)
    columns = min(_COLUMNS, len(lines))
    rows = math.ceil(len(lines) / columns)
    figure: Figure = figure_class(figsize=(6.4 * columns, 4.6 * rows), dpi=120, layout="constrained", facecolor="white")
    basis = "; ".join(dict.fromkeys(line.basis for line in lines))
    figure.supxlabel(f"{basis}\nDiamonds: ridge points in FLOP per byte", fontsize=8, color="#666666")
    panels = [figure.add_subplot(rows, columns, index + 1) for index in range(len(lines))]
    for index, (axes, line) in enumerate(zip(panels, lines, strict=True)):
        _frame(axes, line, window, is_left=index % columns == 0, is_bottom=index + columns >= len(lines))
        _memory_roofs(axes, line, window, shown[line.name])
        for rates in _by_height(line, shown[line.name]):
            _ceiling(axes, line, window, rates)
    figure.draw_without_rendering()  # settles the panels' sizes, on which the labels' places depend
    figure.set_layout_engine("none")
    for axes, line in zip(panels, lines, strict=True):
        own = [point for point in kernels if point.target in ("", line.name)]
        _write(axes, line, window, _by_height(line, shown[line.name]), _dots(axes, line, window, own))
    return figure


def _matplotlib(module: str) -> ModuleType:
    try:
        return __import__(module, fromlist=["_"])
    except ImportError as error:
        raise TrnlabError("drawing needs matplotlib, which is not installed: pip install trnlab[viz]") from error


def _roofline(target: str | Target | Chip | Roofline) -> Roofline:
    if isinstance(target, Roofline):
        return target
    return Roofline.of_chip(target) if isinstance(target, Chip) else Roofline.of_core(target)


def _check(lines: Sequence[Roofline], points: Sequence[KernelPoint], memory: Memory) -> None:
    if len({line.scope for line in lines}) != 1:
        raise ModelError("targets of a diagram", [line.name for line in lines], "one or more, all cores or all chips")
    names = [line.name for line in lines]
    for point in points:
        if point.target and point.target not in names:
            raise ModelError(f"target of kernel {point.name!r}", point.target, ", ".join(names))
        if not 0 < point.intensity(memory) < math.inf:
            allowed = f"FLOP and {memory} bytes above zero"
            raise ModelError(f"intensity of kernel {point.name!r}", point.intensity(memory), allowed)


def _span(line: Roofline, value: str) -> tuple[float, float]:
    """(min, max) over the variants of a peak, or of a memory's rate."""
    values = [
        (one.peak(value) if value in one.peaks else one.roof(value).bytes_per_second).value for one in line.variants()
    ]
    return min(values), max(values)


def _slopes(line: Roofline, memory: Memory) -> list[Roof]:
    """The memory on the axis first, then, for HBM, the DMA engines where they have a roof of their own."""
    others = [roof for roof in line.roofs if (memory, roof.name) == ("HBM", "DMA")]
    return [line.roof(memory), *others]


def _window(
    lines: Sequence[Roofline], shown: Mapping[str, Sequence[str]], points: Sequence[KernelPoint], memory: Memory
) -> _Window:
    intensities = [point.intensity(memory) for point in points]
    ridges = [line.ridge_point(rate, memory).value for line in lines for rate in shown[line.name]]
    left = min([_LEFT, min(ridges) / 4, *(x / 2 for x in intensities)])
    right = max([16 * max(ridges), *(8 * x for x in intensities)])
    slopes = [roof.bytes_per_second.value for line in lines for roof in _slopes(line, memory)]
    rates = [point.flops_per_second / 2 for point in points if point.flops_per_second is not None]
    top = 2 * max(_span(line, rate)[1] for line in lines for rate in shown[line.name])
    return _Window(memory, left, right, min([left * min(slopes), *rates]), top)


def _frame(axes: Axes, line: Roofline, window: _Window, *, is_left: bool, is_bottom: bool) -> None:
    axes.set(xscale="log", yscale="log", xlim=(window.left, window.right), ylim=(window.bottom, window.top))
    ticker = _matplotlib("matplotlib.ticker")
    axes.yaxis.set_major_formatter(ticker.FuncFormatter(lambda y, _: f"{Quantity(y, 'FLOP/s', ''):v}"))
    axes.xaxis.set_major_formatter(ticker.FuncFormatter(lambda x, _: f"{x:,.6g}"))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_minor_locator(ticker.NullLocator())
    axes.grid(visible=True, which="major", color="#e6e6e6", linewidth=0.7)
    axes.tick_params(which="both", length=0, labelsize=8, colors=_INK)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(_FAINT)
    axes.set_title(line.title, fontsize=10.5, fontweight="bold", loc="left", color=_INK)
    if len(line.variants()) > 1 and line.target is not None:
        axes.set_title(f"{line.target.variant} projection; bands low to high", fontsize=8.5, loc="right", color=_INK)
    if is_bottom:
        axes.set_xlabel(f"arithmetic intensity (FLOP per {window.memory} byte)", fontsize=9, color=_INK)
    if is_left:
        axes.set_ylabel(f"FLOP/s of one {line.scope}", fontsize=9, color=_INK)


def _memory_roofs(axes: Axes, line: Roofline, window: _Window, rates: Sequence[str]) -> None:
    """The memory slopes up to the highest ceiling, and the band of the first; rates in a key, lower right."""
    top = max(line.peak(rate).value for rate in rates)
    for roof, style in zip(_slopes(line, window.memory), ("-", (0, (4, 2))), strict=False):
        rate = roof.bytes_per_second.value
        label = f"{roof.name} {roof.bytes_per_second:v}"
        ends = [window.left, top / rate], [window.left * rate, top]
        axes.plot(*ends, color=_INK, linestyle=style, linewidth=1.4, zorder=3, label=label)
    low, high = _span(line, window.memory)
    if low != high:
        x = [window.left, top / high, top / low, window.left]
        axes.fill(x, [window.left * high, top, top, window.left * low], color=_INK, alpha=0.10, linewidth=0)
    axes.legend(loc="lower right", fontsize=8, frameon=False, labelcolor=_INK, handlelength=2.4)


def _by_height(line: Roofline, rates: Sequence[str]) -> list[list[str]]:
    """The rates, those of equal peak together."""
    found: dict[float, list[str]] = {}
    for rate in rates:
        found.setdefault(line.peak(rate).value, []).append(rate)
    return list(found.values())


def _ceiling(axes: Axes, line: Roofline, window: _Window, rates: Sequence[str]) -> None:
    """One ceiling for equal peaks, its band, and a diamond at the ridge point."""
    colour, slope = _COLOURS[rates[-1]], line.roof(window.memory).bytes_per_second.value
    height, ridge = line.peak(rates[-1]).value, line.ridge_point(rates[-1], window.memory).value
    axes.plot([ridge, window.right], [height, height], color=colour, linewidth=1.8, zorder=4)
    low, high = _span(line, rates[-1])
    if low != high:
        x = [low / slope, high / slope, window.right, window.right]
        axes.fill(x, [low, high, high, low], color=colour, alpha=0.16, linewidth=0, zorder=1)
    axes.plot(ridge, height, marker="D", markersize=4.5, color=colour, markeredgecolor="white", zorder=6)


def _dots(axes: Axes, line: Roofline, window: _Window, points: Sequence[KernelPoint]) -> dict[str, tuple[float, float]]:
    """The kernels as dots, filled where they are timed; where each label's dot lies."""
    found = {}
    for point in points:
        bound, measured = line.bound(point), point.flops_per_second
        at = point.intensity(window.memory), measured or point.total_flops / bound.time_seconds
        face = _INK if measured else "white"
        axes.plot(*at, "o", markersize=6, zorder=8, color=_INK, markerfacecolor=face)
        share = f" ({bound.percent_of_roofline:.0f} %)" if bound.percent_of_roofline is not None else ""
        found[f"{point.name}{share}"] = at
    return found


def _write(
    axes: Axes,
    line: Roofline,
    window: _Window,
    ceilings: Sequence[Sequence[str]],
    dots: Mapping[str, tuple[float, float]],
) -> None:
    """Names of ceilings, then ridge points, then kernels, each clear of what was written before."""
    halo = _matplotlib("matplotlib.patheffects").withStroke(linewidth=2.5, foreground="white")
    ridges = {rates[-1]: line.ridge_point(rates[-1], window.memory).value for rates in ceilings}
    corners = [(ridges[rates[-1]], line.peak(rates[-1]).value) for rates in ceilings]
    labels = Labels(axes, [*dots.values(), *corners])
    legend = axes.get_legend()
    if legend is not None:
        labels.boxes.append(legend.get_window_extent())
    for rates in ceilings:
        text = f"{', '.join(_NAMES[rate] for rate in rates)}  {line.peak(rates[-1]):v}"
        style = {"fontsize": 8, "fontweight": "bold", "color": _COLOURS[rates[-1]], "path_effects": [halo]}
        labels.put(text, (window.right, line.peak(rates[-1]).value), _ABOVE_RIGHT_END, **style)
    for rates, corner in zip(ceilings, corners, strict=True):
        style = {"fontsize": 7.5, "color": _COLOURS[rates[-1]], "path_effects": [halo]}
        labels.put(f"{corner[0]:.0f}" if corner[0] >= 10 else f"{corner[0]:.2g}", corner, _BESIDE_CORNER, **style)
    for text, at in dots.items():
        labels.put(text, at, fontsize=7.5, color=_INK, zorder=9, path_effects=[halo])
