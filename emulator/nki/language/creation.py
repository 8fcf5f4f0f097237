"""Tensors made inside a kernel: uninitialised, filled, and constants embedded in the program.

Source: NKI reference, nki.language (creation operations).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from math import prod
from numbers import Integral
from typing import Any

import numpy as np

import trnlab.emulator.nki.isa as nisa
from trnlab.emulator.dtypes import DType, as_dtype, uint8
from trnlab.emulator.errors import ArgumentError, DtypeError
from trnlab.emulator.memory import MemoryRegion
from trnlab.emulator.nki.language.tiles import given, require_tensor, require_tile
from trnlab.emulator.source import fail, shown
from trnlab.emulator.tensor import NkiTensor
from trnlab.emulator.trace import current

_sbuf = MemoryRegion.sbuf
_FILL_ROW_BYTES = 8192  # longest row of the SBUF tile that fills an HBM tensor: large enough for full DMA rate


def _allocate(
    subject: str, shape: Any, dtype: Any, buffer: Any, name: str, address: tuple[int, int] | None = None
) -> NkiTensor:
    if buffer is MemoryRegion.register:
        fail(
            ArgumentError, subject, operand="buffer", found="register", allowed="sbuf, psum, private_hbm or shared_hbm"
        )
    if not isinstance(name, (str, type(None))):
        fail(ArgumentError, subject, operand="name", found=repr(name), allowed="a string, or None for none")
    place = _address(subject, address)
    return current(subject).allocate(shape, dtype, buffer, name=name or "", address=place, subject=subject)


def _address(subject: str, address: Any) -> tuple[int, int] | None:
    """The address as two integers; None leaves the place to the allocator."""
    if address is None:
        return None
    pair = tuple(address) if isinstance(address, (tuple, list)) else ()
    if len(pair) != 2 or not all(isinstance(part, Integral) for part in pair):
        allowed = "(partition, byte), two compile-time integers, or None"
        fail(ArgumentError, subject, operand="address", found=repr(address), allowed=allowed)
    return int(pair[0]), int(pair[1])


def ndarray(
    shape: Sequence[int],
    dtype: Any,
    buffer: MemoryRegion | str = _sbuf,
    name: str = "",
    address: tuple[int, int] | None = None,
) -> NkiTensor:
    """A tensor over fresh, uninitialised memory.

    shape:   (partitions, free...) in SBUF and PSUM; any shape in HBM
    address: (partition, byte inside the partition) to place an on-chip tensor by hand

    Raises:
        ShapeError, PartitionError, CapacityError: the tensor does not fit the memory.
        DtypeError: no NKI dtype of that name.  ArgumentError: no such memory, or an unaligned address.
    """
    return _allocate("nl.ndarray", shape, dtype, buffer, name, address)


def fill(tensor: NkiTensor, value: Any) -> None:
    """Set every element: memset on chip; in HBM a filled row of SBUF copied out by DMA as often as needed."""
    if tensor.on_chip:
        nisa.memset(tensor, value)
        return
    limit = _FILL_ROW_BYTES // tensor.dtype.itemsize
    length = next(n for n in range(min(limit, tensor.size), 0, -1) if tensor.size % n == 0)
    row = _allocate("nl.full", (1, 1, length), tensor.dtype, _sbuf, "")
    nisa.memset(row, value)
    nisa.dma_copy(tensor, row.broadcast(1, tensor.size // length))


def full(
    shape: Sequence[int], fill_value: Any, dtype: Any, buffer: MemoryRegion | str = _sbuf, name: str = ""
) -> NkiTensor:
    """A tensor with every element `fill_value`."""
    tensor = _allocate("nl.full", shape, dtype, buffer, name)
    fill(tensor, fill_value)
    return tensor


def zeros(shape: Sequence[int], dtype: Any, buffer: MemoryRegion | str = _sbuf, name: str = "") -> NkiTensor:
    """A tensor of zeros."""
    return full(shape, 0, dtype, buffer, name)


def ones(shape: Sequence[int], dtype: Any, buffer: MemoryRegion | str = _sbuf, name: str = "") -> NkiTensor:
    """A tensor of ones."""
    return full(shape, 1, dtype, buffer, name)


def zeros_like(x: NkiTensor, dtype: Any = None, buffer: MemoryRegion | str | None = None, name: str = "") -> NkiTensor:
    """Zeros with the shape of x; its dtype unless given, in SBUF unless given."""
    like = require_tensor("nl.zeros_like", "x", x)
    return zeros(like.shape, given(dtype, like.dtype), given(buffer, _sbuf), name)


def empty_like(x: NkiTensor, dtype: Any = None, buffer: MemoryRegion | str | None = None, name: str = "") -> NkiTensor:
    """An uninitialised tensor with the shape of x; its dtype and memory unless given."""
    like = require_tensor("nl.empty_like", "x", x)
    return _allocate("nl.empty_like", like.shape, given(dtype, like.dtype), given(buffer, like.buffer), name)


def shared_constant(constant: np.ndarray[Any, Any] | str | os.PathLike[str]) -> NkiTensor:
    """A tensor in shared HBM with the data of an array, or of a `.npy` file, embedded in the program.

    Raises:
        ArgumentError: neither an array nor a path.  DtypeError: a dtype that NKI does not have, as float64.
    """
    data = _loaded(constant) if isinstance(constant, (str, os.PathLike)) else constant
    if not isinstance(data, np.ndarray) or data.ndim == 0 or data.size == 0:
        found = shown(data)
        fail(
            ArgumentError, "nl.shared_constant", operand="constant", found=found, allowed="a NumPy array or a .npy file"
        )
    try:
        dtype = as_dtype(data.dtype)
    except TypeError as error:
        allowed = str(error).partition("; NKI has ")[2]
        fail(DtypeError, "nl.shared_constant", operand="constant", found=f"an array of {data.dtype}", allowed=allowed)
    return _constant("nl.shared_constant", data, dtype)


def _loaded(path: str | os.PathLike[str]) -> Any:
    try:
        return np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        found = f"{os.fspath(path)!r}: {error}"
        fail(ArgumentError, "nl.shared_constant", operand="constant", found=found, allowed="a .npy file of numbers")


def _constant(subject: str, data: np.ndarray[Any, Any], dtype: DType) -> NkiTensor:
    return current(subject).allocate(
        data.shape, dtype, MemoryRegion.shared_hbm, kind="constant", contents=data, subject=subject
    )


def shared_identity_matrix(n: int, dtype: Any = uint8, dst: NkiTensor | None = None) -> NkiTensor:
    """The n x n identity matrix in SBUF, n <= 128: a constant in shared HBM, loaded by DMA.

    dst: an (n, n) tile to write to instead of a new one

    Raises:
        PartitionError: n exceeds the partitions.
    """
    subject = "nl.shared_identity_matrix"
    tile = _allocate(subject, (n, n), dtype, _sbuf, "") if dst is None else require_tile(subject, "dst", dst)
    if prod(tile.shape) != n * n:
        fail(ArgumentError, subject, operand="dst", found=tile.describe(), allowed=f"a tile of shape ({n}, {n})")
    nisa.dma_copy(tile, _constant(subject, np.eye(int(n)).astype(tile.dtype.storage), tile.dtype))
    return tile
