"""Static loops of a folded program: a body stored once, and how its rows advance from one iteration to the next.

In iteration i of a repeat an operand's (buffer, offset) row is its stored row, that of the first execution, plus
`i * step` or, where no constant step fits, plus entry i of a table; nested repeats add up. How often a repeat runs may
depend on the iterations of those around it (triangular loops); one that runs at most once is a condition.

Buffers advance by their *index in their class*: the position among the program's buffers of the same region, shape,
dtype and kind, in order of allocation. So a buffer allocated anew in every iteration, a list of tiles that is walked
through, and a buffer that stays the same all have constant steps. Immediates that vary are looked up, never computed:
their bits are exact.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from trnlab.emulator.memory import Buffer

Integers = np.ndarray[Any, np.dtype[np.int64]]
Floats = np.ndarray[Any, np.dtype[np.float64]]

BUFFER, OFFSET = 0, 1
"""Columns of `Program.operands` and `Repeat.steps`."""


class StepTable(NamedTuple):
    """What iteration i adds to one operand's buffer index or offset, beside the step and other tables: `values[i]`.

    row:    index into `Program.operands`; column: `BUFFER` or `OFFSET`
    values: one axis, the repeat's own iterations; where repeats do not add up, an axis per repeat around, outermost
            first, and the own one last, of size 1 for those that do not matter. 0 at iterations that never run.
    """

    row: int
    column: int
    values: Integers


class ImmediateTable(NamedTuple):
    """An immediate that varies, over all iterations of all repeats around it.

    number: index into `Program.immediates`
    values: one axis per repeat around the instruction, outermost first; size 1 where the repeat does not matter.
            0 at iterations that never run.
    """

    number: int
    values: Floats


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Repeat:
    """The instructions begin <= i < end, executed `trips` times, or as often as `trip_table` says.

    trips:      at least 1; with a trip table its largest entry
    steps:      [operand rows of the body, 2], for the rows in program order
    tables:     the rows that no constant step fits
    immediates: those that vary and have this as the innermost repeat around them
    trip_table: for a repeat that is not always executed equally often, how often, by the iterations of the repeats
                around it: one axis each, outermost first, of size 1 where the repeat does not matter
    """

    begin: int
    end: int
    trips: int
    steps: Integers
    tables: tuple[StepTable, ...] = ()
    immediates: tuple[ImmediateTable, ...] = ()
    trip_table: Integers | None = None


def outermost_first(repeats: Sequence[Repeat]) -> list[Repeat]:
    """By first instruction, and outer before inner; of two over the same instructions the later one is the outer."""
    order = sorted(range(len(repeats)), key=lambda n: (repeats[n].begin, -repeats[n].end, -n))
    return [repeats[number] for number in order]


def depths(repeats: Sequence[Repeat]) -> list[int]:
    """How many repeats are around each of `outermost_first(repeats)`."""
    ends: list[int] = []
    result = []
    for repeat in repeats:
        while ends and ends[-1] <= repeat.begin:
            ends.pop()
        result.append(len(ends))
        ends.append(repeat.end)
    return result


def repeats_around(repeats: Sequence[Repeat]) -> list[tuple[Repeat, ...]]:
    """For each of `outermost_first(repeats)` those around it, outermost first."""
    open_ones: list[Repeat] = []
    result = []
    for repeat in repeats:
        while open_ones and open_ones[-1].end <= repeat.begin:
            open_ones.pop()
        result.append(tuple(open_ones))
        open_ones.append(repeat)
    return result


# -- what must hold --------------------------------------------------------------------------------------------------


def check_repeats(repeats: Sequence[Repeat], operand_starts: Integers, immediate_starts: Integers) -> None:
    """Raise ValueError, naming the repeat, unless they nest and their arrays have the sizes that belong to the program.

    operand_starts, immediate_starts: those of the program that the repeats are part of
    """
    ordered = outermost_first(repeats)
    for repeat, around in zip(ordered, repeats_around(ordered), strict=True):
        for fault in _faults(repeat, around, operand_starts, immediate_starts):
            raise ValueError(f"the repeat of instructions {repeat.begin}..{repeat.end}: {fault}")


def _faults(
    repeat: Repeat, around: tuple[Repeat, ...], operand_starts: Integers, immediate_starts: Integers
) -> Iterator[str]:
    count = len(operand_starts) - 1
    if not 0 <= repeat.begin < repeat.end <= (around[-1].end if around else count):
        yield f"its ends must lie inside {'the repeat around it' if around else f'0..{count}'}"
        return
    if repeat.trips < 1:
        yield f"trips is {repeat.trips}, at least 1 is allowed"
    rows = range(int(operand_starts[repeat.begin]), int(operand_starts[repeat.end]))
    if repeat.steps.shape != (len(rows), 2):
        yield f"steps has shape {repeat.steps.shape}, its body has {len(rows)} operand rows"
    grid = tuple(outer.trips for outer in around)
    own = (*grid, repeat.trips)
    for table in repeat.tables:
        fits = table.values.shape == own[-1:] or _fits(table.values.shape, own)
        if table.row not in rows or table.column not in (BUFFER, OFFSET) or not fits:
            yield f"a step table for row {table.row}, column {table.column} of shape {table.values.shape}"
    numbers = range(int(immediate_starts[repeat.begin]), int(immediate_starts[repeat.end]))
    for values in repeat.immediates:
        if values.number not in numbers or not _fits(values.values.shape, own):
            yield f"a table for immediate {values.number} of shape {values.values.shape}"
    trips = repeat.trip_table
    if trips is not None and not (around and _fits(trips.shape, grid) and trips.min() >= 0):
        yield f"a trip table of shape {trips.shape} inside {len(grid)} repeats of {grid} trips"
    elif trips is not None and trips.max() != repeat.trips:
        yield f"trips is {repeat.trips}, the largest entry of its trip table is {trips.max()}"


def _fits(shape: tuple[int, ...], grid: tuple[int, ...]) -> bool:
    """Whether there is an axis per repeat, with one entry or with one for every iteration."""
    return len(shape) == len(grid) and all(size in (1, trips) for size, trips in zip(shape, grid, strict=True))


# -- buffers ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class BufferClasses:
    """The class of every buffer, its index in the class, and back from the two to its number."""

    class_of: Integers
    index_of: Integers
    first: Integers
    numbers: Integers

    def advanced(self, buffers: Integers, by: Integers) -> Integers:
        """The buffers that lie `by` places further in the classes of `buffers`.

        Raises:
            IndexError: a place outside the class.
        """
        classes, places = self.class_of[buffers], self.index_of[buffers] + by
        if np.any(places < 0) or np.any(places >= (self.first[1:] - self.first[:-1])[classes]):
            raise IndexError("a repeat steps out of its class of buffers")
        return self.numbers[self.first[classes] + places]


def classes_of(buffers: Sequence[Buffer]) -> BufferClasses:
    """The classes of a program's buffers, numbered by their first member."""
    known: dict[Any, list[int]] = {}
    dtypes: dict[Any, int] = {}
    names: dict[int, int] = {}  # by identity, which is quicker to look up than a dtype
    for number, buffer in enumerate(buffers):
        dtype = names.get(id(buffer.dtype))
        if dtype is None:
            dtype = names[id(buffer.dtype)] = dtypes.setdefault(buffer.dtype, len(dtypes))
        known.setdefault((buffer.region.value, buffer.shape, dtype, buffer.kind), []).append(number)
    class_of, index_of = np.zeros((2, len(buffers)), np.int64)
    for name, members in enumerate(known.values()):
        class_of[members] = name
        index_of[members] = np.arange(len(members))
    sizes = [len(members) for members in known.values()]
    return BufferClasses(
        class_of=class_of,
        index_of=index_of,
        first=np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes, dtype=np.int64)]),
        numbers=np.asarray([number for members in known.values() for number in members], np.int64),
    )
