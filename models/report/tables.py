"""The report's tables: spec sheets with their conflicts, claims, consequences, projections, validation."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Final

from trnlab.models.chips import Chip
from trnlab.models.claims import COLUMNS, Claim, rows as claim_rows
from trnlab.models.claims.consequences import ANSWER, BATCH, PROMPT, Consequence
from trnlab.models.claims.serving import gpt_oss_map
from trnlab.models.claims.speedup_map import MARKS, TITLES
from trnlab.models.claims_command import CONSEQUENCE_NOTES, holds_at
from trnlab.models.projection.outcome import Projection
from trnlab.models.quantity import ModelError, Quantity
from trnlab.models.report.rooflines import Panel
from trnlab.models.report.table import Table
from trnlab.models.report.tornado import MEASURES, Row, Tornado
from trnlab.models.spec_sheet import spec_sheet
from trnlab.models.validation.projections import ProjectionValidation, constants

_NOT_PRINTED: Final = "not printed"


def spec_table(chip: Chip) -> Table:
    """Every figure of a chip with class, source, and the official figures or assumptions that contradict it."""
    rows = tuple(
        (
            figure.name,
            _NOT_PRINTED if figure.quantity is None else str(figure.quantity),
            "" if figure.quantity is None else figure.quantity.source,
            "; ".join(f"{other:v} ({select})" for select, other in figure.others),
        )
        for figure in spec_sheet(chip)
    )
    title = f"{chip.label}: {chip.cores} cores, {chip.scale_up.label}"
    return Table(key="spec", title=title, header=("figure", "value", "source", "other figures"), rows=rows)


def claims_table(claims: Sequence[Claim]) -> Table:
    """Every claim with its readings, error and verdict."""
    return Table(
        key="claims",
        title="Claims as tests",
        header=COLUMNS,
        rows=claim_rows(tuple(claims)),
        note="The first reading of a claim of arithmetic decides its verdict.",
    )


def points_table(claims: Sequence[Claim]) -> Table:
    """Where each layer of the projection gives exactly the claimed factor, and what else must be known."""
    rows = tuple(
        (claim.statement, holds_at(claim.points) or "", claim.note) for claim in claims if claim.points or claim.note
    )
    return Table(
        key="claims", title="Operating points and notes of the claims", header=("claim", "holds at", "note"), rows=rows
    )


def map_table(claim: Claim) -> Table:
    """The claim's own map over batch and prompt, in the calibrated layer and with the fast end of its fixed cost.

    Raises:
        ModelError: the claim speaks of nothing that the map has.
    """
    if not claim.measure:
        raise ModelError(f"map of {claim.statement!r}", claim.measure, "a claim with a measure")
    found = [gpt_oss_map("calibrated", case) for case in ("central", "fast")]
    rows = tuple((each.title, *row) for each in found for row in each.rows(claim.measure))
    return Table(
        key="claims",
        title=f"{claim.statement}: the map",
        header=("layer", *found[0].header()),
        rows=rows,
        note=f"{TITLES[claim.measure]}, {found[0].new.label} over {found[0].old.label}, {found[0].new.name} on 16 "
        f"chips; columns: running requests. {MARKS}",
    )


def consequences_table(found: Sequence[Consequence]) -> Table:
    """Ratios of decoding, prompts and requests, by what is changed, model and layer."""
    rows = tuple(
        (row.over, row.what, row.model, row.layer, _ratio(row.decode), _ratio(row.prompt), _ratio(row.request))
        for row in found
    )
    return Table(
        key="consequences",
        title="What the announced factors would mean for models",
        header=("over", "what", "model", "layer", "decode", "prompt", "request"),
        rows=rows,
        note=f"16 chips, {BATCH} requests of {PROMPT:,} + {ANSWER:,} tokens. {' '.join(CONSEQUENCE_NOTES)}",
    )


def _ratio(ratio: Quantity) -> str:
    value, (low, high) = f"{ratio.value:.2g}x", ratio.interval
    return f"{value} [{low:.2g}, {high:.2g}] ({ratio.klass})" if ratio.low is not None else f"{value} ({ratio.klass})"


def projection_table(found: Projection) -> Table:
    """The three layers side by side, never mixed."""
    notes = (found.memory_line, *found.all_notes)
    efficiencies = map(str, found.efficiencies)
    return Table(
        key="projections",
        title=found.title,
        header=("", *(layer.name for layer in found.layers)),
        rows=found.table(),
        note=". ".join(chain(notes, efficiencies)) + ".",
    )


def sensitivity_table(found: Tornado) -> Table:
    """Every unknown at both ends, by measure, widest first."""
    rows = tuple(
        (title, row.swing.name, row.swing.kind, *_ends(row), f"{found.central[measure]:.4g}")
        for measure, (title, _) in MEASURES.items()
        for row in found.rows[measure]
    )
    header = ("measure", "unknown", "kind", "first end", "value", "second end", "value", "central value")
    return Table(key="tornado", title="Trainium4's unknowns, one at a time", header=header, rows=rows)


def _ends(row: Row) -> tuple[str, ...]:
    return tuple(
        cell
        for end, value in zip(row.swing.ends, row.values, strict=True)
        for cell in (end.label, "does not fit" if value is None else f"{value:.4g}")
    )


def kernels_table(panels: Sequence[Panel]) -> Table:
    """Every kernel on every core: its bound, speed of light, timeline, and why one is missing."""
    rows: list[tuple[str, ...]] = []
    for panel in panels:
        for bound in map(panel.line.bound, panel.points):
            achieved = bound.point.flops_per_second
            rows.append(
                (
                    panel.line.name,
                    bound.point.name,
                    f"{bound.intensity:.4g}",
                    bound.resource,
                    f"{Quantity(bound.time_seconds, 's', ''):v}",
                    "" if bound.point.time_seconds is None else f"{Quantity(bound.point.time_seconds, 's', ''):v}",
                    "" if achieved is None else f"{Quantity(achieved, 'FLOP/s', ''):v}",
                    "" if bound.percent_of_roofline is None else f"{bound.percent_of_roofline:.1f} %",
                )
            )
        rows += [(panel.line.name, reason, "does not run", "", "", "", "", "") for reason in panel.missing]
    header = ("core", "kernel", "FLOP per HBM byte", "bound by", "speed of light", "timeline", "rate", "of the bound")
    return Table(key="roofline", title="Our kernels under the rooflines", header=header, rows=tuple(rows))


def ridge_table(panels: Sequence[Panel]) -> Table:
    """Peaks and ridge points by dtype of every core."""
    rows = tuple(
        (
            panel.line.name,
            rate,
            str(peak),
            *(f"{panel.line.ridge_point(rate, roof.name):v}" for roof in panel.line.roofs),
        )
        for panel in panels
        for rate, peak in panel.line.peaks.items()
    )
    memories = tuple(f"ridge, {roof.name}" for roof in panels[0].line.roofs)
    return Table(
        key="roofline",
        title="Peaks and ridge points of one core",
        header=("core", "dtype", "peak", *memories),
        rows=rows,
    )


def validation_tables(found: ProjectionValidation) -> tuple[Table, ...]:
    """Means, constants, and every row beside its measurement."""
    return (
        _pairs("Mean absolute errors", "group", "mean", [(k, f"{v:.1%}") for k, v in found.summary.items()]),
        _pairs("Constants", "constant", "value", [(k, f"{v:.4g}") for k, v in constants(found).items()]),
        *_residual_tables(found),
        _serving_table(found),
        _checks_table(found),
    )


def _pairs(title: str, name: str, value: str, rows: Sequence[tuple[str, str]]) -> Table:
    return Table(key="errors", title=title, header=(name, value), rows=tuple(rows))


def _residual_tables(found: ProjectionValidation) -> tuple[Table, ...]:
    groups = (
        ("Decode steps: time per output token", found.decode.residuals),
        ("Decode steps on one Trainium3, third party", found.trainium3.residuals),
        ("Decode steps by the middle layer, timelines of our kernels", found.kernels),
        ("Prompts: time to the first token", found.prefill.residuals),
        ("BF16 matmuls on a pair of Trainium3 cores", found.gemm.residuals),
    )
    return tuple(
        Table(
            key="errors",
            title=title,
            header=("row", "measured", "model", "error", "error when left out"),
            rows=tuple(
                (
                    row.name,
                    f"{Quantity(row.measured, 's', ''):v}",
                    f"{Quantity(row.modelled, 's', ''):v}",
                    f"{row.error:+.1%}",
                    "not fitted" if row.left_out_error is None else f"{row.left_out_error:+.1%}",
                )
                for row in rows
            ),
        )
        for title, rows in groups
    )


def _serving_table(found: ProjectionValidation) -> Table:
    return Table(
        key="errors",
        title="Maximum throughput on NVIDIA chips, output tokens/s per chip; nothing is fitted to these",
        header=("row", "measured", "batch", "roofline", "measured / roofline", "middle layer", "error"),
        rows=tuple(
            (
                row.name,
                f"{row.measured:,.0f}",
                f"{row.batch:,}",
                f"{row.roofline:,.0f}",
                f"{row.achieved:.0%}",
                f"{row.efficiencies:,.0f}",
                f"{row.error:+.0%}",
            )
            for row in found.serving
        ),
    )


def _checks_table(found: ProjectionValidation) -> Table:
    return Table(
        key="errors",
        title="Cross-checks with published calculations",
        header=("check", "unit", "source says", "ours", "error", "source", "known flaw of the source"),
        rows=tuple(
            (c.name, c.unit, f"{c.expected:g}", f"{c.ours:.5g}", f"{c.error:+.2%}", c.source, c.flaw)
            for c in found.checks
        ),
    )
