"""x4 words: four narrow elements in one 16- or 32-bit word, packed, unpacked and decoded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import jax.numpy as jnp
import ml_dtypes
import numpy as np
from jax import Array, lax

from trnlab.emulator import dtypes
from trnlab.emulator.dtypes import DTYPES, DType, as_dtype, element_of
from trnlab.emulator.errors import ShapeError, Violation
from trnlab.emulator.numerics.casts import AnyArray, dtype_error

LANES: Final = 4
"""Elements in one x4 word."""

_PACKED: Final[Mapping[DType, DType]] = {element_of(packed): packed for packed in DTYPES if packed.is_packed}
_FLOAT4_VALUES: Final = np.arange(16, dtype=np.uint8).view(ml_dtypes.float4_e2m1fn).astype(np.float32)


def packed_of(element: DType) -> DType:
    """The packed x4 dtype whose words hold `element`.

    Raises:
        DtypeError: NKI packs no such element.
    """
    if element not in _PACKED:
        raise dtype_error("pack_x4", "elements", str(element), ", ".join(_PACKED))
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
        raise dtype_error("unpack_x4", "dtype", str(dtype), ", ".join(_PACKED.values()))
    if words.dtype != dtype.storage:
        raise dtype_error("unpack_x4", "words", str(words.dtype), f"{dtype.storage}, the words of {dtype}")
    return jnp.asarray(words)
