"""Kernels with Python loops, compiled and reference, bit for bit: arguments, results, dtypes and engine state."""

from __future__ import annotations

from typing import Any

import jax
import ml_dtypes
import numpy as np
import pytest

import trnlab.emulator.nki as nki
import trnlab.emulator.nki.isa as nisa
import trnlab.emulator.nki.language as nl
from tests.emulator.backends.harness import hbm, load, normal, same_bits, same_bits_rolled, tile
from trnlab.emulator import launch

BFLOAT16 = ml_dtypes.bfloat16


def columns(x: Any, number: int, width: int = 8) -> Any:
    return x[:, width * number : width * number + width]


def test_a_kernel_without_inputs() -> None:
    @nki.jit
    def tables():
        squares, numbers = hbm(8, 40), hbm(8, 40, dtype=nl.int32)
        for i in range(5):
            counted = tile(dtype=nl.int32)
            nisa.iota(counted, [[1, 8]], offset=8 * i, channel_multiplier=100)
            nisa.dma_copy(columns(numbers, i), counted)
            values = tile()
            nisa.tensor_copy(values, counted)
            nisa.tensor_tensor(values, values, values, nl.multiply)
            nisa.dma_copy(columns(squares, i), values)
        return squares, numbers

    squares, numbers = same_bits_rolled(tables)
    expected = 100 * np.arange(8)[:, None] + np.arange(40)
    np.testing.assert_array_equal(numbers, expected)
    np.testing.assert_array_equal(squares, (expected**2).astype(np.float32))


def test_constants_of_the_kernel_in_a_loop() -> None:
    weights = normal(3, 4, 8, 8)

    @nki.jit
    def weighted(x):
        out = hbm(4, 8, 8)
        held = nl.shared_constant(weights)
        for i in range(4):
            piece = load(x)
            nisa.tensor_tensor(piece, piece, load(held[i]), nl.multiply)
            nisa.dma_copy(out[i], piece)
        return out

    x = normal(0, 8, 8)
    np.testing.assert_array_equal(same_bits_rolled(weighted, x, merged=True), weights * x)


def test_several_outputs_one_of_them_a_list() -> None:
    @nki.jit
    def split(x):
        pieces = []
        for i in range(4):
            out = hbm(8, 8)
            nisa.dma_copy(out, load(columns(x, i)))
            pieces.append(out)
        whole = hbm(8, 32)
        for i in range(4):
            nisa.dma_copy(columns(whole, 3 - i), load(pieces[i]))
        return pieces, whole, x

    x = normal(0, 8, 32)
    pieces, whole, same = same_bits(split, x)
    for i in range(4):
        np.testing.assert_array_equal(pieces[i], columns(x, i))
        np.testing.assert_array_equal(columns(whole, 3 - i), columns(x, i))
    np.testing.assert_array_equal(same, x)


def test_an_input_updated_in_place_and_read_by_later_iterations() -> None:
    @nki.jit
    def fibonacci(x):
        for i in range(2, 8):
            piece = load(columns(x, i - 1))
            nisa.tensor_tensor(piece, piece, load(columns(x, i - 2)), nl.add)
            nisa.dma_copy(columns(x, i), piece)
        return x

    x = normal(0, 8, 64)
    result = same_bits_rolled(fibonacci, x, merged=False)
    expected = x.copy()
    for i in range(2, 8):
        expected[:, 8 * i : 8 * i + 8] = columns(expected, i - 1) + columns(expected, i - 2)
    np.testing.assert_array_equal(result, expected)


def test_an_input_whose_rows_are_reversed_in_place() -> None:
    """Disjoint within an iteration, in conflict across them: iterations may not run at once."""

    @nki.jit
    def reversed_rows(x):
        for i in range(3):
            low, high = load(columns(x, i)), load(columns(x, 5 - i))
            nisa.dma_copy(columns(x, i), high)
            nisa.dma_copy(columns(x, 5 - i), low)
        return x

    x = normal(0, 8, 48)
    np.testing.assert_array_equal(
        same_bits_rolled(reversed_rows, x), np.concatenate([columns(x, 5 - i) for i in range(6)], 1)
    )


def test_one_array_as_two_arguments() -> None:
    @nki.jit
    def added(x, y, out):
        for i in range(4):
            piece = load(columns(y, i))
            nisa.tensor_tensor(piece, piece, load(columns(x, 3 - i)), nl.subtract)
            nisa.dma_copy(columns(out, i), piece)
        return x, out

    x = normal(0, 8, 32)
    expected = np.concatenate([columns(x, i) - columns(x, 3 - i) for i in range(4)], 1)
    for mode in ("reference", "compiled"):
        out = np.zeros_like(x)
        same, result = launch.run(added, x, x, out, mode=mode).outputs
        np.testing.assert_array_equal(same, x)
        np.testing.assert_array_equal(result, expected)
        np.testing.assert_array_equal(out, expected)


