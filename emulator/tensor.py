"""NkiTensor: a strided view (access pattern) over a buffer; slicing, reshaping, broadcasting, indirection.

View algebra that only needs the (shape, strides) pair lives in `view_algebra`. The class is built up in steps: what a
view is (`tensor_base`), which elements it keeps (`tensor_indexing`), under which dimensions (`tensor_reshaping`); this
file adds explicit access patterns, other dtypes, and values.

Source: NKI reference, nki.language.NkiTensor; NKI guide "Access Patterns" (nki-aps).
"""

from __future__ import annotations

from operator import index
from typing import Any

import numpy as np

from trnlab.emulator import view_algebra as algebra
from trnlab.emulator.dtypes import DType
from trnlab.emulator.errors import (
    ArgumentError,
    BufferError,
    RuntimeValueError,
    TensorLifetimeError,
    TraceError,
    Violation,
)
from trnlab.emulator.memory import HBM_REGIONS, MemoryRegion, as_element
from trnlab.emulator.nki_object import NKIObject
from trnlab.emulator.runtime_index import INTEGERS, DynamicSlice, Indirection, VirtualRegister
from trnlab.emulator.source import caller
from trnlab.emulator.tensor_refusals import refuse_python
from trnlab.emulator.tensor_reshaping import Reshaping

__all__ = ["DynamicSlice", "Indirection", "NKIObject", "NkiTensor", "VirtualRegister"]


