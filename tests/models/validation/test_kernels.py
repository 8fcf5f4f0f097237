"""The rebuilt kernels compute what their originals do: small shapes against NumPy in float64."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from trnlab.emulator import run, trace
from trnlab.models.validation import bench_kernels, dma_kernels, fused_kernels, matmul_kernels, scan_kernels

Array = np.ndarray[Any, Any]


def drawn(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def results(kernel: Callable[..., Any], *arrays: Array, target: str = "trn1") -> Array:
    return np.asarray(run(kernel, *arrays, target=target).outputs)


@pytest.mark.parametrize(
    "kernel",
    [
        matmul_kernels.tiled,
        partial(matmul_kernels.hoisted, declared=512),
        matmul_kernels.blocked_free,
        partial(matmul_kernels.blocked, tiles_m=2, tiles_n=2, tiles_k=2),
        partial(matmul_kernels.blocked, tiles_m=1, tiles_n=1, tiles_k=2, spilled=1),
        partial(matmul_kernels.result_stationary, tiles_m=1, tiles_n=2, tiles_k=2),
    ],
    ids=["tiled", "hoisted", "blocked_free", "blocked", "blocked, spilled", "result_stationary"],
)
def test_matmul_tutorials(kernel: Any) -> None:
    lhs, rhs = drawn(512, 256), drawn(512, 1024, seed=1)
    expected = lhs.astype(np.float64).T @ rhs.astype(np.float64)
    # 512 products of standard normals in float32: errors of about 512 * 2^-24 of the operands' product.
    assert np.abs(results(kernel, lhs, rhs) - expected).max() < 1e-3


def scanned(delta: Array, u: Array, a: Array, b: Array, c: Array) -> Array:
    """sum over states of c * h, h[t] = exp(delta a) h[t - 1] + delta u b, in float64."""
    delta, u, a, b, c = (array.astype(np.float64) for array in (delta, u, a, b, c))
    result = np.zeros_like(delta)
    for state in range(a.shape[1]):
        h = np.zeros(delta.shape[0])
        for t in range(delta.shape[1]):
            h = np.exp(delta[:, t] * a[:, state]) * h + delta[:, t] * u[:, t] * b[state, t]
            result[:, t] += c[state, t] * h
    return result


@pytest.mark.parametrize(
    ("kernel", "sequence"),
    [
        (scan_kernels.channels_inside, 64),
        (scan_kernels.states_inside, 64),
        (scan_kernels.states_inside, 1024),  # rows of more than a bank are copied to SBUF
        (partial(scan_kernels.states_inside, piece=32), 96),
    ],
)
def test_selective_scan(kernel: Any, sequence: int) -> None:
    channels, states = 256, 2
    delta, u = np.abs(drawn(channels, sequence)) / 8, drawn(channels, sequence, seed=1)
    a = -np.abs(drawn(channels, states, seed=2))
    b, c = drawn(states, sequence, seed=3), drawn(states, sequence, seed=4)
    expected = scanned(delta, u, a, b, c)
    assert np.abs(results(kernel, delta, u, a, b, c) - expected).max() < 1e-4 * np.abs(expected).max()


def test_rope() -> None:
    x, cos, sin = drawn(128, 1024), drawn(64, 1024, seed=1), drawn(64, 1024, seed=2)
    even, odd = x[:64], x[64:]
    expected = np.concatenate([even * cos - odd * sin, odd * cos + even * sin])
    assert np.abs(results(bench_kernels.rope, x, cos, sin) - expected).max() < 1e-5


def test_batched_matmul() -> None:
    lhs, rhs = drawn(2, 2048, 64), drawn(2, 64, 2048, seed=1)
    expected = lhs.astype(np.float64) @ rhs.astype(np.float64)
    assert np.abs(results(bench_kernels.batched_matmul, lhs, rhs) - expected).max() < 1e-3


def test_transposed_matmul_with_a_last_block_that_is_narrower() -> None:
    lhs, rhs = drawn(256, 1024), drawn(256, 1024 + 704, seed=1)
    expected = lhs.astype(np.float64).T @ rhs.astype(np.float64)
    assert np.abs(results(bench_kernels.transposed_matmul, lhs, rhs) - expected).max() < 1e-3


@pytest.mark.parametrize(("shape", "tile"), [((256, 1), (128, 1)), ((8, 1), (1, 1)), ((128, 8), (128, 2))])
def test_additions(shape: tuple[int, int], tile: tuple[int, int]) -> None:
    left, right = drawn(*shape), drawn(*shape, seed=1)
    kernel = partial(dma_kernels.addition, rows=tile[0], columns=tile[1])
    assert (results(kernel, left, right) == left + right).all()


def test_silu() -> None:
    x = drawn(128, 2048)
    expected = x / (1 + np.exp(-x.astype(np.float64)))
    assert np.abs(results(bench_kernels.silu, x) - expected).max() < 1e-5


def test_adamw_of_rows_that_do_not_fill_the_last_tile() -> None:
    theta, gradient, first = drawn(192, 1024), drawn(192, 1024, seed=1), drawn(192, 1024, seed=2)
    second = np.abs(drawn(192, 1024, seed=3))
    wide = [array.astype(np.float64) for array in (theta, gradient, first, second)]
    mean, variance = 0.9 * wide[2] + 0.1 * wide[1], 0.999 * wide[3] + 0.001 * wide[1] ** 2
    expected = wide[0] - 1e-5 * wide[0] - 0.01 * mean / (np.sqrt(1000 * variance) + 1e-8)
    assert np.abs(results(fused_kernels.adamw, theta, gradient, first, second) - expected).max() < 1e-5


def over_root_mean_square(x: Array) -> Array:
    return np.asarray(x / np.sqrt((x**2).mean(axis=1, keepdims=True)))


def test_matmul_of_a_row_major_operand() -> None:
    lhs, rhs = drawn(256, 1024), drawn(1024, 1024, seed=1)
    expected = lhs.astype(np.float64) @ rhs.astype(np.float64)
    assert np.abs(results(fused_kernels.matmul, lhs, rhs) - expected).max() < 1e-3


def test_rmsnorm_matmul() -> None:
    x, weights = drawn(1024, 1024), drawn(1024, 1024, seed=1)
    expected = over_root_mean_square(x.astype(np.float64)) @ weights.astype(np.float64)
    assert np.abs(results(fused_kernels.rmsnorm_matmul, x, weights) - expected).max() < 1e-3


def test_add_rmsnorm_matmul_and_matmul_add_rmsnorm() -> None:
    x, z, weights = drawn(128, 256), drawn(128, 256, seed=1), drawn(256, 512, seed=2)
    scale, addend, factors = drawn(1, 256, seed=3), drawn(128, 512, seed=4), drawn(1, 512, seed=5)
    before = over_root_mean_square((x + z).astype(np.float64)) * scale @ weights
    assert np.abs(results(fused_kernels.add_rmsnorm_matmul, x, weights, z, scale) - before).max() < 1e-3
    after = over_root_mean_square(x.astype(np.float64) @ weights + addend) * factors
    assert np.abs(results(fused_kernels.matmul_add_rmsnorm, x, weights, addend, factors) - after).max() < 1e-4


def test_a_fused_kernel_transposes_as_often_as_its_profile_counted() -> None:
    # NKIBench counts 8.59 GFLOP of transposes, twice over for float32, each of 128 x 128 x 128 x 2: 32 x 8 x 4.
    arrays = [drawn(*shape) for shape in ((128, 1024), (1024, 2048), (128, 1024), (1, 1024))]
    program = trace(fused_kernels.add_rmsnorm_matmul, *arrays, target="trn1").flat
    turns = sum(bool(program.signature_of(n).attribute("is_transpose")) for n in range(len(program)))
    assert 32 * turns * 2 * (2 * 128**3) == pytest.approx(8.59e9, rel=1e-3)


def test_dma_examples() -> None:
    x = drawn(4, 64).astype(ml_dtypes.bfloat16)
    expected = np.exp(x.astype(np.float64))
    found = results(dma_kernels.load_exp_store, x, target="trn2").astype(np.float64)
    assert np.abs(found / expected - 1).max() <= 2**-8
    program = trace(partial(dma_kernels.chain_of_activations, length=7), drawn(128, 1), target="trn1")
    assert program.count_by_opcode() == {"activation": 7, "dma_copy": 1}
