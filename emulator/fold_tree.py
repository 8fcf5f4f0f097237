"""The loop nest that folding builds, before it becomes a program.

While loops are searched for, a sequence of instructions is a list of items: stretches of instructions (a `range` of
their numbers) and loops. A `Node` is a loop whose iterations are all alike, so that the first one is enough. A `Ragged`
loop knows where its instructions stand in every iteration, because iterations differ; `placed` makes all items such.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import NamedTuple, TypeAlias

import numpy as np

from trnlab.emulator.fold_periods import Mask
from trnlab.emulator.repeats import Integers


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """A loop over instructions start .. start + trips * period; `items` are its first iteration."""

    start: int
    period: int
    trips: int
    items: tuple[Item, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Leaves:
    """Instructions that follow each other: numbers[iterations of the ragged loops around ..., instruction].

    Numbers at iterations that these loops do not reach mean nothing.
    """

    numbers: Integers


@dataclass(frozen=True, slots=True, eq=False)
class Ragged:
    """A loop of at most `trips` iterations.

    counts: how many, by the iterations of the ragged loops around (size 1 for any); None where always `trips`
    """

    trips: int
    counts: Integers | None
    items: tuple[Placed, ...]


Placed: TypeAlias = Leaves | Ragged
Item: TypeAlias = range | Node | Placed


def leaves_of(items: Sequence[Item]) -> int:
    """How many instructions are left when every loop stores one iteration."""
    total = 0
    for item in items:
        if isinstance(item, range):
            total += len(item)
        else:
            total += item.numbers.shape[-1] if isinstance(item, Leaves) else leaves_of(item.items)
    return total


def cells_of(item: Placed) -> int:
    """How many numbers are stored, those that mean nothing included."""
    return item.numbers.size if isinstance(item, Leaves) else sum(map(cells_of, item.items))


def placed(item: Item, at: Integers) -> Placed:
    """The item in every iteration of further loops around it: `at[...]` instructions later than it says."""
    if isinstance(item, range):
        return Leaves(at[..., None] + np.arange(item.start, item.stop))
    if isinstance(item, Leaves):
        return Leaves(at.reshape(at.shape + (1,) * item.numbers.ndim) + item.numbers)
    if isinstance(item, Node):
        at = at[..., None] + item.period * np.arange(item.trips)
        return Ragged(item.trips, None, tuple(placed(part, at) for part in item.items))
    counts = None if item.counts is None else item.counts.reshape((1,) * at.ndim + item.counts.shape)
    return Ragged(item.trips, counts, tuple(placed(part, at) for part in item.items))


def moved(item: Item, by: int) -> Item:
    """The item as it would be that many instructions later."""
    if isinstance(item, range):
        return range(item.start + by, item.stop + by)
    if isinstance(item, Node):
        return Node(item.start + by, item.period, item.trips, tuple(moved(part, by) for part in item.items))
    return placed(item, np.asarray(by, np.int64))


def reached(around: Mask, loop: Ragged) -> Mask:
    """Which iterations of the loop are executed, given which ones of the loops around are; its own axis is the last."""
    if loop.counts is None:
        return np.repeat(around[..., None], loop.trips, axis=-1)
    result: Mask = around[..., None] & (np.arange(loop.trips) < loop.counts[..., None])
    return result


# -- loops around ragged ones ----------------------------------------------------------------------------------------


def with_axis(item: Placed, axis: int) -> Placed:
    """The item inside one more loop, of one iteration, at this axis."""
    if isinstance(item, Leaves):
        return Leaves(np.expand_dims(item.numbers, axis))
    counts = item.counts if item.counts is None else np.expand_dims(item.counts, axis)
    return Ragged(item.trips, counts, tuple(with_axis(part, axis) for part in item.items))


def stacked(loops: Sequence[Ragged | None], padding: int, small: int) -> Ragged | None:
    """The loops, all of the same structure, as one that is executed in turn with the iterations of each; None is none.

    padding: None is returned when there were more than so many numbers for one that is needed, and more than `small`
    """
    counts = np.asarray([0 if loop is None else loop.trips for loop in loops], np.int64)
    items = [loop.items for loop in loops if loop is not None]
    if not items:
        return Ragged(1, counts, ())
    here = np.flatnonzero(counts)
    room = _Room((len(loops), int(counts.max())), padding, small)
    parts = [_stacked(part, here, room) for part in zip(*items, strict=True)]
    if any(part is None for part in parts):
        return None
    return Ragged(int(counts.max()), counts, tuple(part for part in parts if part is not None))


class _Room(NamedTuple):
    """The iterations of the loops around, and how much larger an array may become for them; see `stacked`."""

    grid: tuple[int, ...]
    padding: int
    small: int

    def padded(self, arrays: Sequence[Integers], here: Integers) -> Integers | None:
        """The arrays as entries `here` of one over the grid; axes in which all have size 1 keep it."""
        sizes = [max(sizes) for sizes in zip(*(array.shape for array in arrays), strict=True)]
        inner = [1 if size == 1 else wide for size, wide in zip(sizes, self.grid[1:], strict=False)]
        shape = (self.grid[0], *inner, *sizes[len(inner) :])
        if prod(shape) > max(self.padding * sum(array.size for array in arrays), self.small):
            return None
        result = np.zeros(shape, np.int64)
        for place, array in zip(here.tolist(), arrays, strict=True):
            result[(place, *(slice(size) for size in array.shape))] = array
        return result


def _stacked(parts: Sequence[Placed], here: Integers, room: _Room) -> Placed | None:
    """Parts of the loops `here`, with an axis more, before all others."""
    if isinstance(parts[0], Leaves):
        numbers = room.padded([part.numbers for part in parts if isinstance(part, Leaves)], here)
        return None if numbers is None else Leaves(np.broadcast_to(numbers, (*room.grid, numbers.shape[-1])))
    loops = [part for part in parts if isinstance(part, Ragged)]
    trips = max(loop.trips for loop in loops)
    counts = None
    if any(loop.counts is not None for loop in loops):
        counts = room.padded([np.asarray(loop.trips if loop.counts is None else loop.counts) for loop in loops], here)
        if counts is None:
            return None
    used = [number for number, loop in enumerate(loops) if loop.items]  # the others make no trips
    inside = zip(*(loops[number].items for number in used), strict=True)
    items = [_stacked(part, here[used], room._replace(grid=(*room.grid, trips))) for part in inside]
    if any(item is None for item in items):
        return None
    return Ragged(trips, counts, tuple(item for item in items if item is not None))


# -- the simplest form -----------------------------------------------------------------------------------------------


def simplified(item: Placed, around: Mask) -> Iterator[Placed]:
    """The same without loops that never run, nor loops that always run once, nor counts that are always equal.

    around: which iterations of the loops around are executed
    """
    if isinstance(item, Leaves):
        yield item
        return
    counts = np.broadcast_to(np.asarray(item.trips if item.counts is None else item.counts), around.shape)
    trips = int(counts.max(where=around, initial=0))
    needed = needed_axes(counts, around)
    loop = Ragged(trips, None if needed.ndim == 0 or needed.size == 1 else needed, ())
    inside = reached(around, loop)
    items = tuple(
        simple for part in item.items if trips for simple in simplified(_first(part, around.ndim, trips), inside)
    )
    if trips == 1 and loop.counts is None:
        yield from (_without(part, around.ndim) for part in items)
    elif items:
        yield Ragged(trips, loop.counts, items)


def needed_axes(values: Integers, around: Mask) -> Integers:
    """The values with size 1 along axes on which they do not depend; only those where `around` holds count."""
    for axis in range(values.ndim):
        low = values.min(axis=axis, keepdims=True, where=around, initial=np.iinfo(np.int64).max)
        high = values.max(axis=axis, keepdims=True, where=around, initial=np.iinfo(np.int64).min)
        if (low >= high).all():
            around = np.logical_or.reduce(around, axis=axis, keepdims=True)
            values = np.where(around, high, 0)
    return np.where(around, values, 0)


def _first(item: Placed, axis: int, trips: int) -> Placed:
    """The first iterations of the loop at this axis."""
    if isinstance(item, Leaves):
        return Leaves(item.numbers[(slice(None),) * axis + (slice(trips),)])
    counts = item.counts if item.counts is None else item.counts[(slice(None),) * axis + (slice(trips),)]
    return Ragged(item.trips, counts, tuple(_first(part, axis, trips) for part in item.items))


def _without(item: Placed, axis: int) -> Placed:
    """The item when the loop at this axis, which has one iteration, is gone."""
    if isinstance(item, Leaves):
        return Leaves(np.take(item.numbers, [0], axis).squeeze(axis))
    counts = item.counts if item.counts is None else np.take(item.counts, [0], axis).squeeze(axis)
    return Ragged(item.trips, counts, tuple(_without(part, axis) for part in item.items))
