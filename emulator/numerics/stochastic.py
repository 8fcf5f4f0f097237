"""Stochastic rounding: f32 to one of its two neighbours in a format, with the probability that makes the mean right.

Written on integers: f32 arithmetic on XLA's CPU would flush the subnormals, and the distance to the lower neighbour is
needed exactly.
"""

from __future__ import annotations

from math import prod
from typing import Final

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from trnlab.emulator import dtypes
from trnlab.emulator.dtypes import DTYPES, DType
from trnlab.emulator.errors import ShapeError, Violation
from trnlab.emulator.numerics.casts import AnyArray, check_narrowing, dtype_error, narrow
from trnlab.emulator.target import OverflowPolicy, SubnormalPolicy

_FLOATS: Final = tuple(dtype for dtype in DTYPES if dtype.is_float)
_INFINITY: Final = np.uint32(0x7F800000)


def narrow_stochastic(
    x: AnyArray,
    dtype: DType,
    bits: AnyArray,
    overflow: OverflowPolicy = OverflowPolicy.INFINITY,
    subnormals: SubnormalPolicy = SubnormalPolicy.KEEP,
) -> Array:
    """f32 rounded to a neighbour in `dtype`: away from zero where bits >= (1 - fraction) 2**32, else toward zero.

    fraction is |x|'s distance to its neighbour toward zero in units of their distance, the ulp of `dtype` at x
    (2**(1 - bias - mantissa_bits) for subnormals): uniform bits give P(away) = fraction, exactly wherever the ulp is
    at most 2**32 times that of the f32 (all normal results), else floor(fraction 2**32) / 2**32.

    x:    float32, any shape
    bits: uint32 of the shape of `x`, uniform and independent
    Representable values, infinities and NaN do not depend on `bits`; float32 is not rounded. The neighbour beyond the
    largest value is an overflow, and `overflow` says what becomes of it; what is subnormal after rounding is
    `subnormals`' to decide. The result grows in magnitude with `bits`, up to an overflow.

    Raises:
        DtypeError: `x` is not float32, `bits` is not uint32, or `dtype` is no float (packed, scale, integer, bool).
        ShapeError: `bits` and `x` have different shapes.

    Source of the mode: AWS Neuron rounding modes; the mapping of random bits to roundings is not public.
    """
    check_narrowing("narrow_stochastic", x, dtype)
    if not dtype.is_float:
        raise dtype_error("narrow_stochastic", "dtype", str(dtype), ", ".join(_FLOATS))
    if bits.dtype != np.uint32:
        raise dtype_error("narrow_stochastic", "bits", str(bits.dtype), "uint32")
    if bits.shape != x.shape:
        violation = Violation(
            subject="narrow_stochastic", operand="bits", found=f"shape {bits.shape}", allowed=f"x's, {x.shape}"
        )
        raise ShapeError(violation)
    values = jnp.asarray(x)
    if dtype == dtypes.float32:
        return narrow(values, dtype, overflow, subnormals)
    rounded = _rounded(values, dtype, jnp.asarray(bits))
    if overflow is OverflowPolicy.NAN:
        # Formats as wide as f32 overflow to an infinity here, which the cast could not tell from one of the input.
        rounded = jnp.where(jnp.isinf(rounded) & ~jnp.isinf(values), jnp.float32(jnp.nan), rounded)
    return narrow(rounded, dtype, overflow, subnormals)


def _rounded(x: Array, dtype: DType, bits: Array) -> Array:
    """The neighbour of `x`, as f32 (for overflows, the next value that `dtype` would have with a larger exponent)."""
    pattern = lax.bitcast_convert_type(x, jnp.uint32)
    sign, magnitude = pattern & np.uint32(0x80000000), pattern & 0x7FFFFFFF
    field = jnp.maximum(magnitude >> 23, 1).astype(jnp.int32)
    significand = jnp.where(magnitude >> 23 > 0, (magnitude & 0x7FFFFF) | 0x800000, magnitude)
    form = dtype.format
    # Low bits of the significand that `dtype` has no room for: by its precision, or by its fixed subnormal ulp.
    drop = jnp.maximum(23 - form.mantissa_bits, 151 - form.bias - form.mantissa_bits - field)
    # The dropped part as a fraction of 2**32; shifts beyond 31 are cut off, where all bits are gone in any case.
    fraction = jnp.where(
        drop < 32,
        significand << (32 - jnp.clip(drop, 1, 32)).astype(jnp.uint32),
        significand >> jnp.clip(drop - 32, 0, 31).astype(jnp.uint32),
    )
    away = (bits > ~fraction).astype(jnp.uint32)  # bits + fraction >= 2**32
    small = np.float32(form.smallest_subnormal).view(np.uint32)
    within = jnp.minimum(drop, 23).astype(jnp.uint32)
    kept = ((magnitude >> within) << within) + (away << within)  # a carry moves into the exponent, as it should
    rounded = jnp.where(drop > 23, away * small, kept)
    return lax.bitcast_convert_type(sign | jnp.where(magnitude >= _INFINITY, magnitude, rounded), jnp.float32)


def random_bits(key: AnyArray, stream: int, shape: tuple[int, ...]) -> Array:
    """uint32 of `shape`: element e is the first word of Threefry-2x32 of counter (stream, e); `key` is uint32 [2].

    A function of these numbers alone: not of the shape, of other elements, or of JAX's random number configuration.
    """
    elements = jnp.arange(prod(shape), dtype=jnp.uint32)
    return _threefry_2x32(jnp.asarray(key), jnp.full_like(elements, stream), elements).reshape(shape)


_ROTATIONS: Final = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY: Final = np.uint32(0x1BD11BDA)


def _threefry_2x32(key: Array, x: Array, y: Array) -> Array:
    """The first of the two words: 20 rounds, the key mixed in after every fourth.

    Written out, because the loop that JAX lowers its own to on the CPU compiles slower and runs many times slower.
    Source: Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011, section 3.3.
    """
    keys = (key[0], key[1], key[0] ^ key[1] ^ _PARITY)
    x, y = x + keys[0], y + keys[1]
    for quarter in range(5):
        for rotation in _ROTATIONS[quarter % 2]:
            x = x + y
            y = ((y << rotation) | (y >> (32 - rotation))) ^ x
        x, y = x + keys[(quarter + 1) % 3], y + keys[(quarter + 2) % 3] + np.uint32(quarter + 1)
    return x
