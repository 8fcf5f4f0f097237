"""Skipped steady states against full simulation: starts, ends, waits, parts of transfers are the same picosecond."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import trnlab.emulator.nki.isa as nisa
import trnlab.emulator.nki.language as nl
from trnlab.emulator import launch
from trnlab.emulator.fold import fold
from trnlab.emulator.program import Program
from trnlab.emulator.target import get_target
from trnlab.emulator.timing.idle import covered
from trnlab.emulator.timing.loop_steps import loop_steps
from trnlab.emulator.timing.scheduler import Simulation
from trnlab.emulator.timing.steady import find_period
from trnlab.emulator.timing.timeline import Timeline, schedule
from trnlab.kernels.matmul import matmul

FLOAT32, BFLOAT16 = np.dtype(np.float32), np.dtype(ml_dtypes.bfloat16)
COLUMNS = ("start_ps", "end_ps", "wait", "cause")


def array(shape: tuple[int, ...], dtype: Any = FLOAT32) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, dtype)  # type: ignore[no-untyped-call]


def assert_same(timeline: Timeline, window: int) -> int:
    """Play with and without skipping; the number of rounds copied."""
    simulation = Simulation(timeline.plan, window)
    skipped, full = simulation.play(), Simulation(timeline.plan, window, skip=False).play()
    for name in COLUMNS:
        np.testing.assert_array_equal(getattr(skipped, name), getattr(full, name), name)
    rows = [np.lexsort((spans.engine, spans.step)) for spans in (skipped.spans, full.spans)]
    for mine, other in zip(skipped.spans, full.spans, strict=True):
        np.testing.assert_array_equal(mine[rows[0]], other[rows[1]])
    for mine, other in zip(skipped.writing, full.writing, strict=True):
        np.testing.assert_array_equal(mine, other)
    return 0 if simulation.watch is None else sum(item.copies for item in simulation.watch.rounds)


TRANSFERS = ["load", "thin load", "part load", "wide load", "software load", "hardware load", "store", "software store"]
operations = st.tuples(
    st.sampled_from([*TRANSFERS, "add", "exp", "sqrt", "pool", "matmul", "transpose", "sum"]),
    st.integers(0, 3),
    st.integers(0, 3),
)


def nest(body: list[tuple[str, int, int]], trips: int, outer: int, kept: int) -> Callable[..., Any]:
    """`outer` times: `trips` iterations of the body; tiles are new in each iteration but for the first `kept`."""

    def kernel(x: Any) -> Any:
        result, total = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm), tile()
        old = [tile() for _ in range(kept)]
        for _ in range(outer):
            nisa.memset(total, 0.0)
            for _ in range(trips):
                tiles = [*old, *(tile() for _ in range(4 - kept))]
                for name, i, j in body:
                    ACTIONS[name](tiles, total, x, result, i, j)
            nisa.dma_copy(result[0], total)
        return result

    return kernel


def tile(buffer: Any = None, shape: tuple[int, int] = (128, 64)) -> Any:
    return nl.ndarray(shape, dtype=nl.float32, buffer=buffer or nl.sbuf)


def wide(x: Any, j: int) -> None:
    """Two partitions of 32 KiB in one row each: few long descriptors beside the others' short ones."""
    nisa.dma_copy(tile(shape=(2, 64 * 128)), x.reshape((4, 64 * 128))[j % 3 : j % 3 + 2])


def by_hardware(tiles: list[Any], x: Any, i: int, j: int) -> None:
    """Descriptors of a hardware generator where there is one."""
    mode = nisa.dge_mode.hwdge if nisa.get_nc_version() >= nisa.nc_version.gen3 else nisa.dge_mode.none
    nisa.dma_copy(tiles[i], x[j], dge_mode=mode)


SOFTWARE = nisa.dge_mode.swdge


def multiplied(tiles: list[Any], i: int, j: int) -> None:
    bank = tile(nl.psum, (64, 64))
    nisa.nc_matmul(bank, tiles[i], tiles[j])
    nisa.tensor_copy(tiles[j][0:64], bank)


def turned(tiles: list[Any], i: int, j: int) -> None:
    bank = tile(nl.psum, (64, 128))
    nisa.nc_transpose(bank, tiles[i], engine=nisa.engine.tensor)
    nisa.activation(tiles[j][0:64], nl.copy, bank[:, 0:64])


