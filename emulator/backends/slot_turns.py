"""Slots that buffers take in turns: as many as are in use at once, each taken again when its buffer is dead.

An irregular loop names a new buffer here and there, and a slot for each would leave most of them dead most of the time.
Which slot an operand finds its buffer in is then a table over the iterations of the repeats around it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from heapq import heappop, heappush
from typing import NamedTuple

import numpy as np

from trnlab.emulator.fold_flatten import Part
from trnlab.emulator.program import IndexArray, Program
from trnlab.emulator.repeats import BUFFER, Repeat


class Turns(NamedTuple):
    """The slots of one operand row.

    around: the repeats around it, outermost first
    slots:  one axis for each, of size 1 where the slot is the same; trailing axes of size 1 are left out; 0, or the
            slot of the others, for iterations that are not executed
    """

    around: tuple[Repeat, ...]
    slots: IndexArray


def slots_in_turns(first: Sequence[int], last: Sequence[int]) -> list[int]:
    """For each buffer the lowest slot that nobody uses from its first use to its last, both inclusive."""
    slots = [0] * len(first)
    free: list[int] = []
    busy: list[tuple[int, int]] = []
    opened = 0
    for buffer in sorted(range(len(first)), key=first.__getitem__):
        while busy and busy[0][0] < first[buffer]:
            heappush(free, heappop(busy)[1])
        if free:
            slots[buffer] = heappop(free)
        else:
            slots[buffer] = opened
            opened += 1
        heappush(busy, (last[buffer], slots[buffer]))
    return slots


def turns_of(program: Program, part: Part, row: int, number: int, slot_of: Mapping[int, int]) -> Turns:
    """The slots of an operand row of instruction `number`, which is one of the part's.

    slot_of: by buffer
    """
    flat = program.flat
    executed = part.positions >= 0
    places = part.positions[executed] + (number - part.leaves.start)
    rows = flat.operand_starts[places] + (row - int(program.operand_starts[number]))
    slots = np.full(part.positions.shape, -1, np.int64)
    slots[executed] = [slot_of[buffer] for buffer in flat.operands[rows, BUFFER].tolist()]
    return Turns(part.around, _narrowed(slots))


def _narrowed(slots: IndexArray) -> IndexArray:
    """Without the axes that make no difference; -1 stands for iterations that are not executed."""
    for axis in range(slots.ndim):
        highest = slots.max(axis=axis, keepdims=True)
        if ((slots == highest) | (slots < 0)).all():
            slots = highest
    while slots.ndim and slots.shape[-1] == 1:
        slots = slots[..., 0]
    return np.maximum(slots, 0)