def test_views_that_reinterpret_dtypes() -> None:
    """The halves of float32 words swap places; bytes go one by one; packed words are read as bytes."""

    @nki.jit
    def bytes_of(x, words):
        swapped, low_bytes, packed = hbm(*x.shape), hbm(8, 40, dtype=nl.uint8), hbm(8, 40, dtype=nl.uint8)
        for i in range(5):
            piece, turned = load(columns(x, i)), tile()
            nisa.tensor_copy(turned.view(nl.uint16)[:, 0:16:2], piece.view(nl.uint16)[:, 1:16:2])
            nisa.tensor_copy(turned.view(nl.uint16)[:, 1:16:2], piece.view(nl.uint16)[:, 0:16:2])
            nisa.dma_copy(columns(swapped, i), turned)
            small = tile(dtype=nl.uint8)
            nisa.tensor_copy(small, piece.view(nl.uint8)[:, 0:32:4])
            nisa.dma_copy(columns(low_bytes, i), small)
            quarter = tile(8, 2, dtype=nl.float8_e4m3fn_x4)
            nisa.dma_copy(quarter.view(nl.uint8), columns(words, i))
            nisa.dma_copy(columns(packed, i), quarter.view(nl.uint8))
        return swapped, low_bytes, packed

    bits = np.random.default_rng(0).integers(0, 2**32, (8, 40), dtype=np.uint32)
    raw = np.random.default_rng(1).integers(0, 256, (8, 40), dtype=np.uint8)
    swapped, low_bytes, packed = same_bits_rolled(bytes_of, bits.view(np.float32), raw)
    np.testing.assert_array_equal(swapped.view(np.uint32), bits >> 16 | bits << 16)
    np.testing.assert_array_equal(low_bytes, (bits & 255).astype(np.uint8))
    np.testing.assert_array_equal(packed, raw)


@pytest.mark.parametrize("dtype", [np.float16, BFLOAT16, ml_dtypes.float8_e4m3, ml_dtypes.float8_e5m2, np.int32])
def test_tiles_of_other_dtypes_through_loops(dtype: Any) -> None:
    """Sums in the narrow dtype itself: every step rounds."""

    @nki.jit
    def narrow(x):
        total, prefix = tile(dtype=x.dtype), hbm(*x.shape, dtype=x.dtype)
        nisa.memset(total, 0)
        for i in range(5):
            nisa.tensor_tensor(total, total, load(columns(x, i)), nl.add)
            nisa.dma_copy(columns(prefix, i), total)
        return prefix

    x = (normal(0, 8, 40) * (100 if dtype == np.int32 else 1)).astype(dtype)
    prefix = same_bits_rolled(narrow, x)
    total = np.zeros((8, 8), dtype)
    for i in range(5):
        total = (total.astype(np.float32) + columns(x, i).astype(np.float32)).astype(dtype)
        np.testing.assert_array_equal(columns(prefix, i).astype(np.float32), total.astype(np.float32))


@pytest.mark.parametrize("dtype", [np.float32, BFLOAT16, ml_dtypes.float8_e4m3])
def test_matmul_tiles_that_run_together_add_in_the_same_order(dtype: Any) -> None:
    """Small tiles in both directions: for XLA one dot of another size, which has faster kernels with other sums."""

    @nki.jit
    def matmul(a, b):
        (K, M), N = a.shape, b.shape[1]
        out = hbm(M, N)
        for m in range(0, M, 4):
            for n in range(0, N, 12):
                bank = tile(4, 12, buffer=nl.psum)
                for k in range(0, K, 16):
                    nisa.nc_matmul(bank, load(a[k : k + 16, m : m + 4]), load(b[k : k + 16, n : n + 12]))
                result = tile(4, 12)
                nisa.tensor_copy(result, bank)
                nisa.dma_copy(out[m : m + 4, n : n + 12], result)
        return out

    same_bits_rolled(matmul, normal(0, 48, 16, dtype=dtype), normal(1, 48, 36, dtype=dtype), merged=True)


@pytest.mark.parametrize("shape", [(128, 1, 1), (128, 1, 40), (128, 40, 1), (96, 3, 5)])
def test_vectors_and_narrow_matmuls(shape: tuple[int, int, int]) -> None:
    """Columns that are one vector each to the instruction, and a matrix to the machine that runs them together."""
    K, M, N = shape

    @nki.jit
    def matvec(a, b):
        out = hbm(6, M, N)
        for i in range(6):
            bank, result = tile(M, N, buffer=nl.psum), tile(M, N)
            nisa.nc_matmul(bank, load(columns(a, i, M)), load(b))
            nisa.tensor_copy(result, bank)
            nisa.dma_copy(out[i], result)
        return out

    a, b = normal(0, K, 6 * M), normal(1, K, N)
    out = same_bits_rolled(matvec, a, b, merged=True)
    for i in range(6):
        np.testing.assert_allclose(out[i], columns(a, i, M).astype(np.float64).T @ b, rtol=1e-4, atol=1e-4)


