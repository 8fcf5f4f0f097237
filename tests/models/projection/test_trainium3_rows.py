"""Trainium3's fixed cost per layer: by hand for one row, and what the rows say of the announcement."""

from __future__ import annotations

from statistics import median

import pytest

from trnlab.models.chips import get_chip
from trnlab.models.projection.calibration import fit_decode, mean_absolute_error
from trnlab.models.projection.constants import CLAIMED_FIXED_SECONDS, FUSED_FIXED_SECONDS, fixed_cost
from trnlab.models.projection.trainium3_rows import TRAINIUM3_ROWS, fit_trainium3, fixed_of
from trnlab.models.workloads.catalogue import get_model
from trnlab.models.workloads.parameters import parameters_of


def test_the_fixed_cost_of_a_row_is_what_its_bytes_leave() -> None:
    """Qwen3-30B-A3B in one kernel, 8.15 ms: 8 of 128 experts, everything else but the embedding, 320 cached tokens."""
    row = next(one for one in TRAINIUM3_ROWS if "Qwen3" in one.name and "one kernel" in one.name)
    model = get_model("Qwen3-30B-A3B")
    found, fit = parameters_of(model), fit_decode()
    dense = found.total - found.embedding - found.experts
    weights = 2 * (dense + found.experts * 8 / 128) / 4.9e12
    cache = 320 * 2 * 4 * 128 * 48 * 2 / 4.9e12  # 4 ranks, a head each: no copies
    moved = fit.weight_factor * weights + fit.cache_factor * cache
    assert fixed_of(row) == pytest.approx((8.15e-3 - moved) / 48, rel=1e-3)


def test_the_fitted_cost_is_the_median_and_no_row_predicts_itself() -> None:
    found, costs = fit_trainium3(), [fixed_of(row) for row in TRAINIUM3_ROWS]
    assert found.fixed_seconds == pytest.approx(median(costs))
    assert (found.low, found.high) == (min(costs), max(costs))
    for row, residual, cost in zip(TRAINIUM3_ROWS, found.residuals, costs, strict=True):
        layers = get_model(row.model).layers
        others = [other for other in costs if other is not cost]
        assert residual.modelled - row.seconds == pytest.approx((median(costs) - cost) * layers)
        assert residual.left_out is not None
        assert residual.left_out - row.seconds == pytest.approx((median(others) - cost) * layers)


def test_trainium3s_rows_are_met_within_15_percent_and_its_cost_is_like_the_earlier_chips() -> None:
    found = fit_trainium3()
    assert mean_absolute_error(found.residuals) < 0.15
    assert mean_absolute_error(found.residuals, left_out=True) < 0.15
    for earlier in fit_decode().fixed_seconds.values():
        assert found.fixed_seconds == pytest.approx(earlier, rel=0.1)
    fused = [fixed_of(row) for row in TRAINIUM3_ROWS if "one kernel" in row.name]
    assert 130e-6 < min(fused) < max(fused) < 175e-6
    assert found.fused == max(fused)


def test_trainium4_is_taken_to_cost_what_trainium3_does_down_to_a_fused_decoder() -> None:
    later, fit = fixed_cost(get_chip("trn4")), fit_trainium3()
    assert later is not None
    assert (later.value, later.interval, later.klass) == (
        fit.fixed_seconds, (FUSED_FIXED_SECONDS, fit.fused), "assumed"
    )  # fmt: skip


def test_the_fast_end_is_what_four_times_the_measured_speed_of_trainium2_would_leave() -> None:
    """7.00 ms over 4, less the bytes of 36 layers in MXFP4 on 4 chips of 4.9 TB/s at the fitted share."""
    found = parameters_of(get_model("gpt-oss-120b"))
    dense = 2 * (found.total - found.embedding - found.experts - found.expert_biases)
    experts = (found.experts * 4.25 / 8 + 2 * found.expert_biases) * 4 / 128
    bytes_seconds = (dense + experts) / (4 * 4.9e12) / fit_decode().weight_efficiency
    left = (7.00e-3 / 4 - bytes_seconds) / 36
    assert left == pytest.approx(CLAIMED_FIXED_SECONDS, rel=0.05)
    quantity = fixed_cost(get_chip("trn3"))
    assert quantity is not None
    assert quantity.interval == (CLAIMED_FIXED_SECONDS, fit_trainium3().high)
    assert quantity.klass == "fitted"
    assert "third-party" in quantity.source
