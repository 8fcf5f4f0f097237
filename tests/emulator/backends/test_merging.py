"""Which loops run their iterations at once: independent ones, and no others."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import event, given, settings, strategies as st

import trnlab.emulator.nki as nki
import trnlab.emulator.nki.isa as nisa
import trnlab.emulator.nki.language as nl
from tests.emulator.backends.harness import hbm, load, normal, planned, same_bits_rolled, tile
from tests.emulator.backends.random_kernels import arguments, kernel_of
from tests.emulator.backends.random_recipes import random_recipe
from tests.emulator.backends.test_storage import executions
from trnlab.emulator.backends import merging
from trnlab.emulator.backends.merging import is_parallel
from trnlab.emulator.backends.storage import Storage
from trnlab.emulator.nest import Block
from trnlab.emulator.program import OperandSignature
from trnlab.emulator.repeats import Repeat

X = normal(0, 8, 48)
INDEX = np.array([[0, 1, 2, 3, 4, 5]], np.int32)


def columns(x: Any, number: int, width: int = 8) -> Any:
    return x[:, width * number : width * number + width]


def parallel(body: Callable[..., Any], *args: Any) -> list[tuple[int, bool]]:
    """(trips, whether the iterations are independent) of every repeat of a kernel, in order, outer before inner."""
    storage = planned(nki.jit(body), *args).storage
    blocks = [block for block in storage.paths if isinstance(block.loop, Repeat)]
    return [(block.loop.trips, is_parallel(storage, block)) for block in blocks if isinstance(block.loop, Repeat)]


# -- what is -----------------------------------------------------------------------------------------------------------


def disjoint_tiles(x):
    out = hbm(8, 48)
    for i in range(6):
        nisa.dma_copy(columns(out, i), load(columns(x, i)))
    return out


def disjoint_rows(x):
    out = hbm(6, 8, 8)
    for i in range(6):
        nisa.dma_copy(out[i], load(columns(x, i)))
    return out


def backwards(x):
    out = hbm(8, 48)
    for i in range(6):
        nisa.dma_copy(columns(out, 5 - i), load(columns(x, i)))
    return out


def interleaved_columns(x):
    out = hbm(8, 48)
    for i in range(6):
        nisa.dma_copy(out[:, i:48:6], load(columns(x, i)))
    return out


def partition_quadrants(x):
    kept, out = tile(128, 8), hbm(128, 8)
    for i in range(4):
        nisa.dma_copy(kept[32 * i : 32 * i + 8], columns(x, i))
    nisa.dma_copy(out, kept)
    return out


def a_list_of_tiles(x):
    out = hbm(8, 48)
    kept = [load(columns(x, i)) for i in range(6)]
    for i in range(6):
        nisa.tensor_scalar(kept[i], kept[i], nl.add, 1.0)
    for i in range(6):
        nisa.dma_copy(columns(out, i), kept[i])
    return out


def in_place_on_its_own_tile(x):
    for i in range(6):
        piece = load(columns(x, i))
        nisa.tensor_scalar(piece, piece, nl.add, 1.0)
        nisa.dma_copy(columns(x, i), piece)
    return x


def a_reused_tile(x):
    """One name for all: overwritten whole, so that no iteration sees another's."""
    out, kept = hbm(8, 48), tile()
    for i in range(6):
        nisa.dma_copy(kept, columns(x, i))
        nisa.tensor_scalar(kept, kept, nl.add, 1.0)
        nisa.dma_copy(columns(out, i), kept)
    return out


def different_numbers(x):
    out = hbm(8, 48)
    for i in range(6):
        piece = load(columns(x, i))
        nisa.tensor_scalar(piece, piece, nl.multiply, 1 / (1 + i))
        nisa.dma_copy(columns(out, i), piece)
    return out


@pytest.mark.parametrize(
    "body",
    [
        disjoint_tiles,
        disjoint_rows,
        backwards,
        interleaved_columns,
        partition_quadrants,
        a_list_of_tiles,
        in_place_on_its_own_tile,
        a_reused_tile,
        different_numbers,
    ],
)
def test_independent_iterations(body: Callable[..., Any]) -> None:
    found = parallel(body, X)
    assert found
    assert all(is_independent for _, is_independent in found)


