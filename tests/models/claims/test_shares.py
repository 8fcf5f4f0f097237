"""The GPT-OSS claims at one share of every peak: the fact base's table of request-level ratios, computed apart."""

from __future__ import annotations

import pytest

from trnlab.models.claims.serving import serving_claims


@pytest.mark.parametrize(("index", "without", "with_fixed"), [(0, 2.87, 2.99), (1, 4.20, 3.86)])
def test_half_of_the_flops_and_86_percent_of_hbm_give_the_published_ratios(
    index: int, without: float, with_fixed: float
) -> None:
    claim = serving_claims()[index]
    found = [reading for reading in claim.readings if "50 % of FLOP/s and 86 % of HBM" in reading.meaning]
    assert [reading.meaning.rpartition(", ")[2] for reading in found] == ["no fixed cost", "170 and 50 µs a layer"]
    for reading, expected in zip(found, (without, with_fixed), strict=True):
        assert reading.computed is not None
        assert reading.computed.value == pytest.approx(expected, abs=0.005)
        assert reading.computed.klass == "assumed"