ACTIONS: dict[str, Callable[..., Any]] = {
    "load": lambda tiles, total, x, result, i, j: nisa.dma_copy(tiles[i], x[j]),
    "thin load": lambda tiles, total, x, result, i, j: nisa.dma_copy(tiles[i][0:2], x[j, 0:2]),
    "part load": lambda tiles, total, x, result, i, j: nisa.dma_copy(tiles[i][0:40], x[j, 0:40]),
    "wide load": lambda tiles, total, x, result, i, j: wide(x, j),
    "software load": lambda tiles, total, x, result, i, j: nisa.dma_copy(tiles[i], x[j], dge_mode=SOFTWARE),
    "hardware load": lambda tiles, total, x, result, i, j: by_hardware(tiles, x, i, j),
    "store": lambda tiles, total, x, result, i, j: nisa.dma_copy(result[j], tiles[i]),
    "software store": lambda tiles, total, x, result, i, j: nisa.dma_copy(result[j], tiles[i], dge_mode=SOFTWARE),
    "add": lambda tiles, total, x, result, i, j: nisa.tensor_tensor(tiles[i], tiles[i], tiles[j], nl.add),
    "exp": lambda tiles, total, x, result, i, j: nisa.activation(tiles[i], nl.exp, tiles[j]),
    "sqrt": lambda tiles, total, x, result, i, j: nisa.activation(tiles[i], nl.sqrt, tiles[j]),
    "pool": lambda tiles, total, x, result, i, j: nisa.tensor_copy(tiles[i], tiles[j], engine=nisa.engine.gpsimd),
    "sum": lambda tiles, total, x, result, i, j: nisa.tensor_tensor(total, total, tiles[i], nl.add),
    "matmul": lambda tiles, total, x, result, i, j: multiplied(tiles, i, j),
    "transpose": lambda tiles, total, x, result, i, j: turned(tiles, i, j),
}


@given(
    st.lists(operations, min_size=1, max_size=6),
    st.sampled_from([8, 40]),
    st.sampled_from([1, 7]),
    st.integers(0, 3),
    st.sampled_from(["trn1", "trn2", "trn3"]),
    st.sampled_from([1, 4, 64]),
    st.sampled_from([2048, 8192, 192 * 1024]),
)
@settings(max_examples=50, deadline=None)
def test_random_loops_are_played_to_the_same_picosecond(
    body: Any, trips: int, outer: int, kept: int, name: str, window: int, sbuf: int
) -> None:
    target = get_target(name)
    fact = replace(target.provenance["sbuf_bytes_per_partition"], value=sbuf)
    program = launch.trace(nest(body, trips, outer, kept), array((4, 128, 64)), target=name)
    memory = target.with_facts("other memory", sbuf_bytes_per_partition=fact)
    assert_same(schedule(program, memory), window)
    assert_same(schedule(fold(program), memory), window)


def streamed(x: Any, trips: int = 60) -> Any:
    result = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
    for number in range(trips):
        loaded, power = tile(), tile()
        nisa.dma_copy(loaded, x[number % 4])
        nisa.activation(power, nl.exp, loaded)
        nisa.dma_copy(result[number % 4], power)
    return result


def program_of(kernel: Any, *arrays: Any, target: str = "trn2") -> Program:
    return launch.trace(kernel, *arrays, target=target)


def small_memory(target: str = "trn2", sbuf: int = 2048) -> Any:
    chosen = get_target(target)
    fact = replace(chosen.provenance["sbuf_bytes_per_partition"], value=sbuf)
    return chosen.with_facts("small memory", sbuf_bytes_per_partition=fact)


@pytest.mark.parametrize("window", [1, 64])
def test_a_plain_loop_is_really_skipped(window: int) -> None:
    program = program_of(partial(streamed, trips=400), array((4, 128, 64)))
    assert assert_same(schedule(program, small_memory()), window) * 3 > 0.75 * len(program)


@pytest.mark.parametrize("window", [1, 64])
def test_a_tiled_matmul_is_really_skipped(window: int) -> None:
    program = program_of(matmul, array((512, 2048), BFLOAT16), array((512, 2048), BFLOAT16))
    timeline = schedule(program, "trn2")
    assert_same(timeline, window)


