"""NVFP4 as a host format: blocks of 16 FP4 elements under an FP8 scale, and one f32 scale for the whole tensor.

Everything about NVFP4 on Trainium is assumed: no public text says that any generation has it. It is here for
what-if studies of Trainium4, to compare what its blocks lose with what MX blocks lose.

    tensor scale  t = f32(amax of the tensor / (448 * 6))
    block scale   s = RNE(amax of the block / (6 t)) in float8_e4m3fn, used without its sign
    element       q = RNE(x / (s t)) in float4_e2m1fn, at most 6 in magnitude
    value         q * s * t, rounded once to f32

Source: NVIDIA, "Introducing NVFP4 for Efficient and Accurate Low-Precision Inference" (format and recipe). Its text
leaves open: blocks whose scale rounds to zero, whose elements are zero here (torchao raises the scale to 2**-6).
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple, NoReturn

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from trnlab.emulator import dtypes
from trnlab.emulator.dtypes import as_dtype
from trnlab.emulator.errors import ArgumentError, DtypeError, KernelError, ShapeError, Violation
from trnlab.emulator.numerics.microscaling_host import pack_nibbles, unpack_nibbles

BLOCK: Final = 16
"""Elements under one scale, consecutive on the last axis."""

LARGEST_ELEMENT: Final = dtypes.float4_e2m1fn.format.max
LARGEST_SCALE: Final = dtypes.float8_e4m3fn.format.max

_SOURCES: Final = (dtypes.bfloat16, dtypes.float16, dtypes.float32)
# Between neighbours of the FP4 grid 0, 0.5, 1, 1.5, 2, 3, 4, 6. A tie goes to the even code, which is the upper one
# of every second pair: there the midpoint itself already rounds up.
_MIDPOINTS: Final = np.array([0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5.0])
_TIES_UP: Final = np.array([False, True, False, True, False, True, False])
_ROUNDS_UP_FROM: Final = np.where(_TIES_UP, _MIDPOINTS, np.nextafter(_MIDPOINTS, np.inf))


class Nvfp4(NamedTuple):
    """A quantised tensor; K is its last axis."""

    packed: NDArray[np.uint8]  # [..., K/2], two elements a byte, the lower index in the low nibble
    scales: NDArray[Any]  # float8_e4m3fn [..., K/16], none negative
    tensor_scale: np.float32


def nvfp4_tensor_scale(largest: float) -> np.float32:
    """f32(largest / (448 * 6)): under it the block of the largest magnitude gets the largest scale.

    Raises:
        ArgumentError: a NaN or an infinity, which would spoil the whole tensor by its one scale.
    """
    if not np.isfinite(largest):
        _fail(ArgumentError, "x", "a NaN or an infinity", "finite values")
    return np.float32(largest / (LARGEST_SCALE * LARGEST_ELEMENT))


def quantize_nvfp4(x: NDArray[Any], tensor_scale: np.float32 | None = None) -> Nvfp4:
    """`x` [..., K] as NVFP4 blocks along the last axis, every quotient rounded once.

    x:            bfloat16, float16 or float32, finite, K a multiple of 16.
    tensor_scale: of the tensor that x is a part of; x's own by default. Block scales beyond 448 are clipped.

    Raises:
        DtypeError: another dtype (TypeError for those NKI has not).
        ShapeError: K is no multiple of 16, or there is nothing.
        ArgumentError: a NaN or an infinity in x; a tensor scale that is negative or not finite.
    """
    if as_dtype(x.dtype) not in _SOURCES:
        _fail(DtypeError, "x", str(x.dtype), ", ".join(_SOURCES))
    if x.ndim == 0 or x.size == 0 or x.shape[-1] % BLOCK:
        _fail(ShapeError, "x", f"shape {x.shape}", f"[..., K] with K a multiple of {BLOCK}, not empty")
    wide = x.astype(np.float64).reshape(*x.shape[:-1], -1, BLOCK)
    magnitude = np.abs(wide)
    largest = magnitude.max(axis=-1)
    own_scale = nvfp4_tensor_scale(float(largest.max()))
    tensor_scale = own_scale if tensor_scale is None else tensor_scale
    _check_tensor_scale(tensor_scale)
    scales = _round_scales(_quotient(largest, LARGEST_ELEMENT * np.float64(tensor_scale)))
    divisor = scales.astype(np.float64) * np.float64(tensor_scale)
    quotient = _quotient(magnitude, divisor[..., None])
    codes: NDArray[np.uint8] = np.where(np.signbit(wide), np.uint8(8), np.uint8(0))
    for bound in _ROUNDS_UP_FROM:
        codes += quotient >= bound
    return Nvfp4(pack_nibbles(codes.reshape(x.shape)), scales, tensor_scale)


def dequantize_nvfp4(quantised: Nvfp4) -> NDArray[np.float32]:
    """The f32 [..., K] that the blocks stand for: element * block scale is exact, the tensor scale rounds once.

    Raises:
        DtypeError: the packed elements are no uint8, or the scales no float8_e4m3fn.
        ShapeError: scales that do not cover the elements.
        ArgumentError: a block scale that is negative or NaN, or a tensor scale that is negative or not finite.
    """
    packed, scales, tensor_scale = quantised
    _check(packed, scales, tensor_scale)
    elements = unpack_nibbles(packed).reshape(*scales.shape, BLOCK).view(ml_dtypes.float4_e2m1fn).astype(np.float64)
    values = elements * scales.astype(np.float64)[..., None] * np.float64(tensor_scale)
    rounded: NDArray[np.float32] = values.astype(np.float32)
    return rounded.reshape(*packed.shape[:-1], -1)


def _quotient(value: NDArray[Any], divisor: Any) -> NDArray[np.float64]:
    """value / divisor, 0 where the divisor is; float64 keeps every quotient on its side of every midpoint.

    A value has 24 significant bits and midpoint * divisor at most 34, so unlike quotients differ from the midpoint by
    more than 2**-35 of it.
    """
    divisor = np.broadcast_to(divisor, value.shape)
    result = np.zeros(value.shape)
    np.divide(value, divisor, out=result, where=divisor > 0)
    return result


def _round_scales(wanted: NDArray[np.float64]) -> NDArray[Any]:
    """float64 to float8_e4m3fn, nearest even, at once; the cast of ml_dtypes goes through f32 and rounds twice."""
    exponent = np.maximum(np.frexp(wanted)[1] - 1, -6)  # floor(log2), at least that of the smallest normal
    unit = np.ldexp(1.0, exponent - dtypes.float8_e4m3fn.format.mantissa_bits)
    rounded: NDArray[Any] = np.minimum(np.rint(wanted / unit) * unit, LARGEST_SCALE)
    return rounded.astype(ml_dtypes.float8_e4m3fn)


def _check(packed: NDArray[Any], scales: NDArray[Any], tensor_scale: np.float32) -> None:
    if packed.dtype != np.uint8:
        _fail(DtypeError, "packed", str(packed.dtype), "uint8, two elements a byte")
    if scales.dtype != ml_dtypes.float8_e4m3fn:
        _fail(DtypeError, "scales", str(scales.dtype), "float8_e4m3fn")
    if packed.ndim == 0 or packed.shape != (*scales.shape[:-1], scales.shape[-1] * (BLOCK // 2)):
        _fail(ShapeError, "scales", f"{scales.shape} for elements {packed.shape}", "[..., K/16] for [..., K/2]")
    values = scales.astype(np.float32)
    if not (np.isfinite(values) & ~np.signbit(values)).all():
        _fail(ArgumentError, "scales", "a NaN or a negative one", "scales from 0 to 448")
    _check_tensor_scale(tensor_scale)


def _check_tensor_scale(tensor_scale: np.float32) -> None:
    if not (np.isfinite(tensor_scale) and tensor_scale >= 0):
        _fail(ArgumentError, "tensor_scale", str(tensor_scale), "a finite scale, not negative")


def _fail(error: type[KernelError], operand: str, found: str, allowed: str) -> NoReturn:
    raise error(Violation(subject="NVFP4", operand=operand, found=found, allowed=allowed))
