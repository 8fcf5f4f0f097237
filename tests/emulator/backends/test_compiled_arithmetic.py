"""The compiled back end against the reference, bit for bit: arithmetic that XLA would like to change."""

from __future__ import annotations

from typing import Any

import jax
import ml_dtypes
import numpy as np
import pytest

import trnlab.emulator.nki as nki
import trnlab.emulator.nki.isa as nisa
import trnlab.emulator.nki.language as nl
from tests.emulator.backends.harness import hbm, load, normal, same_bits, same_bits_rolled, store
from trnlab.emulator.numerics.activations import ACTIVATIONS

FLOAT8 = ml_dtypes.float8_e4m3


def test_a_product_then_a_sum_is_not_contracted() -> None:
    """a * b + c: fused into one rounding, 23% of random elements would differ."""

    @nki.jit
    def multiply_add(a, b, c):
        product = nl.ndarray(a.shape, dtype=nl.float32)
        nisa.tensor_tensor(product, load(a), load(b), nl.multiply)
        nisa.tensor_tensor(product, product, load(c), nl.add)
        return store(product)

    a, b, c = (normal(seed, 128, 512) for seed in range(3))
    result = same_bits(multiply_add, a, b, c)
    np.testing.assert_array_equal(result, np.float32(a * b) + c)  # two roundings
    assert np.any(result != (a.astype(np.float64) * b + c).astype(np.float32))  # one rounding is another result


def test_what_xlas_simplifier_would_merge_across_instructions() -> None:
    """Each chain below is one operation for XLA: x * (c * d), x + (c + d), exp(x + y), x, 1 / c, a multiplication."""

    @nki.jit
    def mergeable(a, b):
        x, y = load(a), load(b)
        filled = nl.ndarray(a.shape, dtype=nl.float32)
        nisa.memset(filled, 3.0)
        tiles = [nl.ndarray(a.shape, dtype=nl.float32) for _ in range(6)]
        for op, tile in zip((nl.multiply, nl.add), tiles[:2], strict=True):
            nisa.tensor_scalar(tile, x, op, 1.1)
            nisa.tensor_scalar(tile, tile, op, 0.7)
        nisa.activation(tiles[2], nl.exp, x)
        nisa.activation(tiles[3], nl.exp, y)
        nisa.tensor_tensor(tiles[2], tiles[2], tiles[3], nl.multiply)
        nisa.reciprocal(tiles[3], x)
        nisa.reciprocal(tiles[3], tiles[3])
        nisa.reciprocal(tiles[4], filled)
        nisa.tensor_tensor(tiles[4], x, tiles[4], nl.multiply)
        nisa.activation(tiles[5], nl.rsqrt, y[:, 0:1].broadcast(1, a.shape[1]))
        nisa.tensor_tensor(tiles[5], tiles[5], tiles[5], nl.multiply)
        return tuple(store(tile) for tile in tiles)

    a, b = normal(0, 128, 512), np.abs(normal(1, 128, 512))
    products, sums, exps, inverses, thirds, _ = same_bits(mergeable, a, b)
    np.testing.assert_array_equal(products, np.float32(a * np.float32(1.1)) * np.float32(0.7))
    np.testing.assert_array_equal(sums, np.float32(a + np.float32(1.1)) + np.float32(0.7))
    np.testing.assert_array_equal(inverses, 1 / np.float32(1 / a))
    np.testing.assert_array_equal(thirds, a * np.float32(np.float32(1) / np.float32(3)))
    np.testing.assert_allclose(exps, np.exp(a.astype(np.float64) + b), rtol=1e-6)
    # Merged, every one of the first three would differ somewhere.
    assert np.any(products != a * np.float32(1.1 * 0.7))
    assert np.any(inverses != a)


