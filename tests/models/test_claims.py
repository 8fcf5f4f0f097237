"""Claims: the arithmetic of each row, its verdict, and its text and JSON forms."""

from __future__ import annotations

import json
from typing import Any

import pytest

from trnlab.models.claims import COLUMNS, Claim, as_json, claims_table, rows
from trnlab.models.quantity import ModelError, Quantity


def find(*words: str) -> Claim:
    (claim,) = [claim for claim in claims_table() if all(word in claim.statement for word in words)]
    return claim


# What the published tables give, written out.
@pytest.mark.parametrize(
    ("words", "claimed", "expected", "verdict"),
    [
        (("twice the FP8",), 2, 2517 / 1299, "reproduced"),
        (("HBM capacity",), 1.5, 144 / 96, "reproduced"),
        (("HBM bandwidth", "per chip"), 1.7, 4.9 / 2.9, "reproduced"),
        (("362 PFLOP/s",), 362e15, 144 * 2517e12, "reproduced"),
        (("4.4 times the compute",), 4.4, 144 * 2517 / 83_200, "reproduced"),
        (("3.9 times the memory",), 3.9, 705.6 / 185.6, "close"),
    ],
)
def test_published_claims(words: tuple[str, ...], claimed: float, expected: float, verdict: str) -> None:
    claim = find(*words)
    assert claim.claimed.value == claimed
    assert claim.computed is not None
    assert claim.computed.value == pytest.approx(expected)
    assert claim.computed.klass == "derived"
    assert claim.error_percent == pytest.approx(100 * (expected - claimed) / claimed)
    assert claim.verdict == verdict


def test_the_famous_ratios() -> None:
    values = {words: find(words).computed for words in ("twice the FP8", "4.4 times", "3.9 times")}
    assert {words: q and round(q.value, 3) for words, q in values.items()} == {
        "twice the FP8": 1.938,
        "4.4 times": 4.356,
        "3.9 times": 3.802,
    }


@pytest.mark.parametrize(
    ("words", "claimed", "low", "central", "high"),
    [
        ("FP4", 6, 0.9 * 2 * 2.7, 6, 2 * 3 * 2.8 / 2.4),
        ("FP8", 3, 2.7, 3, 3 * 2.8 / 2.4),
        ("memory bandwidth", 4, 0.95 * 4 * 4.7 / 4.9, 4, 4),
    ],
)
def test_trainium4_rows_are_inputs_and_say_so(
    words: str, claimed: float, low: float, central: float, high: float
) -> None:
    for variant, expected in (("low", low), ("central", central), ("high", high)):
        claim = find(f"Trainium4 ({variant})", words)
        assert claim.claimed.value == claimed
        assert claim.computed is not None
        assert claim.computed.value == pytest.approx(expected)
        assert claim.computed.interval == pytest.approx((low, high))
        assert claim.verdict == "input of the projection"


def test_what_needs_a_serving_model_is_not_faked() -> None:
    open_claims = [claim for claim in claims_table() if claim.verdict == "needs a serving model"]
    assert [claim.claimed.value for claim in open_claims] == [3, 4, 1.4]
    for claim in open_claims:
        assert claim.computed is None
        assert claim.error_percent is None
        assert claim.note
        assert claim.row()[2:4] == ("not computed here yet", "")


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
def test_verdicts(claimed: float, computed: float, digits: int, verdict: str) -> None:
    claim = Claim(
        statement="s",
        source="t",
        claimed=Quantity(claimed, "", "t"),
        computed=Quantity(computed, "", "t"),
        digits=digits,
    )
    assert claim.verdict == verdict


def test_units_must_agree() -> None:
    with pytest.raises(ModelError, match="unit computed for 's': found 'B'; allowed: FLOP/s"):
        Claim(statement="s", source="t", claimed=Quantity(1, "FLOP/s", "t"), computed=Quantity(1, "B", "t"))


def test_plain_rows_are_easy_to_print() -> None:
    table = rows()
    assert len(table) == len(claims_table()) == 18
    assert all(len(row) == len(COLUMNS) and all(isinstance(cell, str) for cell in row) for row in table)
    assert len({row[0] for row in table}) == len(table)
    (first,) = [row for row in table if "twice the FP8" in row[0]]
    assert first[1:5] == ("2x", "1.938x (derived)", "-3.1 %", "reproduced")
    (pflops,) = [row for row in table if "362 PFLOP/s" in row[0]]
    assert pflops[1:3] == ("362 PFLOP/s", "362.4 PFLOP/s (derived)")
    (fp4,) = [row for row in table if "Trainium4 (central)" in row[0] and "FP4" in row[0]]
    assert fp4[2] == "6x [4.86, 7] (derived)"
    assert rows(claims_table()[:2]) == table[:2]


def test_json_keeps_every_number() -> None:
    data: list[dict[str, Any]] = json.loads(as_json())
    for record, claim in zip(data, claims_table(), strict=True):
        assert record["statement"] == claim.statement
        assert record["source"] == claim.source
        assert record["verdict"] == claim.verdict
        assert record["error_percent"] == claim.error_percent
        assert record["claimed"]["value"] == claim.claimed.value
        if claim.computed is None:
            assert record["computed"] is None
        else:
            assert record["computed"]["value"] == claim.computed.value
            assert record["computed"]["klass"] == claim.computed.klass
    assert "\n" not in as_json(indent=None)


def test_every_claim_has_a_source() -> None:
    for claim in claims_table():
        assert "re:Invent" in claim.source
        assert claim.claimed.klass == "published"
