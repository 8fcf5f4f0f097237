"""Speed-up over batch and context, one generation over the one before, with the contours of the announced factors."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from trnlab.models.claims.serving import MAPPED
from trnlab.models.claims.speedup_map import MEASURES, Measure, SpeedupMap, speedup_map
from trnlab.models.projection.method import Case, LayerName
from trnlab.models.report.figure import Control, Figure, Trace
from trnlab.models.report.scenario import Scenario
from trnlab.models.report.theme import INK, axis, layout

PAIRS: Final = (("trn2", "trn3"), ("trn3", "trn4"))
FACTORS: Final = ((3.0, "solid"), (4.0, "dash"), (2.0, "dot"))
VARIANTS: Final = {"low": "trn4-low", "central": "trn4", "high": "trn4-high"}
"""Trainium4's assumption sets, and the chips they are."""
CENTRAL: Final = "central"
_NAMES: Final[dict[Measure, str]] = {
    "throughput": "output tokens/s per chip",
    "latency": "tokens/s of one request",
}
Key = tuple[str, str, LayerName, Case]
"""Old and new chip, layer of the projection, and the end of the new chip's fixed cost."""


@dataclass(frozen=True, kw_only=True)
class Maps:
    """The maps by old and new chip, layer of the projection and end of the fixed cost."""

    scenario: Scenario
    maps: dict[Key, SpeedupMap]

    def figure(self) -> Figure:
        """Two panels, Trainium3 over 2 and 4 over 3; measure, layer and Trainium4's assumption set are chosen."""
        options = [self.maps["trn2", "trn3", layer, case].title for layer, case in MAPPED]
        return Figure(
            key="heatmap",
            title="How many times as fast, by batch and context",
            lead=f"{self.scenario.model} on {self.scenario.where}, answers of 1,024 tokens; formats as each "
            "generation multiplies them. White lines: exactly 3 (solid), 4 (dashed) and 2 (dotted) times. Grey: the "
            "old or the new deployment does not fit its memory. Trainium4 is a projection in three assumption sets, of "
            "which one is shown. The fast end of the fixed cost is what software of Trainium3 and 4 might reach, not "
            "what was measured; Trainium2 keeps its fitted one.",
            layout=_layout(self.maps["trn2", "trn3", *MAPPED[0]]),
            states={
                (i, j, k): self.traces(measure, layer, case, chip)
                for i, measure in enumerate(MEASURES)
                for j, (layer, case) in enumerate(MAPPED)
                for k, chip in enumerate(VARIANTS.values())
            },
            controls=(
                Control(name="measure", options=tuple(_NAMES[measure] for measure in MEASURES)),
                Control(name="layer", options=tuple(options), default=MAPPED.index(("calibrated", "central"))),
                Control(name="Trainium4", options=tuple(VARIANTS), default=list(VARIANTS).index(CENTRAL)),
            ),
        )

    def traces(self, measure: Measure, layer: LayerName, case: Case = "central", trn4: str = "trn4") -> list[Trace]:
        """A heat map and its contours for each pair; both on one scale of colours."""
        panels = [self.maps["trn2", "trn3", layer, case], self.maps["trn3", trn4, layer, case]]
        known = [value for each in panels for row in grid(each, measure) for value in row if value is not None]
        ends = min(known, default=1.0), max(known, default=1.0)
        return [
            trace
            for number, each in enumerate(panels, 1)
            for trace in (_heat(each, measure, number, ends), *_contours(each, measure, number))
        ]


@cache
def maps(scenario: Scenario) -> Maps:
    """Every pair in every layer, Trainium4 in every assumption set."""
    pairs = (("trn2", "trn3"), *(("trn3", chip) for chip in VARIANTS.values()))
    return Maps(
        scenario=scenario,
        maps={
            (old, new, layer, case): speedup_map(
                scenario.deployment(old),
                scenario.deployment(new),
                layer,
                case=case,
                old_case=case if old == "trn3" else "central",
            )
            for old, new in pairs
            for layer, case in MAPPED
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
        "hovertemplate": f"{each.new.chip.label}, %{{text}}: %{{z:.2f}}x<extra></extra>",
        "hoverongaps": False,
    }


def _contours(each: SpeedupMap, measure: Measure, panel: int) -> list[Trace]:
    """Two traces a factor: a dark line under the white one, which alone would be lost on the bright colours.

    Where the map never reaches the factor they are empty of lines, yet keep their legend.
    """
    return [
        _contour(each, measure, panel, factor) | look
        for factor, dash in FACTORS
        for look in (
            {"name": f"edge of {factor:g} times", "showlegend": False, "line": {"color": INK, "width": 5.5}},
            {"showlegend": panel == 1, "line": {"color": "#ffffff", "width": 2.2, "dash": dash}},
        )
    ]


def _contour(each: SpeedupMap, measure: Measure, panel: int, factor: float) -> Trace:
    return {
        "type": "contour",
        "name": f"{factor:g} times",
        "legendgroup": f"{factor:g}",
        **_coordinates(each),
        **_axes(panel),
        "z": grid(each, measure),
        "autocontour": False,
        "contours": {"start": factor, "end": factor, "size": 1, "coloring": "none"},
        "hoverinfo": "skip",
    }


def _layout(each: SpeedupMap) -> dict[str, Any]:
    batches, prompts = each.batches[::4], each.prompts
    across: dict[str, Any] = {"tickvals": [math.log2(b) for b in batches], "ticktext": [f"{b:,.0f}" for b in batches]}
    up: dict[str, Any] = {"tickvals": [math.log2(p) for p in prompts], "ticktext": [f"{p:,}" for p in prompts]}
    titles = ("Trainium3 over Trainium2", "Trainium4 over Trainium3")
    made = layout(460, plot_bgcolor="#dddddd", margin={"l": 80, "r": 20, "t": 60, "b": 60})
    made["legend"] = made["legend"] | {"y": 1.1, "bgcolor": "#9aa0a8"}
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