# -- what is not -------------------------------------------------------------------------------------------------------


def a_carried_sum(x):
    total, out = tile(), hbm(8, 8)
    nisa.memset(total, 0.0)
    for i in range(6):
        nisa.tensor_tensor(total, total, load(columns(x, i)), nl.add)
    nisa.dma_copy(out, total)
    return out


def a_carried_chain_of_tiles(x):
    last, out = load(columns(x, 0)), hbm(8, 8)
    for i in range(6):
        following = tile()
        nisa.tensor_tensor(following, last, load(columns(x, i)), nl.add)
        last = following
    nisa.dma_copy(out, last)
    return out


def overlapping_writes(x):
    out = hbm(8, 48)
    for i in range(6):
        nisa.dma_copy(out[:, 4 * i : 4 * i + 8], load(columns(x, i)))
    return out


def writes_that_overlap_in_one_row(x):
    """Rows of 10 in a buffer of pitch 8, iterations 9 apart: each ends where the next begins."""
    out = hbm(80)
    for i in range(6):
        nisa.dma_copy(out[9 * i : 9 * i + 10], load(x[0:1, i : i + 10]).reshape((1, 10)))
    return out


def writes_that_wrap_into_the_next_row(x):
    """Windows of 8 x 2 elements at pitch 6, one window every 2: the fourth is the first, one row further."""
    out = hbm(100)
    for i in range(6):
        nisa.dma_copy(out.ap([[6, 8], [1, 2]], 2 * i), load(x[:, 2 * i : 2 * i + 2]))
    return out


def one_place_for_all(x):
    out = hbm(8, 8)
    for i in range(6):
        nisa.dma_copy(out[:, 0:7], load(columns(x, i))[:, 0:7])
    return out


def reads_of_the_neighbour(x):
    for i in range(1, 6):
        piece = load(columns(x, i - 1))
        nisa.dma_copy(columns(x, i), piece)
    return x


def swaps(x):
    for i in range(3):
        low, high = load(columns(x, i)), load(columns(x, 5 - i))
        nisa.dma_copy(columns(x, i), high)
        nisa.dma_copy(columns(x, 5 - i), low)
    return x


def a_partly_written_tile(x):
    """What the one iteration leaves in the other half the next one sees."""
    out, kept = hbm(8, 48), tile()
    for i in range(6):
        nisa.dma_copy(kept[:, 0:4], columns(x, i)[:, 0:4])
        nisa.dma_copy(columns(out, i), kept)
    return out


def a_permuted_visit(x):
    out = hbm(8, 48)
    for i, number in enumerate([3, 0, 5, 4, 1, 2]):
        nisa.dma_copy(columns(out, number), load(columns(x, i)))
    return out


def printed(x):
    out = hbm(8, 48)
    for i in range(6):
        piece = load(columns(x, i))
        nl.device_print("piece", piece)
        nisa.dma_copy(columns(out, i), piece)
    return out


def random_draws(x):
    out = hbm(8, 48, dtype=nl.uint32)
    for i in range(6):
        piece = tile(dtype=nl.uint32)
        nisa.rng(piece)
        nisa.dma_copy(columns(out, i), piece)
    return out


@pytest.mark.parametrize(
    "body",
    [
        a_carried_sum,
        a_carried_chain_of_tiles,
        overlapping_writes,
        writes_that_overlap_in_one_row,
        writes_that_wrap_into_the_next_row,
        one_place_for_all,
        reads_of_the_neighbour,
        swaps,
        a_partly_written_tile,
        a_permuted_visit,
        printed,
        random_draws,
    ],
)
def test_dependent_iterations(body: Callable[..., Any]) -> None:
    found = parallel(body, X)
    assert found
    assert not any(is_independent for _, is_independent in found)


def test_indirect_operands_run_one_by_one() -> None:
    def gathers(x, index):
        out, rows = hbm(6, 1, 48), load(index)
        for i in range(6):
            nisa.dma_copy(out[i], x.vector_select(0, rows[0:1, i : i + 1]))
        return out

    assert parallel(gathers, X, INDEX) == [(6, False)]


