"""Flattening: a folded program with every iteration written out again, the exact inverse of folding."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from trnlab.emulator.program import IndexArray, Program, ValueArray
from trnlab.emulator.repeats import BUFFER, OFFSET, Repeat, classes_of, depths, outermost_first


def flatten(program: Program) -> Program:
    """The program without repeats: every iteration of their bodies in order, buffers and offsets advanced.

    Raises:
        IndexError: a repeat leads to a buffer that is not there; no program that `fold` made does.
    """
    if not program.repeats:
        return program
    order = execution_order(program)
    counts = np.bincount(order, minlength=len(program))
    starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])  # holds for what is outside every repeat
    return program.replace(
        signature_ids=program.signature_ids[order],
        location_ids=program.location_ids[order],
        operands=_operands(program),
        immediates=_immediates(program),
        loops=tuple(replace(loop, begin=int(starts[loop.begin]), end=int(starts[loop.end])) for loop in program.loops),
        repeats=(),
        names={int(starts[number]): name for number, name in program.names.items()},
        edges=tuple((int(starts[producer]), int(starts[consumer])) for producer, consumer in program.edges),
    )


def execution_order(program: Program) -> IndexArray:
    """The number of every instruction executed, in order; run-time loops count once."""
    numbers = np.arange(len(program) + 1, dtype=np.int64)
    return _expanded(program, numbers, _Levels(program, len(program), 0)).places


class _Values(NamedTuple):
    """Values in order of execution: where each is stored, and by how much it has moved from there."""

    places: IndexArray
    moved: IndexArray  # [values, columns]


class _Levels:
    """How each stored value advances in the repeat around it at every depth of nesting.

    steps:  [depths, values, columns]
    tables: the same, as where in `entries` a table starts, or -1
    """

    def __init__(self, program: Program, values: int, columns: int) -> None:
        deepest = max(depths(outermost_first(program.repeats))) + 1
        self.steps = np.zeros((deepest, values, columns), np.int64)
        self.tables = np.full((deepest, values, columns), -1, np.int64)
        self.entries = np.zeros(0, np.int64)

    def advanced(self, body: _Values, depth: int, trips: int) -> _Values:
        """All iterations of a body that is given for one."""
        steps = self.steps[depth, body.places]
        counter = np.arange(trips)
        moved = body.moved + counter[:, None, None] * steps
        if len(self.entries):
            tables = self.tables[depth, body.places]
            for value, column in np.argwhere(tables >= 0).tolist():
                moved[:, value, column] += self.entries[tables[value, column] + counter]
        return _Values(np.tile(body.places, trips), moved.reshape(trips * len(steps), steps.shape[1]))


def _expanded(program: Program, starts: IndexArray, levels: _Levels) -> _Values:
    """The values of all instructions; those of instruction i are stored from starts[i] on."""
    return _expanded_part(deque(outermost_first(program.repeats)), 0, len(program), starts, levels, 0)


def _expanded_part(
    repeats: deque[Repeat], begin: int, end: int, starts: IndexArray, levels: _Levels, depth: int
) -> _Values:
    """The values of instructions begin..end; takes the repeats in there from the front of `repeats`."""
    parts = []
    while repeats and repeats[0].begin < end:
        repeat = repeats.popleft()
        parts.append(_unmoved(int(starts[begin]), int(starts[repeat.begin]), levels))
        body = _expanded_part(repeats, repeat.begin, repeat.end, starts, levels, depth + 1)
        parts.append(levels.advanced(body, depth, repeat.trips))
        begin = repeat.end
    parts.append(_unmoved(int(starts[begin]), int(starts[end]), levels))
    if len(parts) == 1:
        return parts[0]
    return _Values(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def _unmoved(first: int, last: int, levels: _Levels) -> _Values:
    return _Values(np.arange(first, last), np.zeros((last - first, levels.steps.shape[2]), np.int64))


def _operands(program: Program) -> IndexArray:
    levels = _Levels(program, len(program.operands), 2)
    entries, filled = [levels.entries], 0
    repeats = outermost_first(program.repeats)
    for depth, repeat in zip(depths(repeats), repeats, strict=True):
        first, last = program.operand_starts[repeat.begin], program.operand_starts[repeat.end]
        levels.steps[depth, first:last] = repeat.steps
        for table in repeat.tables:
            levels.tables[depth, table.row, table.column] = filled
            entries.append(table.values)
            filled += repeat.trips
    levels.entries = np.concatenate(entries)
    places, moved = _expanded(program, program.operand_starts, levels)
    rows = program.operands[places]
    rows[:, OFFSET] += moved[:, OFFSET]
    stepped = np.flatnonzero(moved[:, BUFFER])
    rows[stepped, BUFFER] = classes_of(program.buffers).advanced(rows[stepped, BUFFER], moved[stepped, BUFFER])
    return rows


def _immediates(program: Program) -> ValueArray:
    """Where tables are laid end to end, a repeat moves an immediate from entry to entry by the table's stride."""
    if not len(program.immediates):
        return program.immediates
    levels = _Levels(program, len(program.immediates), 1)
    first = np.full(len(program.immediates), -1, np.int64)
    entries, filled = [np.zeros(0, np.float64)], 0
    for repeat in program.repeats:
        for table in repeat.immediates:
            first[table.number] = filled
            levels.steps[: table.values.ndim, table.number, 0] = _strides(table.values.shape)
            entries.append(table.values.reshape(-1))
            filled += table.values.size
    places, moved = _expanded(program, program.immediate_starts, levels)
    values = program.immediates[places]
    chosen = np.flatnonzero(first[places] >= 0)
    values[chosen] = np.concatenate(entries)[first[places[chosen]] + moved[chosen, 0]]
    return values


def _strides(shape: tuple[int, ...]) -> list[int]:
    """Row-major element strides, 0 along dimensions of size 1, where every iteration reads the same entry."""
    strides, size = [], 1
    for count in reversed(shape):
        strides.append(0 if count == 1 else size)
        size *= count
    return strides[::-1]
