"""Run-time addresses as XLA operations: views whose offset an index in memory decides.

A scalar index moves the whole view, usually along one coordinate of its box; a vector of indices places every row; the
offsets of tensor indirection place every column.
Indices are made safe before use, because XLA clamps silently: `Rows` says which were out of bounds, and the back end
decides between skipping them and reporting them.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from trnlab.emulator.backends import boxes, views
from trnlab.emulator.backends.boxes import INDEX_MAX, Move, grid
from trnlab.emulator.backends.positions import Placed
from trnlab.emulator.backends.views import View, opaque
from trnlab.emulator.program import IndirectionSignature, OperandSignature
from trnlab.emulator.view_algebra import is_contiguous, reach


class Target(NamedTuple):
    """An indirect operand and where it lies in its storage, index aside."""

    operand: OperandSignature
    placed: Placed

    @property
    def how(self) -> IndirectionSignature:
        """The run-time part of its address."""
        if self.operand.indirection is None:
            raise AssertionError(f"{self.operand.name} is a direct view")
        return self.operand.indirection

    @property
    def is_vector(self) -> bool:
        """Whether every row has an index of its own."""
        return self.operand.indirection is not None and self.how.kind == "vector"

    @property
    def is_columns(self) -> bool:
        """Whether every column has an offset of its own: tensor indirection."""
        return self.operand.indirection is not None and self.how.kind == "columns"

    def offset(self) -> int | Array:
        """Where it starts, moves included."""
        offset: int | Array = self.placed.view.offset
        for move, number in zip(self.placed.view.moves, self.placed.moved, strict=True):
            offset = offset + number * move.unit
        return offset


class Rows(NamedTuple):
    """Where an indirect operand lies this time: one entry per row (vector) or column (columns), or one (scalar).

    values: the index values
    safe:   the same with the bad ones replaced by 0, where a view is inside its buffer by construction
    inside: which are within the indirection's extent
    leaves: which are, but still lead an element out of the buffer
    """

    values: Array
    safe: Array
    inside: Array
    leaves: Array


def resolve(operand: OperandSignature, inside: Placed, index: Array) -> Rows:
    """The index values of an indirect operand, judged and made safe.

    inside: the operand's view in its own buffer
    """
    target = Target(operand, inside)
    how, vector = target.how, target.is_vector
    inside.view.check()
    # Indices walk column by column, index.T.flatten(): as the DMA gather documents, and groups of tensor indirection.
    flat = index.reshape(index.shape[0], -1)[: how.group or None].T.reshape(-1)
    values = flat[: {"vector": operand.shape[0], "columns": operand.shape[-1]}.get(how.kind, 1)].astype(jnp.int32)
    is_inside = (values >= 0) & (values < how.extent)
    taken = jnp.where(is_inside, values, 0)
    if target.is_columns:  # a column of the row lies inside the buffer
        return Rows(values, taken, is_inside, jnp.zeros_like(is_inside))
    low, high = reach(operand.shape[vector:], operand.strides[vector:], 0)
    size = prod(operand.buffer_shape) * operand.buffer_dtype.itemsize // operand.dtype.itemsize
    first, last = _reach_in_elements(size, how.stride, target.offset() + low, target.offset() + high)
    leaves = is_inside & ((taken < first) | (taken > last))
    return Rows(values, jnp.where(leaves, 0, taken), is_inside, leaves)


Bound = int | Array


def _reach_in_elements(size: int, stride: int, low: Bound, high: Bound) -> tuple[Bound, Bound]:
    """The index values for which low..high, moved by stride each, stays inside 0..size-1."""
    if stride == 0:
        return -INDEX_MAX, INDEX_MAX
    before, after = low // abs(stride), (size - 1 - high) // abs(stride)
    return (-before, after) if stride > 0 else (-after, before)


# -------------------------------------------------------------------------------------------------- scalar index


def moved_by_index(how: IndirectionSignature, view: View) -> View:
    """A view with a scalar index as its last move."""
    return view._replace(moves=(*view.moves, Move(how.stride, 0, how.extent - 1)))


def _moved(target: Target, rows: Rows) -> tuple[View, tuple[Array, ...]]:
    """The view with the index as one more move."""
    view, moved, _ = target.placed
    return moved_by_index(target.how, view), (*moved, rows.safe[0])


# ----------------------------------------------------------------------------------------------- vector of indices


def _row_reach(operand: OperandSignature) -> tuple[int, int]:
    """(lowest element of a row relative to where it starts, elements it spans)."""
    low, high = reach(operand.shape[1:], operand.strides[1:], 0)
    return low, high - low + 1


def _rows_are_runs(operand: OperandSignature) -> bool:
    return is_contiguous(operand.shape[1:], operand.strides[1:])


def _starts(target: Target, rows: Rows) -> Array:
    return target.offset() + rows.safe * target.how.stride


def _read_vector(words: Array, target: Target, rows: Rows) -> Array:
    operand = target.operand
    low, span = _row_reach(operand)
    starts, words = _starts(target, rows) + low, words.reshape(-1)
    taken = jax.vmap(lambda start: lax.dynamic_slice(words, (start,), (span,), allow_negative_indices=False))(starts)
    if not _rows_are_runs(operand):
        taken = taken[:, grid(operand.shape[1:], operand.strides[1:], -low).reshape(-1)]
    return taken.reshape(operand.shape)


def _write_vector(words: Array, target: Target, rows: Rows, new: Array, keep: Array, tie: Array | None) -> Array:
    """keep: flags, a whole number of which make one row or a whole number of rows one flag."""
    operand, stride = target.operand, target.how.stride
    starts, row = _starts(target, rows), prod(operand.shape[1:])
    if tie is not None:
        starts = starts + tie
    apart = abs(stride) >= row or stride == 0
    if _rows_are_runs(operand) and apart and starts.size % keep.size == 0:
        starts = jnp.where(jnp.repeat(keep, starts.size // keep.size), starts, INDEX_MAX)
        return _scatter_runs(words.reshape(-1), starts, new.reshape(-1, row))
    numbers = starts.reshape(-1, *(1,) * (len(operand.shape) - 1)) + grid(
        (1, *operand.shape[1:]), (0, *operand.strides[1:])
    )
    numbers = jnp.where(jnp.repeat(keep, numbers.size // keep.size), numbers.reshape(-1), INDEX_MAX)
    return boxes.scatter(words, numbers, new, distinct=False)


def _scatter_runs(words: Array, starts: Array, runs: Array) -> Array:
    """Every run written from its start on; of runs that start alike the last stays, those out of bounds are dropped."""
    starts = jnp.where(boxes.is_last(starts), starts, INDEX_MAX)
    dimensions = lax.ScatterDimensionNumbers(
        update_window_dims=(1,), inserted_window_dims=(), scatter_dims_to_operand_dims=(0,)
    )
    return lax.scatter(words, starts[:, None], runs, dimensions, mode=lax.GatherScatterMode.FILL_OR_DROP)


# --------------------------------------------------------------------------------------------- offsets of columns


def _column_numbers(target: Target, columns: Array, tie: Array | None = None) -> Array:
    """Element numbers of the columns at these offsets; those of an offset `INDEX_MAX` are out of bounds."""
    operand = target.operand
    first = target.offset() + lax.broadcasted_iota(jnp.int32, (operand.shape[0], 1), 0) * operand.strides[0]
    if tie is not None:
        first = first + tie
    return jnp.where(columns == INDEX_MAX, INDEX_MAX, first + columns * target.how.stride)


def _write_columns(words: Array, target: Target, rows: Rows, new: Array, tie: Array | None) -> Array:
    """Of columns at one offset the last stays."""
    columns = jnp.where(boxes.is_last(rows.safe), rows.safe, INDEX_MAX)
    return boxes.scatter(words, _column_numbers(target, columns, tie), new, distinct=True)


# ------------------------------------------------------------------------------------------------------------- all


def read(words: Array, target: Target, rows: Rows) -> Array:
    """The words of an indirect view; where the index is bad, those at index 0."""
    if target.is_vector:
        return opaque(_read_vector(words, target, rows))
    if target.is_columns:
        return opaque(boxes.gather(words, _column_numbers(target, rows.safe)))
    return opaque(views.read(words, *_moved(target, rows)))


def write(
    words: Array,
    target: Target,
    rows: Rows | None,
    new: Array,
    keep: Sequence[Array],
    *,
    tie: Array | None = None,
    apart: bool = False,
) -> Array:
    """The storage's value after a view of it was written, except for the parts of it whose flag is false.

    rows:  the view's own index, or None when it is direct
    keep:  groups of flags; each group divides the view's elements, in order, into equal parts
    tie, apart: as for `views.write`
    """
    if rows is not None and target.is_vector:
        flags = _joined(keep) if keep else jnp.ones(1, bool)
        return _write_vector(words, target, rows, new, flags, tie)
    if rows is not None and target.is_columns:
        assert not keep, "offsets of columns are never skipped"
        return _write_columns(words, target, rows, new, tie)
    view, moved = target.placed[:2] if rows is None else _moved(target, rows)
    order = view.arrangement()
    assert order == tuple(range(len(order))), "indirect instructions run in no merged loop"
    if keep:
        old = views.read(words, view, moved)
        flags = _joined(keep)
        new = jnp.where(jnp.repeat(flags, new.size // flags.size).reshape(new.shape), new, old)
    return views.write(words, view, new, moved, tie=tie, apart=apart or bool(keep))


def _joined(keep: Sequence[Array]) -> Array:
    """One group of flags in place of several whose sizes divide each other."""
    size = max(flags.size for flags in keep)
    joined = jnp.ones(size, bool)
    for flags in keep:
        joined = joined & jnp.repeat(flags, size // flags.size)
    return joined