class NkiTensor(Reshaping):
    """NKI tensor with shape-based view operations; every operation returns a view of the same storage."""

    __slots__ = ()

    def vector_select(self, dim: int, vector_offset: NkiTensor) -> NkiTensor:
        """Partition p reads row `vector_offset[p]` of dimension 0; HBM tensors only.

        Raises:
            BufferError: the tensor is on chip.  ArgumentError: dim is not 0, or the index tensor's shape is not (P, 1).
        """
        if self._dim("vector_select", dim) != 0:
            self._fail("vector_select", f"dim={dim}", "dim=0", ArgumentError)
        if not isinstance(vector_offset, NkiTensor):
            self._fail("vector_select", f"vector_offset {vector_offset!r}", "a tensor of indices", ArgumentError)
        pattern = [[self.strides[0], vector_offset.shape[0]]]
        pattern += [[s, n] for s, n in zip(self.strides[1:], self.shape[1:], strict=True)]
        return self.ap(pattern, vector_offset=vector_offset, indirect_dim=0)

    def ap(
        self,
        pattern: list[list[int]],
        offset: int | None = None,
        scalar_offset: NkiTensor | VirtualRegister | None = None,
        vector_offset: NkiTensor | None = None,
        indirect_dim: int = 0,
        dtype: Any = None,
    ) -> NkiTensor:
        """A view with an explicit pattern of [stride, count] pairs over the storage, like `as_strided`.

        Strides, counts and offset are in elements of `dtype` (default: the tensor's); a run-time offset counts in steps
        of this view's dimension `indirect_dim`.

        Raises:
            ShapeError: a malformed pattern.
            BoundsError: the pattern leaves the buffer; raised where an instruction takes the view.
            ArgumentError: both run-time offsets, or a vector offset that is no tensor or of the wrong shape.
            TraceError: the view is already indirect.
        """
        to = self.dtype if dtype is None else as_element("NkiTensor.ap", dtype)
        pairs = self._pairs(pattern)
        if not pairs or any(count < 1 for _, count in pairs):
            self._fail("ap", f"pattern {pattern}", "one pair or more, every count at least 1")
        base = self._rescaled(self.offset, to, "offset")
        base += 0 if offset is None else self._integer("ap", "offset", offset)
        indirection = self._ap_indirection(scalar_offset, vector_offset, indirect_dim, to, pairs)
        view = self._view(tuple(c for _, c in pairs), tuple(s for s, _ in pairs), base, indirection)
        view.dtype = to
        view._note_bounds()
        return view

    def _pairs(self, pattern: Any) -> list[tuple[int, int]]:
        try:
            return [(index(stride), index(count)) for stride, count in pattern]
        except RuntimeValueError:
            raise  # a register or tensor, which says so itself
        except (TypeError, ValueError):
            self._fail("ap", f"pattern {pattern!r}", "a list of [stride, count] pairs of compile-time integers")

    def _ap_indirection(
        self, scalar: Any, vector: NkiTensor | None, dim: int, to: DType, pairs: list[tuple[int, int]]
    ) -> Indirection | None:
        if scalar is None and vector is None:
            if self.indirection is not None and self.indirection.kind == "vector" and pairs[0][1] != self.shape[0]:
                self._fail("ap", f"{pairs[0][1]} rows", f"{self.shape[0]} rows, one for each index")
            return self.indirection
        if self.indirection is not None:
            self._fail("ap", "an indirect view", "one run-time offset in a view", TraceError)
        if scalar is not None and vector is not None:
            self._fail("ap", "scalar_offset and vector_offset", "one of them", ArgumentError)
        dim = self._dim("ap", dim)
        stride = self._rescaled(self.strides[dim], to, "indirect_dim stride")
        if scalar is not None:
            self._scalar_index(scalar)
            return Indirection("scalar", scalar, stride, self.shape[dim], None)
        if not isinstance(vector, NkiTensor):
            self._fail("ap", f"vector_offset {vector!r}", "a tensor of indices", ArgumentError)
        if self.buffer not in HBM_REGIONS:
            self._fail("ap", "vector_offset on an on-chip tensor", "vector_offset on an HBM tensor", BufferError)
        if dim != 0:
            self._fail("ap", f"indirect_dim={dim} with vector_offset", "indirect_dim=0", ArgumentError)
        allowed = f"at least {pairs[0][1]} integers, one a partition"
        indices = self._offsets("ap", "vector_offset", vector, allowed)
        if indices.size < pairs[0][1]:
            self._fail("ap", f"vector_offset {indices.describe()}", allowed, ArgumentError)
        return Indirection("vector", indices, stride, self.shape[0], 0)

    def _rescaled(self, elements: int, to: DType, what: str) -> int:
        nbytes = elements * self.dtype.itemsize
        if nbytes % to.itemsize:
            self._fail("ap", f"{what} of {nbytes} bytes", f"a multiple of {to.itemsize} bytes, one {to} element")
        return nbytes // to.itemsize

    def _note_bounds(self) -> None:
        """Remember what is wrong with a view of elements outside the buffer, and where it was made."""
        low, high = algebra.reach(self.shape, self.strides, self.offset)
        if self.indirection is not None and self.indirection.kind == "vector":
            low, high = algebra.reach(self.shape[1:], self.strides[1:], self.offset)
        size = self._allocation.buffer.nbytes // self.dtype.itemsize
        if low < 0 or high >= size:
            found, allowed = f"elements {low} to {high}", f"0 to {size - 1}, the buffer's elements"
            operand = self.describe()
            self.fault = Violation(
                subject="NkiTensor.ap", operand=operand, found=found, allowed=allowed, location=caller()
            )

    def view(self, dtype: Any) -> NkiTensor:
        """The same bytes as another dtype; the last dimension, which must be contiguous, scales with the item size.

        Raises:
            ShapeError: a last dimension that is strided or does not divide.
            TraceError: the view is indirect.
        """
        to = as_element("NkiTensor.view", dtype)
        if self.indirection is not None:
            self._fail("view", "an indirect view", "a view without a run-time offset", TraceError)
        layout = algebra.reinterpret(self.shape, self.strides, self.offset, self.dtype.itemsize, to.itemsize)
        if isinstance(layout, str):
            self._fail("view", f"{self.dtype} as {to}", layout)
        result = self._view(*layout)
        result.dtype = to
        return result

    reinterpret_cast = view

    def indirect(self, index: NkiTensor, num_elem: int | None = None) -> NkiTensor:
        """Tensor indirection: a (P, num_elem) view whose column i is the free element at offset i, in every partition.

        Offset i is `index[i % G, i // G]`, in elements of the flattened free dimensions, with groups of G = 32 on the
        Tensor Engine and 16 on the others. Compute instructions gather from such a view or scatter into it (see
        `isa.tensor_indirection`), from NeuronCore-v4 on; where offsets repeat in a scatter the last column stays.

        index:    a 2-D integer tensor in SBUF with as many partitions as this one
        num_elem: how many offsets, by default `index.size`

        Raises:
            BufferError: this tensor is not on chip, or the index not in SBUF.  TraceError: an indirect view.
            ShapeError: free dimensions that are no row of equal steps, or another number of partitions in the index.
            ArgumentError: an index of another kind, or num_elem below 1.
        """
        if not self.on_chip:
            self._fail("indirect", "a tensor in HBM", "a tensor in sbuf or psum", BufferError)
        if self.indirection is not None:
            self._fail("indirect", "an indirect view", "one run-time offset in a view", TraceError)
        offsets = self._offsets("indirect", "index", index, f"integers of shape ({self.shape[0]}, K)")
        if offsets.ndim != 2 or offsets.shape[0] != self.shape[0]:
            self._fail("indirect", f"index {offsets.describe()}", f"an index of shape ({self.shape[0]}, K)")
        count = offsets.size if num_elem is None else num_elem
        if not isinstance(count, INTEGERS) or count < 1:
            self._fail("indirect", f"num_elem={num_elem!r}", "an integer of at least 1", ArgumentError)
        row = self.size // self.shape[0]
        steps = algebra.reshape_strides(self.shape[1:], self.strides[1:], (row,))
        if steps is None:
            self._fail("indirect", f"strides {self.strides}", "free dimensions that flatten without a copy")
        how = Indirection("columns", offsets, steps[0], row, 1)
        return self._view((self.shape[0], int(count)), (self.strides[0], steps[0]), None, how)

    def _offsets(self, method: str, argument: str, index: Any, allowed: str) -> NkiTensor:
        """The tensor of run-time offsets that an indirect view takes."""
        if not isinstance(index, NkiTensor):
            self._fail(method, f"{argument} {index!r}", "a tensor of integers", ArgumentError)
        if not index.dtype.is_integer or index.dtype == "bool" or index.is_indirect():
            allowed = f"{allowed}, without a run-time address of their own"
            self._fail(method, f"{argument} {index.describe()}", allowed, ArgumentError)
        if index.buffer is not MemoryRegion.sbuf:
            self._fail(method, f"{argument} {index.describe()}", f"{allowed}, in sbuf", BufferError)
        return index

    # -- values -----------------------------------------------------------------------------------------------------

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        """The tensor's values now, while its kernel executes instruction by instruction.

        Raises:
            TensorLifetimeError: the kernel call that allocated it has ended.
            TraceError: the kernel is only being traced, so there are no values.
        """
        self._require_open("reading its values")
        self.require_reachable()
        if self._allocation.data is None:
            self._fail("__array__", "a kernel being traced", "mode='reference', where tensors have values", TraceError)
        if self.indirection is not None:
            self._fail("__array__", "an indirect view", "a view without a run-time offset", TraceError)
        values = self.numpy_view().copy()
        return values if dtype is None else values.astype(dtype)

    def numpy_view(self) -> np.ndarray[Any, Any]:
        """A NumPy window on the bytes of this view (reference execution only)."""
        self.require_reachable()
        item = self.dtype.itemsize
        return np.ndarray(
            self.shape,
            self.dtype.storage,
            self._allocation.data,
            self.offset * item,
            tuple(stride * item for stride in self.strides),
        )

    def _require_open(self, doing: str) -> None:
        if not self._allocation.owner.is_open:
            self._fail(
                "__array__" if doing.startswith("reading") else "use",
                f"{doing} after its kernel ended",
                "use inside the kernel call that allocated it; return the tensor to get its values",
                TensorLifetimeError,
            )

    def __repr__(self) -> str:
        text = f"NkiTensor({self.describe()}"
        if not self._allocation.owner.is_open:
            return text + ", its kernel has ended)"
        if self._allocation.data is None or self.indirection is not None or self.fault is not None:
            return text + ")"
        return f"{text},\n{np.array2string(self.numpy_view(), threshold=64)})"


refuse_python(NkiTensor)
