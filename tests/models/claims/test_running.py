"""Energy and cost of the GPT-OSS claims, and what two deployments do at equal pace."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from trnlab.models.claims.deployment import at_equal_pace
from trnlab.models.claims.running import PACES, running_claims
from trnlab.models.claims.serving import new_deployment, old_deployment, serving_claims
from trnlab.models.claims.speedup_map import ANSWER
from trnlab.models.projection.method import LAYERS
from trnlab.models.quantity import ModelError


def test_tokens_per_megawatt_are_throughput_at_equal_pace_over_assumed_powers() -> None:
    energy, _ = running_claims()
    assert energy.verdict == "not testable"
    assert (energy.claimed.value, energy.at_least) == (5, True)
    for reading, (batch, layer) in zip(energy.readings, itertools.product(PACES, LAYERS), strict=True):
        assert reading.computed is not None
        pace = at_equal_pace(old_deployment(), new_deployment(), layer, batch, 8192)
        assert reading.computed.value == pytest.approx(pace.throughput * 500 / 692)
        assert reading.computed.klass == "assumed"
        assert f"{batch} requests on Trn2" in reading.meaning
    # 5 x 692 / 500
    assert "6.92 times the throughput per chip" in energy.note


def test_cost_is_the_inverse_of_throughput_at_equal_prices() -> None:
    throughput, *_ = serving_claims()
    _, cost = running_claims()
    assert cost.verdict == "not testable"
    for reading, speed in zip(cost.readings, throughput.readings, strict=False):
        assert reading.computed is not None
        assert speed.computed is not None
        assert reading.computed.value == pytest.approx(1 / speed.computed.value)
        assert f"{0.6 * speed.computed.value:.2f} (" in cost.note


@pytest.mark.parametrize("layer", LAYERS)
def test_at_equal_pace_both_users_wait_as_long_for_a_token(layer: str) -> None:
    old, new = old_deployment(), new_deployment()
    found = at_equal_pace(old, new, layer, 64, 8192)
    before = old.serve(layer, 64, 8192, ANSWER)
    after = new.serve(layer, np.array([found.batch, found.batch * 1.001]), 8192, ANSWER)
    assert found.user_rate == pytest.approx(1 / float(before.tpot_seconds))
    # One per mille more requests, and each is served more slowly than the old ones.
    assert after.tpot_seconds[0] <= before.tpot_seconds < after.tpot_seconds[1]
    ratio = float(after.tokens_per_second_per_chip[0] / before.tokens_per_second_per_chip)
    assert found.throughput == pytest.approx(ratio)
    # More requests at the same pace: more throughput than at the same requests.
    same = float(new.serve(layer, 64, 8192, ANSWER).tokens_per_second_per_chip / before.tokens_per_second_per_chip)
    assert found.throughput > same
    assert not found.is_full


def test_a_pace_that_only_memory_ends_or_that_cannot_be_kept() -> None:
    # At 131,072 tokens Trainium2's slowest step is slower than any that Trainium3's memory has requests for.
    old, new = old_deployment(), new_deployment()
    slow = at_equal_pace(old, new, "calibrated", 4096, 131_072)
    assert slow.is_full
    assert new.fits(slow.batch, 131_072 + ANSWER).all()
    assert not new.fits(slow.batch * 2**0.25, 131_072 + ANSWER).all()
    with pytest.raises(ModelError, match="a rate that it reaches with one request"):
        at_equal_pace(new, old, "roofline", 1, 8192)
