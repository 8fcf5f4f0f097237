"""Indexing: which elements of a tensor a view keeps.

On chip the partition dimension stays outermost, and a tile keeps at least two dimensions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from trnlab.emulator.errors import ArgumentError, BoundsError, TraceError
from trnlab.emulator.memory import MemoryRegion
from trnlab.emulator.runtime_index import INTEGERS, DynamicSlice, Index, Indirection, VirtualRegister
from trnlab.emulator.source import shown
from trnlab.emulator.tensor_base import TensorBase

if TYPE_CHECKING:
    from trnlab.emulator.tensor import NkiTensor


class Indexing(TensorBase):
    """`tensor[key]`, `slice` and `select`."""

    __slots__ = ()

    def __getitem__(self, key: Index | tuple[Index, ...]) -> Self:
        """NumPy-style indexing with integers, slices, `...`, `nl.ds` and registers; out of bounds is an error.

        On chip an integer on dimension 0 keeps it with size 1 and the result is at least 2-D; in HBM an integer
        removes its dimension and the result is at least 1-D.

        Raises:
            BoundsError: an index or slice end outside its dimension, or an empty slice.
            TraceError: two run-time indices in one view.
        """
        keys = key if type(key) is tuple else (key,)
        if any(item is ... for item in keys):  # `in` would compare arrays by value
            keys = self._expand_ellipsis(keys)
        if len(keys) > len(self.shape):
            self._fail("__getitem__", f"{len(keys)} indices", f"at most {self.ndim}", BoundsError)
        shape: list[int] = []
        strides: list[int] = []
        offset = self.offset
        indirection = self.indirection
        for dim, (size, stride) in enumerate(zip(self.shape, self.strides, strict=True)):
            if dim >= len(keys):
                shape.append(size)
                strides.append(stride)
                continue
            item = keys[dim]
            if type(item) is slice:
                start, count, step = self._slice_bounds(dim, item)
            elif isinstance(item, INTEGERS):
                start, count, step = self._integer_index(dim, int(item)), 0, 1
            else:
                start, count, indirection = self._dynamic_index(dim, item, indirection)
                step = 1
            offset += start * stride
            if count or (dim == 0 and self.on_chip):
                shape.append(count or 1)
                strides.append(stride * step)
        self._indirect_dims_intact(keys, indirection)
        minimum = 2 if self.on_chip else 1
        while len(shape) < minimum:
            shape.append(1)
            strides.append(1)
        return self._view(tuple(shape), tuple(strides), offset, indirection)

    def _expand_ellipsis(self, keys: tuple[Any, ...]) -> tuple[Any, ...]:
        where = [position for position, item in enumerate(keys) if item is ...]
        if len(where) > 1:
            self._fail("__getitem__", "two ellipses", "one ellipsis", ArgumentError)
        missing = self.ndim - len(keys) + 1
        return keys[: where[0]] + (slice(None),) * missing + keys[where[0] + 1 :]

    def _integer_index(self, dim: int, index: int) -> int:
        size = self.shape[dim]
        if not -size <= index < size:
            self._fail("__getitem__", f"index {index} on dimension {dim}", f"{-size} to {size - 1}", BoundsError)
        return index % size

    def _slice_bounds(self, dim: int, item: slice) -> tuple[int, int, int]:
        size = self.shape[dim]
        start, stop, step = item.start, item.stop, item.step
        for bound in (start, stop, step):
            if bound is not None and not isinstance(bound, INTEGERS):
                self._fail(
                    "__getitem__",
                    f"slice bound {bound!r} on dimension {dim}",
                    "compile-time integers; nl.ds(register, size) for a run-time start",
                    TraceError,
                )
        start = 0 if start is None else int(start) + size * (start < 0)
        stop = size if stop is None else int(stop) + size * (stop < 0)
        step = 1 if step is None else int(step)
        if not (0 <= start < stop <= size and step >= 1):
            parts = ("" if part is None else str(part) for part in (item.start, item.stop, item.step))
            found = f"slice {':'.join(parts).removesuffix(':')} on dimension {dim} of size {size}"
            self._fail("__getitem__", found, f"0 <= start < stop <= {size}, step >= 1", BoundsError)
        return start, -(-(stop - start) // step), step

    def _dynamic_index(
        self, dim: int, item: Any, indirection: Indirection | None
    ) -> tuple[int, int, Indirection | None]:
        """(static start, count, indirection) of `nl.ds`, a register or a one-element tensor on one dimension."""
        start, size = (item.start, item.size) if isinstance(item, DynamicSlice) else (item, 0)
        if isinstance(start, INTEGERS):
            bounds = slice(int(start), int(start) + size)
            return *self._slice_bounds(dim, bounds)[:2], indirection
        known_at_run_time = isinstance(start, (VirtualRegister, TensorBase))
        if not known_at_run_time:
            allowed = "integers, slices, ..., nl.ds, a register or a one-element tensor"
            self._fail("__getitem__", f"{shown(item)} on dimension {dim}", allowed, ArgumentError)
        if indirection is not None:
            self._fail("__getitem__", "a second run-time index", "one run-time index in a view", TraceError)
        if isinstance(item, DynamicSlice) and not 1 <= size <= self.shape[dim]:
            self._fail("__getitem__", f"nl.ds of size {size}", f"1 to {self.shape[dim]}", BoundsError)
        extent = self.shape[dim] - max(size, 1) + 1
        self._scalar_index(start)
        return 0, size, Indirection("scalar", start, self.strides[dim], extent, dim)

    def _scalar_index(self, index: VirtualRegister | NkiTensor) -> None:
        if not isinstance(index, TensorBase):
            return
        is_one_integer = index.size == 1 and index.dtype.is_integer and not index.is_indirect()
        if not is_one_integer or index.buffer is not MemoryRegion.sbuf:
            self._fail("scalar_offset", index.describe(), "one integer in SBUF, or a register", ArgumentError)

    def _indirect_dims_intact(self, keys: tuple[Any, ...], indirection: Indirection | None) -> None:
        previous = self.indirection
        if previous is None or previous.dim is None or previous.dim >= len(keys):
            return
        item = keys[previous.dim]
        if not (isinstance(item, slice) and item == slice(None)):
            found = f"an index on dimension {previous.dim}"
            self._fail("__getitem__", found, "any dimension that takes no part in the indirection", TraceError)

    def __setitem__(self, key: Any, value: Any) -> None:
        """Write `value`, a tensor or a number, into the view `self[key]`."""
        self._allocation.owner.assign(self[key], value)

    def slice(self, dim: int, start: int, end: int, step: int = 1) -> Self:
        """Elements start, start+step, ... below end of one dimension; `0 <= start < end <= shape[dim]`, `step >= 1`."""
        dim = self._dim("slice", dim)
        return self[(slice(None),) * dim + (slice(start, end, step),)]

    def select(self, dim: int, index: int | NkiTensor | VirtualRegister) -> Self:
        """One element of a dimension, which is removed; the index may be a run-time scalar.

        Raises:
            ShapeError: a run-time index on the partition dimension of an on-chip tensor.
        """
        dim = self._dim("select", dim)
        if not isinstance(index, INTEGERS):
            if dim == 0 and self.on_chip:
                self._fail("select", "a run-time index on dimension 0", "a free dimension of an on-chip tensor")
            view = self[(slice(None),) * dim + (index,)]
            assert view.indirection is not None
            removed = view.indirection
            return view._view(
                view.shape, view.strides, None, Indirection("scalar", removed.index, removed.stride, removed.extent)
            )
        return self[(slice(None),) * dim + (int(index),)]
