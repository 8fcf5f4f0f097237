"""Descriptor generators, levelled DMA engines, and the record of who carried what."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import trnlab.emulator.nki.isa as nisa
import trnlab.emulator.nki.language as nl
from trnlab.emulator import launch
from trnlab.emulator.target import get_target
from trnlab.emulator.timing.dma_plan import PlannedTransfer
from trnlab.emulator.timing.dma_service import DmaEngines
from trnlab.emulator.timing.timeline import Timeline, schedule

FLOAT32 = np.dtype(np.float32)
TRN2 = get_target("trn2")


def timeline_of(kernel: Callable[..., Any], target: str = "trn2") -> Timeline:
    array = jax.ShapeDtypeStruct((16, 128, 1024), FLOAT32)  # type: ignore[no-untyped-call]
    return schedule(launch.trace(kernel, array, target=target), target)


def loads(count: int, **options: Any) -> Callable[..., Any]:
    """Independent loads of one partition each, from a queue of their own."""

    def kernel(x: Any) -> Any:
        for number in range(count):
            tile = nl.ndarray((1, 1024), dtype=nl.float32, buffer=nl.sbuf)
            nisa.dma_copy(tile, x[number, 0:1], **options)
        return x

    return kernel


def starts(timeline: Timeline) -> list[int]:
    return timeline.start_ps.tolist()


def test_descriptors_made_before_the_run_cost_no_time() -> None:
    plain, unknown = timeline_of(loads(4, dge_mode=nisa.dge_mode.none)), timeline_of(loads(4))
    assert starts(plain) == starts(unknown)
    # One queue's interval: 128 rows of 1 KiB by the published curve.
    interval = round(128 * 1024 / (368e9 * 0.422) * 1e12)
    assert np.diff(starts(plain)).tolist() == [interval] * 3


def two_queues(first: dict[str, Any], second: dict[str, Any]) -> Callable[..., Any]:
    def kernel(x: Any, y: Any) -> Any:
        for number in range(3):
            tiles = [nl.ndarray((1, 64), dtype=nl.float32, buffer=nl.sbuf) for _ in range(2)]
            nisa.dma_copy(tiles[0], x[number, 0:1, 0:64], **first)
            nisa.dma_copy(tiles[1], y[number, 0:1, 0:64], **second)
        return x

    return kernel


@pytest.mark.parametrize(
    ("engines", "gap_ns"),
    # A generator takes 600 ns (AWS DGE reference); there are two, one behind each of the Sync and Scalar queues.
    [(("sync", "sync"), 600), (("sync", "scalar"), 0), (("scalar", "scalar"), 600)],
)
def test_hardware_generators_take_600_ns_a_transfer(engines: tuple[str, str], gap_ns: int) -> None:
    options = [{"dge_mode": nisa.dge_mode.hwdge, "engine": getattr(nisa.engine, name)} for name in engines]
    array = jax.ShapeDtypeStruct((16, 128, 1024), FLOAT32)  # type: ignore[no-untyped-call]
    timeline = schedule(launch.trace(two_queues(*options), array, array, target="trn2"), "trn2")
    first, second = starts(timeline)[:2]
    assert second - first == 1000 * gap_ns


def test_software_generation_takes_gpsimd_a_start_and_a_cycle_for_each_descriptor() -> None:
    kernel = two_queues(*[{"dge_mode": nisa.dge_mode.swdge}] * 2)
    array = jax.ShapeDtypeStruct((16, 128, 1024), FLOAT32)  # type: ignore[no-untyped-call]
    timeline = schedule(launch.trace(kernel, array, array, target="trn2"), "trn2")
    first, second = starts(timeline)[:2]
    assert second - first == round((150 + 1) / 1.2e9 * 1e12)


def transfer(times: list[int]) -> PlannedTransfer:
    even = times[0] if len(times) == 16 and len(set(times)) == 1 else 0
    return PlannedTransfer(tuple(enumerate(times)), 0, 0, 0, even)


kinds = st.one_of(
    st.integers(1, 50).map(lambda time: [time] * 16), st.lists(st.integers(1, 50), min_size=1, max_size=16)
)


@given(st.lists(st.tuples(st.integers(0, 60), kinds), max_size=30))
@settings(deadline=None)
def test_engines_kept_as_one_level_do_what_sixteen_do(jobs: list[tuple[int, list[int]]]) -> None:
    dma, free, now = DmaEngines(TRN2), [0] * 16, 0
    for step, (later, times) in enumerate(jobs):
        now += later
        carried = dma.carry(now, step, transfer(times))
        begins = [max(now, free[engine]) for engine in range(len(times))]
        ends = [begin + time for begin, time in zip(begins, times, strict=True)]
        free[: len(times)] = ends
        assert (carried.start, carried.end) == (min(begins), max(ends))
        state = dma.free if dma.level is None else [dma.level] * 16
        assert [max(now, time) for time in state] == [max(now, time) for time in free]


def test_what_all_engines_carry_is_recorded_for_each_of_them() -> None:
    def kernel(x: Any) -> Any:
        nisa.dma_copy(nl.ndarray((128, 1024), dtype=nl.float32, buffer=nl.sbuf), x[0])
        nisa.dma_copy(nl.ndarray((8, 1024), dtype=nl.float32, buffer=nl.sbuf), x[1, 0:8])
        return x

    spans = timeline_of(kernel).dma_spans
    assert spans.engine.tolist() == [*range(16), 0]
    assert spans.step.tolist() == [0] * 16 + [1]
