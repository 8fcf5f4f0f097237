"""Inputs and references for kernels that are called directly: NumPy, computed here."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import ml_dtypes
import numpy as np

from tests.conformance.direct import Make
from tests.conformance.packed import PACKED, words

Array = np.ndarray[Any, Any]
EXACT_VALUES = (-3, -2, -1.5, -1, -0.5, 0, 0.5, 1, 1.5, 2, 3)  # float4_e2m1fn has them, so every narrow float does
POWERS = (-2, -1, -0.5, 0.5, 1, 2)


def normal(random: np.random.Generator, shape: tuple[int, ...], dtype: Any = np.float32) -> Array:
    return random.standard_normal(shape).astype(np.float32).astype(dtype)


def chosen(random: np.random.Generator, values: tuple[float, ...], shape: tuple[int, ...]) -> Array:
    return random.choice(np.array(values, np.float32), shape)


def added(shape: tuple[int, ...], dtype: Any = np.float32) -> Make:
    """Two arrays and their sum."""

    def make(random: np.random.Generator, _: ModuleType) -> Any:
        a, b = normal(random, shape, dtype), normal(random, shape, dtype)
        return (a, b), {}, a.astype(np.float32) + b.astype(np.float32)

    return make


def matmul(k: int, m: int, n: int, **options: Any) -> Make:
    """lhsT (k, m) and rhs (k, n) in bfloat16, and their product in float32."""

    def make(random: np.random.Generator, _: ModuleType) -> Any:
        a, b = normal(random, (k, m), ml_dtypes.bfloat16), normal(random, (k, n), ml_dtypes.bfloat16)
        return (a, b), options, a.astype(np.float32).T @ b.astype(np.float32)

    return make


def pooled(reduce: Any) -> Make:
    """Eight channels of 6 × 10, in windows of 2 × 2."""

    def make(random: np.random.Generator, _: ModuleType) -> Any:
        x, window = normal(random, (8, 6, 10)), 2
        return (x, window), {}, reduce(x.reshape(8, 3, 2, 5, 2), axis=(2, 4))

    return make


def transposed(random: np.random.Generator, _: ModuleType) -> Any:
    """Each partition's row as a matrix, transposed."""
    partitions, rows, columns = 5, 3, 4
    x = random.integers(-100, 100, (partitions, rows * columns)).astype(np.int8)
    return (x, (rows, columns)), {}, x.reshape(partitions, rows, columns).swapaxes(1, 2).reshape(partitions, -1)


def split(random: np.random.Generator, _: ModuleType) -> Any:
    """The even and the odd columns."""
    x = normal(random, (4, 9))
    return (x,), {}, [x[:, ::2], x[:, 1::2]]


def exponential(random: np.random.Generator, _: ModuleType) -> Any:
    x = normal(random, (128, 512))
    return (x,), {}, np.exp(x)


def scan(batch: int, channels: int, state: int, steps: int) -> Make:
    """Selective scan: s_t = exp(delta A) s_{t-1} + delta B u and y_t = sum over states of C s_t, in float64."""

    def make(random: np.random.Generator, _: ModuleType) -> Any:
        delta = np.abs(normal(random, (batch, channels, steps))) * 0.1
        u = normal(random, (batch, channels, steps))
        a = -np.abs(normal(random, (channels, state)))
        b, c = normal(random, (batch, state, steps)), normal(random, (batch, state, steps))
        y, s = np.zeros((batch, channels, steps)), np.zeros((batch, channels, state))
        for t in range(steps):
            entering = (delta[..., t] * u[..., t])[..., None] * b[:, None, :, t]
            s = np.exp(delta[..., t, None] * a) * s + entering
            y[..., t] = np.einsum("bcs,bs->bc", s, c[..., t])
        return (delta, u, a, b, c), {}, y

    return make


def microscaled(random: np.random.Generator, shape: tuple[int, int], kind: str) -> tuple[Array, Array, Array]:
    """(packed words, scales by 8 × 4 elements, the values they stand for) of exactly representable values."""
    values = chosen(random, EXACT_VALUES, shape)
    scales = random.integers(125, 130, (shape[0] // 8, shape[1] // 4)).astype(np.uint8)
    factors = 2.0 ** (scales.astype(np.float32) - 127)
    return words(values, PACKED[kind]), scales, values * factors.repeat(8, axis=0).repeat(4, axis=1)


def dot_of_fours(stationary: Array, moving: Array) -> Array:
    """Sums over partitions and over the four elements of a word."""
    partitions = len(stationary)
    fours = [tile.reshape(partitions, -1, 4) for tile in (stationary, moving)]
    product: Array = np.einsum("kiq,kjq->ij", *fours)
    return product


def offline_quantized(kind: str) -> Make:
    """Two microscaled tiles of the largest size."""

    def make(random: np.random.Generator, _: ModuleType) -> Any:
        import nki.language as nl

        stationary, stationary_scales, a = microscaled(random, (128, 512), kind)
        moving, moving_scales, b = microscaled(random, (128, 2048), kind)
        arguments = (stationary, stationary_scales, moving, moving_scales, getattr(nl, kind))
        return arguments, {}, dot_of_fours(a, b)

    return make


def quantized_on_device(stationary_kind: str, moving_kind: str) -> Make:
    """A microscaled tile, and one of powers of two in bfloat16 that quantisation keeps as they are."""

    def make(random: np.random.Generator, _: ModuleType) -> Any:
        import nki.language as nl

        stationary, scales, a = microscaled(random, (128, 512), stationary_kind)
        b = chosen(random, POWERS, (128, 2048))
        kinds = getattr(nl, stationary_kind), getattr(nl, moving_kind)
        return (stationary, scales, b.astype(ml_dtypes.bfloat16), *kinds), {}, dot_of_fours(a, b)

    return make


def strided(kind: str = "float8_e5m2_x4", **options: Any) -> Make:
    """Two tiles of powers of two in bfloat16 that quantisation keeps as they are."""

    def make(random: np.random.Generator, _: ModuleType) -> Any:
        import nki.language as nl

        a, b = chosen(random, POWERS, (512, 128)), chosen(random, POWERS, (512, 512))
        arguments = (a.astype(ml_dtypes.bfloat16), b.astype(ml_dtypes.bfloat16), getattr(nl, kind))
        return arguments, options, a.T @ b

    return make
