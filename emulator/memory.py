"""HBM, SBUF, PSUM and engine registers: buffers, where they live, and the bytes behind them.

A `Buffer` is plain data and part of the program; an `Allocation` is one buffer during one kernel call, with its
bytes when the call executes eagerly. On-chip buffers are two-dimensional memories: axis 0 is the partition axis,
everything after it lies contiguously inside a partition.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from math import prod
from operator import index
from typing import Any, Literal, NoReturn, Protocol

import numpy as np

from trnlab.emulator import dtypes
from trnlab.emulator.dtypes import DType, as_dtype, element_of
from trnlab.emulator.errors import (
    ArgumentError,
    CapacityError,
    DtypeError,
    KernelError,
    PartitionError,
    ShapeError,
)
from trnlab.emulator.source import fail
from trnlab.emulator.target import Target

BufferKind = Literal["input", "local", "constant", "state"]

INTEGER_SENTINEL = 4
"""Fill of integers never written; AWS's CPU simulator documents the same (nki_simulator, uninitialized memory)."""

MIN_ADDRESS_ALIGN = 4
"""Bytes; nl.tile_size.sbuf_min_align and psum_min_align (assumed: AWS publishes the names, not the numbers)."""


class MemoryRegion(str, Enum):  # noqa: UP042 - the published class is both
    """Memory region constants for NKI tensors (nki.language.MemoryRegion), and the engines' registers."""

    sbuf = "sbuf"
    psum = "psum"
    private_hbm = "private_hbm"
    shared_hbm = "shared_hbm"
    register = "register"

    def __str__(self) -> str:
        return self.value


HBM_REGIONS = frozenset({MemoryRegion.private_hbm, MemoryRegion.shared_hbm})
ON_CHIP_REGIONS = frozenset({MemoryRegion.sbuf, MemoryRegion.psum})
_REGIONS = {region.value: region for region in MemoryRegion} | {"hbm": MemoryRegion.private_hbm}


def as_region(value: MemoryRegion | str) -> MemoryRegion:
    """The region named by a member or its name; "hbm" means private_hbm, as in `nl.hbm`."""
    if isinstance(value, MemoryRegion):
        return value
    region = _REGIONS.get(value) if isinstance(value, str) else None
    if region is None:
        names = ", ".join(region.value for region in MemoryRegion if region is not MemoryRegion.register)
        fail(ArgumentError, "nl.ndarray", operand="buffer", found=repr(value), allowed=f"hbm, {names}")
    return region


def as_sizes(subject: str, shape: Any) -> tuple[int, ...]:
    """The shape as a tuple of positive integers; raises ShapeError for anything else."""
    try:
        sizes = tuple(index(n) for n in (shape if isinstance(shape, (tuple, list)) else (shape,)))
    except TypeError:
        sizes = ()
    if not sizes or min(sizes) < 1:
        fail(ShapeError, subject, operand="shape", found=repr(shape), allowed="one or more positive integers")
    return sizes


def as_element(subject: str, dtype: Any) -> DType:
    """The NKI dtype that a kernel asked for; raises DtypeError where there is none, or none that tensors take."""
    try:
        found = as_dtype(dtype)
    except TypeError as error:
        fail(DtypeError, subject, operand="dtype", found=repr(dtype), allowed=str(error).partition("; NKI has ")[2])
    if found == dtypes.float4_e2m1fn:
        fail(DtypeError, subject, operand="dtype", found=repr(found), allowed="float4_e2m1fn_x4, four elements a word")
    return found


