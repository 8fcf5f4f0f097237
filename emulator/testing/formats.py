"""Element formats seen from a test: exact float64 values, one correct rounding, and codes in the order of values.

Everything here is NumPy and float64, written from the format table alone, so that it can judge the emulator's own
casts. Source of the table: `trnlab.emulator.dtypes`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trnlab.emulator.arguments import describe, kind_of
from trnlab.emulator.dtypes import DType, as_dtype, element_of
from trnlab.emulator.errors import DtypeError
from trnlab.emulator.source import fail

Array = NDArray[Any]
Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

NAN_CODE: Final = np.int64(2**40)
"""The ordered code of every NaN: beyond those of all numbers."""


def as_array(values: Any) -> Array:
    """A NumPy, JAX or torch array, or numbers, as a NumPy array; packed words lose their structure."""
    if kind_of(values) == "torch" and str(values.dtype) != "torch.float64":
        found = describe("values", values)
        assert found is not None
        return found.as_numpy()
    array = np.asarray(values)
    return array[array.dtype.names[0]] if array.dtype.names else array


def dtype_of(values: Any, dtype: Any = None) -> DType:
    """The NKI dtype asked for, else the array's own.

    Raises:
        DtypeError: an array of a dtype that NKI does not have, and none asked for.
    """
    try:
        return as_dtype(getattr(values, "dtype", None) if dtype is None else dtype)
    except TypeError as error:
        found = repr(getattr(values, "dtype", type(values).__name__)) if dtype is None else repr(dtype)
        fail(DtypeError, "trnlab.emulator.testing", operand="dtype", found=found, allowed=str(error))


def lanes_of(words: Array, dtype: DType) -> Array:
    """The elements of packed words [..., F] as [..., F, 4], in the element's storage; the first in the low bits."""
    element = element_of(dtype)
    stored = np.ascontiguousarray(words, dtype.storage)
    if element.format.bits == 8:
        return stored.view(np.uint8).reshape(*stored.shape, 4).view(element.storage)
    nibbles = (stored[..., None] >> np.array([0, 4, 8, 12], np.uint16)) & 0xF
    return nibbles.astype(np.uint8).view(element.storage)


def decode(array: Any, dtype: Any = None) -> Floats:
    """The exact float64 value of each element; packed words [..., F] give [..., F, 4], scales not applied."""
    element = dtype_of(array, dtype)
    stored = as_array(array)
    if element.is_packed:
        stored, element = lanes_of(stored, element), element_of(element)
    with np.errstate(invalid="ignore"):  # a signalling NaN is a NaN
        return stored.astype(np.float64)


# ----------------------------------------------------------------------------------------------------- rounding


def round_to(values: Any, dtype: Any) -> Floats:
    """The float64 value of each number rounded once, to nearest even, into `dtype`.

    - floats: what rounds beyond the largest value becomes infinity, NaN where the format has no infinity, and the
      largest value where it has neither; NaN in float4_e2m1fn, which has none, becomes -0.0.
    - float8_e8m0fnu: the nearest power of two, ties up; zero and negatives become NaN.
    - integers saturate, and NaN becomes 0; bool is 1 for every value but zero.

    These are the emulator's documented casts, computed without its code and without float32 in between.

    Raises:
        DtypeError: a packed dtype; round to its element.
    """
    target = dtype_of(values, dtype)
    if target.is_packed:
        fail(DtypeError, "round_to", operand="dtype", found=repr(target), allowed=f"its element, {element_of(target)}")
    return _ROUND[target.format.kind](np.asarray(decode_wide(values)), target)


def decode_wide(values: Any) -> Floats:
    """Numbers, or an array of any dtype whose elements stand for numbers, as float64."""
    array = as_array(values)
    if array.dtype.kind == "V":
        return decode(array)
    with np.errstate(invalid="ignore"):  # a signalling NaN is a NaN
        return array.astype(np.float64)


