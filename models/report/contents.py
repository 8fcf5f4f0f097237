"""Everything that a report shows, gathered from the models as data, figure by figure and table by table."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from trnlab.models.chips import get_chip
from trnlab.models.claims import Claim, claims_table as all_claims
from trnlab.models.claims.consequences import Consequence, consequences
from trnlab.models.projection.outcome import Projection
from trnlab.models.report import tables
from trnlab.models.report.breakdown import Breakdown, breakdown, projected
from trnlab.models.report.figure import Figure
from trnlab.models.report.front import Fronts, fronts
from trnlab.models.report.heatmap import Maps, maps
from trnlab.models.report.marks import claims_figure, errors_figure
from trnlab.models.report.provenance import provenance
from trnlab.models.report.roofline_figure import figure as roofline_figure
from trnlab.models.report.rooflines import Panel, panels
from trnlab.models.report.scenario import GENERATIONS, Scenario
from trnlab.models.report.table import Table
from trnlab.models.report.tornado import Tornado, tornado
from trnlab.models.validation.projections import ProjectionValidation

Progress = Callable[[str], None]
SPEC_SHEETS: Final = ("trn1", "trn2", "trn3", "trn4", "h100", "h200", "b200")
"""Chips whose sheets are printed: every Trainium, and what it is compared with most."""


@dataclass(frozen=True, kw_only=True)
class Contents:
    """The models' answers for one scenario. projections: at its operating point, by generation, where it fits."""

    scenario: Scenario
    claims: tuple[Claim, ...]
    consequences: tuple[Consequence, ...]
    maps: Maps
    fronts: Fronts
    breakdown: Breakdown
    panels: tuple[Panel, ...]
    tornado: Tornado
    projections: tuple[Projection, ...]
    validation: ProjectionValidation

    def figures(self) -> tuple[Figure, ...]:
        """The interactive figures, in the order of the page."""
        return (
            claims_figure(self.claims),
            self.maps.figure(),
            self.fronts.figure(),
            self.breakdown.figure(),
            roofline_figure(self.panels),
            self.tornado.figure(),
            errors_figure(self.validation),
        )

    def tables(self) -> tuple[Table, ...]:
        """The tables; `key` names the figure that they stand under, or a section of their own."""
        chips = tuple(get_chip(name) for name in SPEC_SHEETS)
        return (
            tables.claims_table(self.claims),
            tables.points_table(self.claims),
            *map(tables.map_table, (claim for claim in self.claims if claim.measure)),
            tables.consequences_table(self.consequences),
            *map(tables.projection_table, self.projections),
            tables.kernels_table(self.panels),
            tables.ridge_table(self.panels),
            tables.sensitivity_table(self.tornado),
            *tables.validation_tables(self.validation),
            *map(tables.spec_table, chips),
            provenance(self, chips),
        )

    def to_json(self) -> str:
        """Figures and tables as JSON, numbers unrounded; what is not known or does not fit is null."""
        data: dict[str, Any] = {
            "scenario": {
                "model": self.scenario.model,
                "chips": self.scenario.split.chips,
                "partitioning": str(self.scenario.split),
                "batch": self.scenario.batch,
                "prompt": self.scenario.prompt,
                "answer": self.scenario.answer,
            },
            "claims": [claim.as_dict() for claim in self.claims],
            "consequences": [row.as_dict() for row in self.consequences],
            "projections": [json.loads(found.to_json()) for found in self.projections],
            "validation": json.loads(self.validation.to_json()),
            "figures": [figure.as_dict() for figure in self.figures()],
            "tables": [
                {"key": table.key, "title": table.title, "header": table.header, "rows": table.rows, "note": table.note}
                for table in self.tables()
            ],
        }
        return json.dumps(data, indent=1, allow_nan=False)


STEPS: Final = 7


def gather(scenario: Scenario, progress: Progress = lambda message: None) -> Contents:
    """Ask the models everything; `progress` is told what comes next, `STEPS` times.

    Raises:
        ModelError: the scenario does not fit 16 chips of Trainium4.
    """
    progress("sensitivity of Trainium4's unknowns")
    swings = tornado(scenario)
    progress("claims and what they would mean")
    claims, meaning = all_claims(), consequences()
    progress("speed-up over batch and context")
    speedups = maps(scenario)
    progress("Pareto fronts")
    best = fronts(scenario)
    progress("kernels under the rooflines")
    cores = panels()
    progress("breakdown of decode steps")
    steps = breakdown(scenario)
    at_point = (projected(scenario, name, scenario.batch, scenario.prompt, kernels=True) for name in GENERATIONS)
    projections = tuple(found for found in at_point if found is not None)
    progress("validation")
    return Contents(
        scenario=scenario,
        claims=claims,
        consequences=meaning,
        maps=speedups,
        fronts=best,
        breakdown=steps,
        panels=cores,
        tornado=swings,
        projections=projections,
        validation=ProjectionValidation.make(),
    )