def test_the_loops_of_a_matmul() -> None:
    """Rows and columns of tiles are independent, the contraction is not; ragged rows are a loop's end of their own."""

    def matmul(a, b):
        out = hbm(35, 24)
        for m in range(0, 35, 8):
            rows = min(8, 35 - m)
            for n in range(0, 24, 8):
                bank, result = tile(rows, 8, buffer=nl.psum), tile(rows, 8)
                for k in range(0, 64, 8):
                    nisa.nc_matmul(bank, load(a[k : k + 8, m : m + rows]), load(b[k : k + 8, n : n + 8]))
                nisa.tensor_copy(result, bank)
                nisa.dma_copy(out[m : m + rows, n : n + 8], result)
        return out

    found = parallel(matmul, normal(0, 64, 35), normal(1, 64, 24))
    # The first product of each contraction overwrites and stands before its loop, which has 7 more.
    assert found == [(4, True), (3, True), (7, False), (3, True), (7, False)]


def test_triangular_loops_run_one_by_one_and_so_does_what_steers_them() -> None:
    def triangle(x):
        out = hbm(6, 8, 48)
        for i in range(6):
            for j in range(i + 1):
                nisa.dma_copy(columns(out[i], j), load(columns(x, j)))
        return out

    assert parallel(triangle, X) == [(6, False), (6, False)]


def test_independent_loops_around_and_inside_dependent_ones() -> None:
    def mixed(x):
        out = hbm(4, 8, 48)
        for i in range(4):
            total = tile(8, 48)
            nisa.memset(total, 0.0)
            for _ in range(3):
                for j in range(6):
                    nisa.tensor_scalar(columns(total, j), columns(total, j), nl.add, 1.0)
            nisa.dma_copy(out[i], total)
        return out

    assert parallel(mixed, X) == [(4, True), (3, False), (6, True)]


# -- any program -------------------------------------------------------------------------------------------------------


class Touched:
    """Who read and wrote every byte of one storage, iteration by iteration: NOBODY, a number, or SEVERAL."""

    def __init__(self, nbytes: int) -> None:
        self.reader, self.writer = np.full((2, nbytes), NOBODY)

    def note(self, at: np.ndarray, iteration: int, operand: OperandSignature) -> None:
        """Raises AssertionError when another iteration wrote here, or when this one writes where another one was."""
        assert np.isin(self.writer[at], [NOBODY, iteration]).all()
        if operand.writes:
            assert np.isin(self.reader[at], [NOBODY, iteration]).all()
            self.writer[at] = iteration
        if operand.reads:
            self.reader[at] = np.where(np.isin(self.reader[at], [NOBODY, iteration]), iteration, SEVERAL)


NOBODY, SEVERAL = -1, -2


def bytes_of(operand: OperandSignature, start: int) -> np.ndarray:
    """The bytes that an operand reaches from a start in elements; those of an indirect one are not known."""
    assert operand.indirection is None
    elements = sum(
        np.arange(n).reshape(-1, *[1] * (len(operand.shape) - 1 - d)) * s
        for d, (n, s) in enumerate(zip(operand.shape, operand.strides, strict=True))
    )
    item = operand.dtype.itemsize
    return ((np.asarray(elements).reshape(-1, 1) + start) * item + np.arange(item)).reshape(-1)


def check_apart(storage: Storage, block: Block) -> None:
    """Iterations of a repeat touch nothing of each other, whatever the iterations of those around it."""
    depth = [b for b in storage.paths[block] if isinstance(b.loop, Repeat)].index(block)
    touched: dict[Any, Touched] = {}
    for execution in executions(storage):
        family = storage.families[int(storage.family_of[execution.row])]
        if execution.row not in storage.rows(block) or storage.owns(block, family):
            continue
        operand = storage.operand(execution.row)
        around = (*execution.iterations[:depth], family.number)
        each = family.buffer.nbytes // operand.dtype.itemsize
        at = bytes_of(operand, execution.slot * each + execution.offset)
        touched.setdefault(around, Touched(family.nbytes)).note(at, execution.iterations[depth], operand)


