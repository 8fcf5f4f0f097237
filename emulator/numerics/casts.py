"""Casts: f32 rounded to nearest even into every format, and every format widened to f32.

Every function takes arrays and returns arrays, works the same eagerly and under `jax.jit`, and holds no state.

Facts about XLA on the CPU that shape the code (measured with jax 0.10, exhaustively for the casts):

- Narrow casts round to nearest even, once, and keep subnormals; NaN payloads are not defined, so `narrow` fixes them.
- f32 arithmetic, comparisons, minimum and maximum flush subnormal operands and results to zero. Casts, selections
  and bit operations do not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from numpy.typing import NDArray

from trnlab.emulator import dtypes
from trnlab.emulator.dtypes import DType
from trnlab.emulator.errors import DtypeError, Violation
from trnlab.emulator.numerics.sealing import canonical_nan
from trnlab.emulator.target import OverflowPolicy, SubnormalPolicy

AnyArray = Array | NDArray[Any]
"""What the functions below take: a JAX array, traced or not, or a NumPy array (never silently narrowed by JAX)."""


def narrow(
    x: AnyArray,
    dtype: DType,
    overflow: OverflowPolicy = OverflowPolicy.INFINITY,
    subnormals: SubnormalPolicy = SubnormalPolicy.KEEP,
) -> Array:
    """f32 rounded to nearest even into `dtype`, as an array of `dtype.storage`.

    - floats: the policies decide beyond the largest finite value and below the smallest normal one; NaN becomes the
      format's canonical NaN, and negative zero in float4_e2m1fn, which has none (what ml_dtypes and XLA make of the
      canonical f32 NaN). float32 is not rounded. tfloat32 keeps 10 mantissa bits in f32 storage.
    - float8_e8m0fnu: nearest power of two, ties up; zero and negatives become NaN, as in ml_dtypes. MX scales are
      never made by this cast (see `trnlab.emulator.numerics.microscaling`).
    - integers: nearest even, then saturated (NKI 0.6 release note on the simulator); NaN becomes 0 (assumed).
    - bool: 1 for every value but zero, NaN included (assumed).

    Raises:
        DtypeError: `x` is not float32, or `dtype` is packed (use `pack_x4`).
    """
    check_narrowing("narrow", x, dtype)
    return _NARROW[dtype.format.kind](jnp.asarray(x), dtype, overflow, subnormals)


def check_narrowing(subject: str, x: AnyArray, dtype: DType) -> None:
    """Raise DtypeError unless `x` is float32 and `dtype` unpacked."""
    if x.dtype != np.float32:
        raise dtype_error(subject, "x", str(x.dtype), "float32")
    if dtype.is_packed:
        raise dtype_error(subject, "dtype", str(dtype), "an unpacked dtype; narrow the elements, then pack_x4")


def _narrow_float(x: Array, dtype: DType, overflow: OverflowPolicy, subnormals: SubnormalPolicy) -> Array:
    if subnormals is SubnormalPolicy.FLUSH and dtype.is_float:
        x = _flushed(x, dtype)
    if dtype == dtypes.float32:
        return x
    x = _OVERFLOW[overflow](canonical_nan(x), dtype)
    return _round_tfloat32(x) if dtype == dtypes.tfloat32 else x.astype(dtype.storage)


def _flushed(x: Array, dtype: DType) -> Array:
    """`x` with what rounds to less than the smallest normal number made zero; half an ulp below it rounds up to it."""
    ulp = 0.0 if dtype == dtypes.float32 else dtype.format.smallest_subnormal
    limit = np.float32(dtype.format.smallest_normal - ulp / 2).view(np.uint32)
    bits = lax.bitcast_convert_type(x, jnp.uint32)
    # Compared as integers: float32 comparisons would flush.
    kept = jnp.where((bits & 0x7FFFFFFF) < limit, bits & np.uint32(0x80000000), bits)
    return lax.bitcast_convert_type(kept, jnp.float32)


def _saturated(x: Array, dtype: DType) -> Array:
    # A selection and not a clip: minimum and maximum would flush subnormals.
    return jnp.where(jnp.abs(x) > dtype.format.max, jnp.copysign(jnp.float32(dtype.format.max), x), x)


def _nan_beyond(x: Array, dtype: DType) -> Array:
    """NaN for finite values that round beyond the largest: from half an ulp on, the tie's even neighbour."""
    form = dtype.format
    if not form.has_infinity:
        return x  # the cast gives NaN by itself, or has none to give
    ulp = 2.0 ** (np.frexp(form.max)[1] - 1 - form.mantissa_bits)
    beyond = (jnp.abs(x) >= np.float32(form.max + ulp / 2)) & (jnp.abs(x) < jnp.inf)
    return jnp.where(beyond, jnp.float32(jnp.nan), x)


_OVERFLOW: Final[Mapping[OverflowPolicy, Callable[[Array, DType], Array]]] = {
    OverflowPolicy.INFINITY: lambda x, dtype: x,
    OverflowPolicy.NAN: _nan_beyond,
    OverflowPolicy.SATURATE: _saturated,
}


def _round_tfloat32(x: Array) -> Array:
    """Nearest even at bit 13: adding half an ulp less one, plus the kept odd bit, carries exactly when rounding up."""
    bits = lax.bitcast_convert_type(x, jnp.uint32)
    rounded = (bits + 0xFFF + ((bits >> 13) & 1)) & np.uint32(0xFFFFE000)
    is_special = (bits & 0x7F800000) == 0x7F800000
    return lax.bitcast_convert_type(jnp.where(is_special, bits, rounded), jnp.float32)


def _narrow_integer(x: Array, dtype: DType, overflow: OverflowPolicy, subnormals: SubnormalPolicy) -> Array:
    del overflow, subnormals  # the documented conversion saturates
    limits = np.iinfo(dtype.storage)
    low, end = np.float32(limits.min), np.float32(limits.max + 1)  # both exact; limits.max itself need not be
    whole = lax.round(x, lax.RoundingMethod.TO_NEAREST_EVEN)
    inside = (whole >= low) & (whole < end)
    # Out-of-range values never reach the conversion, whose result there is not defined.
    result = jnp.where(inside, whole, 0).astype(dtype.storage)
    result = jnp.where(whole >= end, jnp.asarray(limits.max, dtype.storage), result)
    return jnp.where(whole < low, jnp.asarray(limits.min, dtype.storage), result)


def _narrow_bool(x: Array, dtype: DType, overflow: OverflowPolicy, subnormals: SubnormalPolicy) -> Array:
    del overflow, subnormals
    magnitude = lax.bitcast_convert_type(x, jnp.uint32) & 0x7FFFFFFF
    return (magnitude != 0).astype(dtype.storage)


_NARROW: Final[Mapping[str, Callable[[Array, DType, OverflowPolicy, SubnormalPolicy], Array]]] = {
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
        raise dtype_error("widen", "dtype", str(dtype), "an unpacked dtype; use decode_x4")
    if x.dtype != dtype.storage:
        raise dtype_error("widen", "x", str(x.dtype), f"{dtype.storage}, the storage of {dtype}")
    return jnp.asarray(x).astype(jnp.float32)


def dtype_error(subject: str, operand: str, found: str, allowed: str) -> DtypeError:
    """The error of an array or format that a value function does not take."""
    return DtypeError(Violation(subject=subject, operand=operand, found=found, allowed=allowed))
