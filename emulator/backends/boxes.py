"""Views of a storage as boxes: slices of a row-major reshaping of it. Any other pattern goes by element numbers.

A vector of N elements reshapes to [N / s0, s0 / s1, ...] for any descending strides that divide one another; a view
whose strides are among them is a slice of that array, its dimensions in another order and some of them repeated. Where
the slice starts may depend on run-time numbers (`Move`), as long as no coordinate carries into the next.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache, partial
from itertools import pairwise
from typing import Final, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.custom_batching import custom_vmap

Shape = tuple[int, ...]
INDEX_MAX: Final = int(np.iinfo(np.int32).max)
"""Out of bounds of every buffer: element numbers are 32 bits wide."""


class Move(NamedTuple):
    """A run-time number moves a view by `unit` elements each; it lies in low..high, both included."""

    unit: int
    low: int
    high: int


class Box(NamedTuple):
    """A view as a slice of its buffer reshaped to `extents`, whose row-major strides are `strides`.

    first:         where the slice starts when every run-time number is 0
    counts, steps: elements taken from each axis, and how far apart
    order:         the dimensions that walk through memory, slowest first; all others repeat or have one element
    moved:         for every move, the axis it moves along and by how much
    """

    extents: Shape
    strides: Shape
    first: Shape
    counts: Shape
    steps: Shape
    order: Shape
    moved: tuple[tuple[int, int], ...]

    @property
    def has_unit_steps(self) -> bool:
        """Whether an update slice can write the box."""
        return all(step == 1 for step in self.steps)

    @property
    def is_whole(self) -> bool:
        """Whether it takes every element of its buffer."""
        return self.counts == self.extents

    def spans(self) -> Shape:
        """Distance from the first to past the last coordinate taken from each axis."""
        return tuple((count - 1) * step + 1 for count, step in zip(self.counts, self.steps, strict=True))

    def fits(self, moves: Sequence[Move]) -> bool:
        """Whether the slice stays inside every axis wherever it is moved."""
        low, high = list(self.first), [first + span for first, span in zip(self.first, self.spans(), strict=True)]
        for (axis, factor), move in zip(self.moved, moves, strict=True):
            reached = sorted((move.low * factor, move.high * factor))
            low[axis] += reached[0]
            high[axis] += reached[1]
        return all(
            lowest >= 0 and highest <= extent for lowest, highest, extent in zip(low, high, self.extents, strict=True)
        )


@lru_cache(maxsize=65536)
def find_box(
    size: int, buffer_strides: Shape, shape: Shape, strides: Shape, offset: int, moves: tuple[Move, ...] = ()
) -> Box | None:
    """The box that a view is, or None.

    Axes are cut at the buffer's own strides and at the view's, so that storages keep their natural shapes; where that
    does not work, at fewer or more places.
    """
    if any(stride < 0 and count > 1 for stride, count in zip(strides, shape, strict=True)):
        return None
    walked = [dim for dim, (n, s) in enumerate(zip(shape, strides, strict=True)) if n > 1 and s > 0]
    order = tuple(sorted(walked, key=lambda dim: -strides[dim]))
    dims = [(shape[dim], strides[dim]) for dim in order]
    units = [abs(move.unit) for move in moves]
    for hints in (buffer_strides, ()):
        groups = _groups(dims, hints)
        wanted = [*hints, *(stride for _, stride in groups)]
        for cuts in (wanted, [*wanted, *units]):
            box = _cut(size, cuts, groups, order, offset, moves)
            if box is not None and box.fits(moves):
                return box
    return None


def _groups(dims: Sequence[tuple[int, int]], hints: Shape) -> list[tuple[int, int]]:
    """(count, stride) with neighbours joined where the outer one continues the inner one inside the same axis."""
    groups: list[tuple[int, int]] = []
    for count, stride in dims:
        if groups and groups[-1][1] == count * stride and count * stride not in hints:
            groups[-1] = (groups[-1][0] * count, stride)
        else:
            groups.append((count, stride))
    return groups


def _cut(
    size: int,
    cuts: Sequence[int],
    groups: Sequence[tuple[int, int]],
    order: Shape,
    offset: int,
    moves: tuple[Move, ...],
) -> Box | None:
    axes = [1]  # descending strides, each dividing the one before
    for cut in cuts:
        larger = min((s for s in axes if s >= cut), default=size)
        smaller = max((s for s in axes if s <= cut), default=1)
        if cut > 0 and larger % cut == 0 and cut % smaller == 0 and cut not in axes:
            axes = sorted([*axes, cut], reverse=True)
    extents = tuple(above // below for above, below in pairwise([size, *axes]))
    counts, steps = [1] * len(axes), [1] * len(axes)
    for count, stride in groups:
        axis = _axis_of(axes, stride)
        if counts[axis] > 1:
            return None
        counts[axis], steps[axis] = count, stride // axes[axis]
    first = tuple(offset // stride % extent for stride, extent in zip(axes, extents, strict=True))
    moved = []
    for move in moves:
        axis = _axis_of(axes, abs(move.unit))
        moved.append((axis, move.unit // axes[axis]))
    return Box(extents, tuple(axes), first, tuple(counts), tuple(steps), order, tuple(moved))


def _axis_of(axes: Sequence[int], stride: int) -> int:
    """The slowest axis whose stride divides this one; the fastest axis has stride 1."""
    return next(axis for axis, unit in enumerate(axes) if stride % unit == 0)


def _start(box: Box, numbers: Sequence[Array]) -> list[Array]:
    """Where the slice starts."""
    start: list[Array | int] = list(box.first)
    for (axis, factor), number in zip(box.moved, numbers, strict=True):
        moved = number if factor == 1 else number * factor
        start[axis] = moved if isinstance(start[axis], int) and start[axis] == 0 else start[axis] + moved
    return [jnp.int32(at) if isinstance(at, int) else at for at in start]


def read_box(value: Array, box: Box, shape: Shape, numbers: Sequence[Array] = ()) -> Array:
    """The view's walked dimensions, in `box.order`.

    shape:   the view's own
    numbers: what the moves are moved by, int32
    """
    whole = value.reshape(box.extents)
    if numbers:
        taken = lax.dynamic_slice(whole, _start(box, numbers), box.spans(), allow_negative_indices=False)
        taken = lax.slice(taken, (0,) * len(box.extents), taken.shape, box.steps)
    else:
        limits = [first + span for first, span in zip(box.first, box.spans(), strict=True)]
        taken = lax.slice(whole, box.first, limits, box.steps)
    return taken.reshape([shape[dim] for dim in box.order])


def write_box(value: Array, box: Box, new: Array, numbers: Sequence[Array] = (), tie: Array | None = None) -> Array:
    """The buffer's value with the view's elements, given in `box.order`, replaced; the box has unit steps.

    tie: an int32 zero that has to be known before anything is written
    """
    start = _start(box, numbers)
    if tie is not None:
        start[0] = start[0] + tie
    updated: Array = _update_slice(value.reshape(box.extents), new.reshape(box.counts), start)
    return updated


@custom_vmap
def _update_slice(value: Array, new: Array, start: Sequence[Array]) -> Array:
    return lax.dynamic_update_slice(value, new, start, allow_negative_indices=False)


@_update_slice.def_vmap
def _update_slices(
    size: int, batched: tuple[bool, bool, list[bool]], value: Array, new: Array, start: Sequence[Array]
) -> tuple[Array, bool]:
    """All write at one place: still a slice. JAX would make it a scatter, and XLA of that a copy of everything."""
    has_values, has_news, has_starts = batched
    if any(has_starts):
        axes = (0 if has_values else None, 0 if has_news else None, [0 if has else None for has in has_starts])
        write = partial(lax.dynamic_update_slice, allow_negative_indices=False)
        return jax.vmap(write, axes)(value, new, start), True
    values = value if has_values else jnp.broadcast_to(value, (size, *value.shape))
    news = new if has_news else jnp.broadcast_to(new, (size, *new.shape))
    return _update_slice(values, news, [jnp.int32(0), *start]), True


# -------------------------------------------------------------------------------------------- element numbers


def grid(shape: Shape, strides: Shape, offset: int | Array = 0) -> Array:
    """Element numbers offset + sum(i_d * stride_d), computed where they are used."""
    numbers = jnp.full(shape, offset, jnp.int32) if isinstance(offset, int) else jnp.broadcast_to(offset, shape)
    for dim, stride in enumerate(strides):
        if stride and shape[dim] > 1:
            numbers = numbers + lax.broadcasted_iota(jnp.int32, shape, dim) * stride
    return numbers


def gather(value: Array, numbers: Array) -> Array:
    """value[numbers] of the flat value; the numbers are known to be in bounds."""
    return value.reshape(-1).at[numbers].get(mode="promise_in_bounds", wrap_negative_indices=False)


def scatter(value: Array, numbers: Array, new: Array, *, distinct: bool) -> Array:
    """The flat value with new[i] at numbers[i], the last of equal numbers winning; those out of bounds are dropped."""
    numbers, new = numbers.reshape(-1), new.reshape(-1)
    if not distinct:
        numbers = jnp.where(is_last(numbers), numbers, INDEX_MAX)
    return value.reshape(-1).at[numbers].set(new, mode="drop", wrap_negative_indices=False)


def is_last(numbers: Array) -> Array:
    """Whether no later entry has the same number; XLA leaves the order of repeated updates open."""
    order = jnp.argsort(numbers, stable=True)
    ordered = numbers[order]
    last = jnp.concatenate([ordered[1:] != ordered[:-1], jnp.ones(1, bool)])
    return jnp.zeros(numbers.shape, bool).at[order].set(last, unique_indices=True)
