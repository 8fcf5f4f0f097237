"""Reshaping: the same elements in another order or under other dimensions, never copied.

On chip the partition dimension stays what it is.
"""

from __future__ import annotations

from math import prod
from typing import Any, Self

from trnlab.emulator import view_algebra as algebra
from trnlab.emulator.errors import ArgumentError
from trnlab.emulator.runtime_index import Indirection
from trnlab.emulator.tensor_indexing import Indexing


class Reshaping(Indexing):
    """`permute`, `broadcast`, `reshape` and their neighbours."""

    __slots__ = ()

    def permute(self, dims: tuple[int, ...]) -> Self:
        """Dimensions in the order `dims`; on chip `dims[0]` is 0."""
        order = self._integers("permute", "dims", dims)
        if sorted(order) != list(range(self.ndim)):
            self._fail("permute", f"dims={order}", f"a permutation of 0..{self.ndim - 1}", ArgumentError)
        if order[0] != 0:
            self._keeps_partition("permute", 0)
        indirection = self.indirection
        if indirection is not None and indirection.dim is not None:
            moved = order.index(indirection.dim)
            indirection = Indirection(
                indirection.kind, indirection.index, indirection.stride, indirection.extent, moved
            )
        return self._view(tuple(self.shape[d] for d in order), tuple(self.strides[d] for d in order), None, indirection)

    def broadcast(self, dim: int, size: int) -> Self:
        """Repeat a dimension of size 1 `size` times; not the partition dimension on chip."""
        dim = self._dim("broadcast", dim)
        self._keeps_partition("broadcast", dim)
        if self.shape[dim] != 1:
            self._fail("broadcast", f"dimension {dim} of size {self.shape[dim]}", "a dimension of size 1")
        size = self._integer("broadcast", "size", size)
        if size < 1:
            self._fail("broadcast", f"size={size}", "size >= 1", ArgumentError)
        return self._view(
            (*self.shape[:dim], size, *self.shape[dim + 1 :]), (*self.strides[:dim], 0, *self.strides[dim + 1 :])
        )

    def expand_dim(self, dim: int) -> Self:
        """Insert a dimension of size 1 at `dim`; not before the partition dimension on chip."""
        dim = self._dim("expand_dim", dim, insert=True)
        self._keeps_partition("expand_dim", dim)
        view = self._view((*self.shape[:dim], 1, *self.shape[dim:]), (*self.strides[:dim], 0, *self.strides[dim:]))
        return view._shift_indirection(dim, 1)

    def squeeze_dim(self, dim: int) -> Self:
        """Remove a dimension of size 1; not the partition dimension on chip."""
        dim = self._dim("squeeze_dim", dim)
        self._keeps_partition("squeeze_dim", dim)
        if self.shape[dim] != 1:
            self._fail("squeeze_dim", f"dimension {dim} of size {self.shape[dim]}", "a dimension of size 1")
        view = self._view(self.shape[:dim] + self.shape[dim + 1 :], self.strides[:dim] + self.strides[dim + 1 :])
        return view._shift_indirection(dim, -1)

    def _shift_indirection(self, dim: int, by: int) -> Self:
        old = self.indirection
        if old is not None and old.dim is not None and old.dim >= dim:
            self.indirection = Indirection(old.kind, old.index, old.stride, old.extent, old.dim + by)
        return self

    def reshape_dim(self, dim: int, shape: tuple[int, ...]) -> Self:
        """Split a dimension into `shape` (one entry may be -1); on chip not the partition dimension."""
        dim = self._dim("reshape_dim", dim)
        sizes = self._infer("reshape_dim", shape, self.shape[dim])
        if len(sizes) > 1:
            self._keeps_partition("reshape_dim", dim)
        split = tuple(inner * self.strides[dim] for inner in algebra.row_major(sizes))
        view = self._view(
            self.shape[:dim] + sizes + self.shape[dim + 1 :], self.strides[:dim] + split + self.strides[dim + 1 :]
        )
        return view._shift_indirection(dim + 1, len(sizes) - 1)

    def _infer(self, method: str, shape: tuple[int, ...], total: int) -> tuple[int, ...]:
        sizes = algebra.infer_shape(self._integers(method, "shape", shape), total)
        if sizes is None:
            self._fail(method, f"shape {shape}", f"sizes whose product is {total}, at most one of them -1")
        return sizes

    def flatten_dims(self, start_dim: int, end_dim: int) -> Self:
        """Merge dimensions start_dim..end_dim (inclusive), which must be contiguous; on chip start_dim > 0."""
        first, last = self._dim("flatten_dims", start_dim), self._dim("flatten_dims", end_dim)
        if first > last:
            self._fail("flatten_dims", f"{start_dim}..{end_dim}", "start_dim <= end_dim", ArgumentError)
        if first == last:
            return self
        self._keeps_partition("flatten_dims", first)
        merged = prod(self.shape[first : last + 1])
        return self.reshape((*self.shape[:first], merged, *self.shape[last + 1 :]))

    def reshape(self, shape: tuple[int, ...]) -> Self:
        """The same elements under a new shape, without a copy; on chip the partition dimension stays.

        Raises:
            ShapeError: another number of elements, a changed partition dimension, or a layout that would need a copy.
        """
        sizes = self._infer("reshape", shape, self.size)
        pinned = self.on_chip or (self.indirection is not None and self.indirection.dim == 0)
        if pinned and (not sizes or sizes[0] != self.shape[0]):
            self._fail("reshape", f"shape {sizes}", f"shape[0] == {self.shape[0]}, the partition dimension")
        first = 1 if pinned else 0
        strides = algebra.reshape_strides(self.shape[first:], self.strides[first:], sizes[first:])
        if strides is None:
            self._fail("reshape", f"strides {self.strides} to shape {sizes}", "a layout that needs no copy")
        return self._view(sizes, self.strides[:first] + strides)

    def rearrange(
        self, src_pattern: tuple[Any, ...], dst_pattern: tuple[Any, ...], fixed_sizes: dict[str, int] | None = None
    ) -> Self:
        """Split, reorder and merge named dimensions, einops style.

        `t.rearrange(('b', ('h', 'w')), ('b', 'w', 'h'), {'h': 4})` takes (128, 24) to (128, 6, 4).

        Raises:
            ArgumentError: patterns that do not fit the shape or one another.
        """
        sizes = self._rearrangeable(src_pattern, dst_pattern, fixed_sizes)
        plan = algebra.plan_rearrange(self.shape, src_pattern, dst_pattern, sizes)
        if isinstance(plan, str):
            self._fail("rearrange", f"{src_pattern} to {dst_pattern}", plan, ArgumentError)
        view = self
        for dim in reversed(range(len(plan.splits))):
            view = view.reshape_dim(dim, plan.splits[dim])
        view = view.permute(plan.order)
        for first, last in reversed(plan.merges):
            view = view.flatten_dims(first, last)
        return view

    def _rearrangeable(self, source: Any, target: Any, fixed: Any) -> dict[str, int]:
        """The fixed sizes, once patterns and sizes are known to be of their kind."""
        for argument, pattern in (("src_pattern", source), ("dst_pattern", target)):
            if not isinstance(pattern, (tuple, list)) or not all(map(_is_names, pattern)):
                allowed = "a tuple of names and of tuples of names"
                self._fail("rearrange", f"{argument}={pattern!r}", allowed, ArgumentError)
        if fixed is not None and not isinstance(fixed, dict):
            self._fail("rearrange", f"fixed_sizes={fixed!r}", "a dict of sizes by name", ArgumentError)
        return {name: self._integer("rearrange", f"fixed_sizes[{name!r}]", n) for name, n in (fixed or {}).items()}


def _is_names(item: Any) -> bool:
    group = item if isinstance(item, (tuple, list)) else (item,)
    return all(isinstance(name, str) for name in group)
