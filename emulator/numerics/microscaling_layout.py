"""Where MX elements and scales lie: the x4 interleave, the quadrant placement, and host-side preparation.

An operand [K, F] with K the contraction is viewed as [4, K/4, F] and stored as [K/4 partitions, F, 4]: the four
elements of one word lie K/4 apart in K, and a scaling group holds eight neighbouring K four times, never 32.
Scales of group g (partitions 8g to 8g + 7) lie in their own quadrant: partition 32 * (g // 4) + g % 4 + offset.

Source: NKI deep dive "MXFP Matrix Multiplication", data tensor, scale tensor and packing scale values.
"""

from __future__ import annotations

from typing import Any, Final, TypeVar

import jax
import numpy as np
from jax import Array
from numpy.typing import NDArray

from trnlab.emulator.dtypes import DType, as_dtype, element_of
from trnlab.emulator.errors import DtypeError, PartitionError, ShapeError, Violation
from trnlab.emulator.numerics.casts import LANES
from trnlab.emulator.numerics.microscaling import GROUP_PARTITIONS, ScaleRule, dequantize_mx, quantize_mx

QUADRANT: Final = 32
"""Partitions of an SBUF quadrant."""

SCALES_PER_QUADRANT: Final = QUADRANT // GROUP_PARTITIONS
SCALE_OFFSETS: Final = (0, 4, 8, 12)
"""Where in its quadrant a scale tensor may start, so that four tensors share one allocation."""

AnyArrayT = TypeVar("AnyArrayT", Array, NDArray[Any])

_quantize = jax.jit(quantize_mx, static_argnums=(1, 2))
_dequantize = jax.jit(dequantize_mx, static_argnums=2)


def scale_partitions(partitions: int, offset: int = 0) -> NDArray[np.int64]:
    """`32 * (g // 4) + g % 4 + offset` for every scaling group g of a tile of that many partitions.

    Raises:
        PartitionError: partitions that are no multiple of 8, or an offset not in `SCALE_OFFSETS`.
    """
    if partitions % GROUP_PARTITIONS or partitions < GROUP_PARTITIONS:
        raise PartitionError(_violation("partitions", str(partitions), "a positive multiple of 8"))
    if offset not in SCALE_OFFSETS:
        raise PartitionError(_violation("offset", str(offset), f"one of {SCALE_OFFSETS}"))
    group = np.arange(partitions // GROUP_PARTITIONS)
    return QUADRANT * (group // SCALES_PER_QUADRANT) + group % SCALES_PER_QUADRANT + offset


def scatter_scales(codes: NDArray[Any], partitions: int, offset: int = 0) -> NDArray[Any]:
    """Dense codes [P/8, F] at their quadrant places in [P, F]; other rows are 0.

    A tile of one quadrant keeps its scales dense, [P/8, F] as they are, unless an offset asks for the full height.

    Raises:
        ShapeError: the codes have not P/8 rows.
        PartitionError: see `scale_partitions`.
    """
    rows = scale_partitions(partitions, offset)
    if len(codes) != len(rows):
        raise ShapeError(_violation("codes", f"shape {codes.shape}", f"{len(rows)} rows for {partitions} partitions"))
    if partitions <= QUADRANT and offset == 0:
        return codes
    scattered = np.zeros((partitions, *codes.shape[1:]), codes.dtype)
    scattered[rows] = codes
    return scattered


def gather_scales(scales: AnyArrayT, partitions: int, offset: int = 0) -> AnyArrayT:
    """The dense codes [P/8, F] of a tile of P partitions from its scale tensor; undoes `scatter_scales`.

    Takes a JAX array as well, traced or not, so that instructions can use it.

    Raises:
        ShapeError: the tensor ends before the last group's place.
        PartitionError: see `scale_partitions`.
    """
    rows = scale_partitions(partitions, offset)
    if rows[-1] >= scales.shape[0]:
        allowed = f"at least {rows[-1] + 1} partitions for data of {partitions} partitions at offset {offset}"
        raise ShapeError(_violation("scales", f"{scales.shape[0]} partitions", allowed))
    return scales[rows]


def interleave(x: NDArray[Any]) -> NDArray[Any]:
    """[K, F] as [K/4, F, 4]: `result[p, f, l] = x[l * K/4 + p, f]`.

    Raises:
        ShapeError: the array is not 2-D or K is no multiple of 4.
    """
    if x.ndim != 2 or x.shape[0] % LANES:
        raise ShapeError(_violation("x", f"shape {x.shape}", "[K, F] with K a multiple of 4"))
    return x.reshape(LANES, x.shape[0] // LANES, x.shape[1]).transpose(1, 2, 0)


def deinterleave(x: NDArray[Any]) -> NDArray[Any]:
    """[K/4, F, 4] as [K, F]; undoes `interleave`."""
    return x.transpose(2, 0, 1).reshape(LANES * x.shape[0], x.shape[1])


def quantize_mx_host(
    x: NDArray[Any], dtype: DType, rule: ScaleRule = ScaleRule.OCP_FLOOR
) -> tuple[NDArray[Any], NDArray[np.uint8]]:
    """(words [K/4, F], codes [K/32, F] uint8) of a weight [K, F], K the contraction, for nc_matmul_mx.

    x:     bfloat16, float16 or float32; float64 is refused, because two roundings are not one.
    dtype: a packed x4 dtype; words have its storage.
    rule:  the OCP floor by default, as in AWS's host functions; FP4 has no other.

    For a tile, pass K <= 512 (128 partitions); longer K interleaves over its whole length, the same for both operands.

    Raises:
        ShapeError: K is no multiple of 32 (four lanes of groups of 8 partitions).
        DtypeError: `dtype` is not packed, or `x` is of another NKI dtype (TypeError for float64, which NKI has not).
        ArgumentError: FP4 with ScaleRule.NKI.
    """
    if not dtype.is_packed:
        raise DtypeError(_violation("dtype", str(dtype), "a packed x4 dtype", "quantize_mx_host"))
    as_dtype(x.dtype)  # before jit, which would narrow float64 without a word
    if x.ndim != 2 or x.shape[0] % (LANES * GROUP_PARTITIONS):
        raise ShapeError(_violation("x", f"shape {x.shape}", "[K, F] with K a multiple of 32", "quantize_mx_host"))
    stored = interleave(x)
    words, codes = _quantize(stored.reshape(stored.shape[0], -1), element_of(dtype), rule)
    return np.asarray(words), np.asarray(codes)


def dequantize_mx_host(words: NDArray[Any], codes: NDArray[Any], dtype: DType) -> NDArray[np.float32]:
    """The f32 [K, F] that words [K/4, F] and dense codes [K/32, F] stand for; see `dequantize_mx`."""
    values = np.asarray(_dequantize(words, codes, dtype))
    return deinterleave(values.reshape(*words.shape, LANES))


def _violation(operand: str, found: str, allowed: str, subject: str = "MX scale layout") -> Violation:
    return Violation(subject=subject, operand=operand, found=found, allowed=allowed)
