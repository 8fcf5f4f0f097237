"""Fits: recovered from made-up data, least where they should be, and as good on the published rows as claimed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, strategies as st

from trnlab.models.parallel.partitioning import Partitioning, Splits
from trnlab.models.projection import calibration
from trnlab.models.projection.calibration import (
    Residual,
    fit_decode,
    fit_gemm,
    mean_absolute_error,
)
from trnlab.models.projection.decode import decode_step
from trnlab.models.projection.machine import Machine
from trnlab.models.projection.measured_rows import DECODE_ROWS, GEMM_ROWS, MeasuredGemm
from trnlab.models.projection.method import ROOFLINE
from trnlab.models.quantity import ModelError
from trnlab.models.workloads.catalogue import get_model
from trnlab.models.workloads.formats import get_precision

CHIPS = ("trn1", "trn2")
AWS = [row for row in DECODE_ROWS if row.stack == "AWS"]


@given(launch=st.floats(1e-6, 1e-4), rate=st.floats(1e13, 1e15))
def test_a_gemm_fit_recovers_what_made_the_data(launch: float, rate: float) -> None:
    shapes = [(1024, 1024, 1024), (2048, 4096, 4096), (8192, 8192, 8192), (512, 512, 2048)]
    rows = [MeasuredGemm(rows=m, columns=n, depth=k, seconds=launch + 2.0 * m * n * k / rate) for m, n, k in shapes]
    found = fit_gemm(rows)
    assert found.launch_seconds == pytest.approx(launch, rel=1e-5)
    assert found.flops_per_second == pytest.approx(rate, rel=1e-5)
    assert mean_absolute_error(found.residuals, left_out=True) < 1e-5


def test_published_gemms_are_met_within_5_percent_and_at_90_percent_of_peak() -> None:
    found = fit_gemm()
    assert len(GEMM_ROWS) == 6
    assert mean_absolute_error(found.residuals, left_out=True) < 0.05
    assert found.efficiency == pytest.approx(0.90, abs=0.02)  # the public assessment's own figure
    with pytest.raises(ModelError, match="GEMM rows"):
        fit_gemm(GEMM_ROWS[:2])


def test_decode_constants_are_recovered_from_made_up_measurements() -> None:
    weight, cached, fixed = 1.3, 2.7, {"trn1": 150e-6, "trn2": 90e-6}
    rows = []
    for row in AWS:
        weights, cache, layers = calibration._decode_terms(row)
        rows.append(replace(row, seconds=weight * weights + cached * cache + fixed[row.chip] * layers))
    found = calibration._decode_fit(rows)
    assert (found.weight_factor, found.cache_factor) == pytest.approx((weight, cached))
    assert dict(found.fixed_seconds) == pytest.approx(fixed)
    for chip, (low, high) in found.fixed_range.items():
        assert low == pytest.approx(fixed[chip])
        assert high == pytest.approx(fixed[chip])


def test_caches_of_the_rows_are_copied_to_every_rank_beyond_their_heads() -> None:
    rows = {row.name: row for row in AWS}
    # Llama-3-70B on 32 ranks of Trainium1: 8 heads, so 4 copies; 640 tokens of 327,680 bytes over 16 chips.
    _, cache, layers = calibration._decode_terms(rows["Llama-3-70B, b 1, 1152"])
    assert cache == pytest.approx(4 * 640 * 327_680 / 16 / 820e9)
    assert layers == 80
    # Llama-2-7B has a head for every rank: none.
    _, cache, _ = calibration._decode_terms(rows["Llama-2-7B, b 1, 8k"])
    assert cache == pytest.approx(4160 * 2 * 32 * 128 * 32 * 2 / 16 / 820e9)


def test_roofline_times_of_the_rows_are_those_of_the_fact_base() -> None:
    # Milliseconds that the bytes alone take, computed apart from this code.
    expected = {
        "gpt-oss-120b, 4 chips, b 1": 0.89,
        "Llama-3.1-8B, 2 chips, b 2": 2.61,
        "Llama-3.3-70B, 16 chips, b 1": 3.07,
        "Llama-3.1-405B, 16 chips, b 1": 17.52,
        "Llama-2-7B, b 1, 8k": 1.17,
        "Llama-2-13B, b 1, 8k": 2.34,
        "Llama-2-70B, b 1, 4k": 10.5,
        "Llama-2-13B, b 8, 8k": 5.0,
        "Qwen3-32B, 1 chip, b 2": 22.4,
        "Qwen3-30B-A3B, 1 chip, b 16": 14.6,
    }
    rows = {row.name: row for row in DECODE_ROWS}
    for name, milliseconds in expected.items():
        row = rows[name]
        model, machine = get_model(row.model), Machine.of(row.chip)
        splits = Splits.of([Partitioning(tp=row.chips)], ())
        step = decode_step(model, get_precision(row.precision), machine, ROOFLINE, splits, row.batch, row.context)
        assert float(step.bytes) / machine.hbm_bytes_per_second * 1e3 == pytest.approx(milliseconds, rel=0.01), name


def test_decode_rows_of_aws_are_met_within_15_percent_also_when_left_out() -> None:
    found = fit_decode()
    fitted = [row for row in found.residuals if row.left_out is not None]
    assert len(fitted) == len(AWS) == 16
    assert mean_absolute_error(fitted) < 0.10
    assert mean_absolute_error(fitted, left_out=True) < 0.10
    # The fact base fits one factor to all bytes, caches not copied: 1.16, and 187 µs a layer.
    assert found.weight_factor == pytest.approx(1.16, abs=0.04)
    for chip in ("trn1", "trn2"):
        assert found.fixed_seconds[chip] == pytest.approx(187e-6, rel=0.15)
        low, high = found.fixed_range[chip]
        assert low < found.fixed_seconds[chip] < high


def test_no_other_constants_have_a_smaller_sum_of_squares() -> None:
    found = fit_decode()
    best = np.array([found.weight_factor, found.cache_factor, *(found.fixed_seconds[chip] for chip in CHIPS)])

    def squares(constants: np.ndarray) -> float:
        total = 0.0
        for row in AWS:
            weights, cache, layers = calibration._decode_terms(row)
            terms = np.array([weights, cache, *(layers * (row.chip == chip) for chip in CHIPS)])
            total += (terms @ constants / row.seconds - 1) ** 2
        return total

    for index in range(4):
        for step in (0.99, 1.01):
            moved = best.copy()
            moved[index] *= step
            assert squares(moved) > squares(best)


def test_a_left_out_row_has_no_part_in_its_own_prediction() -> None:
    rows = [replace(row, seconds=row.seconds * (3 if row is AWS[0] else 1)) for row in AWS]
    honest = calibration._decode_fit(AWS[1:]).predict(AWS[0])
    assert calibration._decode_fit(rows[1:]).predict(rows[0]) == honest
    assert fit_decode().residuals[0].left_out == honest


def test_every_row_names_a_model_and_its_source() -> None:
    for row in DECODE_ROWS:
        assert get_model(row.model).layers > 0
        assert row.source
        assert row.seconds > 0


def test_a_mean_of_nothing_is_refused() -> None:
    with pytest.raises(ModelError, match="mean error"):
        mean_absolute_error([])
    with pytest.raises(ModelError, match="mean error"):
        mean_absolute_error([Residual(name="x", measured=1, modelled=1, left_out=None)], left_out=True)
