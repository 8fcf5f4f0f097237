"""Views of a flat value as boxes: slices of a row-major reshaping of it. Any other pattern goes by element numbers.

A vector of N elements reshapes to [N / s0, s0 / s1, ...] for any descending strides that divide one another; a view
whose strides are among them is a slice of that array, transposed and broadcast. What a view is does not depend on its
offset, which only decides where the slice starts: it may be a run-time value, within what `Box.fits` was asked about.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

Shape = tuple[int, ...]
INDEX_MAX: Final = int(np.iinfo(np.int32).max)
"""Out of bounds of every buffer: element numbers are 32 bits wide."""


Start = Sequence[int] | Sequence[Array]
"""Where a slice starts on every axis: known now, or when the program runs."""


class Box(NamedTuple):
    """A view as a slice of its buffer reshaped to `extents`, whose row-major strides are `strides`.

    axis_of[d]: the axis that dimension d of the view walks, or None where it repeats (stride 0) or is a single element
    counts, steps: elements taken from each axis, and how far apart
    """

    extents: Shape
    strides: Shape
    counts: Shape
    steps: Shape
    axis_of: tuple[int | None, ...]

    @property
    def has_unit_steps(self) -> bool:
        """Whether an update slice can write the box."""
        return all(step == 1 for step in self.steps)

    def start(self, offset: int) -> Shape:
        """Coordinates of an element number."""
        return tuple(offset // stride % extent for stride, extent in zip(self.strides, self.extents, strict=True))

    def spans(self) -> Shape:
        """Distance from the first to past the last coordinate taken from each axis."""
        return tuple((count - 1) * step + 1 for count, step in zip(self.counts, self.steps, strict=True))

    def fits(self, offset: int) -> bool:
        """Whether the slice stays inside every axis, so that no coordinate carries into the next."""
        return all(
            first + span <= extent
            for first, span, extent in zip(self.start(offset), self.spans(), self.extents, strict=True)
        )


@lru_cache(maxsize=65536)
def find_box(size: int, buffer_strides: Shape, shape: Shape, strides: Shape, offset: int) -> Box | None:
    """The box that a view is, or None. Its axes are cut at the view's strides, else also at the buffer's."""
    wanted = sorted({s for s, n in zip(strides, shape, strict=True) if n > 1 and s > 0}, reverse=True)
    for cuts in (wanted, [*buffer_strides, *wanted]):
        box = _cut(size, cuts, shape, strides)
        if box is not None and box.fits(offset):
            return box
    return None


def _cut(size: int, cuts: Sequence[int], shape: Shape, strides: Shape) -> Box | None:
    axes = [1]  # descending strides, each dividing the one before
    for cut in cuts:
        larger = min((s for s in axes if s >= cut), default=size)
        smaller = max((s for s in axes if s <= cut), default=1)
        if larger % cut == 0 and cut % smaller == 0 and cut not in axes:
            axes = sorted([*axes, cut], reverse=True)
    extents = tuple(above // below for above, below in zip([size, *axes], axes, strict=False))
    counts, steps = [1] * len(axes), [1] * len(axes)
    axis_of: list[int | None] = []
    for count, stride in zip(shape, strides, strict=True):
        if count == 1 or stride == 0:
            axis_of.append(None)
            continue
        axis = next((a for a, unit in enumerate(axes) if stride > 0 and stride % unit == 0), None)
        if axis is None or counts[axis] > 1:
            return None
        counts[axis], steps[axis] = count, stride // axes[axis]
        axis_of.append(axis)
    return Box(extents, tuple(axes), tuple(counts), tuple(steps), tuple(axis_of))


def to_axes(box: Box) -> list[int]:
    """Axes in the order in which the view's dimensions walk them, unused ones last."""
    used = [axis for axis in box.axis_of if axis is not None]
    return used + [axis for axis in range(len(box.extents)) if axis not in used]


def core(box: Box) -> Shape:
    """The view's shape with its repeating dimensions reduced to one element."""
    return tuple(1 if axis is None else box.counts[axis] for axis in box.axis_of)


def read_box(value: Array, box: Box, start: Start, shape: Shape) -> Array:
    """The view's elements."""
    whole = value.reshape(box.extents)
    if not any(isinstance(first, Array) for first in start):
        start = [int(first) for first in start]
        limits = [first + span for first, span in zip(start, box.spans(), strict=True)]
        taken = lax.slice(whole, start, limits, box.steps)
    else:
        taken = lax.dynamic_slice(whole, start, box.spans(), allow_negative_indices=False)
        taken = lax.slice(taken, (0,) * len(start), taken.shape, box.steps)
    order = to_axes(box)
    if order != sorted(order):
        taken = lax.transpose(taken, order)
    return jnp.broadcast_to(taken.reshape(core(box)), shape)


def as_slice(box: Box, new: Array) -> Array:
    """The view's elements as the slice of the box; where the view repeats an element, its last one."""
    kept = core(box)
    if kept != new.shape:
        new = lax.slice(new, [n - last for n, last in zip(new.shape, kept, strict=True)], new.shape)
    order = to_axes(box)
    new = new.reshape([box.counts[axis] for axis in order])
    return new if order == sorted(order) else lax.transpose(new, [order.index(axis) for axis in range(len(order))])


def write_box(value: Array, box: Box, start: Start, new: Array) -> Array:
    """The buffer's value with the view's elements replaced; the box has no steps."""
    whole = value.reshape(box.extents)
    return lax.dynamic_update_slice(whole, as_slice(box, new), start, allow_negative_indices=False).reshape(-1)


# -------------------------------------------------------------------------------------------- element numbers


def grid(shape: Shape, strides: Shape, offset: int | Array = 0) -> Array:
    """Element numbers offset + sum(i_d * stride_d), computed where they are used."""
    numbers = jnp.full(shape, offset, jnp.int32) if isinstance(offset, int) else jnp.broadcast_to(offset, shape)
    for dim, stride in enumerate(strides):
        if stride and shape[dim] > 1:
            numbers = numbers + lax.broadcasted_iota(jnp.int32, shape, dim) * stride
    return numbers


def gather(value: Array, numbers: Array) -> Array:
    """value[numbers]; the numbers are known to be in bounds."""
    return value.at[numbers].get(mode="promise_in_bounds")


def scatter(value: Array, numbers: Array, new: Array, *, distinct: bool) -> Array:
    """The value with new[i] at numbers[i], the last of equal numbers winning; numbers out of bounds are dropped."""
    numbers, new = numbers.reshape(-1), new.reshape(-1)
    if not distinct:
        numbers = jnp.where(is_last(numbers), numbers, INDEX_MAX)
    return value.at[numbers].set(new, mode="drop")


def is_last(numbers: Array) -> Array:
    """Whether no later entry has the same number; XLA leaves the order of repeated updates open."""
    order = jnp.argsort(numbers, stable=True)
    ordered = numbers[order]
    last = jnp.concatenate([ordered[1:] != ordered[:-1], jnp.ones(1, bool)])
    return jnp.zeros(numbers.shape, bool).at[order].set(last, unique_indices=True)