@pytest.mark.parametrize("exponent", [2.0, 3.0, 0.5, -1.0])
def test_immediates_are_run_time_values(exponent: float) -> None:
    """XLA has special cases for powers it knows (x * x, sqrt, 1 / x), with other bits than its power function."""

    @nki.jit
    def power(x):
        tile = load(x)
        column = nl.ndarray((128, 1), dtype=nl.float32)
        nisa.memset(column, exponent)
        by_number, by_column = nl.ndarray(x.shape, dtype=nl.float32), nl.ndarray(x.shape, dtype=nl.float32)
        nisa.tensor_scalar(by_number, tile, nl.power, exponent)
        nisa.tensor_scalar(by_column, tile, nl.power, column)
        return store(by_number), store(by_column)

    x = np.abs(normal(0, 128, 512))
    by_number, by_column = same_bits(power, x)
    inside, _ = jax.jit(power)(x)
    np.testing.assert_array_equal(inside, by_number)
    np.testing.assert_array_equal(by_number, by_column)
    np.testing.assert_allclose(by_number, x.astype(np.float64) ** exponent, rtol=1e-6)


def test_sums_over_repeated_and_transposed_views() -> None:
    """For XLA the sum of a repeated element is a product, and a transposition before a sum is none."""

    @nki.jit
    def sums(x):
        tile = load(x)
        repeated, crossed = nl.ndarray((128, 1), dtype=nl.float32), nl.ndarray((128, 24), dtype=nl.float32)
        nisa.tensor_reduce(repeated, nl.add, tile[:, 0:1].broadcast(1, 37), axis=1)
        nisa.tensor_reduce(crossed, nl.add, tile.reshape((128, 40, 24)).permute((0, 2, 1)), axis=2)
        return store(repeated), store(crossed)

    x = normal(0, 128, 960)
    repeated, crossed = same_bits(sums, x)
    np.testing.assert_allclose(repeated, 37 * x[:, 0:1].astype(np.float64), rtol=1e-5)
    np.testing.assert_allclose(crossed, x.reshape(128, 40, 24).astype(np.float64).sum(1), rtol=1e-3, atol=1e-5)


def test_chains_of_elementwise_instructions() -> None:
    @nki.jit
    def chain(a, b):
        x, y = load(a), load(b)
        t = nl.ndarray(a.shape, dtype=nl.float32)
        nisa.tensor_scalar(t, x, nl.multiply, 1.7, op1=nl.add, operand1=0.3)
        nisa.tensor_scalar(t, t, nl.multiply, 0.9, op1=nl.multiply, operand1=1.1)
        nisa.activation(t, nl.exp, t, scale=0.5)
        nisa.tensor_tensor(t, t, y, nl.multiply)
        nisa.tensor_tensor(t, x, t, nl.subtract)
        nisa.reciprocal(t, t)
        half = nl.ndarray(a.shape, dtype=nl.bfloat16)
        nisa.tensor_copy(half, t)
        nisa.tensor_tensor(half, half, x, nl.add)
        return store(half), store(t)

    same_bits(chain, normal(0, 128, 300), normal(1, 128, 300))


@pytest.mark.slow
def test_activations_of_iterations_that_run_together() -> None:
    """Of a polynomial that is left to XLA (arctan's was) the last bits depend on what is computed beside it."""
    functions = [getattr(nl, name) for name in ACTIVATIONS]

    @nki.jit
    def activated(x):
        out = hbm(*x.shape[:1], len(functions), *x.shape[1:])
        for i in range(x.shape[0]):
            tile = load(x[i])
            for number, function in enumerate(functions):
                result = nl.ndarray(tile.shape, dtype=nl.float32)
                nisa.activation(result, function, tile, bias=tile[:, 0:1], scale=0.7)
                nisa.dma_copy(out[i, number], result)
        return out

    x = normal(0, 7, 5, 37)
    x[2:4] *= 100
    x[:, 1, 3:7] = np.inf, -np.inf, -0.0, np.nan
    result = same_bits_rolled(activated, x, merged=True)
    affine = np.float32(np.float32(0.7) * x) + x[..., :1]
    found = result[:, list(ACTIVATIONS).index("arctan")]
    np.testing.assert_allclose(found, np.arctan(affine.astype(np.float64)), rtol=8 * 2.0**-24)


