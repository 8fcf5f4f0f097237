"""Arithmetic that XLA's operators on the CPU do not give: exact powers of two, and a dot whose order of sums is fixed.

f32 arithmetic on XLA's CPU flushes subnormal operands and results to zero (measured with jax 0.10): what must be exact
near 2**-126 is therefore written with integers.
"""

from __future__ import annotations

from typing import Final, cast

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.custom_batching import custom_vmap

from trnlab.emulator.numerics.sealing import barrier

Axes = tuple[tuple[int, ...], tuple[int, ...]]
"""Dimensions of the left and of the right operand."""

_FEWEST_COLUMNS: Final = 16
"""Of a dot's operands. From here on XLA's order of sums was the same in all shapes tried (K up to 256, 2 threads)."""


def ldexp_f32(x: Array, exponent: Array) -> Array:
    """`x * 2**exponent`, rounded once to nearest even; subnormal operands and results are kept.

    `exponent` is int32 and broadcasts against `x`. Beyond f32 the result is an infinity. Written with integers
    because XLA's f32 multiply on the CPU flushes subnormals.
    """
    x, exponent = jnp.broadcast_arrays(x, exponent)
    bits = lax.bitcast_convert_type(x, jnp.uint32)
    sign, magnitude = bits & np.uint32(0x80000000), bits & 0x7FFFFFFF
    field, significand = _normalised(magnitude)
    target = field + jnp.clip(exponent, -1024, 1024)
    scaled = jnp.where(target > 0, _normal_bits(target, significand), _subnormal_bits(target, significand))
    scaled = jnp.where(target > 254, np.uint32(0x7F800000), scaled)
    is_fixed = (magnitude == 0) | (magnitude >= 0x7F800000)
    return lax.bitcast_convert_type(sign | jnp.where(is_fixed, magnitude, scaled), jnp.float32)


def _normalised(magnitude: Array) -> tuple[Array, Array]:
    """Biased exponent (below 1 for subnormals) and 24-bit significand of an f32 magnitude that is not zero."""
    field = (magnitude >> 23).astype(jnp.int32)
    fraction = magnitude & 0x7FFFFF
    shift = jnp.maximum(lax.clz(fraction).astype(jnp.int32) - 8, 0)
    is_subnormal = field == 0
    significand = jnp.where(is_subnormal, fraction << shift.astype(jnp.uint32), fraction | 0x800000)
    return jnp.where(is_subnormal, 1 - shift, field), significand


def _normal_bits(field: Array, significand: Array) -> Array:
    return (field.astype(jnp.uint32) << 23) + (significand & 0x7FFFFF)


def _subnormal_bits(field: Array, significand: Array) -> Array:
    """The significand shifted down to the fixed lsb 2**-149, nearest even; a carry makes the smallest normal."""
    drop = jnp.clip(1 - field, 1, 25).astype(jnp.uint32)
    odd = (significand >> drop) & 1
    return (significand + ((np.uint32(1) << (drop - 1)) - 1) + odd) >> drop


def matmul_f32(stationary: Array, moving: Array) -> Array:
    """stationary.T @ moving with f32 accumulation: [K, M], [K, N] to [M, N]. The caller keeps K <= 128.

    Up to K = 256 the sum's order depends on nothing but K: not on M and N, on `jax.vmap`, or on what is compiled
    around. The order itself belongs to the host. Error: at most gamma_(K-1) * sum |a||b|, gamma_n = n u / (1 - n u),
    u = 2**-24, plus K * 2**-126 where products or sums are subnormal and flush.

    XLA on the CPU has several kernels for a dot, which add in different orders. Kept on one of them: the contracted
    dimension comes first in both operands, no transposition is folded into the dot, and no operand is narrow (vectors
    have kernels of their own; between few columns and many the contraction is cut into a part per thread).
    """
    return cast(Array, _dots(stationary[None], moving[None]))[0]


@custom_vmap
def _dots(stationary: Array, moving: Array) -> Array:
    """[B, K, M], [B, K, N] to [B, M, N]; a dimension that `jax.vmap` adds joins one of the three."""
    m, n = stationary.shape[2], moving.shape[2]
    left, right = (barrier(_padded(x)) for x in (stationary, moving))
    single = stationary.shape[0] == 1
    dots = (
        _dot(left[0], right[0], ((0,), (0,)), ((), ()))[None]
        if single
        else _dot(left, right, ((1,), (1,)), ((0,), (0,)))
    )
    # The barrier keeps the slice from being sunk into the dot, which would be narrow again.
    return dots if dots.shape[1:] == (m, n) else barrier(dots)[:, :m, :n]


def _padded(x: Array) -> Array:
    return jnp.pad(x, ((0, 0), (0, 0), (0, max(0, _FEWEST_COLUMNS - x.shape[2]))))


def _dot(stationary: Array, moving: Array, contracted: Axes, batch: Axes) -> Array:
    return lax.dot_general(
        stationary,
        moving,
        (contracted, batch),
        precision=lax.Precision.HIGHEST,
        preferred_element_type=jnp.float32,
    )


@_dots.def_vmap
def _more_dots(size: int, batched: list[bool], stationary: Array, moving: Array) -> tuple[Array, bool]:
    """The new dimension, which comes first, joins the batch if both have it, else the columns of the one that does."""
    if all(batched):
        dots = _dots(stationary.reshape(-1, *stationary.shape[2:]), moving.reshape(-1, *moving.shape[2:]))
        return dots.reshape(size, -1, *dots.shape[1:]), True
    if batched[0]:
        dots = _dots(_widened(stationary), moving)
        return jnp.moveaxis(dots.reshape(dots.shape[0], size, -1, dots.shape[2]), 1, 0), True
    dots = _dots(stationary, _widened(moving))
    return jnp.moveaxis(dots.reshape(*dots.shape[:2], size, -1), 2, 0), True


def _widened(x: Array) -> Array:
    """[size, B, K, M] to [B, K, size * M]."""
    return jnp.moveaxis(x, 0, 2).reshape(*x.shape[1:3], -1)
