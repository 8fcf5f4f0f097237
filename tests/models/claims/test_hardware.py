"""Claims about hardware: the arithmetic of each reading, written out from the published figures."""

from __future__ import annotations

import pytest

from trnlab.models.claims import Claim, claims_table


def find(*words: str) -> Claim:
    (claim,) = [claim for claim in claims_table() if all(word in claim.statement for word in words)]
    return claim


def computed(claim: Claim) -> list[float]:
    return [reading.computed.value for reading in claim.readings if reading.computed is not None]


# What the published tables give, written out; the plainest reading first.
@pytest.mark.parametrize(
    ("words", "claimed", "expected", "verdict"),
    [
        (
            ("2.52 PFLOP/s",),
            2.52e15,
            [2517e12, 8 * 8 * 128 * 128 * 2.4e9, 8 * 4 * 128 * 128 * 2.4e9],
            "reproduced",
        ),
        (("20.7 TB",), 20.7e12, [144 * 144e9, 20_736 * 2**30], "reproduced"),
        (("706 TB/s",), 706e12, [144 * 4.9e12, 144 * 4.7e12], "reproduced"),
        (
            ("twice as fast",),
            2,
            [2517 / 1299, 671 / 667, 8 * 4 * 128**2 * 2.4e-3 / 1299, 4.9 / 2.9, 2517 / 667],
            "reproduced",
        ),
        (("1.5 times the HBM capacity",), 1.5, [144 / 96], "reproduced"),
        (("HBM bandwidth", "per chip"), 1.7, [4.9 / 2.9, 4.7 / 3.0], "reproduced"),
        (("has 144 chips",), 144, [20_736 / 144], "reproduced"),
        (
            ("362 PFLOP/s",),
            362e15,
            [144 * 2517e12, 144 * 8 * 8 * 128 * 128 * 2.4e9, 144 * 8 * 4 * 128 * 128 * 2.4e9],
            "reproduced",
        ),
        (("4.4 times the compute",), 4.4, [144 * 2517 / 83_200, 96_624 / 42_800, 161_088 / 83_200], "reproduced"),
        (("3.9 times the memory",), 3.9, [705.6 / 185.6, 144 * 4.7 / (64 * 3), 20_736 / 6144], "close"),
    ],
)
def test_published_claims(words: tuple[str, ...], claimed: float, expected: list[float], verdict: str) -> None:
    claim = find(*words)
    assert claim.claimed.value == claimed
    assert computed(claim) == pytest.approx(expected)
    assert {reading.computed.klass for reading in claim.readings if reading.computed} <= {"derived", "published"}
    assert claim.error_percent == pytest.approx(100 * (expected[0] - claimed) / claimed)
    assert claim.verdict == verdict


@pytest.mark.parametrize(
    ("words", "claimed", "low", "central", "high"),
    [
        ("FP4", 6, 0.9 * 2 * 2.7, 6, 2 * 3 * 2.8 / 2.4),
        ("FP8", 3, 2.7, 3, 3 * 2.8 / 2.4),
        ("memory bandwidth", 4, 0.95 * 4 * 4.7 / 4.9, 4, 4),
        ("HBM capacity", 2, 2, 2, 2),
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
        assert claim.at_least == (words == "FP4")
        # A domain of 64, 72 or 144 chips against 144.
        chips = {"low": 64, "central": 72, "high": 144}[variant]
        assert computed(claim)[1] == pytest.approx(expected * chips / 144)


def test_energy_is_shown_under_assumptions_and_not_judged() -> None:
    claim = find("40 % more energy-efficient")
    fp8 = 2517 / 1299
    assert computed(claim) == pytest.approx([fp8 * 500 / 692, fp8 * 500 / 1000])
    assert claim.computed is not None
    # 400-600 W against 500-1000 W.
    assert claim.computed.interval == pytest.approx((fp8 * 400 / 1000, fp8 * 600 / 500))
    assert claim.computed.klass == "assumed"
    assert claim.verdict == "not testable"
    assert claim.note == f"it would hold if Trainium3 took at most {fp8 / 1.4:.2f} times Trainium2's power"
    servers = find("4 times the energy efficiency")
    ratio = 144 * 2517 / 83_200
    assert computed(servers) == pytest.approx([ratio * 64 * 500 / (144 * 692)])
    assert f"{ratio / 9:.2f} times the power" in servers.note
    assert servers.verdict == "not testable"


def test_every_claim_has_sources_and_its_own_statement() -> None:
    table = claims_table()
    assert len({claim.statement for claim in table}) == len(table) == 29
    for claim in table:
        assert "re:Invent" in claim.source
        assert claim.claimed.klass == "published"
        for reading in claim.readings:
            assert reading.meaning
            # Only what nobody said enough about is not computed.
            assert (reading.computed is None) == ("Bedrock" in claim.statement)
            assert reading.computed is None or reading.computed.source