def shared(x: Any, y: Any, mode: Any = nisa.dge_mode.none, trips: int = 200) -> Any:
    """Two loads of different rows that share DMA engines and HBM, and GpSimd, which works beside them."""
    result = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
    for number in range(trips):
        short, long, total = tile(), tile(shape=(128, 256)), tile()
        nisa.dma_copy(short, x[number % 4], dge_mode=mode)
        nisa.dma_copy(long, y)
        nisa.tensor_copy(total, short, engine=nisa.engine.gpsimd)
        nisa.tensor_tensor(total, total, long[:, 0:64], nl.add)
        nisa.dma_copy(result[number % 4], total, dge_mode=mode)
    return result


@pytest.mark.parametrize("mode", [nisa.dge_mode.none, nisa.dge_mode.swdge])
@pytest.mark.parametrize("window", [1, 64])
def test_loops_whose_queues_share_dma_engines_are_really_skipped(mode: Any, window: int) -> None:
    program = program_of(partial(shared, mode=mode), array((4, 128, 64)), array((128, 256)))
    timeline = schedule(program, small_memory(sbuf=8192))
    spans = timeline.dma_spans
    mine = spans.engine == 0
    # Pieces of different queues overlap: more than half of the time there are two.
    assert (spans.end_ps - spans.start_ps)[mine].sum() > 1.5 * covered(spans.start_ps[mine], spans.end_ps[mine])
    assert assert_same(timeline, window) > 0


def test_periods_of_a_plain_loop() -> None:
    program = program_of(partial(streamed, trips=100), array((4, 128, 64)))
    plan = schedule(program, small_memory()).plan
    found = find_period(plan)
    assert found is not None
    # A load, an exp and a store an iteration; memory of eight tiles is four iterations, after which both tiles of an
    # iteration replace others, by an edge each. Loads alternate between queues by their tensor, and that is one here.
    assert found.steps == 3
    assert found.begin <= 4 * 3 + 3
    assert found.end >= len(program) - 4 * 3 - 3
    assert found.reach >= 3 * 4 - 1


def test_nothing_repeats_in_a_straight_line() -> None:
    def kernel(x: Any) -> Any:
        for number in range(40):
            nisa.activation(tile(shape=(128, 64 + number)), nl.exp, tile(shape=(128, 64 + number)))
        return x

    plan = schedule(program_of(kernel, array((4, 128, 64))), "trn2").plan
    assert find_period(plan) is None


def test_a_folded_program_is_timed_by_its_loops() -> None:
    program = program_of(partial(streamed, trips=100), array((4, 128, 64)))
    folded = fold(program)
    # Three instructions an iteration; rows of x and of the result come back after four.
    assert loop_steps(program) == ()
    assert loop_steps(folded) == (3, 12)
    plan = schedule(folded, small_memory()).plan
    assert plan.loops == loop_steps(folded)
    found = find_period(plan)
    flat = find_period(schedule(program, small_memory()).plan)
    assert found is not None
    assert flat is not None
    assert (found.steps, found.begin, found.end) == (flat.steps, flat.begin, flat.end)


def test_steps_of_nested_loops() -> None:
    def kernel(x: Any) -> Any:
        for number in range(6):
            loaded = tile()
            nisa.dma_copy(loaded, x[number])
            for _ in range(5):
                nisa.activation(loaded, nl.exp, loaded)
        return x

    # One exp; a load and five of them.
    assert loop_steps(fold(program_of(kernel, array((6, 128, 64))))) == (1, 6)


def test_folding_changes_no_time() -> None:
    program = program_of(partial(streamed, trips=50), array((4, 128, 64)))
    folded = fold(program)
    assert len(folded) < len(program)
    one, other = schedule(program, small_memory()), schedule(folded, small_memory())
    np.testing.assert_array_equal(one.start_ps, other.start_ps)
    assert one.total_seconds == other.total_seconds


@pytest.mark.slow
def test_large_kernels_take_seconds() -> None:
    # 4096 x 4096 x 4096: half a second is the aim; ten times that leaves room for a busy machine.
    program = program_of(matmul, array((4096, 4096), BFLOAT16), array((4096, 4096), BFLOAT16)).flat
    begin = time.process_time()
    schedule(program, "trn2")
    assert time.process_time() - begin < 5
    stream = program_of(partial(streamed, trips=34_000), array((4, 128, 64))).flat
    begin = time.process_time()
    schedule(stream, small_memory())
    assert time.process_time() - begin < 15
