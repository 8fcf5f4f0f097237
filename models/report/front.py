"""Pareto fronts: throughput per chip against interactivity, by chip and formats, at several contexts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from trnlab.models.claims import serving
from trnlab.models.claims.speedup_map import ANSWER
from trnlab.models.report.figure import Control, Figure, Trace, identifier
from trnlab.models.report.scenario import Scenario
from trnlab.models.report.theme import CHIP_COLOURS, INK, axis, layout
from trnlab.models.sweep.axes import Axes
from trnlab.models.sweep.run import sweep
from trnlab.models.sweep.search import frontier
from trnlab.models.sweep.table import SweepTable
from trnlab.models.workloads.catalogue import get_model

CHIPS: Final = ("trn2", "trn3", "trn4-low", "trn4", "trn4-high")
BATCHES: Final = tuple(2**step for step in range(13))
CONTEXTS: Final = (1024, 8192, 32_768, 131_072)
USER, CHIP = "tokens_per_second_per_user", "tokens_per_second_per_chip"
_SYMBOLS: Final = {"trn2": "circle", "trn3": "square", "trn4": "triangle-up"}


@dataclass(frozen=True, kw_only=True)
class Front:
    """One line of the figure: the points of a chip and formats that no other one beats. chip: as `CHIPS` has it."""

    chip: str
    label: str
    precision: str
    table: SweepTable

    @property
    def generation(self) -> str:
        """The chip without its variant."""
        return self.chip.partition("-")[0]


@dataclass(frozen=True, kw_only=True)
class Fronts:
    """The fronts by prompt, and the whole sweep that they are taken from."""

    scenario: Scenario
    table: SweepTable
    fronts: dict[int, tuple[Front, ...]]

    def figure(self) -> Figure:
        """One panel with a slider for the context; for the model of the claim also where its factors point."""
        contexts = tuple(self.fronts)
        return Figure(
            key="pareto",
            title="Throughput per chip against interactivity",
            lead=f"{self.scenario.model}, calibrated layer, every partitioning (TP, EP, PP, DP) over 16 chips and 1 to "
            f"{BATCHES[-1]:,} running requests, answers of {self.scenario.answer:,} tokens; only points that no other "
            "beats. Dotted: low and high variants of Trainium4. Lines with BF16 weights on later chips are in the "
            "legend, hidden at first." + _arrow_note(self.scenario),
            layout=_layout(),
            states={(i,): self.traces(context) for i, context in enumerate(contexts)},
            controls=(
                Control(
                    name="tokens of a prompt",
                    options=tuple(f"{context:,}" for context in contexts),
                    default=contexts.index(self.scenario.prompt),
                    kind="slider",
                ),
            ),
        )

    def traces(self, context: int) -> list[Trace]:
        """One trace a front."""
        lines = [_line(front, self.scenario) for front in self.fronts[context]]
        return [*lines, *_arrow(self.scenario, context)]


def fronts(scenario: Scenario) -> Fronts:
    """Every chip with BF16 and, where it multiplies them, with narrow formats."""
    contexts = tuple(sorted({*CONTEXTS, scenario.prompt}))
    table = sweep(_axes(scenario, contexts))
    prompts = table.columns["prompt"]
    return Fronts(
        scenario=scenario,
        table=table.where(prompts == scenario.prompt),
        fronts={context: _fronts(table.where(prompts == context), scenario) for context in contexts},
    )


def _axes(scenario: Scenario, contexts: tuple[int, ...]) -> Axes:
    return Axes(
        models=(scenario.shape,),
        chips=tuple(scenario.chip(chip) for chip in CHIPS),
        precisions=(scenario.precision("trn2"), scenario.narrow),
        batches=BATCHES,
        prompts=contexts,
        answer=scenario.answer,
        chip_counts=(16,),
    )


def _fronts(table: SweepTable, scenario: Scenario) -> tuple[Front, ...]:
    """One front a chip and precision that has a fitting point."""
    found = []
    chips, precisions = table.column("chip"), table.column("precision")
    for chip in CHIPS:
        label, is_end = scenario.chip(chip).label, "-" in chip
        # The ends of a projection are lines for its own formats only, to keep the legend short.
        for precision in (scenario.narrow.name,) if is_end else table.names["precision"]:
            best = frontier(table.where((chips == label) & (precisions == precision)))
            if len(best):
                found.append(Front(chip=chip, label=label, precision=precision, table=best))
    return tuple(found)


def _line(front: Front, scenario: Scenario) -> Trace:
    own = front.precision == scenario.precision(front.generation).name
    is_end = front.chip != front.generation
    name = f"{front.label}, {front.precision}"
    columns = front.table.columns
    return {
        "type": "scatter",
        "mode": "lines" if is_end else "lines+markers",
        "name": name,
        "uid": identifier(name),
        "x": columns[USER].tolist(),
        "y": columns[CHIP].tolist(),
        "visible": True if own else "legendonly",
        "line": {
            "color": CHIP_COLOURS[front.generation],
            "dash": "dot" if is_end else "solid" if own else "dash",
            "width": 1.2 if is_end else 2,
        },
        "marker": {"symbol": _SYMBOLS[front.generation], "size": 6},
        "text": [_point(front.table, index) for index in range(len(front.table))],
        "hovertemplate": f"<b>{name}</b><br>%{{text}}<br>%{{x:.4g}} tokens/s per user<br>%{{y:.4g}} tokens/s per chip"
        "<extra></extra>",
    }


def _point(table: SweepTable, index: int) -> str:
    row = {name: int(table.columns[name][index]) for name in ("tp", "ep", "pp", "dp", "batch")}
    return f"TP {row['tp']}, EP {row['ep']}, PP {row['pp']}, DP {row['dp']}, {row['batch']:,} requests"


def _arrow_note(scenario: Scenario) -> str:
    if not _is_claim(scenario):
        return ""
    return (
        " Black: the announced 3 and 4 times, drawn from Trainium2 at 512 requests; where it ends beyond Trainium3's "
        "line, it takes faster software than what has been measured."
    )


def _is_claim(scenario: Scenario) -> bool:
    return scenario.shape == get_model(serving.old_deployment().model)


def claimed_points(scenario: Scenario) -> tuple[tuple[float, float], tuple[float, float]]:
    """(tokens/s per user, per chip) of Trainium2 at the claim's operating point, and 4 and 3 times as much."""
    time = serving.old_deployment().serve("calibrated", serving.BATCH, serving.PROMPT, ANSWER)
    user, chip = float(np.max(time.tokens_per_second_per_user)), float(np.max(time.tokens_per_second_per_chip))
    return (user, chip), (4 * user, 3 * chip)


def _arrow(scenario: Scenario, context: int) -> list[Trace]:
    if not _is_claim(scenario):
        return []
    start, end = claimed_points(scenario)
    at = context == serving.PROMPT
    return [
        {
            "type": "scatter",
            "mode": "lines+markers",
            "name": f"announced: 3x per chip, 4x per user ({serving.BATCH} requests, {serving.PROMPT:,} tokens)",
            "uid": "announced",
            "x": [start[0], end[0]] if at else [None],
            "y": [start[1], end[1]] if at else [None],
            "line": {"color": INK, "width": 1.5},
            "marker": {"symbol": "arrow", "size": [0, 12], "angleref": "previous", "color": INK},
            "hovertemplate": "%{x:.4g} tokens/s per user<br>%{y:.4g} tokens/s per chip<extra></extra>",
        }
    ]


def _layout() -> dict[str, Any]:
    return layout(
        600,
        xaxis=axis("interactivity: output tokens/s per user", log=(1, 2, 5)),
        yaxis=axis("throughput: output tokens/s per chip, prompts included", log=(1, 2, 5)),
    )
