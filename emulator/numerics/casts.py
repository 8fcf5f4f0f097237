"""Value functions of the emulator: casts, seals, x4 packing, exact powers of two, the f32 dot of one tile.

Every function takes arrays and returns arrays, works the same eagerly and under `jax.jit`, and holds no state.

Facts about XLA on the CPU that shape the code (measured with jax 0.10, exhaustively for the casts):

- Narrow casts round to nearest even, once, and keep subnormals; NaN payloads are not defined, so `narrow` fixes them.
- f32 arithmetic, comparisons, minimum and maximum flush subnormal operands and results to zero. Casts, selections
  and bit operations do not. What must be exact near 2**-126 is therefore written with integers (`ldexp_f32`).
- Instructions compiled together are simplified and contracted across their boundary; `seal` stops that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any, Final, cast

import jax.numpy as jnp
import ml_dtypes
import numpy as np
from jax import Array, lax
from jax.custom_batching import custom_vmap
from numpy.typing import NDArray

from trnlab.emulator import dtypes
from trnlab.emulator.dtypes import DTYPES, DType, as_dtype, element_of
from trnlab.emulator.errors import DtypeError, ShapeError, Violation

AnyArray = Array | NDArray[Any]
"""What the functions below take: a JAX array, traced or not, or a NumPy array (never silently narrowed by JAX)."""

Axes = tuple[tuple[int, ...], tuple[int, ...]]
"""Dimensions of the left and of the right operand."""

LANES: Final = 4
"""Elements in one x4 word."""

_FEWEST_COLUMNS: Final = 16
"""Of a dot's operands. From here on XLA's order of sums was the same in all shapes tried (K up to 256, 2 threads)."""

_barrier: Final[Callable[[Array], Array]] = lax.optimization_barrier


class OverflowPolicy(Enum):
    """What a cast does with a value that rounds beyond the largest finite one of its format."""

    IEEE = "ieee"
    """Infinity where the format has one; NaN for float8_e4m3fn; the largest value for float4_e2m1fn."""
    SATURATE = "saturate"
    """The largest finite value with the sign of the input, for infinities too (OCP OFP8 v1.0, saturating mode)."""


def seal(x: Array) -> Array:
    """`x`, with every NaN canonical and as a value that XLA cannot look through.

    Executors apply it to each f32 result of an instruction, so that the bits do not depend on what is compiled around.
    Two rewrites are stopped, by one half of the expression each: the select keeps LLVM from contracting a multiply
    with the next instruction's add, and the barrier keeps XLA's algebraic simplifier from merging operations
    (a / b into a * (1 / b), exp(a) * exp(b) into exp(a + b)).
    """
    return _barrier(_canonical_nan(x))


def _canonical_nan(x: Array) -> Array:
    # Made of x, so that `jax.vmap` finds the new dimension at the same place in all operands and transposes none.
    nothing = lax.bitcast_convert_type(x, jnp.uint32) & np.uint32(0)
    nan = lax.bitcast_convert_type(nothing | np.uint32(0x7FC00000), jnp.float32)
    return jnp.where(x == x, x, nan)  # noqa: PLR0124 - x != x is the NaN test


def sealed_beside(x: Array, other: Array) -> Array:
    """`x` sealed in the shape of `other`, along the axes that `jax.vmap` adds to `other` too.

    XLA sees through the broadcast of a sealed value of fewer axes: it would still divide by multiplying.
    """
    return seal(jnp.where(other == other, x, x))  # noqa: PLR0124 - only ties the axes together


# ---------------------------------------------------------------------------------------------------- casts


def narrow(x: AnyArray, dtype: DType, policy: OverflowPolicy = OverflowPolicy.IEEE) -> Array:
    """f32 rounded to nearest even into `dtype`, as an array of `dtype.storage`.

    - floats: the policy decides beyond the largest finite value; NaN becomes the format's canonical NaN, and negative
      zero in float4_e2m1fn, which has none (what ml_dtypes and XLA make of the canonical f32 NaN). float32 is
      returned as it is. tfloat32 keeps 10 mantissa bits in f32 storage.
    - float8_e8m0fnu: nearest power of two, ties up; zero and negatives become NaN, as in ml_dtypes. MX scales are
      never made by this cast (see `trnlab.emulator.numerics.microscaling`).
    - integers: nearest even, then saturated (NKI 0.6 release note on the simulator); NaN becomes 0 (assumed).
    - bool: 1 for every value but zero, NaN included (assumed).

    Raises:
        DtypeError: `x` is not float32, or `dtype` is packed (use `pack_x4`).
    """
    if x.dtype != np.float32:
        raise _dtype_error("narrow", "x", str(x.dtype), "float32")
    if dtype.is_packed:
        raise _dtype_error("narrow", "dtype", str(dtype), "an unpacked dtype; narrow the elements, then pack_x4")
    return _NARROW[dtype.format.kind](jnp.asarray(x), dtype, policy)


def _narrow_float(x: Array, dtype: DType, policy: OverflowPolicy) -> Array:
    if dtype == dtypes.float32:
        return x
    x = _canonical_nan(x)
    if policy is OverflowPolicy.SATURATE:
        # A selection and not a clip: minimum and maximum would flush subnormals.
        x = jnp.where(jnp.abs(x) > dtype.format.max, jnp.copysign(jnp.float32(dtype.format.max), x), x)
    return _round_tfloat32(x) if dtype == dtypes.tfloat32 else x.astype(dtype.storage)


def _round_tfloat32(x: Array) -> Array:
    """Nearest even at bit 13: adding half an ulp less one, plus the kept odd bit, carries exactly when rounding up."""
    bits = lax.bitcast_convert_type(x, jnp.uint32)
    rounded = (bits + 0xFFF + ((bits >> 13) & 1)) & np.uint32(0xFFFFE000)
    is_special = (bits & 0x7F800000) == 0x7F800000
    return lax.bitcast_convert_type(jnp.where(is_special, bits, rounded), jnp.float32)


def _narrow_integer(x: Array, dtype: DType, policy: OverflowPolicy) -> Array:
    del policy  # the documented conversion saturates
    limits = np.iinfo(dtype.storage)
    low, end = np.float32(limits.min), np.float32(limits.max + 1)  # both exact; limits.max itself need not be
    whole = lax.round(x, lax.RoundingMethod.TO_NEAREST_EVEN)
    inside = (whole >= low) & (whole < end)
    # Out-of-range values never reach the conversion, whose result there is not defined.
    result = jnp.where(inside, whole, 0).astype(dtype.storage)
    result = jnp.where(whole >= end, jnp.asarray(limits.max, dtype.storage), result)
    return jnp.where(whole < low, jnp.asarray(limits.min, dtype.storage), result)


def _narrow_bool(x: Array, dtype: DType, policy: OverflowPolicy) -> Array:
    del policy
    magnitude = lax.bitcast_convert_type(x, jnp.uint32) & 0x7FFFFFFF
    return (magnitude != 0).astype(dtype.storage)


_NARROW: Final[Mapping[str, Callable[[Array, DType, OverflowPolicy], Array]]] = {
    "float": _narrow_float,
    "scale": _narrow_float,
    "int": _narrow_integer,
    "uint": _narrow_integer,
    "bool": _narrow_bool,
}


def widen(x: AnyArray, dtype: DType) -> Array:
    """The f32 value of each element: exact for every float format, subnormals and signed zeros included.

    Integers of more than 24 significant bits are rounded to nearest even.

    Raises:
        DtypeError: `dtype` is packed (use `decode_x4`), or `x` is not stored as `dtype.storage`.
    """
    if dtype.is_packed:
        raise _dtype_error("widen", "dtype", str(dtype), "an unpacked dtype; use decode_x4")
    if x.dtype != dtype.storage:
        raise _dtype_error("widen", "x", str(x.dtype), f"{dtype.storage}, the storage of {dtype}")
    return jnp.asarray(x).astype(jnp.float32)


# --------------------------------------------------------------------------------------------------- x4 words

_PACKED: Final[Mapping[DType, DType]] = {element_of(packed): packed for packed in DTYPES if packed.is_packed}
_FLOAT4_VALUES: Final = np.arange(16, dtype=np.uint8).view(ml_dtypes.float4_e2m1fn).astype(np.float32)


def packed_of(element: DType) -> DType:
    """The packed x4 dtype whose words hold `element`.

    Raises:
        DtypeError: NKI packs no such element.
    """
    if element not in _PACKED:
        raise _dtype_error("pack_x4", "elements", str(element), ", ".join(_PACKED))
    return _PACKED[element]


def pack_x4(elements: AnyArray) -> Array:
    """words[..., f] = elements[..., 4f : 4f + 4], element 0 in the low byte (FP8) or the low nibble (FP4).

    Takes [..., 4F] of float8_e4m3fn, float8_e5m2 (words are uint32) or float4_e2m1fn (uint16), returns [..., F].

    Raises:
        DtypeError: another element dtype.
        ShapeError: the last axis is no multiple of 4.

    Source: NKI deep dive "MXFP Matrix Multiplication", data tensor; the little-endian order is in its host code.
    """
    packed = packed_of(as_dtype(elements.dtype))
    values = jnp.asarray(elements)
    if values.shape[-1] % LANES:
        raise ShapeError(
            Violation(
                subject="pack_x4",
                operand="elements",
                found=f"shape {values.shape}",
                allowed="a last axis that is a multiple of 4",
            )
        )
    lanes = values.reshape(*values.shape[:-1], values.shape[-1] // LANES, LANES)
    return lax.bitcast_convert_type(lanes, packed.storage)


def unpack_x4(words: AnyArray, dtype: DType) -> Array:
    """The elements of packed words [..., F] as [..., 4F] in the element's storage; the inverse of `pack_x4`.

    Raises:
        DtypeError: `dtype` is not packed, or `words` is not stored as its word type.
    """
    stored = _words(words, dtype)
    if dtype == dtypes.float4_e2m1fn_x4:
        lanes = lax.bitcast_convert_type(_nibbles(stored).astype(jnp.uint4), jnp.float4_e2m1fn)
    else:
        lanes = lax.bitcast_convert_type(stored, element_of(dtype).storage)
    return lanes.reshape(*stored.shape[:-1], stored.shape[-1] * LANES)


def decode_x4(words: AnyArray, dtype: DType) -> Array:
    """The exact f32 value of each element of packed words: [..., F] to [..., F, 4]. Scales are not applied.

    Raises:
        DtypeError: `dtype` is not packed, or `words` is not stored as its word type.
    """
    stored = _words(words, dtype)
    if dtype == dtypes.float4_e2m1fn_x4:
        return jnp.take(_FLOAT4_VALUES, _nibbles(stored), mode="clip")
    return lax.bitcast_convert_type(stored, element_of(dtype).storage).astype(jnp.float32)


def _nibbles(words: Array) -> Array:
    return (words[..., None] >> np.array([0, 4, 8, 12], np.uint16)) & 0xF


def _words(words: AnyArray, dtype: DType) -> Array:
    if not dtype.is_packed:
        raise _dtype_error("unpack_x4", "dtype", str(dtype), ", ".join(_PACKED.values()))
    if words.dtype != dtype.storage:
        raise _dtype_error("unpack_x4", "words", str(words.dtype), f"{dtype.storage}, the words of {dtype}")
    return jnp.asarray(words)


# ------------------------------------------------------------------------------------------------ arithmetic


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
    left, right = (_barrier(_padded(x)) for x in (stationary, moving))
    single = stationary.shape[0] == 1
    dots = (
        _dot(left[0], right[0], ((0,), (0,)), ((), ()))[None]
        if single
        else _dot(left, right, ((1,), (1,)), ((0,), (0,)))
    )
    # The barrier keeps the slice from being sunk into the dot, which would be narrow again.
    return dots if dots.shape[1:] == (m, n) else _barrier(dots)[:, :m, :n]


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


def _dtype_error(subject: str, operand: str, found: str, allowed: str) -> DtypeError:
    return DtypeError(Violation(subject=subject, operand=operand, found=found, allowed=allowed))