def test_transposes_between_matmuls() -> None:
    """What the Tensor Engine turned is stationary next: XLA would fold the transposition into the dot."""

    @nki.jit
    def turned(a, b):
        out = hbm(4, 16, 12)
        for i in range(4):
            flipped, kept = tile(16, 16, buffer=nl.psum), tile(16, 16)
            nisa.nc_transpose(flipped, load(a[16 * i : 16 * i + 16]))
            nisa.tensor_copy(kept, flipped)
            bank, result = tile(16, 12, buffer=nl.psum), tile(16, 12)
            nisa.nc_matmul(bank, kept, load(b))
            nisa.tensor_copy(result, bank)
            nisa.dma_copy(out[i], result)
        return out

    a, b = normal(0, 64, 16), normal(1, 16, 12)
    out = same_bits_rolled(turned, a, b, merged=True)
    np.testing.assert_allclose(out, a.reshape(4, 16, 16).astype(np.float64) @ b, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_mx_tiles() -> None:
    @nki.jit
    def mx(a, b):
        out = hbm(2, 32, 16)
        for i in range(2):
            bank, result = tile(32, 16, buffer=nl.psum), tile(32, 16)
            for k in range(3):
                operands = []
                for x, size in ((a, 32), (b, 16)):
                    source = x[32 * k : 32 * k + 32, 4 * size * i : 4 * size * i + 4 * size]
                    words, scales = tile(32, size, dtype=nl.float8_e4m3fn_x4), tile(4, size, dtype=nl.uint8)
                    nisa.quantize_mx(words, load(source), scales)
                    operands += [words, scales]
                nisa.nc_matmul_mx(bank, operands[0], operands[2], operands[1], operands[3])
            nisa.tensor_copy(result, bank)
            nisa.dma_copy(out[i], result)
        return out

    a, b = normal(0, 96, 256, dtype=BFLOAT16), normal(1, 96, 128, dtype=BFLOAT16)
    same_bits_rolled(mx, a, b)


def test_activation_accumulators_across_iterations() -> None:
    """The Scalar Engine's registers gather a sum over the pieces of a row; rows follow each other."""

    @nki.jit
    def row_sums(x):
        out, sums = hbm(*x.shape), hbm(32, 1)
        for r in range(4):
            total = tile(8, 1)
            for i in range(5):
                piece = load(x[8 * r : 8 * r + 8, 8 * i : 8 * i + 8])
                nisa.activation(
                    piece,
                    nl.exp,
                    piece,
                    reduce_op=nl.add,
                    reduce_res=total if i == 4 else None,
                    reduce_cmd=nisa.reduce_cmd.reduce if i else nisa.reduce_cmd.reset_reduce,
                )
                nisa.dma_copy(out[8 * r : 8 * r + 8, 8 * i : 8 * i + 8], piece)
            nisa.dma_copy(sums[8 * r : 8 * r + 8], total)
        return out, sums

    x = normal(0, 32, 40)
    _, sums = same_bits_rolled(row_sums, x)
    np.testing.assert_allclose(sums[:, 0], np.exp(x.astype(np.float64)).sum(1), rtol=1e-5)


def test_random_numbers_drawn_in_a_loop() -> None:
    """The generator's state passes from one iteration to the next."""

    @nki.jit
    def drawn(seeds):
        nisa.rand_set_state(load(seeds))
        out = hbm(8, 24, dtype=nl.uint32)
        for i in range(3):
            piece = tile(dtype=nl.uint32)
            nisa.rng(piece)
            nisa.dma_copy(columns(out, i), piece)
        return out

    seeds = np.random.default_rng(0).integers(1, 2**32, (8, 6), dtype=np.uint32)
    out = same_bits_rolled(drawn, seeds)
    assert len(np.unique(out)) == out.size


def test_rolled_kernels_compose_with_jit_and_vmap() -> None:
    @nki.jit
    def scaled(x, y):
        out, total = hbm(*x.shape), tile()
        nisa.memset(total, 0.0)
        for i in range(4):
            piece, bank = load(columns(x, i)), tile(8, 8, buffer=nl.psum)
            nisa.nc_matmul(bank, piece, load(y))
            nisa.tensor_tensor(total, total, bank, nl.add)
            nisa.dma_copy(columns(out, i), total)
        return out

    x, y = normal(0, 3, 8, 32), normal(1, 8, 8)
    expected = np.stack([same_bits_rolled(scaled, one, y) for one in x])
    np.testing.assert_array_equal(jax.jit(scaled)(x[0], y), expected[0])
    np.testing.assert_array_equal(jax.vmap(scaled, (0, None))(x, y), expected)
    np.testing.assert_array_equal(jax.vmap(scaled)(x, np.stack([y] * 3)), expected)
