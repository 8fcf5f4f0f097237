"""MX block formats: quantise and dequantise.

A scaling group is 8 partitions x 4 free elements that share one power of two, stored as its biased exponent
(float8_e8m0fnu: code 0 is 2**-127, code 254 is 2**127, code 255 is NaN).

Scales are read from and written to exponent fields with integers. Floating-point log2 and exp2 are wrong next to
powers of two, and f32 multiplies on XLA's CPU flush subnormals, which code 0 is (see `numerics.arithmetic`).

Sources: NKI reference, nki.isa.quantize_mx; OCP Microscaling Formats v1.0, section 6.3.
What is not public has names in `numerics.microscaling_policies`; elements are rounded to nearest even (assumed).
"""

from __future__ import annotations

from typing import Final

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from trnlab.emulator import dtypes
from trnlab.emulator.dtypes import DType, as_dtype
from trnlab.emulator.errors import ArgumentError, DtypeError, ShapeError, Violation
from trnlab.emulator.numerics.casts import AnyArray, narrow, widen
from trnlab.emulator.numerics.microscaling_policies import (
    HARDWARE,
    NON_FINITE_CODE,
    SCALE_BIAS,
    BlockPolicy,
    ScaleRule,
    scale_blocks,
    treat_non_finite,
)
from trnlab.emulator.numerics.x4_words import LANES, decode_x4, pack_x4

GROUP_PARTITIONS: Final = 8
"""Partitions of a scaling group; with `LANES` free elements it holds 32 values."""

_QUANTISABLE: Final = (dtypes.float8_e4m3fn, dtypes.float8_e5m2, dtypes.float4_e2m1fn)
_SOURCES: Final = (dtypes.bfloat16, dtypes.float16, dtypes.float32)