@dataclass(frozen=True, slots=True)
class Buffer:
    """One tensor's memory, as data.

    number:   its position in the program's table of buffers, in order of allocation
    shape:    (partitions, free...) on chip; any shape in HBM
    address:  (partition, byte inside the partition) when the kernel placed it by hand, else None
    kind:     input (a kernel argument), local, constant (embedded data) or state (registers of an engine, which outlive
              instructions)
    location: index into the program's table of source lines
    """

    number: int
    region: MemoryRegion
    shape: tuple[int, ...]
    dtype: DType
    name: str
    kind: BufferKind = "local"
    address: tuple[int, int] | None = None
    location: int = -1

    @property
    def size(self) -> int:
        """Elements in all."""
        return prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes in all."""
        return self.size * self.dtype.itemsize

    @property
    def on_chip(self) -> bool:
        """Whether it lies in SBUF or PSUM."""
        return self.region in ON_CHIP_REGIONS

    @property
    def bytes_per_partition(self) -> int:
        """Bytes that an on-chip buffer takes in each of its partitions."""
        return prod(self.shape[1:]) * self.dtype.itemsize


class Owner(Protocol):
    """What an allocation needs of the kernel call that made it."""

    @property
    def is_open(self) -> bool:
        """Whether the call still runs."""
        ...

    def assign(self, view: Any, value: Any) -> None:
        """Write a value into a view."""
        ...

    def condition(self, register: Any) -> bool:
        """What `while register:` asks before each iteration."""
        ...


class Late(Protocol):
    """A value that was computed for a part of an allocation and is not among its bytes yet."""

    def store(self) -> None:
        """Write it there."""
        ...


class Allocation:
    """A buffer during one kernel call: its bytes (None when the call only traces) and the call that owns it."""

    __slots__ = ("_data", "buffer", "class_id", "late", "owner", "writes")

    def __init__(
        self, buffer: Buffer, owner: Owner, data: np.ndarray[Any, np.dtype[np.uint8]] | None, class_id: int = 0
    ) -> None:
        self.buffer = buffer
        self.owner = owner
        self._data = data
        self.late: Late | None = None  # at most one; whoever asks for the bytes gets it stored first
        self.class_id = class_id  # buffers of one region, shape and dtype share it
        self.writes: Any = None  # PSUM only: its `psum.WriteRecord`

    @property
    def data(self) -> np.ndarray[Any, np.dtype[np.uint8]] | None:
        """The bytes, up to date."""
        if self.late is not None:
            late, self.late = self.late, None
            late.store()
        return self._data


def _fill_pattern(dtype: DType) -> np.ndarray[Any, Any]:
    element = element_of(dtype)
    if dtype.is_integer:
        value = np.array(INTEGER_SENTINEL, dtype=dtype.storage)
    elif element.format.has_nan:
        value = np.array(np.nan, dtype=np.float32).astype(element.storage)
    else:  # float4_e2m1fn has no NaN: its largest value, 6, shows best
        value = np.array(0x77, dtype=np.uint8)
    return value.reshape(1).view(np.uint8)


def uninitialised_bytes(dtype: DType, nbytes: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Fresh memory that shows its use: NaN in every float, `INTEGER_SENTINEL` in integers."""
    pattern = _fill_pattern(dtype)
    data = np.empty(nbytes, np.uint8)
    data.view(f"u{pattern.size}")[...] = pattern.view(f"u{pattern.size}")[0]
    return data


def to_bytes(array: np.ndarray[Any, Any]) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """The array's elements, row-major, as a fresh byte vector."""
    return np.array(array, order="C", copy=True).reshape(-1).view(np.uint8)


def check_on_chip(subject: str, buffer: Buffer, target: Target) -> None:
    """Raise unless the buffer's geometry fits its on-chip memory on the target.

    Raises:
        ShapeError: fewer than two dimensions (a partition and a free dimension).
        PartitionError: more than 128 partitions, or an address past the last one.
        CapacityError: more bytes in a partition than the memory has.
        ArgumentError: a hand-given address that no element of the dtype can start at.
    """
    if len(buffer.shape) < 2:
        _misplaced(ShapeError, subject, "shape", buffer, "", "at least 2 dimensions (partition, free)")
    partition, byte = buffer.address or (0, 0)
    if partition < 0 or partition + buffer.shape[0] > target.partitions:
        found = f"partitions {partition} to {partition + buffer.shape[0] - 1}"
        allowed = f"at most {target.partitions} partitions (dimension 0), from 0 to {target.partitions - 1}"
        _misplaced(PartitionError, subject, "shape", buffer, found, allowed, target)
    if byte < 0 or byte % buffer.dtype.itemsize:
        allowed = f"a multiple of {buffer.dtype.itemsize} bytes, one element"
        _misplaced(ArgumentError, subject, "address", buffer, f"byte {byte}", allowed)
    psum = buffer.region is MemoryRegion.psum
    capacity = target.psum_bytes_per_partition if psum else target.sbuf_bytes_per_partition
    if byte + buffer.bytes_per_partition > capacity:
        found = f"{buffer.bytes_per_partition} bytes per partition at byte {byte}"
        allowed = f"{capacity} bytes per partition of {buffer.region.value}"
        _misplaced(CapacityError, subject, "shape", buffer, found, allowed, target)


def check_hbm(subject: str, buffer: Buffer, held: int, target: Target) -> None:
    """Raise CapacityError unless the kernel's tensors in HBM, `held` bytes with this one, fit the chip's memory."""
    if held > target.hbm_bytes_per_chip:
        found = f"{buffer.nbytes} bytes, {held} with the kernel's other tensors"
        allowed = f"{target.hbm_bytes_per_chip} bytes of HBM on the chip"
        _misplaced(CapacityError, subject, "shape", buffer, found, allowed, target)


def _misplaced(
    error: type[KernelError],
    subject: str,
    operand: str,
    buffer: Buffer,
    found: str,
    allowed: str,
    target: Target | None = None,
) -> NoReturn:
    what = f"{buffer.dtype}{list(buffer.shape)} in {buffer.region.value}"
    fail(
        error,
        subject,
        operand=operand,
        found=f"{what}, {found}" if found else what,
        allowed=allowed,
        generation="" if target is None else target.generation.label,
        source="NKI architecture guide, memory sizes",
    )