def test_reductions_and_the_accumulator_registers() -> None:
    @nki.jit
    def softmax(a):
        x = load(a)
        largest, total = (nl.ndarray((128, 1), dtype=nl.float32) for _ in range(2))
        nisa.tensor_reduce(largest, nl.maximum, x, axis=1, negate=True)
        exps = nl.ndarray(a.shape, dtype=nl.float32)
        for command, half in ((nisa.reduce_cmd.reset_reduce, 0), (nisa.reduce_cmd.reduce, 1)):
            part = slice(half * 256, half * 256 + 256)
            nisa.activation(
                exps[:, part],
                nl.exp,
                x[:, part],
                bias=largest,
                reduce_op=nl.add,
                reduce_res=total if half else None,
                reduce_cmd=command,
            )
        nisa.reciprocal(total, total)
        nisa.tensor_scalar(exps, exps, nl.multiply, total)
        return store(exps)

    a = normal(0, 128, 512)
    result = same_bits(softmax, a)
    exact = np.exp(a.astype(np.float64))
    np.testing.assert_allclose(result, exact / exact.sum(1, keepdims=True), rtol=3e-6)


def test_matmuls_accumulate_in_psum() -> None:
    @nki.jit
    def matmul(a, b):
        acc = nl.ndarray((128, 512), dtype=nl.float32, buffer=nl.psum)
        for k in range(4):
            rows = slice(128 * k, 128 * k + 128)
            nisa.nc_matmul(acc, load(a[rows]), load(b[rows]))
        scaled = nl.ndarray((128, 512), dtype=nl.float32)
        nisa.tensor_scalar(scaled, acc, nl.multiply, 0.1)
        return store(scaled, nl.bfloat16)

    a, b = normal(0, 512, 128, dtype=ml_dtypes.bfloat16), normal(1, 512, 512, dtype=ml_dtypes.bfloat16)
    result = same_bits(matmul, a, b)
    exact = 0.1 * (a.astype(np.float64).T @ b.astype(np.float64))
    np.testing.assert_allclose(result.astype(np.float64), exact, rtol=2**-8, atol=1e-4)


@pytest.mark.parametrize("dtype", [np.float32, np.float16, FLOAT8, ml_dtypes.float8_e5m2])
def test_matmul_dtypes_and_transposes(dtype: Any) -> None:
    @nki.jit
    def transposed(a, b):
        x = load(a)
        flipped = nl.ndarray((64, 128), dtype=x.dtype, buffer=nl.psum)
        if dtype in (np.float32, np.float16):
            nisa.nc_transpose(flipped, x)
        acc = nl.ndarray((64, 96), dtype=nl.float32, buffer=nl.psum)
        nisa.nc_matmul(acc, x, load(b))
        out = nl.ndarray((64, 96), dtype=nl.float32)
        nisa.tensor_copy(out, acc)
        return store(out)

    same_bits(transposed, normal(0, 128, 64, dtype=dtype), normal(1, 128, 96, dtype=dtype))


@pytest.mark.slow
def test_mx_quantisation_and_matmul() -> None:
    @nki.jit
    def mx(a, b):
        acc = nl.ndarray((128, 512), dtype=nl.float32, buffer=nl.psum)
        operands = []
        for x in (a, b):
            tile = load(x)
            words = nl.ndarray((128, x.shape[1] // 4), dtype=nl.float8_e4m3fn_x4)
            scales = nl.ndarray((128, x.shape[1] // 4), dtype=nl.uint8)
            nisa.quantize_mx(words, tile, scales)
            operands += [words, scales]
        x, xs, y, ys = operands
        nisa.nc_matmul_mx(acc, x, y, xs, ys)
        nisa.nc_matmul_mx(acc, x, y, xs, ys)
        out = nl.ndarray((128, 512), dtype=nl.float32)
        nisa.tensor_copy(out, acc)
        return store(out)

    same_bits(mx, normal(0, 128, 512, dtype=ml_dtypes.bfloat16), normal(1, 128, 2048, dtype=ml_dtypes.bfloat16))
