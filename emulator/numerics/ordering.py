"""float32 values as int32 keys of the same order, so that searching and sorting are exact in every compilation.

XLA on the CPU flushes subnormals in float comparisons and may lose NaNs in float reductions; on integers it does
neither. The order is -infinity, ..., -0.0, 0.0, ..., infinity, NaN: every NaN is the largest, as NumPy and PyTorch sort
it and as `maximum` returns it, and subnormals are told apart.
"""

from __future__ import annotations

from typing import Final

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

LOWEST: Final = np.int32(-(2**31))
"""Below the key of every value."""

NAN: Final = np.int32(2**31 - 1)
"""The key of every NaN."""

_MAGNITUDE: Final = np.int32(0x7FFFFFFF)
_INFINITY: Final = np.int32(0x7F800000)


def is_nan(x: Array) -> Array:
    """Whether each float32 is a NaN."""
    return (lax.bitcast_convert_type(x, jnp.int32) & _MAGNITUDE) > _INFINITY


def order_key(x: Array) -> Array:
    """int32 keys that ascend with the float32 values."""
    bits = lax.bitcast_convert_type(x, jnp.int32)
    return jnp.where(is_nan(x), NAN, _mirrored(bits))


def value_of(key: Array) -> Array:
    """The float32 values of keys; undoes `order_key`, but for the bits of NaNs."""
    return lax.bitcast_convert_type(_mirrored(key), jnp.float32)


def _mirrored(bits: Array) -> Array:
    """Sign and magnitude to two's complement, and back: the magnitude of negative numbers is inverted."""
    return jnp.where(bits < 0, bits ^ _MAGNITUDE, bits)


def equality_key(x: Array) -> Array:
    """int32 keys that are equal where the float32 values are: the bits, with -0.0 as 0.0. NaNs are the caller's."""
    bits = lax.bitcast_convert_type(x, jnp.int32)
    return jnp.where((bits & _MAGNITUDE) == 0, 0, bits)
