"""Folding: which patterns of Python loops come back as loops, what must not fold, and that nothing is lost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import trnlab.emulator.nki.isa as nisa
import trnlab.emulator.nki.language as nl
from tests.emulator.folding import P, folded, rows, tile, traced, trips
from tests.emulator.synthetic import Recorder
from trnlab.emulator import launch
from trnlab.emulator.fold import fold
from trnlab.emulator.repeats import outermost_first
from trnlab.kernels.attention import flash_attention
from trnlab.kernels.matmul import matmul

# -- patterns of kernels ---------------------------------------------------------------------------------------------


def test_a_range_loop_with_fresh_tiles() -> None:
    def kernel(x):
        for i in range(10):
            t = tile()
            nisa.dma_copy(t, rows(x, i))
            nisa.dma_copy(rows(x, i + 16), t)
        return x

    result = traced(kernel)
    assert len(result) == 2
    assert len(result.flat) == 20
    assert trips(result) == [(0, 10)]
    (repeat,) = result.repeats
    # t, x, x, t: a fresh tile is one further in its class, x stays and advances by 128 rows of 64 elements.
    assert repeat.steps.tolist() == [[1, 0], [0, 128 * 64], [0, 128 * 64], [1, 0]]


def test_several_fresh_tiles_in_each_iteration() -> None:
    def kernel(x):
        for i in range(6):
            first, second = tile(), tile()
            nisa.dma_copy(first, rows(x, i))
            nisa.dma_copy(second, rows(x, 31 - i))
            third = tile()
            nisa.tensor_tensor(third, first, second, nl.add)
            nisa.dma_copy(rows(x, i), third)
        return x

    result = traced(kernel)
    assert len(result) == 4
    assert trips(result) == [(0, 6)]
    assert sorted({step for step, _ in result.repeats[0].steps.tolist()}) == [0, 3]


def test_five_levels_of_nesting() -> None:
    def kernel(x):
        t = tile()

        def level(depth: int) -> None:
            for i in range(3):
                nisa.memset(t[0 : 32 * (depth + 1) % 128 or 128], float(depth))
                if depth < 5:
                    level(depth + 1)
                nisa.tensor_scalar(t, t, nl.multiply, float(depth), op1=nl.add, operand1=float(i))

        level(0)
        return x

    result = traced(kernel)
    # 6 levels of 3 trips with 2 instructions each: 2 * (3 + 9 + ... + 729)
    assert len(result.flat) == 2 * sum(3**depth for depth in range(1, 7))
    assert len(result) == 12
    assert trips(result) == [(depth, 3) for depth in range(6)]


def test_double_buffering() -> None:
    def kernel(x):
        tiles = [tile(), tile()]
        for i in range(16):
            nisa.dma_copy(tiles[i % 2], rows(x, i))
            nisa.dma_copy(rows(x, i), tiles[i % 2])
        return x

    result = traced(kernel)
    assert len(result) == 4  # one iteration with each tile
    assert trips(result) == [(0, 8)]
    assert not result.repeats[0].tables


def test_lists_of_tiles_kept_across_loops_and_walked_backwards() -> None:
    def kernel(x):
        tiles = []
        for i in range(12):
            tiles.append(tile())
            nisa.dma_copy(tiles[i], rows(x, i))
        for i, t in enumerate(tiles):
            nisa.dma_copy(rows(x, 20 + i), t)
        for t in reversed(tiles):
            nisa.memset(t, 0.0)
        return x

    result = traced(kernel)
    assert len(result) == 3
    assert trips(result) == [(0, 12), (0, 12), (0, 12)]
    assert [repeat.steps[:, 0].tolist() for repeat in result.repeats] == [[1, 0], [0, 1], [-1]]


def test_a_first_iteration_that_differs_is_a_prologue() -> None:
    def kernel(x):
        w = nl.ndarray((P, 64), dtype=nl.float32)
        nisa.memset(w, 1.0)
        for _ in range(4):
            bank = nl.ndarray((64, 64), dtype=nl.float32, buffer=nl.psum)
            for k in range(9):
                nisa.nc_matmul(bank, w, w, accumulate=k > 0)
            nisa.tensor_copy(w[0:64], bank)
        return x

    result = traced(kernel)
    assert len(result) == 1 + 3  # memset; the first product, the other 8, the copy
    assert trips(result) == [(0, 4), (1, 8)]


def test_a_ragged_last_tile_is_an_epilogue() -> None:
    def kernel(x):
        for start in range(0, 1000, P):  # 7 tiles of 128 rows and one of 104
            size = min(P, 1000 - start)
            t = nl.ndarray((size, 64), dtype=nl.float32)
            nisa.dma_copy(t, x[start : start + size])
            nisa.dma_copy(x[2000 + start : 2000 + start + size], t)
        return x

    result = traced(kernel)
    assert len(result) == 4
    assert trips(result) == [(0, 7)]


def test_a_while_loop_with_a_ragged_end() -> None:
    def kernel(x):
        start = 0
        while start < 1000:  # 7 tiles of 128 rows and one of 104
            stop = min(start + P, 1000)
            t = nl.ndarray((stop - start, 64), dtype=nl.float32)
            nisa.dma_copy(t, x[start:stop])
            nisa.dma_copy(x[2000 + start : 2000 + stop], t)
            start = stop
        return x

    result = traced(kernel)
    assert len(result) == 2 + 2
    assert trips(result) == [(0, 7)]


@pytest.mark.parametrize("loop", [nl.affine_range, nl.sequential_range, nl.static_range])
def test_loops_over_nki_ranges(loop: Callable[[int], Any]) -> None:
    def kernel(x):
        for i in loop(6):
            for j in loop(5):
                t = tile()
                nisa.dma_copy(t, rows(x, i + j))
            nisa.dma_copy(rows(x, i + 16), t)
        return x

    result = traced(kernel)
    assert len(result) == 2
    assert trips(result) == [(0, 6), (1, 5)]


def test_helper_functions_that_several_loops_call() -> None:
    def kernel(x):
        def load(i):
            t = tile()
            nisa.dma_copy(t, rows(x, i))
            nisa.tensor_scalar(t, t, nl.multiply, 2.0)
            return t

        kept = [load(i) for i in range(6)]
        for i in range(10):
            t = load(i)
            nisa.tensor_tensor(t, t, kept[0], nl.add)
            nisa.dma_copy(rows(x, i), t)
        return x

    result = traced(kernel)
    assert len(result) == 2 + (2 + 2)
    assert trips(result) == [(0, 6), (0, 10)]


def test_software_pipelined_prefetch() -> None:
    def kernel(x):
        def load(i):
            t = tile()
            nisa.dma_copy(t, rows(x, i))
            return t

        current = load(0)
        for i in range(9):
            following = load(i + 1)
            nisa.dma_copy(rows(x, 16 + i), current)
            current = following
        nisa.dma_copy(rows(x, 25), current)
        return x

    result = traced(kernel)
    assert len(result) == 1 + 2 + 1  # the first load, a load and a store, the last store
    assert trips(result) == [(0, 9)]
    # The tile that is stored is the one before the tile that is loaded: both are one further in every iteration.
    assert [step for step, _ in result.repeats[0].steps.tolist()] == [1, 0, 0, 1]


def test_prefetch_into_two_alternating_tiles() -> None:
    def kernel(x):
        tiles = [tile(), tile()]
        nisa.dma_copy(tiles[0], rows(x, 0))
        for i in range(16):
            nisa.dma_copy(tiles[(i + 1) % 2], rows(x, i + 1))
            nisa.dma_copy(rows(x, i), tiles[i % 2])
        return x

    result = traced(kernel)
    assert len(result) == 1 + 4  # two iterations, one for each tile, are one
    assert trips(result) == [(0, 8)]
    assert not result.repeats[0].tables


def test_three_rotating_tiles() -> None:
    def kernel(x):
        tiles = [tile() for _ in range(3)]
        for i in range(30):
            nisa.dma_copy(tiles[i % 3], rows(x, i))
            nisa.tensor_scalar(tiles[i % 3], tiles[i % 3], nl.multiply, 2.0)
        return x

    result = traced(kernel)
    assert len(result) == 2
    assert trips(result) == [(0, 10), (1, 3)]  # through the tiles, ten times
    outer, inner = outermost_first(result.repeats)
    assert [step for step, _ in outer.steps.tolist()] == [0] * 4
    assert [step for step, _ in inner.steps.tolist()] == [1, 0, 1, 1]


def test_a_permuted_list_takes_a_table() -> None:
    order = [5, 0, 9, 3, 11, 1, 7, 10, 2, 8, 6, 4]

    def kernel(x):
        tiles = [tile() for _ in order]
        for t in tiles:
            nisa.memset(t, 0.0)
        for i, place in enumerate(order):
            nisa.dma_copy(rows(x, i), tiles[place])
        return x

    result = traced(kernel)
    assert len(result) == 2
    assert trips(result) == [(0, 12), (0, 12)]
    _, repeat = result.repeats
    (table,) = repeat.tables
    assert table.values.tolist() == [place - 5 for place in order]  # from the first iteration on
    assert repeat.steps.tolist() == [[0, 128 * 64], [0, 0]]


def test_immediates_that_vary_take_tables_over_the_loops_that_matter() -> None:
    recorder = Recorder()
    t = recorder.tile()
    for i in range(3):
        for j in range(5):
            recorder.emit("a", (t, 0), values=(0.1 * i, j / 3, i**0.5 + j**0.5, 7.25))
        recorder.emit("b", (t, i), values=(-0.0 if i else 0.0,))
    result = folded(recorder.program())
    assert len(result) == 2
    outer, inner = outermost_first(result.repeats)
    assert [table.number for table in inner.immediates] == [0, 1, 2]
    assert [table.values.shape for table in inner.immediates] == [(3, 1), (1, 5), (3, 5)]
    assert inner.immediates[2].values.tolist() == [[i**0.5 + j**0.5 for j in range(5)] for i in range(3)]
    (signs,) = outer.immediates
    assert np.signbit(signs.values).tolist() == [False, True, True]  # zeros that differ in their bits only


def test_nan_immediates_keep_their_bits() -> None:
    recorder = Recorder()
    t = recorder.tile()
    odd = np.asarray([0x7FF8000000000001, 0x7FF8000000000002], np.int64).view(np.float64)
    for i in range(12):
        recorder.emit("a", (t, i), values=(float(odd[0]), float(odd[i % 2])))
    program = recorder.program()
    result = fold(program)
    assert len(result) == 1
    assert [table.number for table in result.repeats[0].immediates] == [1]
    np.testing.assert_array_equal(result.flat.immediates.view(np.int64), program.immediates.view(np.int64))


# -- kernels of the library ------------------------------------------------------------------------------------------


def test_a_matmul_is_six_instructions() -> None:
    operand = np.zeros((2048, 2048), ml_dtypes.bfloat16)
    result = traced(matmul, operand, operand)
    # Per block of columns: 16 + 16 loads, then 4 x 4 sums of 16 products and a copy, and a store per row of tiles.
    assert len(result.flat) == 4 * (16 + 16 + 4 * (4 * (16 + 1) + 1))
    assert len(result) == 6  # the first product clears the bank, the other 15 accumulate
    assert trips(result) == [(0, 4), (1, 16), (1, 16), (1, 4), (2, 4), (3, 15)]


def test_attention_folds() -> None:
    q, k, v = (np.zeros((heads, 2048, 64), ml_dtypes.bfloat16) for heads in (4, 1, 1))
    result = folded(launch.trace(flash_attention, q, k, v, causal=False))
    assert len(result) <= 60 < len(result.flat) // 50
    assert not any(repeat.trip_table is not None for repeat in result.repeats)  # all iterations are equally long
