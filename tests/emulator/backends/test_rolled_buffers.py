"""Kernels with every kind of Python loop, compiled and reference, bit for bit: what lives in which buffer how long."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import trnlab.emulator.nki as nki
import trnlab.emulator.nki.isa as nisa
import trnlab.emulator.nki.language as nl
from tests.emulator.backends.harness import hbm, load, normal, same_bits_rolled, store, tile


def columns(x: Any, number: int, width: int = 8) -> Any:
    return x[:, width * number : width * number + width]


@pytest.mark.parametrize("count", [7, 8])
def test_double_buffering(count: int) -> None:
    """Two tiles take turns; the next one is loaded before the last one is used."""

    @nki.jit
    def pipelined(x):
        buffers, out = [tile(), tile()], hbm(*x.shape)
        nisa.dma_copy(buffers[0], columns(x, 0))
        for i in range(count):
            if i + 1 < count:
                nisa.dma_copy(buffers[(i + 1) % 2], columns(x, i + 1))
            result = tile()
            nisa.tensor_scalar(result, buffers[i % 2], nl.multiply, 3.0)
            nisa.dma_copy(columns(out, i), result)
        return out

    x = normal(0, 8, 8 * count)
    np.testing.assert_array_equal(same_bits_rolled(pipelined, x), 3 * x)


def test_buffers_that_swap_roles() -> None:
    """Ping-pong: what was written is read next, by names that Python exchanges."""

    @nki.jit
    def smoothed(x):
        now, then = load(x), tile(8, 16)
        for _ in range(6):
            nisa.tensor_copy(then[:, 0:1], now[:, 0:1])
            nisa.tensor_tensor(then[:, 1:16], now[:, 1:16], now[:, 0:15], nl.add)
            now, then = then, now
        return store(now), store(then)

    x = normal(0, 8, 16)
    now, _ = same_bits_rolled(smoothed, x)
    expected = x
    for _ in range(6):
        expected = np.concatenate([expected[:, :1], expected[:, 1:] + expected[:, :-1]], 1)
    np.testing.assert_array_equal(now, expected)


def test_several_buffers_per_iteration() -> None:
    @nki.jit
    def many(x, y):
        out = hbm(*x.shape)
        for i in range(5):
            a, b = load(columns(x, i)), load(columns(y, i))
            total, product, half = tile(), tile(), tile(dtype=nl.bfloat16)
            nisa.tensor_tensor(total, a, b, nl.add)
            nisa.tensor_tensor(product, a, b, nl.multiply)
            nisa.tensor_copy(half, product)
            nisa.tensor_tensor(total, total, half, nl.subtract)
            nisa.dma_copy(columns(out, i), total)
        return out

    same_bits_rolled(many, normal(0, 8, 40), normal(1, 8, 40), merged=True)


def test_lists_of_tiles_kept_across_loops_and_visited_in_another_order() -> None:
    order = [3, 0, 4, 1, 5, 2]

    @nki.jit
    def shuffled(x):
        kept = [load(columns(x, i)) for i in range(6)]
        out, backwards, total = hbm(*x.shape), hbm(*x.shape), tile()
        nisa.memset(total, 0.0)
        for i, number in enumerate(order):
            nisa.dma_copy(columns(out, i), kept[number])
        for i in range(6):
            nisa.tensor_scalar(kept[5 - i], kept[5 - i], nl.add, 1.0)
            nisa.dma_copy(columns(backwards, i), kept[5 - i])
        for i in range(0, 6, 2):
            nisa.tensor_tensor(total, total, kept[i], nl.add)
        return out, backwards, store(total)

    x = normal(0, 8, 48)
    out, backwards, total = same_bits_rolled(shuffled, x)
    np.testing.assert_array_equal(out, np.concatenate([columns(x, i) for i in order], 1))
    np.testing.assert_array_equal(backwards, np.concatenate([columns(x, 5 - i) + 1 for i in range(6)], 1))
    expected = ((columns(x, 0) + 1) + (columns(x, 2) + 1)) + (columns(x, 4) + 1)
    np.testing.assert_array_equal(total, expected)


def test_lists_of_lists_and_lists_filled_anew_in_every_iteration() -> None:
    @nki.jit
    def products(x, y):
        left = [[load(x[8 * i : 8 * i + 8, 8 * j : 8 * j + 8]) for j in range(3)] for i in range(2)]
        out = hbm(2, 2, 8, 8)
        for n in range(2):
            right = [load(y[8 * j : 8 * j + 8, 8 * n : 8 * n + 8]) for j in range(3)]
            for i in range(2):
                total = tile()
                nisa.memset(total, 0.0)
                for j in range(3):
                    part = tile()
                    nisa.tensor_tensor(part, left[i][j], right[j], nl.multiply)
                    nisa.tensor_tensor(total, total, part, nl.add)
                nisa.dma_copy(out[i, n], total)
        return out

    x, y = normal(0, 16, 24), normal(1, 24, 16)
    result = same_bits_rolled(products, x, y)
    for i, n in np.ndindex(2, 2):
        total = np.zeros((8, 8), np.float32)
        for j in range(3):
            rows = slice(8 * j, 8 * j + 8)
            total = total + x[8 * i : 8 * i + 8, rows] * y[rows, 8 * n : 8 * n + 8]
        np.testing.assert_array_equal(result[i, n], total)


def test_accumulators_updated_in_place() -> None:
    """A sum, a maximum and a running product, each read and written by every iteration."""

    @nki.jit
    def running(x):
        total, largest, prefix = tile(), load(columns(x, 0)), hbm(*x.shape)
        nisa.memset(total, 0.0)
        for i in range(6):
            piece = load(columns(x, i))
            nisa.tensor_tensor(total, total, piece, nl.add)
            nisa.tensor_tensor(largest, piece, largest, nl.maximum)
            nisa.dma_copy(columns(prefix, i), total)
        return store(total), store(largest), prefix

    x = normal(0, 8, 48)
    total, largest, prefix = same_bits_rolled(running, x)
    expected = np.zeros((8, 8), np.float32)
    for i in range(6):
        expected = expected + columns(x, i)
        np.testing.assert_array_equal(columns(prefix, i), expected)
    np.testing.assert_array_equal(total, expected)
    np.testing.assert_array_equal(largest, x.reshape(8, 6, 8).max(1))


def test_accumulators_that_are_new_in_every_iteration() -> None:
    """The online softmax: each step hands two new tiles to the next one."""

    @nki.jit
    def online(x):
        largest, total = tile(8, 1), tile(8, 1)
        nisa.tensor_reduce(largest, nl.maximum, columns_in(x, 0), axis=1)
        nisa.memset(total, 0.0)
        for i in range(6):
            piece, part = columns_in(x, i), tile(8, 1)
            nisa.tensor_reduce(part, nl.maximum, piece, axis=1)
            new_largest, decay, new_total, weights, sums = tile(8, 1), tile(8, 1), tile(8, 1), tile(), tile(8, 1)
            nisa.tensor_tensor(new_largest, largest, part, nl.maximum)
            nisa.tensor_tensor(decay, largest, new_largest, nl.subtract)
            nisa.activation(decay, nl.exp, decay)
            nisa.tensor_scalar(weights, piece, nl.subtract, new_largest)
            nisa.activation_reduce(weights, nl.exp, weights, nl.add, sums)
            nisa.scalar_tensor_tensor(new_total, total, nl.multiply, decay, nl.add, sums)
            largest, total = new_largest, new_total
        return store(largest), store(total)

    def columns_in(x: Any, number: int) -> Any:
        return load(columns(x, number))

    x = normal(0, 8, 48)
    largest, total = same_bits_rolled(online, x)
    np.testing.assert_array_equal(largest[:, 0], x.max(1))
    np.testing.assert_allclose(total[:, 0], np.exp(x.astype(np.float64) - x.max(1, keepdims=True)).sum(1), rtol=1e-5)


def test_partial_writes_to_tiles_kept_outside() -> None:
    """Columns, interleaved columns and quadrants of rows; the rest stays as it was, or uninitialised."""

    @nki.jit
    def parts(x):
        kept, sparse, blank = load(x), load(x), tile(128, 48)
        for i in range(5):
            nisa.tensor_scalar(kept[:, 8 * i : 8 * i + 4], kept[:, 8 * i + 4 : 8 * i + 8], nl.multiply, 2.0)
        for i in range(4):
            nisa.tensor_copy(sparse[:, i : i + 40 : 5], x_tile(x, i))
        for i in range(4):
            nisa.tensor_copy(blank[32 * i : 32 * i + 32, 8 * i : 8 * i + 8], kept[32 * i : 32 * i + 32, 0:8])
        return store(kept), store(sparse), store(blank)

    def x_tile(x: Any, number: int) -> Any:
        return load(x[:, number : number + 8])

    x = normal(0, 128, 48)
    kept, sparse, blank = same_bits_rolled(parts, x)
    expected = x.copy()
    for i in range(5):
        expected[:, 8 * i : 8 * i + 4] = 2 * x[:, 8 * i + 4 : 8 * i + 8]
    np.testing.assert_array_equal(kept, expected)
    inside = np.zeros((128, 48), bool)
    for i in range(4):
        inside[32 * i : 32 * i + 32, 8 * i : 8 * i + 8] = True
    np.testing.assert_array_equal(
        blank[inside], np.concatenate([expected[32 * i : 32 * i + 32, :8] for i in range(4)]).ravel()
    )
    assert np.isnan(blank[~inside]).all()
    for i in range(4):
        np.testing.assert_array_equal(sparse[:, i : i + 40 : 5], x[:, i : i + 8])


def test_reads_of_uninitialised_memory() -> None:
    """Every iteration's tile starts out uninitialised, also where an earlier one of its slot was written."""

    @nki.jit
    def unwritten(x):
        out, sums = hbm(5, 8, 8), hbm(5, 8, 8)
        for i in range(5):
            piece, whole = tile(), tile(dtype=nl.int32)
            nisa.dma_copy(piece[:, 0:4], x[:, 4 * i : 4 * i + 4])
            nisa.dma_copy(out[i], piece)
            nisa.tensor_copy(piece[:, 4:8], whole[:, 0:4])
            nisa.dma_copy(sums[i], piece)
            nisa.memset(whole, 7)
        return out, sums

    x = normal(0, 8, 20)
    out, sums = same_bits_rolled(unwritten, x)
    assert np.isnan(out[:, :, 4:]).all()
    np.testing.assert_array_equal(out[:, :, :4], x.reshape(8, 5, 4).transpose(1, 0, 2))
    np.testing.assert_array_equal(sums[:, :, 4:], np.full((5, 8, 4), 4, np.float32))  # what integers start out as


