"""Descriptor generators, DMA engines in groups, HBM's share, and the record of who carried what."""

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
from trnlab.emulator.timing.turns import NEVER, Flight, Job, Server

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
    plain = timeline_of(loads(4, dge_mode=nisa.dge_mode.none))
    # One queue's interval: 128 rows of 1 KiB by the published curve.
    interval = round(128 * 1024 / (368e9 * 0.422) * 1e12)
    assert np.diff(starts(plain)).tolist() == [interval] * 3


@pytest.mark.parametrize(("rows", "nanoseconds"), [(1, 486), (128, 600)])
def test_by_default_one_generator_makes_the_descriptors_of_all_queues(rows: int, nanoseconds: float) -> None:
    # Vector additions on Trainium2: 37,318 us for 25,600 times two loads and a store of one row, 378 us for 200 times
    # as many of 128 rows, and what starts and ends an execution; AWS's matmul with two loads of 128 rows each takes
    # 604 ns a load.
    def kernel(x: Any, y: Any) -> Any:
        for _ in range(3):
            for source in (x, y):
                nisa.dma_copy(nl.ndarray((rows, 1), dtype=nl.float32, buffer=nl.sbuf), source[0:rows, 0:1])
        return x

    array = jax.ShapeDtypeStruct((128, 1), FLOAT32)  # type: ignore[no-untyped-call]
    timeline = schedule(launch.trace(kernel, array, array, target="trn2"), "trn2")
    assert np.diff(timeline.start_ps).tolist() == pytest.approx([1000 * nanoseconds] * 5, rel=0.005)
    assert [timeline.event(step).cause for step in range(6)] == [-1, 0, 1, 2, 3, 4]
    before = schedule(launch.trace(kernel, array, array, target="trn1"), "trn1")
    assert before.start_ps[0] == before.start_ps[1]


def test_queues_have_a_generator_in_turn() -> None:
    def kernel(x: Any, y: Any) -> Any:
        for number in range(20):
            tile = nl.ndarray((128, 1), dtype=nl.float32, buffer=nl.sbuf)
            nisa.dma_copy(tile, x)
            nisa.dma_copy(y[number], tile)
        return y

    shapes = (128, 1), (20, 128, 1)
    arrays = [jax.ShapeDtypeStruct(shape, FLOAT32) for shape in shapes]  # type: ignore[no-untyped-call]
    timeline = schedule(launch.trace(kernel, *arrays, target="trn2"), "trn2")
    stores = timeline.start_ps[1::2]
    # A store is ready when its load is complete, some 2 us after it, and then waits for no more than the next load.
    assert (stores - timeline.start_ps[0::2]).max() < 6e6
    assert timeline.total_seconds < 40 * 0.6e-6 + 6e-6


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


# -- groups of DMA engines that are in one state ---------------------------------------------------------------------

TURN = 10

kinds = st.one_of(
    st.integers(1, 50).map(lambda time: [time] * 16), st.lists(st.integers(0, 50), min_size=1, max_size=16).filter(any)
)


def transfer(times: list[int], queue: int, hbm: int = 0) -> PlannedTransfer:
    engines: dict[int, int] = {}
    for engine, time in enumerate(times):
        engines[time] = engines.get(time, 0) | 1 << engine
    loads = tuple((bits, time) for time, bits in sorted(engines.items()) if time)
    return PlannedTransfer(loads, TURN, queue, 0, hbm, TURN)


class Driven:
    """DMA engines given transfers at certain times; notes when each begins and ends."""

    def __init__(self) -> None:
        self.dma = DmaEngines(TRN2)
        self.begun: dict[int, int] = {}
        self.ended: dict[int, int] = {}

    def until(self, now: int) -> None:
        while self.dma.due <= now and self.dma.due < NEVER:
            due = self.dma.due
            begun, done = self.dma.proceed(due)
            self.begun |= {flight.step: due for flight in begun}
            self.ended |= {flight.step: due for flight in done}

    def carry(self, now: int, step: int, what: PlannedTransfer) -> None:
        self.until(now)
        if self.dma.carry(now, step, what).start == now:
            self.begun[step] = now


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 3), kinds), max_size=30))
@settings(deadline=None)
def test_groups_of_engines_do_what_sixteen_do(jobs: list[tuple[int, int, list[int]]]) -> None:
    driven, servers, now = Driven(), [Server() for _ in range(16)], 0
    begins: dict[tuple[int, int], tuple[int, int]] = {}

    def until(now: int) -> None:
        for engine, server in enumerate(servers):
            while server.due <= now and server.due < NEVER:
                due = server.due
                begins.update({(job.flight.step, engine): (job.begin, due) for job in server.finish(due)[0]})

    for step, (later, queue, times) in enumerate(jobs):
        now += later
        driven.carry(now, step, transfer(times, queue))
        until(now)
        for server, time in zip(servers, times, strict=False):
            if time:
                server.add(now, Job(Flight(step, transfer(times, queue)), time, TURN))
    driven.until(NEVER)
    until(NEVER)
    spans = driven.dma.spans
    found = {(s, e): (a, b) for s, bits, a, b in spans for e in range(16) if bits >> e & 1}
    assert found == begins
    for step in range(len(jobs)):
        mine = [span for (other, _), span in begins.items() if other == step]
        assert (driven.begun[step], driven.ended[step]) == (min(a for a, _ in mine), max(b for _, b in mine))
    # Without work they are in one state again.
    assert [group.engines for group in driven.dma.groups] == [0xFFFF]
    assert driven.dma.flights == []


def test_hbm_is_shared_from_the_first_byte_on_and_ends_the_transfer_when_it_is_slower() -> None:
    driven = Driven()
    driven.carry(0, 0, transfer([100] * 16, queue=0, hbm=150))
    driven.carry(20, 1, transfer([10] * 2, queue=1, hbm=30))
    driven.carry(20, 2, transfer([30], queue=1, hbm=1))
    driven.until(NEVER)
    # Engine 0: the second shares from 20 on and ends at 40; then the third, of the same queue, begins there.
    # HBM: from 20 on shared, so the second's 30 take until 80; the third's 1 waits for it, and takes until 82.
    assert driven.begun == {0: 0, 1: 20, 2: 40}
    # Engine 0 shares from 40 to 100 with the third, whose 30 take 60. HBM: 20 + 30 + 1 of 150 are done at 82.
    assert driven.ended == {0: 150 + 30 + 1, 1: 80, 2: 100}


def test_what_all_engines_carry_is_recorded_for_each_of_them() -> None:
    def kernel(x: Any) -> Any:
        static = nisa.dge_mode.none
        nisa.dma_copy(nl.ndarray((128, 1024), dtype=nl.float32, buffer=nl.sbuf), x[0], dge_mode=static)
        nisa.dma_copy(nl.ndarray((8, 1024), dtype=nl.float32, buffer=nl.sbuf), x[1, 0:8], dge_mode=static)
        return x

    spans = timeline_of(kernel).dma_spans
    pieces = sorted(zip(spans.step.tolist(), spans.engine.tolist(), strict=True))
    assert pieces == [*((0, engine) for engine in range(16)), (1, 0)]
    # Two source lines, so two queues. They share engine 0, with 8 rows of 4 KiB each there.
    alone = 8 * (4096 / 23e9 + 5e-9) + 90e-9
    lengths = {(engine == 0, end - start) for _, engine, start, end in zip(*(c.tolist() for c in spans), strict=True)}
    assert sorted(length * 1e-12 for _, length in lengths) == pytest.approx([alone, 2 * alone], rel=1e-6)
    assert [is_first for is_first, _ in sorted(lengths)] == [False, True]
