"""Speed-up over batch and context, one generation over the one before, with the contours of the announced factors."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from trnlab.models.claims.speedup_map import MEASURES, Measure, SpeedupMap, speedup_map
from trnlab.models.projection.method import LAYERS, LayerName
from trnlab.models.report.figure import Control, Figure, Trace
from trnlab.models.report.scenario import Scenario
from trnlab.models.report.theme import axis, layout

PAIRS: Final = (("trn2", "trn3"), ("trn3", "trn4"))
FACTORS: Final = ((3.0, "solid"), (4.0, "dash"))
_NAMES: Final[dict[Measure, str]] = {
    "throughput": "output tokens/s per chip",
    "latency": "tokens/s of one request",
}


@dataclass(frozen=True, kw_only=True)
class Maps:
    """The maps by (old, new) generation and layer of the projection."""

    scenario: Scenario
    maps: dict[tuple[str, str], dict[LayerName, SpeedupMap]]

    def figure(self) -> Figure:
        """Two panels, Trainium3 over 2 and 4 over 3; measure and layer are chosen."""
        return Figure(
            key="heatmap",
            title="How many times as fast, by batch and context",
            lead=f"{self.scenario.model} on 16 chips with tensor parallelism, answers of 1,024 tokens; formats as each "
            "generation multiplies them. White lines: exactly 3 (solid) and 4 (dashed) times. Grey: the old or the "
            "new deployment does not fit its memory. Trainium4 is the central variant of a projection.",
            layout=_layout(self.maps[PAIRS[0]][LAYERS[0]]),
            states={(i, j): self.traces(m, layer) for i, m in enumerate(MEASURES) for j, layer in enumerate(LAYERS)},
            controls=(
                Control(name="measure", options=tuple(_NAMES[measure] for measure in MEASURES)),
                Control(name="layer", options=LAYERS, default=LAYERS.index("calibrated")),
            ),
        )

    def traces(self, measure: Measure, layer: LayerName) -> list[Trace]:
        """A heat map and its contours for each pair; both on one scale of colours."""
        panels = [self.maps[pair][layer] for pair in PAIRS]
        known = [value for each in panels for row in grid(each, measure) for value in row if value is not None]
        ends = min(known, default=1.0), max(known, default=1.0)
        return [
            trace
            for number, each in enumerate(panels, 1)
            for trace in (_heat(each, measure, number, ends), *_contours(each, measure, number))
        ]


@cache
def maps(scenario: Scenario) -> Maps:
    """Every pair in every layer."""
    return Maps(
        scenario=scenario,
        maps={
            (old, new): {
                layer: speedup_map(scenario.deployment(old), scenario.deployment(new), layer) for layer in LAYERS
            }
            for old, new in PAIRS
        },
    )


def grid(each: SpeedupMap, measure: Measure) -> list[list[float | None]]:
    """The ratios by prompt and batch; None where it does not fit."""
    return [[None if math.isnan(v) else v for v in row] for row in each.values(measure).tolist()]


def _coordinates(each: SpeedupMap) -> dict[str, list[float]]:
    """Logarithms to base 2: plotly places the cells of a heat map on linear axes only."""
    return {"x": [math.log2(b) for b in each.batches], "y": [math.log2(p) for p in each.prompts]}


def _axes(panel: int) -> dict[str, str]:
    return {"xaxis": f"x{panel if panel > 1 else ''}", "yaxis": f"y{panel if panel > 1 else ''}"}


def _heat(each: SpeedupMap, measure: Measure, panel: int, ends: tuple[float, float]) -> Trace:
    texts = [[f"{b:,.0f} requests, prompts of {p:,} tokens" for b in each.batches] for p in each.prompts]
    return {
        "type": "heatmap",
        "name": f"{each.new.chip.label} over {each.old.chip.label}",
        **_coordinates(each),
        **_axes(panel),
        "z": grid(each, measure),
        "zmin": ends[0],
        "zmax": ends[1],
        "colorscale": "Cividis",
        "showscale": panel == 1,
        "colorbar": {"title": {"text": "times as fast"}, "thickness": 14},
        "text": texts,
        "hovertemplate": "%{text}: %{z:.2f}x<extra></extra>",
        "hoverongaps": False,
    }


def _contours(each: SpeedupMap, measure: Measure, panel: int) -> list[Trace]:
    """One trace a factor; where the map never reaches it the trace is empty of lines, yet keeps its legend."""
    return [
        {
            "type": "contour",
            "name": f"{factor:g} times",
            "legendgroup": f"{factor:g}",
            "showlegend": panel == 1,
            **_coordinates(each),
            **_axes(panel),
            "z": grid(each, measure),
            "autocontour": False,
            "contours": {
                "start": factor,
                "end": factor,
                "size": 1,
                "coloring": "none",
                "showlabels": True,
                "labelfont": {"color": "#ffffff", "size": 13},
            },
            "line": {"color": "#ffffff", "width": 2.5, "dash": dash},
            "hoverinfo": "skip",
        }
        for factor, dash in FACTORS
    ]


def _layout(each: SpeedupMap) -> dict[str, Any]:
    batches, prompts = each.batches[::4], each.prompts
    across: dict[str, Any] = {"tickvals": [math.log2(b) for b in batches], "ticktext": [f"{b:,.0f}" for b in batches]}
    up: dict[str, Any] = {"tickvals": [math.log2(p) for p in prompts], "ticktext": [f"{p:,}" for p in prompts]}
    titles = ("Trainium3 over Trainium2", "Trainium4 (central) over Trainium3")
    made = layout(460, plot_bgcolor="#dddddd", margin={"l": 80, "r": 20, "t": 60, "b": 60})
    made["legend"] = made["legend"] | {"y": 1.1, "bgcolor": "#c4c7cb"}
    made["annotations"] = [
        {"text": f"<b>{title}</b>", "showarrow": False, "xref": "paper", "yref": "paper"}
        | {"x": x, "y": 1.005, "yanchor": "bottom", "xanchor": "left"}
        for title, x in zip(titles, (0.0, 0.535), strict=True)
    ]
    for panel, domain in ((1, [0, 0.465]), (2, [0.535, 1])):
        suffix = str(panel) if panel > 1 else ""
        made[f"xaxis{suffix}"] = axis("running requests", domain=domain, anchor=f"y{suffix}", showgrid=False, **across)
        title = "tokens of a prompt" if panel == 1 else ""
        made[f"yaxis{suffix}"] = axis(title, anchor=f"x{suffix}", showgrid=False, **up)
    return made
