"""Rooflines of one core of each generation, with our kernels as points from their programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, cast

from trnlab.emulator.errors import GenerationError
from trnlab.emulator.target import get_target
from trnlab.models.kernel_point import MEMORIES, KernelPoint, Memory
from trnlab.models.profile.kernel_files import load_kernel, parse_arguments
from trnlab.models.program_points import traced_point
from trnlab.models.report.figure import Control, Figure, Trace, identifier
from trnlab.models.report.theme import BLACK, BLUE, GREEN, GREY, INK, ORANGE, PURPLE, SKY, VERMILION, axis, layout
from trnlab.models.roofline import Roofline

CORES: Final = ("trn1", "trn2", "trn3", "trn4")
KERNELS: Final = (
    ("BF16 matmul", "trnlab.kernels.matmul:matmul", "lhsT=bf16[2880,512]", "rhs=bf16[2880,2880]"),
    ("FP8 matmul", "trnlab.kernels.matmul:matmul_fp8", "lhsT=fp8_e4m3[2880,512]", "rhs=fp8_e4m3[2880,2880]"),
    ("MXFP8 matmul", "trnlab.kernels.matmul_mx:matmul_mxfp8", "lhsT=bf16[2880,512]", "rhs=bf16[2880,2880]"),
    (
        "MXFP4 weights",
        "trnlab.kernels.matmul_mx:matmul_mxfp8_weights",
        "lhsT=bf16[2880,512]",
        "weights=u16[736,2880]",
        "scales=u8[92,2880]",
    ),
    (
        "attention",
        "trnlab.kernels.attention:flash_attention",
        "q=bf16[8,1024,64]",
        "k=bf16[1,1024,64]",
        "v=bf16[1,1024,64]",
    ),
)
"""Name, kernel and arguments: an expert projection of gpt-oss-120b (d_model = d_ff = 2880, openai/gpt-oss, config.json)
for 512 tokens, and 8 query heads on one key/value head over 1,024 tokens."""
_COLOURS: Final = {"fp32": GREY, "bf16": BLUE, "fp8": GREEN, "mxfp8": VERMILION, "mxfp4": PURPLE, "sparse": ORANGE}
_SYMBOLS: Final = ("circle", "square", "diamond", "triangle-up", "star")


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One core, the kernels timed on it, and why others are missing."""

    line: Roofline
    points: tuple[KernelPoint, ...]
    missing: tuple[str, ...]

    @property
    def title(self) -> str:
        """The core, and the variant where it is a projection."""
        line = self.line
        return (
            line.title if line.target is None or len(line.variants()) == 1 else f"{line.title} ({line.target.variant})"
        )

    def rates(self) -> tuple[str, ...]:
        """Matmul rates that are drawn: all but the sparse one, which no kernel here uses."""
        return tuple(rate for rate in self.line.peaks if rate != "sparse")


@cache
def panels() -> tuple[Panel, ...]:
    """Every generation's core; Trainium4's is the central variant."""
    return tuple(_panel(name) for name in CORES)


def _panel(name: str) -> Panel:
    target, points, missing = get_target(name), [], []
    for title, place, *arguments in KERNELS:
        try:
            points.append(traced_point(title, load_kernel(place), parse_arguments(arguments), target))
        except GenerationError as error:
            missing.append(f"{title}: {error.violation.subject}")
    return Panel(line=Roofline.of_core(target), points=tuple(points), missing=tuple(missing))


def figure(found: Sequence[Panel]) -> Figure:
    """Four log-log panels on the same axes; the memory level is chosen."""
    return Figure(
        key="roofline",
        title="Rooflines of one core, with our kernels",
        lead="Ceilings: peaks of the Tensor Engine. Slope: the chosen memory. Points: our kernels at shapes of "
        "gpt-oss-120b, timed by the timeline model, not measured; a kernel is missing where the generation lacks its "
        "instruction. Trainium4 is the central variant of a projection.",
        layout=_layout(found),
        states={(i,): traces(found, memory) for i, memory in enumerate(MEMORIES)},
        controls=(Control(name="memory level", options=cast(tuple[str, ...], MEMORIES)),),
    )


def traces(found: Sequence[Panel], memory: Memory) -> list[Trace]:
    """Slope, ceilings and points of every panel; the legend has each of them once."""
    seen: set[str] = set()
    made = [trace for number, panel in enumerate(found, 1) for trace in _panel_traces(panel, number, memory)]
    for trace in made:
        trace["showlegend"] = trace["legendgroup"] not in seen
        seen.add(trace["legendgroup"])
    return made


