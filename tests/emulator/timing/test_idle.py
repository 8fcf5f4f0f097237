"""Idle time by reason: what adds up, and what a kernel with one known wait says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import trnlab.emulator.nki.isa as nisa
import trnlab.emulator.nki.language as nl
from tests.emulator.timing.test_scheduler import plans, scheduled
from trnlab.emulator import launch
from trnlab.emulator.timing.idle import REASONS, covered
from trnlab.emulator.timing.timeline import Timeline, schedule


def timeline_of(kernel: Callable[..., Any], target: str = "trn2") -> Timeline:
    array = jax.ShapeDtypeStruct((128, 512), np.dtype(np.float32))  # type: ignore[no-untyped-call]
    return schedule(launch.trace(kernel, array, target=target), target)


@given(plans, st.sampled_from(["list", "program"]))
@settings(max_examples=60, deadline=None)
def test_busy_and_idle_time_add_up_to_the_total(plan: Any, order: Any) -> None:
    timeline = scheduled(plan, order)
    assert timeline.idle_seconds.keys() <= {"tensor", "vector", "scalar", "gpsimd", "sync"}
    for engine, reasons in timeline.idle_seconds.items():
        assert reasons.keys() <= set(REASONS)
        assert min(reasons.values(), default=0) >= 0
        assert timeline.busy_seconds[engine] + sum(reasons.values()) == pytest.approx(timeline.total_seconds)


def test_one_tile_names_its_waits() -> None:
    def kernel(x: Any) -> Any:
        tile, power = (nl.ndarray(x.shape, dtype=x.dtype) for _ in range(2))
        nisa.dma_copy(tile, x)
        nisa.activation(power, nl.exp, tile)
        nisa.tensor_scalar(power, power, nl.add, 1.0, engine=nisa.engine.vector)
        return x

    timeline = timeline_of(kernel)
    load = 1300e-9 + 8 * (2048 / 23e9 + 5e-9) + 300e-9
    exp = 1.28e-6 + 512 / 1.2e9
    latency, add = 350 / 1.2e9, (512 + 50) / 0.96e9
    idle = timeline.idle_seconds
    assert idle["scalar"] == pytest.approx(
        {"dma": load, "semaphore": 35e-9, "end": latency + 35e-9 + add + 60 / 0.96e9}, abs=5e-12
    )
    assert idle["vector"] == pytest.approx(
        {"scalar": load + 35e-9 + exp + latency, "semaphore": 35e-9, "end": 60 / 0.96e9}, abs=5e-12
    )


def test_dma_is_active_while_any_of_its_engines_is() -> None:
    def kernel(x: Any) -> Any:
        for _ in range(2):
            nisa.dma_copy(nl.ndarray((8, 512), dtype=x.dtype), x[0:8])
        nisa.activation(nl.ndarray(x.shape, dtype=x.dtype), nl.exp, nl.ndarray(x.shape, dtype=x.dtype))
        return x

    timeline = timeline_of(kernel)
    # Two loads of eight partitions, on DMA engines of their own (they start at partitions 0 and 32), one queue's
    # interval apart, which is about as long as one of them.
    time, interval = 8 * (2048 / 23e9 + 5e-9) + 90e-9, 128 * 1024 / (368e9 * 0.422)
    assert timeline.active_seconds["dma"] == pytest.approx(min(interval, time) + time, rel=1e-5)
    assert timeline.busy_seconds["dma"] == pytest.approx(time, rel=1e-5)


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 10)), max_size=12))
def test_the_union_of_intervals_against_counting(pairs: list[tuple[int, int]]) -> None:
    start = np.array([begin for begin, _ in pairs], np.int64)
    length = np.array([size for _, size in pairs], np.int64)
    points = {point for begin, size in pairs for point in range(begin, begin + size)}
    assert covered(start, start + length) == len(points)
