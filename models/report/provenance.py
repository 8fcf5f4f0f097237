"""Where every number of the report comes from: one row a quantity, with class, band and source."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product
from typing import TYPE_CHECKING, Final

from trnlab.models.chips import Chip
from trnlab.models.claims import Claim
from trnlab.models.claims.consequences import Consequence
from trnlab.models.claims.speedup_map import MEASURES, TITLES
from trnlab.models.projection.measured_rows import DECODE_ROWS, OPERATORX
from trnlab.models.projection.method import LAYERS
from trnlab.models.projection.outcome import Projection
from trnlab.models.projection.prompt_rows import PREFILL_ROWS
from trnlab.models.projection.trainium3_rows import TRAINIUM3_ROWS
from trnlab.models.quantity import Quantity, QuantityClass, weakest
from trnlab.models.report.front import CHIP, USER, Front
from trnlab.models.report.heatmap import grid
from trnlab.models.report.rooflines import Panel
from trnlab.models.report.scenario import GENERATIONS
from trnlab.models.report.table import Table
from trnlab.models.report.tornado import MEASURES as WATCHED
from trnlab.models.spec_sheet import spec_sheet
from trnlab.models.validation.projections import ProjectionValidation, constants
from trnlab.models.validation.serving_rows import TENSORRT
from trnlab.models.workloads.model import LanguageModel
from trnlab.models.workloads.parameters import parameters_of

if TYPE_CHECKING:
    from trnlab.models.report.contents import Contents

Row = tuple[str, str, Quantity]
Texts = tuple[str, str, str, str, str]
"""What the cells of the table hold: where, what, value, class, source."""
_TIMELINE: Final = "timeline model of the traced program, whose constants are documented, derived or assumed"
_FITS: Final = "fits to the published rows of the validation tables"


def provenance(contents: Contents, chips: Iterable[Chip]) -> Table:
    """Figures of model, chips and cores, constants, projections, claims, and the ranges of what the figures draw."""
    rows = [
        *_of_model(contents.scenario.shape),
        *(row for chip in chips for row in _of_chip(chip)),
        *(row for panel in contents.panels for row in _of_panel(panel)),
        *(row for found in contents.projections for row in _of_projection(found)),
        *(row for claim in contents.claims for row in _of_claim(claim)),
        *(row for found in contents.consequences for row in _of_consequence(found)),
        *_of_tornado(contents),
    ]
    return Table(
        key="provenance",
        title="Provenance of every number",
        header=("where", "what", "value", "class", "source"),
        rows=(*map(_text, dict.fromkeys(rows)), *_of_figures(contents), *_of_validation(contents.validation)),
        note="Classes: published (printed by its source), derived (computed from published figures), fitted (to "
        "published measurements), assumed. A computed number has the weakest class of what went into it. Figures "
        "with sliders have one row for each of their lines or maps, with the range of their values.",
    )


def _text(row: Row) -> Texts:
    where, what, quantity = row
    number, _, _ = format(quantity, ".4").rpartition(" (")
    return where, what, number, quantity.klass, quantity.source


def _of_model(model: LanguageModel) -> Iterable[Row]:
    parameters = parameters_of(model)
    for what, value, unit in (
        ("parameters, from the shapes", float(parameters.total), "parameter"),
        ("parameters of one token, from the shapes", parameters.active, "parameter"),
        ("layers", model.layers, "layer"),
        ("elements of the KV cache, token and layer", model.attention.cache_elements, "element"),
    ):
        klass: QuantityClass = "published" if unit == "layer" else "derived"
        yield model.name, what, Quantity(value, unit, model.source, klass)


def _of_chip(chip: Chip) -> Iterable[Row]:
    for figure in spec_sheet(chip):
        if figure.quantity is not None:
            yield chip.label, figure.name, figure.quantity
        for select, other in figure.others:
            yield chip.label, f"{figure.name}, {select}", other


def _of_panel(panel: Panel) -> Iterable[Row]:
    """Peaks, roofs and ridge points of a core, and the kernels that were timed on it."""
    line = panel.line
    for rate in line.peaks:
        yield line.name, f"peak {rate.upper()}", line.peak(rate)
    for roof in line.roofs:
        yield line.name, f"{roof.name} rate", roof.bytes_per_second
        for rate in line.peaks:
            yield line.name, f"ridge point, {rate.upper()} and {roof.name}", line.ridge_point(rate, roof.name)
    for point in panel.points:
        low, high = panel.spans[point.name]
        band = (low, high) if low < high else (None, None)
        assert point.flops_per_second is not None
        yield line.name, f"{point.name}, rate", Quantity(point.flops_per_second, "FLOP/s", _TIMELINE, "assumed", *band)


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


def _of_tornado(contents: Contents) -> Iterable[Row]:
    """Both ends of every unknown, by measure."""
    source = f"calibrated projection, Trainium4 (central), {contents.scenario}"
    for measure, (title, _) in WATCHED.items():
        for row in contents.tornado.rows[measure]:
            for end, value in zip(row.swing.ends, row.values, strict=True):
                if value is not None:
                    moved = f"{source}, {row.swing.name}: {end.label} ({row.swing.kind})"
                    yield (
                        f"sensitivity, {title}",
                        f"{row.swing.name}: {end.label}",
                        Quantity(value, "", moved, "assumed"),
                    )


def _of_figures(contents: Contents) -> Iterable[Texts]:
    """The ranges of the maps, the fronts and the decode steps."""
    for each in contents.maps.maps.values():
        what = f"{each.new.chip.label} over {each.old.chip.label}, {each.title}"
        klass = "derived" if each.layer == "roofline" and each.new.chip.assumptions == "published" else "assumed"
        source = f"{each.layer} projection: {each.new.label} over {each.old.label}, {each.new.split}"
        for measure in MEASURES:
            values = [value for row in grid(each, measure) for value in row if value is not None]
            if values:
                yield f"map, {TITLES[measure]}", what, f"{min(values):.3g}x to {max(values):.3g}x", klass, source
    for context, fronts in contents.fronts.fronts.items():
        for front in fronts:
            yield _of_front(context, front)
    for chip, layer in product(GENERATIONS, LAYERS):
        found = (point[chip] for point in contents.breakdown.points.values())
        steps = [point.layer(layer).tpot for point in found if point is not None]
        if steps:
            least, most = (end(steps, key=float) for end in (min, max))
            yield (
                "decode steps",
                f"{chip}, {layer}",
                f"{least:v} to {most:v}",
                weakest(s.klass for s in steps),
                least.source,
            )


def _of_front(context: int, front: Front) -> Texts:
    users, chips = (front.table.columns[name] for name in (USER, CHIP))
    span = f"{users.min():.4g} to {users.max():.4g} tokens/s per user, {chips.min():.4g} to {chips.max():.4g} per chip"
    source = "calibrated projection of every partitioning and batch; class: that of its fixed cost's band"
    return f"Pareto, prompts of {context:,}", f"{front.label}, {front.precision}", span, "assumed", source


def _of_validation(found: ProjectionValidation) -> Iterable[Texts]:
    """Measured rows with who published them, and the fitted constants."""
    sources = {row.name: row.source for row in (*DECODE_ROWS, *TRAINIUM3_ROWS)}
    sources |= {row.name: row.source for row in PREFILL_ROWS}
    sources |= {row.name: OPERATORX for row in found.gemm.residuals}
    for row in (*found.decode.residuals, *found.prefill.residuals, *found.gemm.residuals):
        value = f"{Quantity(row.measured, 's', ''):.4v}"
        yield "validation, measured", row.name, value, "published", sources[row.name]
    for result in found.serving:
        yield "validation, measured", result.name, f"{result.measured:,.0f} tokens/s per chip", "published", TENSORRT
    for check in found.checks:
        yield (
            "validation, cross-check",
            check.name,
            f"{check.expected:g} {check.unit}".rstrip(),
            "published",
            check.source,
        )
    for name, constant in constants(found).items():
        yield "validation", name, f"{constant:.4g}", "fitted", _FITS