def _round_float(x: Floats, dtype: DType) -> Floats:
    facts = dtype.format
    finite = np.where(np.isfinite(x), x, 0.0)
    exponent = np.frexp(finite)[1] - 1
    quantum = np.maximum(exponent, 1 - facts.bias) - facts.mantissa_bits
    rounded = np.ldexp(np.rint(np.ldexp(finite, -quantum)), quantum)
    beyond = np.inf if facts.has_infinity else np.nan if facts.has_nan else facts.max
    is_beyond = (np.abs(rounded) > facts.max) | np.isinf(x)
    rounded = np.where(is_beyond, np.copysign(beyond, x), np.copysign(rounded, x))
    return np.where(np.isnan(x), np.nan if facts.has_nan else -0.0, rounded)


def _round_scale(x: Floats, dtype: DType) -> Floats:
    positive = np.isfinite(x) & (x > 0)
    fraction, exponent = np.frexp(np.where(positive, x, 1.0))
    power = np.maximum(exponent - 1 + (fraction >= 0.75), -dtype.format.bias)
    powers: Floats = np.ldexp(1.0, power)
    return np.where(positive & (power <= 127), powers, np.nan)


def _round_integer(x: Floats, dtype: DType) -> Floats:
    limits = np.iinfo(dtype.storage)
    return np.clip(np.rint(np.where(np.isnan(x), 0.0, x)), limits.min, limits.max)


def _round_bool(x: Floats, dtype: DType) -> Floats:
    return np.where(x != 0, 1.0, 0.0)


_ROUND: Final[Mapping[str, Callable[[Floats, DType], Floats]]] = {
    "float": _round_float,
    "scale": _round_scale,
    "int": _round_integer,
    "uint": _round_integer,
    "bool": _round_bool,
}


def spacing(values: Floats, dtype: DType) -> Floats:
    """The distance between neighbours of the format around each positive value; 1 for integers."""
    facts = dtype.format
    if dtype.is_integer:
        return np.ones_like(values)
    exponent = np.frexp(np.where(np.isfinite(values), np.minimum(values, facts.max), facts.max))[1] - 1
    found: Floats = np.ldexp(1.0, np.maximum(exponent, 1 - facts.bias) - facts.mantissa_bits)
    return found


def encode(values: Any, dtype: Any) -> Array:
    """`round_to(values, dtype)` as an array of the dtype's storage."""
    target = dtype_of(values, dtype)
    rounded = round_to(values, target)
    # The rounded values are float32 numbers, so this conversion cannot round again.
    narrow = rounded.astype(np.float32) if target.storage.kind in "Vf" else rounded
    return narrow.astype(target.storage)


# --------------------------------------------------------------------------------------------------------- order


def ordered(array: Any, dtype: Any = None) -> Integers:
    """Codes as int64 in the order of their values: neighbours differ by 1, both zeros are 0, infinity follows the max.

    Every NaN is `NAN_CODE`. Integers are themselves. Packed words [..., F] give [..., F, 4].

    Raises:
        DtypeError: an array that is not stored as the dtype is.
    """
    element = dtype_of(array, dtype)
    stored = as_array(array)
    if element.is_packed:
        stored, element = lanes_of(stored, element), element_of(element)
    if stored.dtype != element.storage:
        allowed = f"{element.storage}, the storage of {element}"
        fail(DtypeError, "ordered", operand="array", found=str(stored.dtype), allowed=allowed)
    if element.is_integer:
        return stored.astype(np.int64)
    codes = np.ascontiguousarray(stored).view(f"u{element.itemsize}").astype(np.int64).reshape(stored.shape)
    if element == "tfloat32":
        codes >>= 13  # neighbours differ in the bits that the format has
    width = 1 + element.format.exponent_bits + element.format.mantissa_bits
    is_negative = (codes >> (width - 1)) & 1 if element.format.kind == "float" else np.int64(0)
    magnitude = codes & ((1 << (width - 1)) - 1) if element.format.kind == "float" else codes
    result = np.where(is_negative, -magnitude, magnitude)
    return np.where(np.isnan(stored.astype(np.float32)), NAN_CODE, result)
