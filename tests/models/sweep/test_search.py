"""Pareto fronts and best partitionings against brute force."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, strategies as st
from hypothesis.extra import numpy as arrays

from trnlab.models.chips import get_chip
from trnlab.models.parallel.partitioning import Partitioning, partitionings
from trnlab.models.projection.machine import Machine
from trnlab.models.projection.point import project
from trnlab.models.projection.serving_point import ServingPoint
from trnlab.models.quantity import ModelError
from trnlab.models.sweep.axes import Axes
from trnlab.models.sweep.run import sweep
from trnlab.models.sweep.search import best_partitioning, frontier, pareto, partitioning_table
from trnlab.models.workloads.catalogue import get_model
from trnlab.models.workloads.formats import get_precision

OSS, TRN3 = get_model("gpt-oss-120b"), get_chip("trn3")
W4A8 = get_precision("experts-mxfp4-a8")
POINT = ServingPoint(batch=64, prompt=2048, answer=256)


def on_front(values: np.ndarray, others: np.ndarray) -> np.ndarray:
    """One comparison at a time: nobody is at least as good in both and better in one, or equal and earlier."""
    kept = []
    for i in range(len(values)):
        beaten = False
        for j in range(len(values)):
            as_good = values[j] >= values[i] and others[j] >= others[i]
            better = values[j] > values[i] or others[j] > others[i]
            beaten |= bool(as_good and (better or j < i))
        kept.append(not beaten)
    return np.array(kept, bool)


@given(points=arrays.arrays(np.float64, st.tuples(st.integers(0, 30), st.just(2)), elements=st.integers(0, 8)))
def test_the_front_is_that_of_all_comparisons(points: np.ndarray) -> None:
    values, others = points[:, 0], points[:, 1]
    assert pareto(values, others).tolist() == on_front(values, others).tolist()


def test_a_front_of_nothing_comparable_is_refused() -> None:
    with pytest.raises(ModelError, match="NaN"):
        pareto(np.array([1.0, np.nan]), np.array([1.0, 2.0]))
    with pytest.raises(ModelError, match="one length"):
        pareto(np.array([1.0]), np.array([1.0, 2.0]))


def test_the_best_partitioning_is_that_of_trying_all_of_them() -> None:
    rates = {}
    for split in partitionings(OSS, 8, Machine.of(TRN3).fabric):
        layer = project(OSS, TRN3, split, POINT, precision=W4A8, layers=("calibrated",)).layers[0]
        rates[split] = (layer.rate.value, layer.tpot.value)
    best = best_partitioning(OSS, TRN3, 8, POINT, W4A8)
    assert rates[best][0] == max(rate for rate, _ in rates.values())
    goal = sorted(tpot for _, tpot in rates.values())[len(rates) // 4]
    quick = best_partitioning(OSS, TRN3, 8, POINT, W4A8, most_tpot=goal)
    assert rates[quick][0] == max(rate for rate, tpot in rates.values() if tpot <= goal)


def test_a_goal_that_nothing_meets_says_how_near_it_comes() -> None:
    nearest = partitioning_table(OSS, TRN3, 8, POINT, W4A8).column("tpot_seconds").min()
    with pytest.raises(ModelError, match=f"{nearest * 1e3:.3g} ms or more"):
        best_partitioning(OSS, TRN3, 8, POINT, W4A8, most_tpot=1e-6)


def test_both_goals_are_kept() -> None:
    table = partitioning_table(OSS, TRN3, 8, POINT, W4A8).fitting()
    tpot, ttft, rate = (table.column(name) for name in ("tpot_seconds", "ttft_seconds", "tokens_per_second"))
    goal = float(np.median(ttft))
    slowest = float(tpot[ttft <= goal].max())
    found = best_partitioning(OSS, TRN3, 8, POINT, W4A8, most_tpot=slowest, most_ttft=goal)
    row = next(row for row in map(table.row, range(len(table))) if found == tuple(row[n] for n in found._fields))
    assert row["tokens_per_second"] == rate[(ttft <= goal) & (tpot <= slowest)].max()
    with pytest.raises(ModelError, match="goal for TTFT"):
        best_partitioning(OSS, TRN3, 8, POINT, W4A8, most_ttft=1e-9)
    for wrong in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ModelError, match="above 0"):
            best_partitioning(OSS, TRN3, 8, POINT, W4A8, most_ttft=wrong)


def test_a_model_that_fits_nowhere_says_how_many_chips_it_takes() -> None:
    # 671 GB x 2 over 139.2 GB are 9.6; ten stages have 7 of 61 layers, 154 GB, and eleven have 6.
    with pytest.raises(ModelError, match=r"too much.*at least 11 chips"):
        best_partitioning(get_model("DeepSeek-V3"), TRN3, 8, POINT, get_precision("bf16"))


def test_a_frontier_rises_in_one_and_falls_in_the_other() -> None:
    table = sweep(
        Axes(
            models=("gpt-oss-120b",),
            chips=("trn3",),
            batches=tuple(2**power for power in range(11)),
            prompts=(2048,),
            chip_counts=(16,),
        )
    )
    front = frontier(table)
    assert len(front) > 3
    assert np.all(np.diff(front.column("tokens_per_second_per_user")) > 0)
    assert np.all(np.diff(front.column("tokens_per_second_per_chip")) < 0)
    assert front.column("fits").all()
    best = table.best()
    assert best["tokens_per_second_per_chip"] == front.column("tokens_per_second_per_chip").max()
    assert best["chips"] == Partitioning(*(best[name] for name in Partitioning._fields)).chips == 16
