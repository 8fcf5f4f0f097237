"""What the functions of nki.language share: tiles as arguments and results, broadcast views, the default dtype."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import Any, Final

import numpy as np

from trnlab.emulator.dtypes import DType, bfloat16, float32, int16, int32
from trnlab.emulator.errors import ArgumentError, BufferError, DtypeError, ShapeError
from trnlab.emulator.memory import HBM_REGIONS, MemoryRegion
from trnlab.emulator.source import fail, shown
from trnlab.emulator.tensor import NkiTensor
from trnlab.emulator.trace import current


def is_number(value: Any) -> bool:
    """Whether the value is a compile-time number: Python's, NumPy's or a zero-dimensional array."""
    return isinstance(value, (Real, np.generic)) or (isinstance(value, np.ndarray) and value.ndim == 0)


def given(value: Any, default: Any) -> Any:
    """The argument, or the default where it is None."""
    return default if value is None else value


def number(subject: str, operand: str, value: Any) -> float:
    """The value, which must be a compile-time number.

    Raises:
        ArgumentError: it is something else.
    """
    if not is_number(value):
        allowed = "a compile-time number"
        fail(ArgumentError, subject, operand=operand, found=shown(value), allowed=allowed)
    return float(value)


def require_tensor(subject: str, operand: str, value: Any) -> NkiTensor:
    """The value, which must be a tensor of any memory.

    Raises:
        ArgumentError: it is something else.
    """
    if not isinstance(value, NkiTensor):
        fail(ArgumentError, subject, operand=operand, found=shown(value), allowed="a tensor")
    return value


def require_tile(subject: str, operand: str, value: Any) -> NkiTensor:
    """The value, which must be a tile on chip.

    Raises:
        ArgumentError: no tensor.  BufferError: a tensor in HBM.
    """
    tensor = require_tensor(subject, operand, value)
    if not tensor.on_chip:
        allowed = "a tile in sbuf or psum; nl.load brings a tensor there"
        fail(BufferError, subject, operand=operand, found=tensor.describe(), allowed=allowed)
    return tensor


def require_hbm(subject: str, operand: str, value: Any) -> NkiTensor:
    """The value, which must be a tensor in HBM.

    Raises:
        ArgumentError: no tensor.  BufferError: a tile on chip.
    """
    tensor = require_tensor(subject, operand, value)
    if tensor.buffer not in HBM_REGIONS:
        fail(BufferError, subject, operand=operand, found=tensor.describe(), allowed="a tensor in HBM")
    return tensor


def new_tile(subject: str, shape: Sequence[int], dtype: Any, region: MemoryRegion = MemoryRegion.sbuf) -> NkiTensor:
    """A fresh tile for a result."""
    return current(subject).allocate(tuple(shape), dtype, region, subject=subject)


def common_shape(subject: str, *tiles: NkiTensor) -> tuple[int, ...]:
    """The shape that the tiles broadcast to: equal ranks and partitions, free dimensions equal or 1.

    Raises:
        ShapeError: they do not; partitions never broadcast by themselves, that is `nl.broadcast_to`.
    """
    first = tiles[0]
    shape = first.shape
    for tile in tiles[1:]:
        ranks_agree = len(tile.shape) == len(shape) and tile.shape[0] == shape[0]
        if not ranks_agree or any(1 not in (a, b) and a != b for a, b in zip(shape, tile.shape, strict=True)):
            fail(
                ShapeError,
                subject,
                found=f"{first.describe()} with {tile.describe()}",
                allowed="equal ranks and partition counts, free dimensions equal or 1 (nl.broadcast_to for partitions)",
            )
        shape = tuple(max(a, b) for a, b in zip(shape, tile.shape, strict=True))
    return shape


def spread(tile: NkiTensor, shape: tuple[int, ...]) -> NkiTensor:
    """The tile as a view of that shape, its free dimensions of size 1 repeated."""
    for dim, (have, want) in enumerate(zip(tile.shape, shape, strict=True)):
        if have != want:
            tile = tile.broadcast(dim, want)
    return tile


_FLOATS_TO_WIDEN_TO: Final = (bfloat16, float32)
_INTEGERS_TO_WIDEN_TO: Final = (int16, int32)


def _holds_float(wide: DType, narrow: DType) -> bool:
    return (
        wide.format.exponent_bits >= narrow.format.exponent_bits
        and wide.format.mantissa_bits >= narrow.format.mantissa_bits
    )


def _integer_range(dtype: DType) -> tuple[int, int]:
    if dtype.storage.kind == "i":
        return -(2 ** (dtype.format.bits - 1)), 2 ** (dtype.format.bits - 1) - 1
    return 0, int(dtype.format.max)


def _holds_integer(wide: DType, narrow: DType) -> bool:
    (low, high), (least, most) = _integer_range(wide), _integer_range(narrow)
    return low <= least and most <= high


def promote(subject: str, a: DType, b: DType) -> DType:
    """The dtype of a result computed from tiles of two dtypes, when the call names none.

    A float wins over an integer; of two floats or two integers the one that holds both, else the next dtype that does
    (bfloat16 or float32; int16, int32 or, for int32 with uint32, float32).
    Source: NKI 2.26 reference, "NKI Type Promotion"; later editions keep the argument and drop the table (assumed
    unchanged).

    Raises:
        DtypeError: a scale or packed dtype with another dtype.
    """
    if a == b:
        return a
    if not all(dtype.is_float or dtype.is_integer for dtype in (a, b)):
        allowed = "equal dtypes, or floats and integers; dtype= names the result's"
        fail(DtypeError, subject, found=f"{a} with {b}", allowed=allowed)
    if a.is_float != b.is_float:
        return a if a.is_float else b
    if a.is_float:
        candidates, holds = (a, b, *_FLOATS_TO_WIDEN_TO), _holds_float
    else:
        candidates, holds = (a, b, *_INTEGERS_TO_WIDEN_TO), _holds_integer
    return next((dtype for dtype in candidates if holds(dtype, a) and holds(dtype, b)), float32)
