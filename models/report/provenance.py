"""Where every number of the report comes from: one row a quantity, with class, band and source."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from trnlab.models.chips import Chip
from trnlab.models.claims import Claim
from trnlab.models.claims.consequences import Consequence
from trnlab.models.projection.outcome import Projection
from trnlab.models.quantity import Quantity
from trnlab.models.report.table import Table
from trnlab.models.spec_sheet import spec_sheet
from trnlab.models.validation.projections import ProjectionValidation, constants

Row = tuple[str, str, Quantity]


def provenance(
    chips: Sequence[Chip],
    projections: Sequence[Projection],
    claims: Sequence[Claim],
    consequences: Sequence[Consequence],
    validation: ProjectionValidation,
) -> Table:
    """Figures of the chips, constants of the layers, projections, claims, consequences and fitted constants."""
    rows = [
        *(row for chip in chips for row in _of_chip(chip)),
        *(row for found in projections for row in _of_projection(found)),
        *(row for claim in claims for row in _of_claim(claim)),
        *(row for found in consequences for row in _of_consequence(found)),
    ]
    return Table(
        key="provenance",
        title="Provenance of every number",
        header=("where", "what", "value", "class", "source"),
        rows=(*map(_text, dict.fromkeys(rows)), *_fitted(validation)),
        note="Classes: published (printed by its source), derived (computed from published figures), fitted (to "
        "published measurements), assumed. A computed number has the weakest class of what went into it.",
    )


def _text(row: Row) -> tuple[str, ...]:
    where, what, quantity = row
    number, _, _ = format(quantity, ".4").rpartition(" (")
    return where, what, number, quantity.klass, quantity.source


def _of_chip(chip: Chip) -> Iterable[Row]:
    for figure in spec_sheet(chip):
        if figure.quantity is not None:
            yield chip.label, figure.name, figure.quantity
        for select, other in figure.others:
            yield chip.label, f"{figure.name}, {select}", other


def _of_projection(found: Projection) -> Iterable[Row]:
    for layer in found.layers:
        where = f"{found.chip}, {layer.name} layer"
        for phase, method in (("decode", layer.layer.decode), ("prompt", layer.layer.prefill)):
            for name, constant in method.constants:
                yield where, f"{phase}: {name}", constant
    for record in found.records():
        value = Quantity(
            record["value"],
            record["unit"],
            record["source"],
            record["class"],
            *((record["low"], record["high"]) if record["low"] < record["high"] else (None, None)),
        )
        yield f"{found.chip}, {record['layer']} layer", record["quantity"], value


def _of_claim(claim: Claim) -> Iterable[Row]:
    yield "claims", claim.statement, claim.claimed
    for reading in claim.readings:
        if reading.computed is not None:
            yield "claims, computed", f"{claim.statement}: {reading.meaning}", reading.computed


def _of_consequence(found: Consequence) -> Iterable[Row]:
    where = f"{found.over}, {found.layer} layer"
    for name in ("decode", "prompt", "request"):
        yield where, f"{found.model}, {found.what}: {name}", getattr(found, name)


def _fitted(validation: ProjectionValidation) -> Iterable[tuple[str, ...]]:
    for name, value in constants(validation).items():
        yield "validation", name, f"{value:.4g}", "fitted", "fits to the published rows of the validation tables"
