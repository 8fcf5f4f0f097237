"""Dependences against a brute-force oracle on sets of bytes, and the unrolling of structured loops."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import trnlab.emulator.nki as nki
import trnlab.emulator.nki.isa as nisa
import trnlab.emulator.nki.language as nl
from trnlab.emulator import footprint, launch
from trnlab.emulator.dependence import Edges, Kind, dependences, unroll
from trnlab.emulator.errors import TimelineError
from trnlab.emulator.isa.registry import HBM, ON_CHIP, instruction, reads, writes
from trnlab.emulator.memory import MemoryRegion
from trnlab.emulator.program import Loop, Program
from trnlab.emulator.target import Engine, get_target
from trnlab.emulator.tensor import NkiTensor
from trnlab.emulator.trace import Trace

EVERYWHERE = ON_CHIP | HBM


@instruction(
    engines=(Engine.DMA,),
    operands=(
        writes("dst", regions=EVERYWHERE, optional=True),
        reads("first", regions=EVERYWHERE, optional=True),
        reads("second", regions=EVERYWHERE, optional=True),
    ),
    source="made for this test: an instruction that touches any operands",
)
def touch(dst: Any) -> Any:
    """Nothing; only its operands matter."""
    return dst


@contextmanager
def tracing() -> Iterator[Trace]:
    with Trace("test", get_target("trn2")).opened() as trace:
        yield trace


def hbm(trace: Trace, shape: tuple[int, ...], dtype: str = "float32") -> NkiTensor:
    return trace.allocate(shape, dtype, MemoryRegion.private_hbm)


# -- the oracle -------------------------------------------------------------------------------------------------------


def bytes_of(program: Program, step: int, writing: bool) -> set[tuple[int, int]]:
    """(buffer, byte) of everything an instruction reads or writes, from offsets, shapes and strides alone."""
    found = set()
    for operand in program[step].operands:
        signature = operand.signature
        if writing != signature.writes:
            continue
        for index in product(*map(range, signature.shape)):
            element = operand.offset + sum(i * s for i, s in zip(index, signature.strides, strict=True))
            size = signature.dtype.itemsize
            found |= {(operand.buffer.number, element * size + byte) for byte in range(size)}
    return found


def conflicts(program: Program) -> set[tuple[int, int]]:
    """All pairs (earlier, later) that touch a common byte, at least one of them writing."""
    count = len(program)
    read = [bytes_of(program, step, False) for step in range(count)]
    written = [bytes_of(program, step, True) for step in range(count)]
    return {
        (i, j) for j in range(count) for i in range(j) if written[i] & (read[j] | written[j]) or read[i] & written[j]
    }


def closure(pairs: set[tuple[int, int]], count: int) -> set[tuple[int, int]]:
    before: list[set[int]] = [set() for _ in range(count)]
    for consumer in range(count):
        for producer in [i for i, j in pairs if j == consumer]:
            before[consumer] |= {producer} | before[producer]
    return {(i, j) for j in range(count) for i in before[j]}


def pairs(edges: Edges) -> set[tuple[int, int]]:
    return {(producer, consumer) for producer, consumer, _ in edges}


# -- random programs --------------------------------------------------------------------------------------------------

Access = tuple[int, tuple[slice, ...]]
SHAPES: list[tuple[str, tuple[int, ...], str]] = [
    ("sbuf", (6, 12), "float32"),
    ("psum", (4, 3, 8), "bfloat16"),
    ("private_hbm", (5, 9), "float32"),
    ("private_hbm", (3, 4, 6), "bfloat16"),
]


@st.composite
def slices(draw: st.DrawFn, size: int) -> slice:
    start = draw(st.integers(0, size - 1))
    return slice(start, draw(st.integers(start + 1, size)), draw(st.integers(1, 3)))


@st.composite
def accesses(draw: st.DrawFn) -> Access:
    number = draw(st.integers(0, len(SHAPES) - 1))
    return number, tuple(draw(slices(size)) for size in SHAPES[number][1])


touches = st.tuples(st.none() | accesses(), st.none() | accesses(), st.none() | accesses())


@given(st.lists(touches, min_size=1, max_size=12))
@settings(max_examples=150, deadline=None)
def test_edges_of_sliced_tensors_are_exactly_the_conflicts_up_to_what_is_implied(
    program_of: list[tuple[Access | None, ...]],
) -> None:
    with tracing() as trace:
        tensors = [trace.allocate(shape, dtype, region) for region, shape, dtype in SHAPES]
        for operands in program_of:
            views = [None if item is None else tensors[item[0]][item[1]] for item in operands]
            trace.emit(touch, views)
    program = trace.program([], [])
    found, real = pairs(dependences(program)), conflicts(program)
    assert found <= real
    assert closure(found, len(program)) == closure(real, len(program))


@st.composite
def patterns(draw: st.DrawFn, size: int) -> tuple[list[list[int]], int]:
    """An access pattern of up to three dimensions, strides of either sign, inside a buffer of so many elements."""
    dims = draw(st.lists(st.tuples(st.integers(-7, 7), st.integers(1, 4)), min_size=1, max_size=3))
    low = sum(min(0, stride * (count - 1)) for stride, count in dims)
    high = sum(max(0, stride * (count - 1)) for stride, count in dims)
    if high - low >= size:
        dims, low, high = [(1, 1)], 0, 0
    return [list(dim) for dim in dims], draw(st.integers(-low, size - 1 - high))


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_every_conflict_of_arbitrary_access_patterns_is_ordered(data: st.DataObject) -> None:
    with tracing() as trace:
        tensors = [hbm(trace, (60,)), hbm(trace, (6, 10)), hbm(trace, (3, 4, 5), "bfloat16")]
        for _ in range(data.draw(st.integers(2, 8))):
            operands = []
            for _ in range(2):
                tensor = data.draw(st.sampled_from(tensors))
                pattern, offset = data.draw(patterns(tensor.size))
                operands.append(tensor.ap(pattern, offset))
            trace.emit(touch, (*operands, None))
    program = trace.program([], [])
    ordered = closure(pairs(dependences(program)), len(program))
    assert conflicts(program) <= ordered


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 99), st.integers(1, 100)), min_size=1, max_size=10))
@settings(max_examples=50, deadline=None)
def test_contiguous_runs_of_a_matrix_are_exact(runs: list[tuple[bool, int, int]]) -> None:
    with tracing() as trace:
        matrix = hbm(trace, (10, 10))
        for writing, start, length in runs:
            view = matrix.ap([[1, min(length, 100 - start)]], start)
            trace.emit(touch, (view, None, None) if writing else (None, view, None))
    program = trace.program([], [])
    found, real = pairs(dependences(program)), conflicts(program)
    assert found <= real
    assert closure(found, len(program)) == closure(real, len(program))


def test_a_run_that_ends_in_the_next_row_is_ordered_there() -> None:
    with tracing() as trace:
        matrix = hbm(trace, (4, 8))
        trace.emit(touch, (matrix.ap([[1, 4]], 6), None, None))  # two elements of row 0, two of row 1
        trace.emit(touch, (None, matrix[1:2, 0:1], None))
        trace.emit(touch, (None, matrix[0:2, 2:5], None))  # strided, so that the axes are rows and columns
    edges = dependences(trace.program([], []))
    assert edges.of(1) == ((0, Kind.RAW),)


def test_interleaved_columns_are_independent() -> None:
    with tracing() as trace:
        matrix, tile = hbm(trace, (6, 8)), trace.allocate((6, 8), "float32")
        for tensor in (matrix, tile):
            # The pattern of a step of 2 in rows of 8 continues from row to row: one dimension in memory.
            trace.emit(touch, (tensor[:, 0::2], None, None))
            trace.emit(touch, (tensor[:, 1::2], None, None))
            trace.emit(touch, (None, tensor[2:4, 0::2], tensor[3:5, 2:3]))
    edges = dependences(trace.program([], []))
    assert edges.of(1) == ()
    assert edges.of(2) == ((0, Kind.RAW),)
    assert edges.of(4) == ()
    assert edges.of(5) == ((3, Kind.RAW),)


# -- kinds of edges ---------------------------------------------------------------------------------------------------


def test_kinds() -> None:
    with tracing() as trace:
        tensor = hbm(trace, (4, 8))
        trace.emit(touch, (tensor, None, None))
        trace.emit(touch, (None, tensor[0:2], None))
        trace.emit(touch, (tensor, None, None))
        trace.emit(touch, (tensor, None, None))
        trace.emit(touch, (None, hbm(trace, (2, 2)), None)).depends_on()
        trace.add_edge(0, 4)
    edges = dependences(trace.program([], []))
    assert edges.of(1) == ((0, Kind.RAW),)
    assert edges.of(2) == ((1, Kind.WAR),)
    assert edges.of(3) == ((2, Kind.WAW),)
    assert edges.of(4) == ((0, Kind.EXTRA),)
    assert len(edges) == 4
    assert edges.consumers.tolist() == [1, 2, 3, 4]


def test_a_write_ends_the_life_of_what_it_covers() -> None:
    with tracing() as trace:
        tensor = hbm(trace, (4, 8))
        for column in range(8):
            trace.emit(touch, (tensor[:, column : column + 1], None, None))
        trace.emit(touch, (tensor[:, 0:4], None, None))
        trace.emit(touch, (None, tensor, None))
    edges = dependences(trace.program([], []))
    assert edges.of(8) == tuple((column, Kind.WAW) for column in range(4))
    assert edges.of(9) == tuple((producer, Kind.RAW) for producer in (4, 5, 6, 7, 8))


def test_memory_that_nothing_writes_orders_nothing() -> None:
    with tracing() as trace:
        tensor = hbm(trace, (4, 8))
        for _ in range(5):
            trace.emit(touch, (None, tensor, tensor[0:1]))
    assert len(dependences(trace.program([], []))) == 0


def test_buffers_placed_by_hand_share_their_memory() -> None:
    with tracing() as trace:
        first = trace.allocate((128, 64), "float32", "sbuf", address=(0, 0))
        overlapping = trace.allocate((64, 128), "bfloat16", "sbuf", address=(64, 128))
        beside = trace.allocate((64, 16), "float32", "sbuf", address=(0, 256))
        elsewhere = trace.allocate((128, 64), "float32", "psum", address=(0, 0))
        for tensor in (first, overlapping, beside, elsewhere):
            trace.emit(touch, (tensor, None, None))
        trace.emit(touch, (None, overlapping[:, 64:128], None))
        trace.emit(touch, (None, first[0:64], None))
    edges = dependences(trace.program([], []))
    assert edges.of(1) == ((0, Kind.WAW),)
    assert edges.of(2) == edges.of(3) == ()
    assert edges.of(4) == ((1, Kind.RAW),)
    assert edges.of(5) == ((0, Kind.RAW),)


def test_run_time_addresses_cover_their_whole_buffer() -> None:
    @nki.jit
    def kernel(table: Any, index: Any) -> Any:
        result = nl.ndarray((8, 16), dtype=table.dtype, buffer=nl.shared_hbm)
        row, place = nl.ndarray((1, 16), dtype=table.dtype), nl.ndarray((1, 1), dtype=nl.int32)
        nisa.dma_copy(place, index)
        nisa.dma_copy(row, table[0:1])
        nisa.dma_copy(result[0:4], table[0:4])
        nisa.dma_copy(result.ap([[16, 1], [1, 16]], scalar_offset=place), row)
        nisa.dma_copy(result[7:8], table[7:8])
        return result

    table, index = np.zeros((8, 16), np.float32), np.zeros((1, 1), np.int32)
    edges = dependences(launch.trace(kernel, table, index, target="trn2"))
    assert edges.of(3) == ((0, Kind.RAW), (1, Kind.RAW), (2, Kind.WAW))
    assert edges.of(4) == ((3, Kind.WAW),)


def test_registers_order_their_readers() -> None:
    @nki.jit
    def kernel(source: Any) -> Any:
        result = nl.ndarray((4,), dtype=nl.int32, buffer=nl.shared_hbm)
        register = nisa.register_alloc(3)
        nisa.register_store(result[0:1], register)
        nisa.register_move(register, 4)
        nisa.register_store(result[1:2], register)
        nisa.dma_copy(result[2:4], source[2:4])
        return result

    edges = dependences(launch.trace(kernel, np.zeros(4, np.int32), target="trn2"))
    assert edges.of(1) == ((0, Kind.REGISTER),)
    assert edges.of(2) == ((1, Kind.REGISTER),)
    assert edges.of(3) == ((2, Kind.REGISTER),)
    assert edges.of(4) == ()


# -- loops ------------------------------------------------------------------------------------------------------------


def looped(*loops: Loop, count: int = 6) -> Program:
    with tracing() as trace:
        tensor = hbm(trace, (4, 8))
        for _ in range(count):
            trace.emit(touch, (tensor, None, None))
    return trace.program([], []).replace(loops=loops)


def test_unroll_repeats_bodies_and_assumes_unknown_bounds() -> None:
    inner = Loop(kind="for", begin=2, end=3, register=0, upper=2)
    outer = Loop(kind="for", begin=1, end=4, register=0, lower=0, upper=6, step=3)
    open_ended = Loop(kind="for", begin=4, end=5, register=0, upper_register=0)
    program = looped(inner, outer, open_ended)
    body = [1, 2, 2, 3]
    assert unroll(program, 3).tolist() == [0, *body, *body, 4, 4, 4, 5]
    assert unroll(program, 0).tolist() == [0, *body, *body, 5]
    assert unroll(looped()).tolist() == list(range(6))


def test_unroll_orders_iterations_and_extra_edges() -> None:
    program = looped(Loop(kind="for", begin=1, end=3, register=0, upper=2)).replace(edges=((0, 2), (1, 5)))
    steps = unroll(program)
    edges = dependences(program, steps)
    assert steps.tolist() == [0, 1, 2, 1, 2, 3, 4, 5]
    assert edges.of(4) == ((0, Kind.EXTRA), (3, Kind.WAW))  # the second iteration's
    assert edges.of(7) == ((3, Kind.EXTRA), (6, Kind.WAW))  # after the last execution of instruction 1


@pytest.mark.parametrize(
    ("program", "trips", "what"),
    [
        (looped(Loop(kind="for", begin=0, end=6, register=0, upper=10**9)), 1, "loop"),
        (looped(Loop(kind="while", begin=0, end=6, register=0)), 10**8, "loop"),
        (looped(), -1, "assumed_trips"),
    ],
)
def test_unroll_says_what_it_cannot_do(program: Program, trips: int, what: str) -> None:
    with pytest.raises(TimelineError) as caught:
        unroll(program, trips)
    assert caught.value.what == what


# -- footprints -------------------------------------------------------------------------------------------------------


def test_an_uneven_grid_is_coarsened_and_still_orders_every_conflict(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(footprint, "_CELLS_PER_FOOTPRINT", 0.01)
    with tracing() as trace:
        tensor = hbm(trace, (4, 64))
        for column in range(63):
            trace.emit(touch, (tensor[:, column : column + 2], tensor, None))
    program = trace.program([], [])
    found = pairs(dependences(program))
    assert conflicts(program) <= closure(found, len(program))


@pytest.mark.slow
def test_a_hundred_thousand_tiled_instructions_have_as_many_edges_as_they_need() -> None:
    with tracing() as trace:
        source, result = hbm(trace, (8192, 8192)), hbm(trace, (8192, 8192))
        for number in range(50_000):
            row, column = number // 16 % 64 * 128, number % 16 * 512
            tile = trace.allocate((128, 512), "float32")
            trace.emit(touch, (tile, source[row : row + 128, column : column + 512], None))
            trace.emit(touch, (result[row : row + 128, column : column + 512], tile, None))
    program = trace.program([], [])
    edges = dependences(program)
    # One edge from each load to its store, and one from each store to the next on the same tile.
    assert len(edges) == 50_000 + 50_000 - 1024
