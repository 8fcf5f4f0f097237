"""Verdicts, rows and JSON of a claim, whatever it says."""

from __future__ import annotations

import json
from typing import Any

import pytest

from trnlab.models.claims import COLUMNS, Claim, OperatingPoint, Reading, as_json, claims_table, rows
from trnlab.models.quantity import ModelError, Quantity


def ratio(value: float) -> Quantity:
    return Quantity(value, "", "t")


def claim(claimed: float, *computed: float | None, **changes: Any) -> Claim:
    readings = tuple(Reading(meaning="m", computed=None if x is None else ratio(x)) for x in computed)
    values: dict[str, Any] = {"statement": "s", "source": "t", "claimed": ratio(claimed), "readings": readings}
    return Claim(**values | changes)


@pytest.mark.parametrize(
    ("claimed", "computed", "digits", "verdict"),
    [
        (2.0, 1.91, 0, "reproduced"),
        (2.0, 1.89, 0, "not reproduced"),
        (4.4, 4.36, 1, "reproduced"),
        (4.4, 4.34, 1, "close"),
        (4.4, 4.19, 1, "close"),
        (4.4, 4.17, 1, "not reproduced"),
        (4.4, 4.61, 1, "close"),
        (4.4, 4.63, 1, "not reproduced"),
    ],
)
def test_verdicts_of_arithmetic(claimed: float, computed: float, digits: int, verdict: str) -> None:
    assert claim(claimed, computed, digits=digits).verdict == verdict
    # Further readings are shown and do not change it.
    assert claim(claimed, computed, 100, digits=digits).verdict == verdict


def test_a_lower_bound_is_met_from_above_but_not_by_anything_far_away() -> None:
    assert claim(4.4, 4.6, digits=1).verdict == "close"
    assert claim(4.4, 4.6, digits=1, at_least=True).verdict == "reproduced"
    assert claim(4.4, 4.3, digits=1, at_least=True).verdict == "close"
    assert claim(4.4, 9, digits=1, at_least=True).verdict == "not reproduced"


def test_verdicts_of_other_kinds() -> None:
    point = OperatingPoint(layer="roofline", batch=8, prompt=1024)
    assert claim(3, 3, kind="model").verdict == "not reproduced"
    assert claim(3, 2, kind="model", points=(point,)).verdict == "explained"
    assert claim(3, 3, kind="input").verdict == "input of the projection"
    assert claim(3, 3, kind="untestable").verdict == "not testable"
    assert claim(3, None).verdict == "not testable"
    assert claim(3, None).error_percent is None


def test_impossible_claims_are_refused() -> None:
    with pytest.raises(ModelError, match="unit computed for 's': found ''; allowed: B"):
        Claim(
            statement="s",
            source="t",
            claimed=Quantity(1, "B", "t"),
            readings=(Reading(meaning="m", computed=ratio(1)),),
        )
    with pytest.raises(ModelError, match="readings of 's': found 0; allowed: at least one"):
        claim(1)
    with pytest.raises(ModelError, match="kind of 's': found 'rumour'; allowed: arithmetic, model, input, untestable"):
        claim(1, 1, kind="rumour")


def test_rows_are_one_a_reading() -> None:
    table = rows()
    assert len(table) == sum(len(each.readings) for each in claims_table())
    assert all(len(row) == len(COLUMNS) and all(isinstance(cell, str) for cell in row) for row in table)
    assert [row[0] for row in table if row[0]] == [each.statement for each in claims_table()]
    (first,) = [row for row in table if "twice as fast" in row[0]]
    assert first[1:] == ("2x", "MXFP8 against FP8 of the chip pages", "1.938x (derived)", "-3.1 %", "reproduced")
    assert claim(3, None).rows() == (("s", "3x", "m", "not computed", "", "not testable"),)


def test_json_keeps_every_number() -> None:
    data: list[dict[str, Any]] = json.loads(as_json())
    for record, each in zip(data, claims_table(), strict=True):
        assert (record["statement"], record["source"], record["verdict"]) == (each.statement, each.source, each.verdict)
        assert record["claimed"]["value"] == each.claimed.value
        assert len(record["operating_points"]) == len(each.points)
        for reading, given in zip(record["readings"], each.readings, strict=True):
            assert reading["error_percent"] == given.error_percent(each.claimed)
            assert (reading["computed"] is None) == (given.computed is None)
            if given.computed is not None:
                assert reading["computed"]["value"] == given.computed.value
                assert reading["computed"]["klass"] == given.computed.klass
    assert "\n" not in as_json(indent=None)
