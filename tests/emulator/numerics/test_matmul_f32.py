"""The order of a dot's sums depends on nothing but K: not on shapes, `jax.vmap`, or who produces the operands."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.repetition import everyday
from trnlab.emulator.numerics.arithmetic import matmul_f32

compiled = jax.jit(matmul_f32)


def operands(*shapes: tuple[int, ...]) -> list[np.ndarray]:
    return [np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32) for shape in shapes]


def tile_by_tile(a: np.ndarray, b: np.ndarray, size: int = 32) -> np.ndarray:
    """The product computed 32 x 32 elements at a time; the last tiles are whole tiles too."""
    (k, m), n = a.shape, b.shape[1]
    a, b = (np.concatenate([x, np.ones((k, -x.shape[1] % size), np.float32)], 1) for x in (a, b))
    rows = [
        [np.asarray(compiled(a[:, i : i + size], b[:, j : j + size])) for j in range(0, n, size)]
        for i in range(0, m, size)
    ]
    return np.block(rows)[:m, :n]


@pytest.mark.parametrize("k", everyday(4, [1, 16, 100, 256, 4, 128]))
@pytest.mark.parametrize(
    ("m", "n"),
    [
        *((1, 1), (1, 2), (9, 1), (33, 1), (1, 33)),  # vectors
        *((2, 2), (8, 12), (33, 33), (128, 512)),  # tiles
        *((2, 2048), (512, 12), (1024, 6), (64, 512)),  # a few columns by many
    ],
)
def test_a_result_does_not_depend_on_its_neighbours(k: int, m: int, n: int) -> None:
    a, b = operands((k, m), (k, n))
    np.testing.assert_array_equal(compiled(a, b), tile_by_tile(a, b))


SIZES = [(16, 8, 12), (128, 4, 256), (4, 4, 4), (32, 1, 16), (128, 128, 64)]


@pytest.mark.parametrize(
    ("size", "which"),
    everyday(
        9, [*((size, "both") for size in SIZES), *((size, one) for size in SIZES for one in ("stationary", "moving"))]
    ),
)
def test_mapped_over_any_axis(size: tuple[int, int, int], which: str) -> None:
    k, m, n = size
    a, b = operands((3, k, m), (3, k, n))
    has = (which != "moving", which != "stationary")
    expected = np.stack([compiled(a[i * has[0]], b[i * has[1]]) for i in range(3)])
    for axis in range(3):
        arrays = [jnp.moveaxis(x, 0, axis) if mapped else x[0] for x, mapped in zip((a, b), has, strict=True)]
        found = jax.jit(jax.vmap(matmul_f32, tuple(axis if mapped else None for mapped in has), axis))(*arrays)
        np.testing.assert_array_equal(jnp.moveaxis(found, axis, 0), expected)


@pytest.mark.parametrize("inner", [(0, None), (None, 1), (2, 0)])
@pytest.mark.parametrize("outer", [(0, None), (None, 0), (0, 0)])
def test_mapped_twice(outer: Any, inner: Any) -> None:
    """The axes that the inner map takes are those left when the outer one has taken the first."""
    shapes = []
    for size, from_outer, from_inner in zip((8, 12), outer, inner, strict=True):
        shape = [16, size]
        if from_inner is not None:
            shape.insert(from_inner, 2)
        shapes.append((*(() if from_outer is None else (3,)), *shape))
    a, b = operands(*shapes)

    def one(x: np.ndarray, axis: int | None, index: int) -> np.ndarray:
        return x if axis is None else np.take(x, index, axis)

    expected = np.stack(
        [
            np.stack(
                [
                    compiled(one(one(a, outer[0], i), inner[0], j), one(one(b, outer[1], i), inner[1], j))
                    for j in range(2)
                ]
            )
            for i in range(3)
        ]
    )
    found = jax.jit(jax.vmap(jax.vmap(matmul_f32, inner), outer))(a, b)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("size", SIZES)
def test_operands_that_a_program_transposes_or_computes_on_the_way(size: tuple[int, int, int]) -> None:
    k, m, n = size
    a, b = operands((k, m), (k, n))
    expected = np.asarray(compiled(a, b))

    @jax.jit
    def turned(a: jax.Array, b: jax.Array) -> jax.Array:
        return matmul_f32(a.T, b.T)

    @partial(jax.jit, static_argnums=2)
    def looped(a: jax.Array, b: jax.Array, trips: int) -> jax.Array:
        return jax.lax.fori_loop(
            0, trips, lambda i, x: jnp.maximum(x, matmul_f32(a + 0 * i, b)), jnp.full((m, n), -jnp.inf)
        )

    np.testing.assert_array_equal(turned(a.T, b.T), expected)
    np.testing.assert_array_equal(looped(a, b, 2), expected)
