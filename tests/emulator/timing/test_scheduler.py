"""The scheduler: what must hold of the schedule of any program."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import jax
import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import trnlab.emulator.nki.isa as nisa
import trnlab.emulator.nki.language as nl
from trnlab.emulator import launch
from trnlab.emulator.dependence import Kind
from trnlab.emulator.program import Program
from trnlab.emulator.target import Engine
from trnlab.emulator.timing.idle import covered
from trnlab.emulator.timing.schedule_plan import ENGINES
from trnlab.emulator.timing.timeline import Timeline, schedule

FLOAT32, BFLOAT16 = np.dtype(np.float32), np.dtype(ml_dtypes.bfloat16)


def array(shape: tuple[int, ...], dtype: Any = FLOAT32) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, dtype)  # type: ignore[no-untyped-call]


def traced(kernel: Callable[..., Any], *arrays: jax.ShapeDtypeStruct, target: str = "trn2") -> Program:
    return launch.trace(kernel, *arrays, target=target)


def result_like(tensor: Any) -> Any:
    return nl.ndarray(tensor.shape, dtype=tensor.dtype, buffer=nl.shared_hbm)


operations = st.tuples(
    st.sampled_from(["load", "part", "written", "store", "add", "exp", "sqrt", "pool", "matmul", "evacuate"]),
    st.integers(0, 3),
    st.integers(0, 3),
    st.integers(0, 3),
)


def random_kernel(plan: list[tuple[str, int, int, int]]) -> Callable[..., Any]:
    def kernel(x: Any) -> Any:
        result = result_like(x)
        tiles = [nl.ndarray((128, 64), dtype=nl.float32) for _ in range(4)]
        sums = [nl.ndarray((64, 64), dtype=nl.float32, buffer=nl.psum) for _ in range(4)]
        actions: dict[str, Callable[[int, int, int], Any]] = {
            "load": lambda i, j, k: nisa.dma_copy(tiles[i], x[j]),
            "part": lambda i, j, k: nisa.dma_copy(tiles[i][0:40], x[j, 0:40]),
            "written": lambda i, j, k: nisa.dma_copy(tiles[i], x[j], dge_mode=nisa.dge_mode.swdge),
            "store": lambda i, j, k: nisa.dma_copy(result[i], tiles[j]),
            "add": lambda i, j, k: nisa.tensor_tensor(tiles[i], tiles[j], tiles[k], nl.add),
            "exp": lambda i, j, k: nisa.activation(tiles[i], nl.exp, tiles[j]),
            "sqrt": lambda i, j, k: nisa.activation(tiles[i], nl.sqrt, tiles[j]),
            "pool": lambda i, j, k: nisa.tensor_copy(tiles[i], tiles[j], engine=nisa.engine.gpsimd),
            "matmul": lambda i, j, k: nisa.nc_matmul(sums[i], tiles[j], tiles[k], accumulate=False),
            "evacuate": lambda i, j, k: nisa.tensor_copy(tiles[i][0:64], sums[j]),
        }
        for name, *places in plan:
            actions[name](*places)
        nisa.dma_copy(result, x)
        return result

    return kernel


plans = st.lists(operations, max_size=40)
orders = st.sampled_from(["list", "program"])
properties = settings(max_examples=60, deadline=None)


def scheduled(plan: list[tuple[str, int, int, int]], order: Any, target: str = "trn2", window: int = 5) -> Timeline:
    return schedule(traced(random_kernel(plan), array((4, 128, 64))), target, order=order, window=window)


def apart(start: list[int], end: list[int]) -> bool:
    """Whether intervals, in order of their starts, do not overlap."""
    spans = sorted(zip(start, end, strict=True))
    return all(before[1] <= after[0] for before, after in pairwise(spans))


@given(plans, orders)
@properties
def test_engines_and_queues_of_dma_engines_do_one_thing_at_a_time(plan: Any, order: Any) -> None:
    timeline = scheduled(plan, order)
    for number, engine in enumerate(ENGINES):
        if engine is not Engine.DMA:
            mine = timeline.engine == number
            more = timeline.writing if engine is Engine.GPSIMD else None
            start = [*timeline.start_ps[mine].tolist(), *(more.start_ps.tolist() if more else ())]
            end = [*timeline.end_ps[mine].tolist(), *(more.end_ps.tolist() if more else ())]
            assert apart(start, end)
    spans, transfers = timeline.dma_spans, timeline.plan.transfers
    queue = np.array([transfers[step].queue for step in spans.step.tolist()], np.int64)
    for number in np.unique(spans.engine * 16 + queue).tolist():
        mine = spans.engine * 16 + queue == number
        assert apart(spans.start_ps[mine].tolist(), spans.end_ps[mine].tolist())


@given(plans, orders)
@properties
def test_dma_engines_are_busy_for_exactly_their_work(plan: Any, order: Any) -> None:
    timeline = scheduled(plan, order)
    spans, work = timeline.dma_spans, [0] * timeline.target.dma_engines
    for transfer in timeline.plan.transfers.values():
        for engines, time in transfer.loads:
            for engine in range(len(work)):
                work[engine] += time * (engines >> engine & 1)
    for engine, time in enumerate(work):
        mine = spans.engine == engine
        assert covered(spans.start_ps[mine], spans.end_ps[mine]) == time
    assert timeline.busy_seconds["dma"] == max(work) * 1e-12
    # HBM serves at most one picosecond of work in one, and no transfer before its first byte.
    hbm = sorted((int(timeline.start_ps[step]), transfer.hbm) for step, transfer in timeline.plan.transfers.items())
    for place, (begin, _) in enumerate(hbm):
        assert int(timeline.end_ps.max()) >= begin + sum(time for _, time in hbm[place:])
    for step, transfer in timeline.plan.transfers.items():
        alone = max(transfer.hbm, *(time for _, time in transfer.loads))
        assert timeline.end_ps[step] - timeline.start_ps[step] >= alone


@given(plans, orders)
@properties
def test_every_edge_is_respected_with_its_latency(plan: Any, order: Any) -> None:
    timeline = scheduled(plan, order)
    for producer, consumer, kind in timeline.edges:
        made, used = ENGINES[timeline.engine[producer]], ENGINES[timeline.engine[consumer]]
        gap = 0
        if made != used or made is Engine.DMA:
            gap += 35_000  # semaphore
            gap += 210_000 if made is Engine.DMA else 0  # completion; 90 ns of it are in the end
            gap += 1_300_000 if used is Engine.DMA else 0  # DMA start
            if kind is Kind.RAW and made is not Engine.DMA:
                # 60 cycles of memory access at the slowest clock here, 2.4 GHz; engines add to it.
                gap += 25_000
        assert timeline.start_ps[consumer] >= timeline.end_ps[producer] + gap


@given(plans, orders)
@properties
def test_no_schedule_beats_its_busiest_resource_or_its_longest_chain(plan: Any, order: Any) -> None:
    timeline = scheduled(plan, order)
    assert timeline.total_seconds >= max(timeline.busy_seconds.values()) * (1 - 1e-9)
    # The longest path through the edges when nothing ever waits for an engine.
    finish = [0] * len(timeline)
    for step in range(len(timeline)):
        length = int(timeline.plan.duration[step])
        if step in timeline.plan.transfers:
            length = 1_300_000 + max(time for _, time in timeline.plan.transfers[step].loads)
        finish[step] = length + max((finish[producer] for producer, _ in timeline.edges.of(step)), default=0)
    assert timeline.total_seconds * 1e12 >= max(finish) * (1 - 1e-9)


@given(plans, st.integers(1, 6))
@properties
def test_issue_order(plan: Any, window: int) -> None:
    timeline = scheduled(plan, "list", window=window)
    for number, engine in enumerate(ENGINES):
        if engine is Engine.DMA:
            continue
        issued = timeline.start_ps[timeline.engine == number]
        order = np.argsort(issued, kind="stable").tolist()
        for turn, place in enumerate(order):
            head = min(order[turn:])
            assert place < head + window


@given(plans, orders)
@properties
def test_transfers_of_one_queue_start_in_program_order(plan: Any, order: Any) -> None:
    timeline = scheduled(plan, order)
    last: dict[int, int] = {}
    for step, transfer in timeline.plan.transfers.items():
        start = int(timeline.start_ps[step])
        assert start >= last.get(transfer.queue, 0)
        last[transfer.queue] = start + transfer.interval


@given(plans, orders)
@properties
def test_the_critical_path_leads_from_the_start_to_the_end(plan: Any, order: Any) -> None:
    timeline = scheduled(plan, order)
    path = timeline.critical_path
    assert path[0].wait == "start"
    assert path[0].start_seconds <= 1.3e-6 + 1e-12
    for before, after in pairwise(path):
        assert after.cause == before.step
        assert after.wait in ("data", "engine", "dma", "hbm", "sbuf", "psum", "port", "descriptors")
        assert after.start_seconds >= before.start_seconds
    assert path[-1].end_seconds == pytest.approx(timeline.total_seconds, abs=1e-6)


@given(plans, orders)
@settings(max_examples=20, deadline=None)
def test_schedules_are_deterministic_and_bracketed(plan: Any, order: Any) -> None:
    first, second = scheduled(plan, order), scheduled(plan, order)
    assert (first.start_ps == second.start_ps).all()
    assert (first.end_ps == second.end_ps).all()
    low, central, high = first.range
    assert low <= central == first.total_seconds <= high
