"""What each unknown of Trainium4 moves: one at a time to its ends, everything else central, one operating point."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from trnlab.models.claims.deployment import Deployment
from trnlab.models.projection.outcome import LayerOutcome
from trnlab.models.projection.point import project
from trnlab.models.quantity import ModelError, Quantity
from trnlab.models.report.figure import Control, Figure, Trace
from trnlab.models.report.scenario import Scenario
from trnlab.models.report.theme import BLUE, INK, VERMILION, axis, layout, pattern
from trnlab.models.report.unknowns import Setting, Swing, swings

MEASURES: Final[Mapping[str, tuple[str, Callable[[LayerOutcome], Quantity | None]]]] = {
    "throughput": ("output tokens/s per chip", lambda found: found.chip_rate),
    "interactivity": ("output tokens/s per user", lambda found: found.user_rate),
    "energy": ("energy of an output token (J)", lambda found: found.energy),
}
"""What is watched: the axis with its unit, and the value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What a swing does to one measure; None for an end that does not fit its memory."""

    swing: Swing
    values: tuple[float | None, float | None]

    def width(self, central: float) -> float:
        """The longest of the bar's ends to each other and to the central value."""
        known = [value for value in self.values if value is not None] + [central]
        return max(known) - min(known)


@dataclass(frozen=True, kw_only=True)
class Tornado:
    """Central values and rows by measure, widest first."""

    scenario: Scenario
    central: Mapping[str, float]
    rows: Mapping[str, tuple[Row, ...]]

    def figure(self) -> Figure:
        """Bars around the central value; the measure is chosen."""
        return Figure(
            key="tornado",
            title="What Trainium4's unknowns are worth",
            lead=f"{self.scenario}, Trainium4 in its central variant, calibrated layer; one figure at a time is moved "
            "to the two ends in its label. Announced are 6x FP4, 3x FP8, 4x HBM bandwidth and 2x its capacity; "
            "everything else is an assumption with named alternatives. A row without a bar does not move "
            "the measure at this point: capacity says how many requests fit, power moves only the energy.",
            layout=_layout(max(map(len, self.rows.values()))),
            states={(i,): self.traces(measure) for i, measure in enumerate(MEASURES)},
            controls=(Control(name="measure", options=tuple(title for title, _ in MEASURES.values())),),
        )

    def traces(self, measure: str) -> list[Trace]:
        """Two traces of bars that start at the central value, and a line there."""
        rows, middle = self.rows[measure], self.central[measure]
        names = [row.swing.label for row in rows]
        bars = [_bars(end, colour, rows, names, middle) for end, colour in ((0, BLUE), (1, VERMILION))]
        return [*bars, _centre(names, f"central: {middle:.4g}")]


def outcome(scenario: Scenario, setting: Setting) -> LayerOutcome | None:
    """The calibrated layer of one setting, None where it does not fit."""
    point = scenario.point(setting.batch, setting.prompt)
    precision = setting.precision or scenario.narrow
    held = Deployment(model=scenario.shape, chip=setting.chip, precision=precision, split=scenario.split)
    if not held.fits(point.batch, point.prompt + point.answer).all():
        return None
    return project(
        scenario.shape,
        setting.chip,
        scenario.split,
        point,
        precision=precision,
        layers=("calibrated",),
        kernels=False,
        fixed_seconds=setting.fixed_seconds,
        exposed=setting.exposed,
    ).layer("calibrated")


def tornado(scenario: Scenario) -> Tornado:
    """Every unknown at both ends.

    Raises:
        ModelError: the scenario itself does not fit 16 chips of Trainium4.
    """
    middle = outcome(scenario, Setting(label="central"))
    if middle is None:
        raise ModelError("scenario of a report", str(scenario), "one that fits 16 Trainium4")
    central = {name: _value(get, middle) for name, (_, get) in MEASURES.items()}
    found = [(swing, [outcome(scenario, end) for end in swing.ends]) for swing in swings(scenario)]
    rows: dict[str, tuple[Row, ...]] = {}
    for name, (_, get) in MEASURES.items():
        middle_value = central[name]
        made = [Row(swing=s, values=(_value_or_none(get, a), _value_or_none(get, b))) for s, (a, b) in found]
        rows[name] = tuple(sorted(made, key=lambda row, at=middle_value: -row.width(at)))  # type: ignore[misc]
    return Tornado(scenario=scenario, central=central, rows=rows)


def _value(get: Callable[[LayerOutcome], Quantity | None], found: LayerOutcome) -> float:
    quantity = get(found)
    if quantity is None:
        raise ModelError("power of trn4", None, "a quantity")
    return quantity.value


def _value_or_none(get: Callable[[LayerOutcome], Quantity | None], found: LayerOutcome | None) -> float | None:
    return None if found is None else _value(get, found)


def _bars(end: int, colour: str, rows: tuple[Row, ...], names: list[str], middle: float) -> Trace:
    values = [row.values[end] for row in rows]
    return {
        "type": "bar",
        "orientation": "h",
        "name": ("first of the named ends", "second")[end],
        "uid": str(end),
        "y": names,
        "x": [None if value is None else 100 * (value / middle - 1) for value in values],
        "text": [f"{row.swing.ends[end].label} ({row.swing.kind})" for row in rows],
        "textposition": "none",
        "customdata": values,
        "marker": {"color": colour, "pattern": pattern(("", "/")[end])},
        "hovertemplate": "%{text}: %{x:+.1f} %, %{customdata:.4g}<extra></extra>",
    }


def _centre(names: list[str], name: str) -> Trace:
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "uid": "central",
        "x": [0] * len(names),
        "y": names,
        "line": {"color": INK, "width": 1.5},
        "hoverinfo": "name",
    }


def _layout(rows: int) -> dict[str, Any]:
    return layout(
        130 + 34 * rows,
        barmode="group",
        bargap=0.2,
        xaxis=axis("change of the measure against its central value (%)", zeroline=True, zerolinecolor=INK),
        yaxis=axis("", type="category", autorange="reversed", ticks=""),
    )
