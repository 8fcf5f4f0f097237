"""Static loops of a folded program: a body stored once, and how its rows advance from one iteration to the next.

In iteration i of a repeat an operand's (buffer, offset) row is its stored row, that of iteration 0, plus `i * step`
or, where no constant step fits, plus entry i of a table; nested repeats add up. Buffers advance by their *index in
their class*: the position among the program's buffers of the same region, shape, dtype and kind, in order of
allocation. So a buffer allocated anew in every iteration, a list of tiles that is walked through, and a buffer that
stays the same all have constant steps. Immediates that vary are looked up, never computed: their bits are exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from trnlab.emulator.memory import Buffer

Integers = np.ndarray[Any, np.dtype[np.int64]]
Floats = np.ndarray[Any, np.dtype[np.float64]]

BUFFER, OFFSET = 0, 1
"""Columns of `Program.operands` and `Repeat.steps`."""


class StepTable(NamedTuple):
    """What iteration i adds to one operand's buffer index or offset: `values[i]`; the step there is 0.

    row: index into `Program.operands`; column: `BUFFER` or `OFFSET`
    """

    row: int
    column: int
    values: Integers


class ImmediateTable(NamedTuple):
    """An immediate that varies, over all iterations of all repeats around it.

    number: index into `Program.immediates`
    values: one axis per repeat around the instruction, outermost first; size 1 where the repeat does not matter
    """

    number: int
    values: Floats


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Repeat:
    """The instructions begin <= i < end, executed `trips` times.

    steps:      [operand rows of the body, 2], for the rows in program order
    tables:     the rows that no constant step fits
    immediates: those that vary and have this as the innermost repeat around them
    """

    begin: int
    end: int
    trips: int
    steps: Integers
    tables: tuple[StepTable, ...] = ()
    immediates: tuple[ImmediateTable, ...] = ()


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
    for number, buffer in enumerate(buffers):
        known.setdefault((buffer.region, buffer.shape, buffer.dtype, buffer.kind), []).append(number)
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