@pytest.mark.parametrize("seed", range(60))
def test_parallel_iterations_touch_nothing_of_each_other(seed: int) -> None:
    """Byte by byte: what one iteration writes, no other reads or writes."""
    storage = planned(kernel_of(random_recipe(Random(seed), 80)), *arguments(seed)).storage
    for block in storage.paths:
        if isinstance(block.loop, Repeat) and is_parallel(storage, block):
            check_apart(storage, block)


class Window(NamedTuple):
    """A part of one tensor that an instruction reads or writes; loops around move it by `steps`, outermost first."""

    writes: bool
    shape: tuple[int, int]
    strides: tuple[int, int]
    offset: int
    steps: tuple[int, int, int]


SPACE = 600


@st.composite
def windows(draw: st.DrawFn) -> tuple[tuple[int, int, int], list[Window]]:
    """Trips of three nested loops, and windows that step alike through the middle one more often than not."""
    trips = tuple(draw(st.sampled_from(choice)) for choice in ([1, 2, 3], [2, 3, 4], [1, 2, 3]))
    steps = st.sampled_from([0, 1, 2, 4, 8, 12, 16, 32, 48, -4, -8])
    common = draw(st.tuples(steps, steps, steps))
    found = []
    for number in range(draw(st.integers(1, 3))):
        moves = tuple(c if draw(st.integers(0, 3)) else draw(steps) for c in common)
        shape = draw(st.tuples(st.integers(1, 3), st.integers(1, 4)))
        strides = draw(st.tuples(st.sampled_from([4, 8, 12, 16, 24, 48]), st.sampled_from([1, 1, 2])))
        found.append(Window(not number or draw(st.booleans()), shape, strides, draw(st.integers(100, 140)), moves))
    return trips, found  # type: ignore[return-value]


@settings(max_examples=200)
@given(windows())
def test_windows_of_one_tensor(nest_of_windows: tuple[tuple[int, int, int], list[Window]]) -> None:
    """Whatever runs at once is apart, in every iteration of the loops around; strides and steps are in elements."""
    trips, found = nest_of_windows

    def nested(x):
        for counters in np.ndindex(*trips):
            for window in found:
                offset = window.offset + sum(s * c for s, c in zip(window.steps, counters, strict=True))
                pattern = [[s, n] for s, n in zip(window.strides, window.shape, strict=True)]
                part = x.ap(pattern, offset)
                piece = tile(*window.shape)
                nisa.dma_copy(part, piece) if window.writes else nisa.dma_copy(piece, part)
        return x

    storage = planned(nki.jit(nested), np.zeros(SPACE, np.float32)).storage
    for block in storage.paths:
        if isinstance(block.loop, Repeat) and is_parallel(storage, block):
            check_apart(storage, block)
            event("independent")


def test_places_that_a_loop_around_moves_apart() -> None:
    """At first an iteration reads what it writes itself; later it writes what the next one reads."""

    def shifted(x):
        for o in range(3):
            for i in range(4):
                piece = load(columns(x, i))
                nisa.tensor_scalar(piece, piece, nl.add, 1.0)
                nisa.dma_copy(columns(x, i + o), piece)
        return x

    assert parallel(shifted, X) == [(3, False), (4, False)]
    same_bits_rolled(nki.jit(shifted), X)


# -- how many at a time ------------------------------------------------------------------------------------------------


@given(st.integers(1, 500), st.integers(1, 600))
def test_rounds_are_as_large_as_they_may_and_even_where_that_costs_little(trips: int, most: int) -> None:
    size = merging._round_size(trips, most)
    assert 1 <= size <= min(most, trips)
    fewest = -(-trips // most)
    assert -(-trips // size) <= 2 * fewest
    if trips <= most:
        assert size == trips
    divisors = [d for d in range(1, trips + 1) if trips % d == 0 and d <= most and trips // d <= 2 * fewest]
    assert size == max(divisors) if divisors else trips % size
