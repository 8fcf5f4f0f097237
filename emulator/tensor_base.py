"""The part of NkiTensor that every view operation stands on.

Relations that always hold: `len(shape) == len(strides)`; strides and offset count elements of `dtype`; every
element a view reaches lies inside its buffer (run-time offsets excepted, which the executors check). Storage is
row-major over the whole buffer, so on chip the partition stride is the number of elements in a partition.
"""

from __future__ import annotations

from math import prod
from operator import index
from types import EllipsisType
from typing import Any, NoReturn, Self

from trnlab.emulator import view_algebra as algebra
from trnlab.emulator.dtypes import DType
from trnlab.emulator.errors import (
    ArgumentError,
    BoundsError,
    KernelError,
    RuntimeValueError,
    ShapeError,
    TraceError,
    Violation,
)
from trnlab.emulator.memory import ON_CHIP_REGIONS, Allocation, MemoryRegion
from trnlab.emulator.nki_object import NKIObject
from trnlab.emulator.runtime_index import Indirection
from trnlab.emulator.source import fail


class TensorBase(NKIObject):
    """Shape, strides, offset and dtype over an allocation, and the questions and checks every view operation needs."""

    __slots__ = ("_allocation", "dtype", "fault", "indirection", "offset", "shape", "strides")

    def __init__(
        self,
        shape: tuple[int, ...],
        dtype: DType,
        storage: Allocation,
        buffer: MemoryRegion | str = MemoryRegion.sbuf,
        name: str = "",
        *,
        strides: tuple[int, ...] | None = None,
        offset: int = 0,
        indirection: Indirection | None = None,
    ) -> None:
        # `buffer` and `name` are in the published signature; the storage handle already knows both.
        self.shape = shape
        self.dtype = dtype
        self._allocation = storage
        self.strides = algebra.row_major(shape) if strides is None else strides
        self.offset = offset
        self.indirection = indirection
        self.fault: Violation | None = None  # why instructions cannot take this view, when they cannot

    # -- what it is -------------------------------------------------------------------------------------------------

    @property
    def buffer(self) -> MemoryRegion:
        """The memory region the tensor lives in."""
        return self._allocation.buffer.region

    @property
    def name(self) -> str:
        """The name given at allocation."""
        return self._allocation.buffer.name

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return prod(self.shape)

    @property
    def on_chip(self) -> bool:
        """Whether the tensor lives in SBUF or PSUM."""
        return self._allocation.buffer.region in ON_CHIP_REGIONS

    @property
    def partition_elements(self) -> int:
        """Elements of this view's dtype in one partition of its on-chip buffer."""
        return self._allocation.buffer.bytes_per_partition // self.dtype.itemsize

    @property
    def start_partition(self) -> int:
        """The partition where an on-chip view starts: its row in the buffer, plus the buffer's own."""
        address = self._allocation.buffer.address
        return self.offset // self.partition_elements + (address[0] if address else 0)

    def is_contiguous(self) -> bool:
        """Whether the view covers storage contiguously, row-major; on chip, the free dimensions alone count."""
        first = 1 if self.on_chip else 0
        return algebra.is_contiguous(self.shape[first:], self.strides[first:])

    def get_pattern(self) -> list[list[int]]:
        """The access pattern as [[stride, count], ...], one pair a dimension."""
        return [[stride, count] for stride, count in zip(self.strides, self.shape, strict=True)]

    def is_indirect(self) -> bool:
        """Whether a run-time index takes part in the address."""
        return self.indirection is not None

    # -- building views ---------------------------------------------------------------------------------------------

    def _view(
        self,
        shape: tuple[int, ...],
        strides: tuple[int, ...],
        offset: int | None = None,
        indirection: Indirection | EllipsisType | None = ...,
    ) -> Self:
        view = type(self).__new__(type(self))
        view.shape = shape
        view.dtype = self.dtype
        view._allocation = self._allocation
        view.strides = strides
        view.offset = self.offset if offset is None else offset
        view.indirection = self.indirection if indirection is ... else indirection
        if view.indirection is not None and self.indirection is not None and view.indirection.kind == "columns":
            self._keeps_columns(view)
        view.fault = self.fault
        return view

    def _keeps_columns(self, view: Self) -> None:
        """A view with tensor indirection stays as it is: its offsets belong to all of its partitions and columns."""
        if (view.shape, view.strides, view.offset) != (self.shape, self.strides, self.offset):
            allowed = "view operations before .indirect(), which comes last"
            self._fail("indirect", f"another view, of shape {view.shape}, after .indirect()", allowed, TraceError)

    def require_reachable(self) -> None:
        """Raise BoundsError for a view of elements outside its buffer: kernels may make one, but not use it."""
        if self.fault is not None:
            raise BoundsError(self.fault)

    def _fail(self, method: str, found: str, allowed: str, error: type[KernelError] = ShapeError) -> NoReturn:
        fail(error, f"NkiTensor.{method}", operand=self.describe(), found=found, allowed=allowed)

    def describe(self) -> str:
        """Name, dtype, shape and region, for messages."""
        name = f"{self.name}: " if self.name else ""
        return f"{name}{self.dtype}{list(self.shape)} in {self.buffer.value}"

    def _integer(self, method: str, argument: str, value: Any) -> int:
        """The value, which must be a compile-time integer."""
        try:
            return index(value)
        except RuntimeValueError:
            raise  # a register or tensor, which says so itself
        except TypeError:
            self._fail(method, f"{argument}={value!r}", "a compile-time integer", ArgumentError)

    def _integers(self, method: str, argument: str, values: Any) -> tuple[int, ...]:
        """The values, which must be a tuple or list of compile-time integers."""
        if not isinstance(values, (tuple, list)):
            self._fail(method, f"{argument}={values!r}", "a tuple of compile-time integers", ArgumentError)
        return tuple(self._integer(method, f"{argument}[{place}]", value) for place, value in enumerate(values))

    def _dim(self, method: str, dim: int, *, insert: bool = False) -> int:
        dim = self._integer(method, "dim", dim)
        count = self.ndim + insert
        if not -count <= dim < count:
            self._fail(method, f"dim={dim}", f"{-count} <= dim < {count}", BoundsError)
        return dim % count

    def _keeps_partition(self, method: str, dim: int) -> None:
        """Dimension 0 of an on-chip tile, and the dimension a vector of indices addresses, cannot be changed."""
        pinned = self.on_chip or (self.indirection is not None and self.indirection.kind == "vector")
        if dim == 0 and pinned:
            what = "the partition dimension" if self.on_chip else "the dimension addressed by vector_select"
            self._fail(method, "dim=0", f"any dimension but 0, {what}")
