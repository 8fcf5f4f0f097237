"""Active times against pipelines worked out by hand and against an engine's occupancy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import trnlab.emulator.nki.isa as nisa
import trnlab.emulator.nki.language as nl
from tests.emulator.timing.test_timeline import BFLOAT16, array, eight_matmuls, traced
from trnlab.emulator.target import get_target
from trnlab.emulator.timing.idle import covered
from trnlab.emulator.timing.timeline import Timeline, schedule


def timeline_of(kernel: Any, target: str = "trn2", *shapes: tuple[int, ...]) -> Timeline:
    return schedule(traced(kernel, *[array(shape) for shape in shapes or ((128, 512),)], target=target), target)


def activations(count: int, chained: bool) -> Any:
    def kernel(x: Any) -> Any:
        tile = nl.ndarray(x.shape, dtype=x.dtype)
        for _ in range(count):
            result = nl.ndarray(x.shape, dtype=x.dtype)
            nisa.activation(result, nl.square, tile)
            tile = result if chained else tile
        return x

    return kernel


@pytest.mark.parametrize(("target", "latency", "hertz"), [("trn1", 264, 1.4e9), ("trn2", 350, 1.2e9)])
@pytest.mark.parametrize("count", [1, 2, 7])
def test_activations_one_after_another_overlap_and_chained_ones_do_not(
    target: str, latency: int, hertz: float, count: int
) -> None:
    # 189 ns for each of a chain of activations of one element on Trainium1 (NKI performance guide); N + 350 cycles in a
    # profile on Trainium2 (NKI DMA overview).
    pipelined, chained = (timeline_of(activations(count, way), target) for way in (False, True))
    assert pipelined.active_seconds["scalar"] == pytest.approx((count * 512 + latency) / hertz, abs=count * 1e-12)
    assert chained.active_seconds["scalar"] == pytest.approx(count * (512 + latency) / hertz, abs=count * 2e-12)
    for timeline in (pipelined, chained):
        assert timeline.busy_seconds["scalar"] == pytest.approx(count * 512 / hertz, abs=count * 1e-12)


def test_matmuls_leave_the_array_after_its_latency_and_copies_the_vector_engine_at_once() -> None:
    timeline = schedule(traced(eight_matmuls, array((128, 128), BFLOAT16), array((128, 512), BFLOAT16)), "trn2")
    # 60 cycles of memory access, 64 of the engine's start, 256 through the array, at 2.4 GHz, after the last of them.
    behind = timeline.active_seconds["tensor"] - timeline.busy_seconds["tensor"]
    assert behind == pytest.approx((60 + 64 + 256) / 2.4e9, abs=1e-12)
    assert timeline.active_seconds["vector"] == pytest.approx(timeline.busy_seconds["vector"], abs=1e-12)


def test_idle_engines_are_never_active() -> None:
    active = timeline_of(activations(1, False)).active_seconds
    assert {name for name, seconds in active.items() if seconds} == {"scalar"}


@pytest.mark.parametrize("mode", [nisa.dge_mode.none, nisa.dge_mode.swdge])
def test_gpsimd_is_active_while_it_writes_descriptors_and_otherwise_as_long_as_it_is_occupied(mode: Any) -> None:
    def kernel(x: Any) -> Any:
        for _ in range(3):
            tile = nl.ndarray(x.shape, dtype=x.dtype)
            nisa.dma_copy(tile, x, dge_mode=mode)
            nisa.tensor_copy(nl.ndarray(x.shape, dtype=x.dtype), tile, engine=nisa.engine.gpsimd)
        return x

    timeline = timeline_of(kernel)
    written = covered(timeline.writing.start_ps, timeline.writing.end_ps)
    assert (written > 0) == (mode is nisa.dge_mode.swdge)
    assert timeline.active_seconds["gpsimd"] == pytest.approx(timeline.busy_seconds["gpsimd"], abs=1e-12)


def test_packets_are_the_descriptors_and_active_time_the_union() -> None:
    def kernel(x: Any, y: Any) -> Any:
        for source in (x, y):
            nisa.dma_copy(nl.ndarray((128, 512), dtype=nl.float32), source)
        return x

    timeline = timeline_of(kernel, "trn2", (128, 512), (128, 512))
    each, part = 2048 / 23e9 + 5e-9, 90e-9
    assert timeline.dma_packet_seconds == pytest.approx(2 * 128 * each)
    # Both queues start together and share every engine.
    assert timeline.active_seconds["dma"] == pytest.approx(2 * (8 * each + part), abs=16e-12)  # 16 roundings


def test_active_time_lies_between_occupancy_and_the_whole() -> None:
    for target in ("trn1", "trn2", "trn3", "trn4"):
        timeline = schedule(traced(eight_matmuls, array((128, 128)), array((128, 512)), target=target), target)
        for name in ("vector", "scalar", "tensor", "dma"):
            occupied = timeline.busy_seconds[name]
            assert occupied * (1 - 1e-9) <= timeline.active_seconds[name] <= timeline.total_seconds
        assert timeline.target == get_target(target)
        assert np.all(timeline.end_ps >= timeline.start_ps)
