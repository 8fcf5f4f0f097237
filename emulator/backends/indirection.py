"""Run-time addresses as XLA operations: views whose offset an index in memory decides.

A scalar index moves the whole view, usually along one coordinate of its box; a vector of indices places every row.
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

from trnlab.emulator.backends import boxes, lowering
from trnlab.emulator.backends.boxes import INDEX_MAX, Box, grid
from trnlab.emulator.backends.lowering import box_of, check_numbers, geometry, opaque, resized
from trnlab.emulator.program import IndirectionSignature, OperandSignature
from trnlab.emulator.view_algebra import is_contiguous, reach, reaches_twice


class Rows(NamedTuple):
    """Where an indirect operand lies this time: one entry per row (vector) or a single one (scalar).

    values: the index values
    safe:   the same with the bad ones replaced by 0, where a view is inside its buffer by construction
    inside: which are within the indirection's extent
    leaves: which are, but still lead an element out of the buffer
    """

    values: Array
    safe: Array
    inside: Array
    leaves: Array


def resolve(operand: OperandSignature, offset: int, index: Array) -> Rows:
    """The index values of an indirect operand, judged and made safe."""
    how = _how(operand)
    check_numbers(operand)
    vector = how.kind == "vector"
    # More indices than partitions walk column by column: index.T.flatten(), as the DMA gather documents.
    flat = index.reshape(index.shape[0], -1).T.reshape(-1)
    values = flat[: operand.shape[0] if vector else 1].astype(jnp.int32)
    inside = (values >= 0) & (values < how.extent)
    moved = jnp.where(inside, values, 0)
    low, high = reach(operand.shape[vector:], operand.strides[vector:], offset)
    first, last = _reach_in_elements(geometry(operand)[0], how.stride, low, high)
    leaves = inside & ((moved < first) | (moved > last))
    return Rows(values, jnp.where(leaves, 0, moved), inside, leaves)


def _how(operand: OperandSignature) -> IndirectionSignature:
    if operand.indirection is None:
        raise AssertionError(f"{operand.name} is a direct view")
    return operand.indirection


def _reach_in_elements(size: int, stride: int, low: int, high: int) -> tuple[int, int]:
    """The index values for which low..high, moved by stride each, stays inside 0..size-1."""
    if stride == 0:
        return -INDEX_MAX, INDEX_MAX
    before, after = low // abs(stride), (size - 1 - high) // abs(stride)
    first, last = (-before, after) if stride > 0 else (-after, before)
    return max(first, -INDEX_MAX), min(last, INDEX_MAX)


# -------------------------------------------------------------------------------------------------- scalar index


def _moved_start(operand: OperandSignature, box: Box, offset: int, rows: Rows) -> list[Array] | None:
    """Run-time coordinates of the box, when the index moves it along one axis and always leaves it inside."""
    how = _how(operand)
    for axis, unit in enumerate(box.strides):
        if how.stride >= unit and how.stride % unit == 0:
            factor = how.stride // unit
            furthest = box.start(offset)[axis] + (how.extent - 1) * factor + box.spans()[axis]
            if furthest > box.extents[axis]:
                return None
            start: list[Array] = [jnp.int32(first) for first in box.start(offset)]
            start[axis] = start[axis] + rows.safe[0] * factor
            return start
    return None


def _scalar_numbers(operand: OperandSignature, offset: int, rows: Rows) -> Array:
    return grid(operand.shape, operand.strides, offset + rows.safe[0] * _how(operand).stride)


def _read_scalar(words: Array, operand: OperandSignature, offset: int, rows: Rows) -> Array:
    box = box_of(operand, offset)
    start = None if box is None else _moved_start(operand, box, offset, rows)
    if box is None or start is None:
        return boxes.gather(words, _scalar_numbers(operand, offset, rows))
    return boxes.read_box(words, box, start, operand.shape)


def _write_scalar(words: Array, operand: OperandSignature, offset: int, rows: Rows, new: Array, apart: bool) -> Array:
    box = box_of(operand, offset)
    start = None if box is None else _moved_start(operand, box, offset, rows)
    if box is not None and start is not None and box.has_unit_steps and not apart:
        return boxes.write_box(words, box, start, new)
    distinct = not reaches_twice(operand.shape, operand.strides)
    return boxes.scatter(words, _scalar_numbers(operand, offset, rows), new, distinct=distinct)


# ----------------------------------------------------------------------------------------------- vector of indices


def _row_reach(operand: OperandSignature) -> tuple[int, int]:
    """(lowest element of a row relative to where it starts, elements it spans)."""
    low, high = reach(operand.shape[1:], operand.strides[1:], 0)
    return low, high - low + 1


def _rows_are_runs(operand: OperandSignature) -> bool:
    return is_contiguous(operand.shape[1:], operand.strides[1:])


def _starts(operand: OperandSignature, offset: int, rows: Rows) -> Array:
    return offset + rows.safe * _how(operand).stride


def _read_vector(words: Array, operand: OperandSignature, offset: int, rows: Rows) -> Array:
    low, span = _row_reach(operand)
    starts = _starts(operand, offset, rows) + low
    taken = jax.vmap(lambda start: lax.dynamic_slice(words, (start,), (span,), allow_negative_indices=False))(starts)
    if not _rows_are_runs(operand):
        taken = taken[:, grid(operand.shape[1:], operand.strides[1:], -low).reshape(-1)]
    return taken.reshape(operand.shape)


def _write_vector(words: Array, operand: OperandSignature, offset: int, rows: Rows, new: Array, keep: Array) -> Array:
    """keep: flags, a whole number of which make one row or a whole number of rows one flag."""
    starts, row = _starts(operand, offset, rows), prod(operand.shape[1:])
    apart = abs(_how(operand).stride) >= row or _how(operand).stride == 0
    if _rows_are_runs(operand) and apart and starts.size % keep.size == 0:
        starts = jnp.where(jnp.repeat(keep, starts.size // keep.size), starts, INDEX_MAX)
        return _scatter_runs(words, starts, new.reshape(-1, row))
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


# ------------------------------------------------------------------------------------------------------------ both


def read(value: Array, operand: OperandSignature, offset: int, rows: Rows) -> Array:
    """The words of an indirect view; where the index is bad, those at index 0."""
    how = _read_vector if _how(operand).kind == "vector" else _read_scalar
    return opaque(how(resized(value, operand.dtype.itemsize), operand, offset, rows))


def write(
    value: Array,
    operand: OperandSignature,
    offset: int,
    rows: Rows | None,
    new: Array,
    keep: Sequence[Array],
    *,
    apart: bool = False,
) -> Array:
    """The buffer's value after a view of it was written, except for the parts of it whose flag is false.

    rows:  the view's own index, or None when it is direct
    keep:  groups of flags; each group divides the view's elements, in order, into equal parts
    apart: write by element numbers, which XLA does not fuse with what computes `new`
    """
    if rows is not None and _how(operand).kind == "vector":
        flags = _joined(keep) if keep else jnp.ones(1, bool)
        written = _write_vector(resized(value, operand.dtype.itemsize), operand, offset, rows, new, flags)
        return resized(written, operand.buffer_dtype.itemsize)
    if keep:
        old = lowering.read(value, operand, offset) if rows is None else read(value, operand, offset, rows)
        flags = _joined(keep)
        new = jnp.where(jnp.repeat(flags, new.size // flags.size).reshape(new.shape), new, old)
    if rows is None:
        return lowering.overwrite(value, operand, offset, new, apart=apart or bool(keep))
    words = resized(value, operand.dtype.itemsize)
    written = _write_scalar(words, operand, offset, rows, new, apart or bool(keep))
    return resized(written, operand.buffer_dtype.itemsize)


def _joined(keep: Sequence[Array]) -> Array:
    """One group of flags in place of several whose sizes divide each other."""
    size = max(flags.size for flags in keep)
    joined = jnp.ones(size, bool)
    for flags in keep:
        joined = joined & jnp.repeat(flags, size // flags.size)
    return joined
