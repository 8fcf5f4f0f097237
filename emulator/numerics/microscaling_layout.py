"""Where MX elements and scales lie: the x4 interleave and the quadrant placement.

An operand [K, F] with K the contraction is viewed as [4, K/4, F] and stored as [K/4 partitions, F, 4]: the four
elements of one word lie K/4 apart in K, and a scaling group holds eight neighbouring K four times (`LaneOrder`).
Scales of group g (partitions 8g to 8g + 7) lie in their own quadrant: partition 32 * (g // 4) + g % 4 + offset.

Source: NKI deep dive "MXFP Matrix Multiplication", data tensor, scale tensor and packing scale values.
"""

from __future__ import annotations

from enum import Enum
from typing import Any, Final, TypeVar

import numpy as np
from jax import Array
from numpy.typing import NDArray

from trnlab.emulator.errors import PartitionError, ShapeError, Violation
from trnlab.emulator.numerics.microscaling import GROUP_PARTITIONS
from trnlab.emulator.numerics.x4_words import LANES

QUADRANT: Final = 32
"""Partitions of an SBUF quadrant."""

SCALES_PER_QUADRANT: Final = QUADRANT // GROUP_PARTITIONS
SCALE_OFFSETS: Final = (0, 4, 8, 12)
"""Where in its quadrant a scale tensor may start, so that four tensors share one allocation."""

AnyArrayT = TypeVar("AnyArrayT", Array, NDArray[Any])


class LaneOrder(Enum):
    """Which four K of an operand share a word; both operands of a matmul must agree, and then any order will do."""

    STRIDED = "strided"
    """K/4 apart: row k of K in partition k % (K/4), lane k // (K/4), as AWS's documents and kernels have it."""
    CONSECUTIVE = "consecutive"
    """Neighbours: row k in partition k // 4, lane k % 4, so a scaling group is 32 consecutive K, as checkpoints store.

    Chosen here: the contraction is a sum, so AWS's instructions take it, but no document of AWS's shows it.
    """


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


def interleave(x: NDArray[Any], order: LaneOrder = LaneOrder.STRIDED) -> NDArray[Any]:
    """[K, F] as [K/4, F, 4]: `result[p, f, l]` is x[l * K/4 + p, f] (strided) or x[4 * p + l, f] (consecutive).

    Raises:
        ShapeError: the array is not 2-D or K is no multiple of 4.
    """
    if x.ndim != 2 or x.shape[0] % LANES:
        raise ShapeError(_violation("x", f"shape {x.shape}", "[K, F] with K a multiple of 4"))
    words = x.shape[0] // LANES
    if order is LaneOrder.CONSECUTIVE:
        return x.reshape(words, LANES, x.shape[1]).transpose(0, 2, 1)
    return x.reshape(LANES, words, x.shape[1]).transpose(1, 2, 0)


def deinterleave(x: NDArray[Any], order: LaneOrder = LaneOrder.STRIDED) -> NDArray[Any]:
    """[K/4, F, 4] as [K, F]; undoes `interleave`."""
    axes = (0, 2, 1) if order is LaneOrder.CONSECUTIVE else (2, 0, 1)
    return x.transpose(axes).reshape(LANES * x.shape[0], x.shape[1])


def _violation(operand: str, found: str, allowed: str) -> Violation:
    return Violation(subject="MX layout", operand=operand, found=found, allowed=allowed)
