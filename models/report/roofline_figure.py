"""The rooflines as an interactive figure: slopes, ceilings, bands of a projection, and our kernels as points."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, cast

from trnlab.models.kernel_point import MEMORIES, KernelPoint, Memory
from trnlab.models.quantity import Quantity
from trnlab.models.report.figure import Control, Figure, Trace, identifier
from trnlab.models.report.rooflines import KERNELS, Panel
from trnlab.models.report.theme import BLACK, BLUE, GREEN, GREY, INK, ORANGE, PURPLE, SKY, VERMILION, axis, layout

_COLOURS: Final = {"fp32": GREY, "bf16": BLUE, "fp8": GREEN, "mxfp8": VERMILION, "mxfp4": PURPLE, "sparse": ORANGE}
_SYMBOLS: Final = ("circle", "square", "diamond", "triangle-up", "star")
TERA: Final = 1e12
RIGHT: Final = 20_000.0
"""Where the drawn part of the intensity axis ends, in FLOP/B."""


def figure(found: Sequence[Panel]) -> Figure:
    """Four log-log panels on the same axes; the memory level is chosen."""
    return Figure(
        key="roofline",
        title="Rooflines of one core, with our kernels",
        lead="Ceilings: peaks of the Tensor Engine, with the ridge point in FLOP per byte. Slope: the chosen memory. "
        "Points: our kernels at shapes of gpt-oss-120b, timed by the timeline model, not measured; a kernel is missing "
        "where the generation lacks its instruction. Trainium4 is a projection: lines are its central assumption set, "
        "bands span the low and the high one, bars those of the kernels' times.",
        layout=_layout(found),
        states={(i,): traces(found, memory) for i, memory in enumerate(MEMORIES)},
        controls=(Control(name="memory level", options=cast(tuple[str, ...], MEMORIES)),),
    )


def traces(found: Sequence[Panel], memory: Memory) -> list[Trace]:
    """Bands, slope, ceilings and points of every panel; the legend has each of them once."""
    left, seen = left_end(found, memory), set[str]()
    made = [trace for number, panel in enumerate(found, 1) for trace in _panel_traces(panel, number, memory, left)]
    for trace in made:
        trace["showlegend"] = trace["legendgroup"] not in seen
        seen.add(trace["legendgroup"])
    return made


def left_end(found: Sequence[Panel], memory: Memory) -> float:
    """Where slopes start: half of the least ridge point or kernel's intensity, in FLOP/B."""
    ridges = [panel.line.ridge_point(rate, memory).interval[0] for panel in found for rate in panel.rates()]
    return min(*ridges, *(point.intensity(memory) for panel in found for point in panel.points)) / 2


def _panel_traces(panel: Panel, number: int, memory: Memory, left: float) -> list[Trace]:
    suffix = str(number) if number > 1 else ""
    parts = [*_bands(panel, memory, left), _slope(panel, memory, left)]
    parts += [_ceiling(panel, rates, memory) for rates in panel.ceilings()]
    parts += [_point(panel, point, memory) for point in panel.points]
    return [
        trace | {"xaxis": f"x{suffix}", "yaxis": f"y{suffix}", "uid": identifier(f"{number} {trace['name']}")}
        for trace in parts
    ]


def _trace(name: str, group: str, rank: int, **more: Any) -> Trace:
    return {"type": "scatter", "name": name, "legendgroup": group, "legendrank": rank, **more}


def _slope(panel: Panel, memory: Memory, left: float) -> Trace:
    roof = panel.line.roof(memory)
    top, rate = max(panel.line.peak(each).value for each in panel.rates()), roof.bytes_per_second.value
    return _trace(
        "memory",
        "memory",
        1,
        mode="lines",
        x=[left, top / rate],
        y=[left * rate / TERA, top / TERA],
        line={"color": INK, "width": 1.8},
        text=f"{memory}: {roof.bytes_per_second}",
        hovertemplate="%{text}<extra></extra>",
    )


def _ceiling(panel: Panel, rates: Sequence[str], memory: Memory) -> Trace:
    """One line for equal peaks, the ridge point to the left of it and its name above its right end."""
    peak, ridge = panel.line.peak(rates[-1]), panel.line.ridge_point(rates[-1], memory)
    name = ", ".join(rate.upper() for rate in rates)
    colour, height = _COLOURS.get(rates[-1], BLACK), peak.value / TERA
    return _trace(
        name,
        name,
        2 + list(_COLOURS).index(rates[-1]),
        mode="lines+markers+text",
        x=[ridge.value, RIGHT],
        y=[height, height],
        line={"color": colour, "width": 2},
        marker={"symbol": "diamond", "size": [8, 0], "color": colour},
        text=[f"{ridge.value:.3g} ", f"<b>{name} {Quantity(peak.value, 'FLOP/s', ''):v}</b>"],
        textposition=["top left", "top left"],
        textfont={"color": colour, "size": 11},
        hovertext=[f"{name}: {peak}, ridge {ridge.value:.4g} FLOP/B"] * 2,
        hovertemplate="%{hovertext}<extra></extra>",
    )


