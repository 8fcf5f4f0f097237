"""Kernels with every kind of Python loop, compiled and reference, bit for bit: how iterations follow each other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import trnlab.emulator.nki as nki
import trnlab.emulator.nki.isa as nisa
import trnlab.emulator.nki.language as nl
from tests.emulator.backends.harness import hbm, load, normal, same_bits, same_bits_rolled, store, tile


def counted_by_range(count: int) -> Any:
    return range(count)


def counted_by_affine_range(count: int) -> Any:
    return nl.affine_range(count)


def counted_by_while(count: int) -> Any:
    number = 0
    while number < count:
        yield number
        number += 1


@pytest.mark.parametrize("counted", [counted_by_range, counted_by_affine_range, counted_by_while])
def test_independent_tiles(counted: Any) -> None:
    @nki.jit
    def double(x):
        out = hbm(*x.shape)
        for i in counted(5):
            piece = load(x[8 * i : 8 * i + 8])
            nisa.tensor_scalar(piece, piece, nl.multiply, 2.0)
            nisa.dma_copy(out[8 * i : 8 * i + 8], piece)
        return out

    x = normal(0, 40, 8)
    np.testing.assert_array_equal(same_bits_rolled(double, x, merged=True), 2 * x)


def test_helper_functions_and_loops_in_them() -> None:
    def row_sums(data: Any) -> Any:
        total = tile(8, 1)
        nisa.tensor_reduce(total, nl.add, data, axis=1)
        return total

    def normalised(data: Any, steps: int) -> Any:
        for _ in range(steps):
            inverse = tile(8, 1)
            nisa.reciprocal(inverse, row_sums(data))
            result = tile()
            nisa.tensor_scalar(result, data, nl.multiply, inverse)
            data = result
        return data

    @nki.jit
    def twice(x):
        out = hbm(*x.shape)
        for i in range(4):
            nisa.dma_copy(out[8 * i : 8 * i + 8], normalised(load(x[8 * i : 8 * i + 8]), 3))
        return out

    x = np.abs(normal(0, 32, 8)) + 1
    result = same_bits_rolled(twice, x)
    np.testing.assert_allclose(result, x / x.astype(np.float64).sum(1, keepdims=True), rtol=1e-5)


def test_the_first_iteration_overwrites_psum_and_the_last_tile_is_ragged() -> None:
    @nki.jit
    def matmul(a, b):
        (K, M), N = a.shape, b.shape[1]
        out = hbm(M, N)
        for m in range(0, M, 8):
            rows = min(8, M - m)
            bank = tile(rows, N, buffer=nl.psum)
            for k in range(0, K, 16):
                depth = min(16, K - k)
                nisa.nc_matmul(bank, load(a[k : k + depth, m : m + rows]), load(b[k : k + depth]), accumulate=k > 0)
            result = tile(rows, N)
            nisa.tensor_copy(result, bank)
            nisa.dma_copy(out[m : m + rows], result)
        return out

    a, b = normal(0, 72, 35), normal(1, 72, 12)
    result = same_bits_rolled(matmul, a, b)
    np.testing.assert_allclose(result, a.astype(np.float64).T @ b, rtol=1e-4, atol=1e-5)


def test_triangular_loops() -> None:
    """Inner loops that run 1, 2, 3, ... times, and never at first."""

    @nki.jit
    def triangle(x):
        out = hbm(8, 48)
        kept = [load(x[:, 8 * i : 8 * i + 8]) for i in range(6)]
        for i in range(6):
            total = tile()
            nisa.memset(total, 0.5)
            for j in range(i):
                nisa.tensor_tensor(total, total, kept[j], nl.add)
            for j in range(i + 1):
                nisa.tensor_scalar(total, total, nl.multiply, 1.0 + j)
            nisa.dma_copy(out[:, 8 * i : 8 * i + 8], total)
        return out

    x = normal(0, 8, 48)
    result = same_bits_rolled(triangle, x)
    for i in range(6):
        expected = np.full((8, 8), 0.5, np.float32)
        for j in range(i):
            expected = expected + x[:, 8 * j : 8 * j + 8]
        for j in range(i + 1):
            expected = expected * np.float32(1 + j)
        np.testing.assert_array_equal(result[:, 8 * i : 8 * i + 8], expected)


def test_conditions_inside_loops() -> None:
    """Causal masking: tiles above the diagonal are skipped, those on it are masked."""

    @nki.jit
    def causal(x):
        out = hbm(32, 32)
        for i in range(4):
            for j in range(4):
                piece = load(x[8 * i : 8 * i + 8, 8 * j : 8 * j + 8])
                if j > i:
                    nisa.memset(piece, 0.0)
                if i == j:
                    nisa.affine_select(piece, [[-1, 8]], 1, piece, -1.0, nl.greater_equal)
                nisa.dma_copy(out[8 * i : 8 * i + 8, 8 * j : 8 * j + 8], piece)
        return out

    x = normal(0, 32, 32)
    row, column = np.indices((32, 32))
    expected = np.where(column <= row, x, np.where(row // 8 == column // 8, np.float32(-1), np.float32(0)))
    np.testing.assert_array_equal(same_bits_rolled(causal, x), expected)


def test_immediates_that_vary_from_iteration_to_iteration() -> None:
    """Numbers that no step can produce exactly, by both counters or by one of them."""

    @nki.jit
    def scaled(x):
        out = hbm(3, 4, 8, 8)
        for i in range(3):
            for j in range(4):
                piece = load(x)
                nisa.tensor_scalar(piece, piece, nl.multiply, 1 / (3 + i), op1=nl.add, operand1=0.1 * j)
                nisa.tensor_scalar(piece, piece, nl.power, 1.5 + (i == j))
                nisa.dma_copy(out[i, j], piece)
        return out

    x = np.abs(normal(0, 8, 8))
    result = same_bits_rolled(scaled, x, merged=True)
    for i, j in np.ndindex(3, 4):
        inner = np.float32(x * np.float32(1 / (3 + i))) + np.float32(0.1 * j)
        np.testing.assert_allclose(result[i, j], inner.astype(np.float64) ** (1.5 + (i == j)), rtol=1e-6)


def test_immediates_that_are_whole_in_some_iterations() -> None:
    """Bits moved by memset: one pattern per iteration, for every dtype."""

    @nki.jit
    def filled():
        outputs = []
        for dtype in (nl.float32, nl.bfloat16, nl.int32, nl.uint8):
            out = hbm(8, 24, dtype=dtype)
            for i in range(6):
                piece = tile(8, 4, dtype=dtype)
                nisa.memset(piece, 3 * i if dtype in (nl.int32, nl.uint8) else 0.5 * i)
                nisa.dma_copy(out[:, 4 * i : 4 * i + 4], piece)
            outputs.append(out)
        return tuple(outputs)

    floats, _, integers, _ = same_bits_rolled(filled)
    np.testing.assert_array_equal(floats[0], np.repeat(np.arange(6) * np.float32(0.5), 4))
    np.testing.assert_array_equal(integers[0], np.repeat(np.arange(6) * 3, 4))


def test_nests_five_deep() -> None:
    @nki.jit
    def deep(x):
        out = hbm(2, 2, 2, 2, 4, 4)
        total = tile(4, 4)
        nisa.memset(total, 0.0)
        for a in range(2):
            for b in range(2):
                for c in range(2):
                    part = tile(4, 4)
                    nisa.memset(part, 1.0)
                    for d in range(2):
                        for e in range(3):
                            piece = load(x[4 * a : 4 * a + 4, b + c + d + e : b + c + d + e + 4])
                            nisa.tensor_tensor(part, part, piece, nl.multiply)
                        nisa.dma_copy(out[a, b, c, d], part)
                    nisa.tensor_tensor(total, total, part, nl.add)
        return out, store(total)

    x = normal(0, 8, 9)
    result, total = same_bits_rolled(deep, x)
    expected = np.zeros((4, 4), np.float32)
    for a, b, c in np.ndindex(2, 2, 2):
        part = np.ones((4, 4), np.float32)
        for d in range(2):
            for e in range(3):
                part = part * x[4 * a : 4 * a + 4, b + c + d + e : b + c + d + e + 4]
            np.testing.assert_array_equal(result[a, b, c, d], part)
        expected = expected + part
    np.testing.assert_array_equal(total, expected)


def test_backwards_strided_and_overlapping_windows() -> None:
    @nki.jit
    def windows(x):
        out, reversed_out, diagonals = hbm(7, 8, 4), hbm(32, 8), hbm(8, 40)
        for i in range(7):  # windows that overlap
            nisa.dma_copy(out[i], load(x[0:8, 2 * i : 2 * i + 4]))
        for i in range(3, -1, -1):  # from the last rows to the first
            nisa.dma_copy(reversed_out[8 * i : 8 * i + 8], load(x[24 - 8 * i : 32 - 8 * i, 0:8]))
        for i in range(5):  # every fifth column
            nisa.dma_copy(diagonals[:, i:40:5], load(x[2 * i : 2 * i + 8, 0:8]))
        return out, reversed_out, diagonals

    x = normal(0, 32, 16)
    out, reversed_out, diagonals = same_bits_rolled(windows, x, merged=True)
    for i in range(7):
        np.testing.assert_array_equal(out[i], x[:8, 2 * i : 2 * i + 4])
    np.testing.assert_array_equal(reversed_out, np.concatenate([x[24 - 8 * i : 32 - 8 * i, :8] for i in range(4)]))
    for i in range(5):
        np.testing.assert_array_equal(diagonals[:, i::5], x[2 * i : 2 * i + 8, :8])


def test_windows_that_are_written_on_top_of_each_other() -> None:
    """Every iteration overwrites a part of what the one before wrote."""

    @nki.jit
    def shingles(x):
        kept, out = tile(8, 20), hbm(8, 20)
        for i in range(5):
            nisa.dma_copy(out[:, 3 * i : 3 * i + 8], load(x[:, 8 * i : 8 * i + 8]))
            nisa.dma_copy(kept[:, 3 * i : 3 * i + 8], x[:, 8 * i : 8 * i + 8])
        return out, store(kept)

    x = normal(0, 8, 40)
    out, kept = same_bits_rolled(shingles, x, merged=False)
    for i in range(5):
        last = 3 if i < 4 else 8
        np.testing.assert_array_equal(out[:, 3 * i : 3 * i + last], x[:, 8 * i : 8 * i + last])
    np.testing.assert_array_equal(kept, out)


def test_what_nobody_can_fold_is_compiled_as_it_is() -> None:
    @nki.jit
    def irregular(x):
        kept = load(x)
        for i in (3, 0, 7, 1, 1, 4):
            nisa.tensor_scalar(kept[:, i : i + 2], kept[:, 8 - i : 10 - i], nl.add, 0.1 * i)
            if i % 2:
                nisa.tensor_copy(kept[:, i + 1 : i + 2], kept[:, 0:1])
        return store(kept)

    same_bits(irregular, normal(0, 8, 16))
