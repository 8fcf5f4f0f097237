"""Tables as HTML and Markdown, and what the provenance table says of a number."""

from __future__ import annotations

import pytest

from trnlab.models.chips import get_chip
from trnlab.models.quantity import CLASSES, ModelError
from trnlab.models.report.breakdown import projected
from trnlab.models.report.scenario import Scenario
from trnlab.models.report.table import Table
from trnlab.models.report.tables import claims_table, consequences_table, projection_table, spec_table


def test_cells_cannot_leave_their_table() -> None:
    table = Table(key="k", title="T", header=("a", "b"), rows=(("x | y", "<b>\n`code` *"),))
    assert table.markdown() == "### T\n\n| a | b |\n| --- | --- |\n| x \\| y | \\<b> \\`code\\` \\* |"
    assert "<b>" not in table.html()
    assert "&lt;b&gt;" in table.html()


def test_a_ragged_row_is_refused() -> None:
    with pytest.raises(ModelError, match="cells of a row of 'T': found 1"):
        Table(key="k", title="T", header=("a", "b"), rows=(("x",),))


def test_spec_sheets_show_figures_that_contradict_each_other() -> None:
    rows = {row[0]: row for row in spec_table(get_chip("trn3")).rows}
    # 4.9 TB/s on the chip page, 4.7 TB/s in the NKI guide.
    assert rows["HBM bandwidth"][1].startswith("4.9 TB/s")
    assert "4.7 TB/s (hbm_bandwidth=NKI guide)" in rows["HBM bandwidth"][3]
    assert all(row[2] for row in spec_table(get_chip("trn3")).rows if row[1] != "not printed")


def test_projections_keep_their_layers_apart() -> None:
    found = projected(Scenario(), "trn3", 64, 8192)
    assert found is not None
    table = projection_table(found)
    assert table.header == ("", "roofline", "efficiencies", "calibrated")
    per_user = next(row for row in table.rows if row[0] == "tokens/s per user")
    assert found.all_notes
    assert all(note in table.note for note in found.all_notes)
    assert len(set(per_user)) == 4
    assert any(klass in per_user[3] for klass in CLASSES)


def test_claims_and_consequences_are_whole() -> None:
    from trnlab.models.claims import claims_table as all_claims
    from trnlab.models.claims.consequences import consequences

    claims = all_claims()
    assert len(claims_table(claims).rows) == sum(len(claim.readings) for claim in claims)
    rows = consequences()[:4]
    assert [row[:4] for row in consequences_table(rows).rows] == [(r.over, r.what, r.model, r.layer) for r in rows]