def _panel_traces(panel: Panel, number: int, memory: Memory) -> list[Trace]:
    suffix = str(number) if number > 1 else ""
    parts = [_slope(panel, memory), *_ceilings(panel, memory), *_points(panel, memory)]
    return [
        trace | {"xaxis": f"x{suffix}", "yaxis": f"y{suffix}", "uid": identifier(f"{number} {trace['name']}")}
        for trace in parts
    ]


def _slope(panel: Panel, memory: Memory) -> Trace:
    roof = panel.line.roof(memory)
    top = max(panel.line.peak(rate).value for rate in panel.rates())
    rate = roof.bytes_per_second.value
    return {
        "type": "scatter",
        "mode": "lines",
        "name": "memory",
        "legendgroup": "memory",
        "x": [LEFT, top / rate],
        "y": [LEFT * rate / 1e12, top / 1e12],
        "line": {"color": INK, "width": 1.8},
        "text": f"{memory}: {roof.bytes_per_second}",
        "hovertemplate": "%{text}<extra></extra>",
    }


def _ceilings(panel: Panel, memory: Memory) -> list[Trace]:
    made = []
    for rate in panel.rates():
        peak, ridge = panel.line.peak(rate), panel.line.ridge_point(rate, memory)
        name = rate.upper()
        text = f"{name}: {peak}, ridge {ridge.value:.4g} FLOP/B"
        made.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": name,
                "legendgroup": name,
                "x": [ridge.value, RIGHT],
                "y": [peak.value / 1e12] * 2,
                "line": {"color": _COLOURS.get(rate, BLACK), "width": 2},
                "marker": {"symbol": "diamond", "size": [8, 0], "color": _COLOURS.get(rate, BLACK)},
                "text": [text, text],
                "hovertemplate": "%{text}<extra></extra>",
            }
        )
    return made


def _points(panel: Panel, memory: Memory) -> list[Trace]:
    symbols = dict(zip((name for name, *_ in KERNELS), _SYMBOLS, strict=True))
    return [_point(panel.line, point, memory, symbols[point.name]) for point in panel.points]


def _point(line: Roofline, point: KernelPoint, memory: Memory, symbol: str) -> Trace:
    bound, achieved = line.bound(point), point.flops_per_second
    assert achieved is not None
    text = f"{achieved / 1e12:.3g} TFLOP/s, {bound.percent_of_roofline:.0f} % of its bound by {bound.resource}"
    return {
        "type": "scatter",
        "mode": "markers",
        "name": point.name,
        "legendgroup": point.name,
        "x": [point.intensity(memory)],
        "y": [achieved / 1e12],
        "marker": {"symbol": symbol, "size": 10, "color": SKY, "line": {"color": INK, "width": 1.2}},
        "text": [f"{text}; {point.intensity(memory):.4g} FLOP/B"],
        "hovertemplate": f"<b>{point.name}</b><br>%{{text}}<extra></extra>",
    }


LEFT, RIGHT = 2.0, 10_000.0
"""The part of the intensity axis that is drawn, in FLOP/B."""


def _layout(found: Sequence[Panel]) -> dict[str, Any]:
    made = layout(760, margin={"l": 70, "r": 20, "t": 90, "b": 60})
    made["legend"] = made["legend"] | {"y": 1.06}
    made["annotations"] = []
    heights = ([0.56, 1.0], [0.0, 0.44])
    for number, panel in enumerate(found, 1):
        suffix, row, column = str(number) if number > 1 else "", (number - 1) // 2, (number - 1) % 2
        domain = [0.0, 0.47] if column == 0 else [0.53, 1.0]
        made[f"xaxis{suffix}"] = axis(
            "FLOP per byte" if row == 1 else "", log=(1,), domain=domain, anchor=f"y{suffix}", matches="x"
        )
        made[f"yaxis{suffix}"] = axis(
            "TFLOP/s of one core" if column == 0 else "",
            log=(1,),
            domain=heights[row],
            anchor=f"x{suffix}",
            matches="y",
        )
        made["annotations"].append(
            {"text": f"<b>{panel.title}</b>", "showarrow": False, "xref": "paper", "yref": "paper"}
            | {"x": domain[0] + 0.01, "y": heights[row][1], "xanchor": "left", "yanchor": "bottom"}
        )
    for key in ("xaxis", "yaxis"):
        del made[key]["matches"]
    return made