def _bands(panel: Panel, memory: Memory, left: float) -> list[Trace]:
    """Low to high of a projection's memory and ceilings, as closed areas; none for a published generation."""
    variants = panel.line.variants()
    if len(variants) == 1:
        return []
    tops = [max(line.peak(rate).value for rate in panel.rates()) for line in variants]
    slopes = [line.roof(memory).bytes_per_second.value for line in variants]
    slow, fast, top = min(slopes), max(slopes), max(tops)
    area = [(left, left * fast), (top / fast, top), (top / slow, top), (left, left * slow)]
    made = [_area(f"{memory} low to high", area, INK)] if slow < fast else []
    for rate in panel.rates():
        peaks = [line.peak(rate).value for line in variants]
        low, high = min(peaks), max(peaks)
        if low < high:
            area = [(low / fast, low), (high / fast, high), (RIGHT, high), (RIGHT, low)]
            made.append(_area(f"{rate.upper()} low to high", area, _COLOURS.get(rate, BLACK)))
    return made


def _area(name: str, corners: Sequence[tuple[float, float]], colour: str) -> Trace:
    closed = [*corners, corners[0]]
    red, green, blue = (int(colour[start : start + 2], 16) for start in (1, 3, 5))
    return _trace(
        name,
        "low to high",
        20,
        mode="lines",
        fill="toself",
        fillcolor=f"rgba({red},{green},{blue},0.16)",
        line={"width": 0, "color": colour},
        x=[x for x, _ in closed],
        y=[y / TERA for _, y in closed],
        hoverinfo="skip",
    )


def _point(panel: Panel, point: KernelPoint, memory: Memory) -> Trace:
    bound, achieved = panel.line.bound(point), point.flops_per_second
    assert achieved is not None
    index = [name for name, *_ in KERNELS].index(point.name)
    low, high = panel.spans[point.name]
    text = f"{achieved / TERA:.3g} TFLOP/s, {bound.percent_of_roofline:.0f} % of its bound by {bound.resource}"
    band = f", {low / TERA:.3g} to {high / TERA:.3g} over low and high" if low < high else ""
    return _trace(
        point.name,
        point.name,
        30 + index,
        mode="markers",
        x=[point.intensity(memory)],
        y=[achieved / TERA],
        error_y={
            "type": "data",
            "symmetric": False,
            "array": [(high - achieved) / TERA],
            "arrayminus": [(achieved - low) / TERA],
            "color": INK,
            "thickness": 1.2,
            "width": 4,
            "visible": low < high,
        },
        marker={"symbol": _SYMBOLS[index], "size": 10, "color": SKY, "line": {"color": INK, "width": 1.2}},
        text=[f"{text}{band}; {point.intensity(memory):.4g} FLOP/B"],
        hovertemplate=f"<b>{point.name}</b><br>%{{text}}<extra></extra>",
    )


def _layout(found: Sequence[Panel]) -> dict[str, Any]:
    made = layout(780, margin={"l": 70, "r": 20, "t": 110, "b": 60})
    made["legend"] = made["legend"] | {"y": 1.06}
    made["annotations"] = []
    heights = ([0.56, 1.0], [0.0, 0.44])
    for number, panel in enumerate(found, 1):
        suffix, row, column = str(number) if number > 1 else "", (number - 1) // 2, (number - 1) % 2
        domain = [0.0, 0.47] if column == 0 else [0.53, 1.0]
        across, up = ("FLOP per byte of the chosen memory" if row == 1 else ""), "TFLOP/s of one core"
        made[f"xaxis{suffix}"] = axis(across, log=(1,), domain=domain, anchor=f"y{suffix}", matches="x")
        made[f"yaxis{suffix}"] = axis(
            up if column == 0 else "", log=(1,), domain=heights[row], anchor=f"x{suffix}", matches="y"
        )
        made["annotations"].append(
            {"text": f"<b>{panel.title}</b>", "showarrow": False, "xref": "paper", "yref": "paper"}
            | {"x": domain[0] + 0.01, "y": heights[row][1], "xanchor": "left", "yanchor": "bottom"}
        )
    for key in ("xaxis", "yaxis"):
        del made[key]["matches"]
    return made