def test_uninitialised_memory_in_a_loop_that_leaves_it_to_the_next_iteration() -> None:
    """One tile outside: an iteration reads what the one before left, the first one what nobody wrote."""

    @nki.jit
    def shifted(x):
        kept, out = tile(), hbm(4, 8, 8)
        for i in range(4):
            nisa.dma_copy(out[i], kept)
            nisa.dma_copy(kept[:, 2 * i : 2 * i + 2], x[:, 2 * i : 2 * i + 2])
        return out

    x = normal(0, 8, 8)
    out = same_bits_rolled(shifted, x, merged=False)
    for i in range(4):
        np.testing.assert_array_equal(out[i, :, : 2 * i], x[:, : 2 * i])
        assert np.isnan(out[i, :, 2 * i :]).all()


def test_tiles_placed_by_hand_over_one_another() -> None:
    """Buffers are apart for the executors even where their addresses are not: NKI's simulator does the same."""

    @nki.jit
    def placed(x):
        out = hbm(3, 8, 8)
        for i in range(3):
            piece = nl.ndarray((8, 8), dtype=nl.float32, buffer=nl.sbuf, address=(0, 1024 * (i % 2)))
            nisa.dma_copy(piece, columns(x, i))
            nisa.tensor_scalar(piece, piece, nl.add, 1.0)
            nisa.dma_copy(out[i], piece)
        return out

    x = normal(0, 8, 24)
    np.testing.assert_array_equal(same_bits_rolled(placed, x), x.reshape(8, 3, 8).transpose(1, 0, 2) + 1)