def quantize_mx(
    source: AnyArray, element: DType, rule: ScaleRule = ScaleRule.NKI, policy: BlockPolicy = HARDWARE
) -> tuple[Array, Array]:
    """(words, codes): words hold RNE(source / 2**(code - 127)), one code per 8 x 4 group.

    source:  [P, F] bfloat16, float16 or float32; P a multiple of 8, F of 4 (the instruction's tighter limits are the
             caller's).
    element: float8_e4m3fn or float8_e5m2; float4_e2m1fn with OCP_FLOOR only, for operands prepared on the host.
    policy:  what happens to blocks of zeros, of tiny values, with NaN, with infinities. By default scales below
             2**-127 are clamped and the elements use the clamped scale, an all-zero group has code 0, and a group
             with a NaN or an infinity code 255.
    words:   [P, F/4] uint32 (uint16 for FP4), as `pack_x4` makes them.
    codes:   [P/8, F/4] uint8, one row per group of partitions (`scatter_scales` places them in quadrants).

    Every finite input is exact up to the one rounding of the element, subnormals included.

    Raises:
        DtypeError: a source or element dtype not listed.
        ShapeError: P is no multiple of 8, F none of 4, or the source is not 2-D.
        ArgumentError: float4_e2m1fn with ScaleRule.NKI, which no document defines.

    Source: nki.isa.quantize_mx, "Scale calculation"; OCP MX v1.0, section 6.3.
    """
    _check_quantisable(source, element, rule)
    values = jnp.asarray(source)
    groups = (values.shape[0] // GROUP_PARTITIONS, GROUP_PARTITIONS, values.shape[1] // LANES, LANES)
    bits = lax.bitcast_convert_type(values.astype(jnp.float32), jnp.uint32)
    magnitude = bits & 0x7FFFFFFF
    blocks = scale_blocks(_group_maximum(magnitude, groups), rule.target_exponent(element), policy)

    grouped = magnitude.reshape(groups)
    scaled = _times_power_of_two(grouped, -blocks.divisor[:, None, :, None])
    if rule is ScaleRule.OCP_FLOOR:
        scaled = jnp.minimum(scaled, element.format.max)
    scaled = treat_non_finite(scaled, grouped, blocks, element, policy).reshape(values.shape)
    sign = bits & np.uint32(0x80000000)
    signed = lax.bitcast_convert_type(lax.bitcast_convert_type(scaled, jnp.uint32) | sign, jnp.float32)
    return pack_x4(narrow(signed, element)), blocks.codes


def _check_quantisable(values: AnyArray, element: DType, rule: ScaleRule) -> None:
    if as_dtype(values.dtype) not in _SOURCES:
        raise DtypeError(_violation("source", str(values.dtype), ", ".join(_SOURCES)))
    if element not in _QUANTISABLE:
        raise DtypeError(_violation("element", str(element), ", ".join(_QUANTISABLE)))
    if element == dtypes.float4_e2m1fn and rule is ScaleRule.NKI:
        raise ArgumentError(_violation("rule", "ScaleRule.NKI", "ScaleRule.OCP_FLOOR for float4_e2m1fn"))
    if values.ndim != 2 or values.shape[0] % GROUP_PARTITIONS or values.shape[1] % LANES:
        raise ShapeError(_violation("source", f"shape {values.shape}", "[P, F], P a multiple of 8 and F of 4"))


def _violation(operand: str, found: str, allowed: str, subject: str = "quantize_mx") -> Violation:
    return Violation(subject=subject, operand=operand, found=found, allowed=allowed)


def _group_maximum(magnitude: Array, groups: tuple[int, int, int, int]) -> Array:
    """Largest f32 magnitude of each group, compared as integers: f32 bit patterns order like their values."""
    rows = magnitude.reshape(groups[0], groups[1], groups[2] * groups[3]).max(axis=1)
    return rows.reshape(groups[0], groups[2], groups[3]).max(axis=2)


def _times_power_of_two(magnitude: Array, exponent: Array) -> Array:
    """`|x| * 2**exponent` for f32 magnitude bits: the integer significand times a power that is always normal.

    Exact wherever the result is at least 2**-102. Below, the power is held at 2**-126 and the result is too large,
    which no element format can see (their smallest value is 2**-16): it rounds to zero all the same.
    """
    field = (magnitude >> 23).astype(jnp.int32)
    fraction = magnitude & 0x7FFFFF
    significand = jnp.where(field > 0, fraction | 0x800000, fraction).astype(jnp.int32).astype(jnp.float32)
    power = jnp.maximum(jnp.maximum(field, 1) - 150 + exponent, -126)
    return significand * lax.bitcast_convert_type((power + SCALE_BIAS) << 23, jnp.float32)


def scale_codes(scales: AnyArray) -> Array:
    """The codes of a scale tensor as uint8: its bits, whether it is stored as uint8 or as float8_e8m0fnu.

    Raises:
        DtypeError: another dtype.
    """
    if as_dtype(scales.dtype) not in (dtypes.uint8, dtypes.float8_e8m0fnu):
        raise DtypeError(_violation("scales", str(scales.dtype), "uint8 or float8_e8m0fnu", "MX scales"))
    return lax.bitcast_convert_type(jnp.asarray(scales), jnp.uint8)


def scale_value(codes: AnyArray) -> Array:
    """2**(code - 127) as f32; NaN for code 255. Code 0 is the subnormal 2**-127, which f32 arithmetic flushes."""
    stored = lax.bitcast_convert_type(scale_codes(codes), jnp.float8_e8m0fnu)
    return widen(stored, dtypes.float8_e8m0fnu)


def dequantize_mx(words: AnyArray, codes: AnyArray, dtype: DType) -> Array:
    """`element * 2**(code - 127)` as f32 [P, F], from words [P, F/4] of packed `dtype` and codes [P/8, F/4].

    Exact wherever f32 can hold the value: the smallest are multiples of 2**-143 and stay, as subnormals; beyond
    the largest f32 they are infinite. A group of code 255 is all NaN.

    Raises:
        DtypeError: `dtype` is not packed, `words` is not stored as its word type, or codes are no scales.
        ShapeError: the codes do not cover the words.
    """
    elements = _elements(words, dtype)
    scales = scale_codes(codes)
    check_codes("dequantize_mx", "codes", elements, scales)
    grouped = elements.reshape(-1, GROUP_PARTITIONS, *elements.shape[1:])
    spread = scales.astype(jnp.int32)[:, None, :, None]
    values = _shifted(grouped, spread - SCALE_BIAS)
    values = jnp.where(spread == NON_FINITE_CODE, jnp.float32(jnp.nan), values)
    return values.reshape(elements.shape[0], -1)


def _elements(words: AnyArray, dtype: DType) -> Array:
    """`decode_x4`, NaN payloads aside: e5m2 is the upper byte of a float16, which processors convert themselves."""
    if dtype != dtypes.float8_e5m2_x4 or words.dtype != dtype.storage:
        return decode_x4(words, dtype)
    upper = lax.bitcast_convert_type(jnp.asarray(words), jnp.uint8).astype(jnp.uint16) << 8
    return lax.bitcast_convert_type(upper, jnp.float16).astype(jnp.float32)


def _shifted(elements: Array, exponent: Array) -> Array:
    """`element * 2**exponent` for f32 values of a narrow format, which are never subnormal in f32.

    Exact without rounding: at most four significant bits at 2**-16 or above, times at least 2**-127.
    """
    bits = lax.bitcast_convert_type(elements, jnp.uint32)
    sign, magnitude = bits & np.uint32(0x80000000), bits & 0x7FFFFFFF
    field = (magnitude >> 23).astype(jnp.int32) + exponent
    normal = magnitude + (exponent << 23).astype(jnp.uint32)
    subnormal = ((magnitude & 0x7FFFFF) | 0x800000) >> jnp.clip(1 - field, 0, 31).astype(jnp.uint32)
    shifted = jnp.where(field > 0, normal, subnormal)
    shifted = jnp.where(field > 254, np.uint32(0x7F800000), shifted)
    is_fixed = (magnitude == 0) | (magnitude >= 0x7F800000)
    return lax.bitcast_convert_type(sign | jnp.where(is_fixed, magnitude, shifted), jnp.float32)


def check_codes(subject: str, operand: str, elements: Array, codes: Array) -> None:
    """Raise ShapeError unless `codes` has one entry per scaling group of `elements` [P, F, 4]."""
    partitions, free = elements.shape[:2]
    expected = (partitions // GROUP_PARTITIONS, free)
    if partitions % GROUP_PARTITIONS or codes.shape != expected:
        found = f"codes of shape {codes.shape} for elements of shape {elements.shape}"
        raise ShapeError(
            _violation(operand, found, "[P/8, F] codes for [P, F, 4] elements, P a multiple of 8", subject)
        )
