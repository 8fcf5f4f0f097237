"""Bit patterns that the tests of casts and of arithmetic share."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

# Distances from a tie: of bfloat16 (0x8000), of float16 and tfloat32 (0x1000 with bit 13 even and odd), and of the
# narrower formats, whose ties lie in the upper half-word (0).
_EDGES: Final = [0, 1, 0xFFFF, 0x7FFF, 0x8000, 0x8001, 0x0FFF, 0x1000, 0x1001, 0x2FFF, 0x3000, 0x3001, 0x5555, 0xAAAA]
_EDGES_AND_HALVES: Final = [*_EDGES, 0x2000, 0xF000]
_SPREAD: Final = [step * 257 % 2**16 for step in range(2, 500)]
LOWER_HALVES: Final = list(dict.fromkeys([*_EDGES_AND_HALVES, *_SPREAD]))[:256]
"""256 lower half-words: zero, every tie of a format with one unit on either side, and others spread evenly."""


def structured(count: int = 16, first: int = 0) -> NDArray[np.float32]:
    """Every upper half-word, NaNs and infinities included, with `count` of the lower half-words: 2**16 * count f32."""
    upper = np.arange(2**16, dtype=np.uint32)[:, None] << 16
    lower = np.array(LOWER_HALVES[first : first + count], np.uint32)
    return (upper | lower).reshape(-1).view(np.float32)


def bits(x: Any) -> NDArray[Any]:
    """The bits of each element: NaN equals NaN, and -0 differs from 0."""
    array = np.asarray(x)
    return array.view(np.dtype(f"uint{8 * array.dtype.itemsize}"))


def canonical(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """narrow makes every NaN the canonical one, so the oracle is asked about that one only."""
    return np.where(np.isnan(x), np.float32(np.nan), x)


def tfloat32_oracle(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """RNE to 11 significant bits in float64, where x / quantum is exact; below 2**-126 the quantum is 2**-136."""
    wide = x.astype(np.float64)
    exponent = np.maximum(np.frexp(wide)[1], -125)
    quantum = np.ldexp(1.0, exponent - 11)
    return np.where(np.isfinite(x), np.rint(wide / quantum) * quantum, wide).astype(np.float32)
