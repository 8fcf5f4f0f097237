"""What a decode step's time is spent on, by generation and layer of the projection, at any batch and context."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from trnlab.models.chips import chip_named
from trnlab.models.projection.charts import STYLES
from trnlab.models.projection.method import LAYERS
from trnlab.models.projection.outcome import LayerOutcome, Projection
from trnlab.models.projection.point import project
from trnlab.models.report.figure import Control, Figure, Trace, identifier
from trnlab.models.report.scenario import GENERATIONS, Scenario
from trnlab.models.report.theme import INK, PATTERNS, axis, layout, pattern

BATCHES: Final = tuple(2**step for step in range(11))
CONTEXTS: Final = tuple(1024 * 2**step for step in range(0, 8))
PARTS: Final = ("dense weights", "experts", "attention and KV", "collectives", "fixed cost")
"""What a decode step consists of."""
Points = Mapping[tuple[int, int], Mapping[str, Projection | None]]


@dataclass(frozen=True, kw_only=True)
class Breakdown:
    """The projections by (batch, prompt) and generation; None where the deployment does not fit its memory."""

    scenario: Scenario
    batches: tuple[int, ...]
    contexts: tuple[int, ...]
    points: Points

    def figure(self) -> Figure:
        """Stacked bars, one per generation and layer, with sliders for batch and context."""
        states: dict[tuple[int, ...], list[Trace]] = {
            (i, j): traces(self.points[batch, context])
            for i, batch in enumerate(self.batches)
            for j, context in enumerate(self.contexts)
        }
        return Figure(
            key="breakdown",
            title="Where a decode step's time goes",
            lead=f"{self.scenario.model} on {self.scenario.where}, answers of {self.scenario.answer:,} "
            "tokens; Trainium2 in BF16, later ones with MXFP4 weights, MXFP8 activations and an FP8 KV cache. Lines "
            "span the band. The middle layer has the efficiencies of large matrices. A bar is missing where the "
            "deployment does not fit.",
            layout=_layout(),
            states=states,
            controls=(
                Control(
                    name="requests running",
                    options=tuple(f"{batch:,}" for batch in self.batches),
                    default=self.batches.index(self.scenario.batch),
                    kind="slider",
                ),
                Control(
                    name="tokens of a prompt",
                    options=tuple(f"{context:,}" for context in self.contexts),
                    default=self.contexts.index(self.scenario.prompt),
                    kind="slider",
                ),
            ),
        )


def breakdown(scenario: Scenario, batches: Iterable[int] = BATCHES, contexts: Iterable[int] = CONTEXTS) -> Breakdown:
    """Every batch and context, those of the scenario among them, in the three layers."""
    batches = tuple(sorted({*batches, scenario.batch}))
    contexts = tuple(sorted({*contexts, scenario.prompt}))
    return Breakdown(
        scenario=scenario,
        batches=batches,
        contexts=contexts,
        points={
            (batch, context): {chip: projected(scenario, chip, batch, context) for chip in GENERATIONS}
            for batch in batches
            for context in contexts
        },
    )


def projected(
    scenario: Scenario, generation: str, batch: int, prompt: int, *, kernels: bool = False
) -> Projection | None:
    """The projection of one point, None where it does not fit. kernels: see `project`."""
    deployment = scenario.deployment(generation)
    if not deployment.fits(batch, prompt + scenario.answer).all():
        return None
    point = scenario.point(batch, prompt)
    return project(
        scenario.shape, deployment.chip, scenario.split, point, precision=deployment.precision, kernels=kernels
    )


def traces(found: Mapping[str, Projection | None]) -> list[Trace]:
    """One stacked trace a part of the step, then the bands; milliseconds."""
    rows = [
        (f"{chip_named(chip).label}, {layer}", None if point is None else point.layer(layer))
        for chip, point in found.items()
        for layer in LAYERS
    ]
    return [*(_part(part, rows) for part in PARTS), _bands(rows)]


def _part(part: str, rows: list[tuple[str, LayerOutcome | None]]) -> Trace:
    colour, hatch = STYLES[part]
    return {
        "type": "bar",
        "orientation": "h",
        "name": part,
        "uid": identifier(part),
        "y": [label for label, _ in rows],
        "x": [None if outcome is None else outcome.parts[part].value * 1e3 for _, outcome in rows],
        "marker": {
            "color": colour,
            "line": {"color": "#ffffff", "width": 0.5},
            "pattern": pattern(PATTERNS[hatch]),
        },
        "hovertemplate": f"%{{y}}<br>{part}: %{{x:.3g}} ms<extra></extra>",
    }


def _bands(rows: list[tuple[str, LayerOutcome | None]]) -> Trace:
    """Invisible markers at the step's whole time, whose error bars span the band."""
    steps = [None if outcome is None else outcome.tpot for _, outcome in rows]
    above = [None if step is None else (step.interval[1] - step.value) * 1e3 for step in steps]
    below = [None if step is None else (step.value - step.interval[0]) * 1e3 for step in steps]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": "band of the whole step",
        "uid": "band",
        "y": [label for label, _ in rows],
        "x": [None if step is None else step.value * 1e3 for step in steps],
        "marker": {"size": 5, "color": INK, "symbol": "line-ns-open"},
        "error_x": {"type": "data", "symmetric": False, "array": above, "arrayminus": below, "color": INK},
        "hovertemplate": "%{y}<br>whole step: %{x:.3g} ms<extra></extra>",
    }


def _layout() -> dict[str, Any]:
    made = layout(
        470,
        barmode="stack",
        bargap=0.25,
        xaxis=axis("time of a decode step (ms)", rangemode="tozero"),
        yaxis=axis("", type="category", autorange="reversed", ticks=""),
    )
    made["legend"] = made["legend"] | {"traceorder": "normal"}
    return made
