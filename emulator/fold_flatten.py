"""Flattening: a folded program with every iteration written out again, the exact inverse of folding."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from trnlab.emulator.program import IndexArray, Program, ValueArray
from trnlab.emulator.repeats import BUFFER, OFFSET, Repeat, StepTable, classes_of, outermost_first


def flatten(program: Program) -> Program:
    """The program without repeats: every iteration of their bodies in order, buffers and offsets advanced.

    Raises:
        IndexError: a repeat leads to a buffer that is not there; no program that `fold` made does.
    """
    if not program.repeats:
        return program
    parts = parts_of(program)
    order = _order(parts)
    counts = np.bincount(order, minlength=len(program))
    starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])  # holds for what is outside every repeat
    flat = program.replace(
        signature_ids=program.signature_ids[order],
        location_ids=program.location_ids[order],
        loops=tuple(replace(loop, begin=int(starts[loop.begin]), end=int(starts[loop.end])) for loop in program.loops),
        repeats=(),
        names={int(starts[number]): name for number, name in program.names.items()},
        edges=tuple((int(starts[producer]), int(starts[consumer])) for producer, consumer in program.edges),
    )
    return flat.replace(operands=_operands(program, flat, parts), immediates=_immediates(program, flat, parts))


def execution_order(program: Program) -> IndexArray:
    """The number of every instruction executed, in order; run-time loops count once."""
    return _order(parts_of(program)) if program.repeats else np.arange(len(program), dtype=np.int64)


# -- where instructions stand in the flat program --------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class _Block:
    """A repeat's body, or (with no repeat) the whole program: stretches of instructions and repeats, in order."""

    repeat: Repeat | None
    items: tuple[range | _Block, ...]


class Part(NamedTuple):
    """Instructions that follow each other, and where the first of them stands in the flat program.

    positions: by the iterations of the repeats around; negative where they are not executed
    """

    leaves: range
    around: tuple[Repeat, ...]
    positions: IndexArray


def parts_of(program: Program) -> list[Part]:
    """The program's instructions in stretches, each with where its executions stand in the flat program."""
    whole = _block(None, range(len(program)), deque(outermost_first(program.repeats)))
    return list(_placed(whole, (), np.zeros((), np.int64)))


def _block(repeat: Repeat | None, body: range, inner: deque[Repeat]) -> _Block:
    """Takes the repeats inside the body from the front of `inner`."""
    items: list[range | _Block] = []
    position = body.start
    while inner and inner[0].begin < body.stop:
        found = inner.popleft()
        if position < found.begin:
            items.append(range(position, found.begin))
        items.append(_block(found, range(found.begin, found.end), inner))
        position = found.end
    if position < body.stop:
        items.append(range(position, body.stop))
    return _Block(repeat, tuple(items))


def _length(item: range | _Block, depth: int) -> IndexArray:
    """How many instructions the item executes, by the iterations of `depth` repeats around (size 1 for any)."""
    if isinstance(item, range):
        return np.full((1,) * depth, len(item), np.int64)
    lengths = _lengths(item, depth)
    assert item.repeat is not None
    if lengths.shape[-1] > 1:
        return np.asarray(lengths.sum(axis=-1))
    counts = item.repeat.trips if item.repeat.trip_table is None else item.repeat.trip_table
    result: IndexArray = lengths[..., 0] * counts
    return result


def _lengths(block: _Block, depth: int) -> IndexArray:
    """The length of every iteration of a repeat's body; the last axis has size 1 when all are equally long."""
    assert block.repeat is not None
    total = sum((_length(item, depth + 1) for item in block.items), np.zeros((1,) * (depth + 1), np.int64))
    table = block.repeat.trip_table
    if table is None or total.shape[-1] == 1:
        return total
    reached: IndexArray = np.where(np.arange(block.repeat.trips) < table[..., None], total, 0)
    return reached


def _placed(block: _Block, around: tuple[Repeat, ...], at: IndexArray) -> Iterator[Part]:
    """The parts of a block that begins at those positions, by the iterations of the repeats around and its own."""
    for item in block.items:
        if isinstance(item, range):
            yield Part(item, around, at)
        else:
            yield from _iterated(item, around, at)
        at = np.where(at < 0, at, at + _length(item, at.ndim)) if at.ndim else at + _length(item, 0)


def _iterated(block: _Block, around: tuple[Repeat, ...], at: IndexArray) -> Iterator[Part]:
    repeat = block.repeat
    assert repeat is not None
    lengths = _lengths(block, at.ndim)
    counter = np.arange(repeat.trips)
    begins = counter * lengths if lengths.shape[-1] == 1 else np.cumsum(lengths, axis=-1) - lengths
    inside = at[..., None] >= 0
    if repeat.trip_table is not None:
        inside = inside & (counter < repeat.trip_table[..., None])
    yield from _placed(block, (*around, repeat), np.where(inside, at[..., None] + begins, -1))


def _order(parts: list[Part]) -> IndexArray:
    executed = [part.positions[part.positions >= 0] for part in parts]
    counts = [len(part.leaves) for part in parts]
    order = np.empty(sum(len(places) * count for places, count in zip(executed, counts, strict=True)), np.int64)
    for part, places in zip(parts, executed, strict=True):
        order[places[:, None] + np.arange(len(part.leaves))] = np.arange(part.leaves.start, part.leaves.stop)
    return order


# -- values ----------------------------------------------------------------------------------------------------------


class _Tables:
    """The step tables of a program, found by repeat and operand row."""

    def __init__(self, program: Program) -> None:
        self.tables = {id(repeat): sorted(repeat.tables, key=lambda table: table.row) for repeat in program.repeats}
        self.rows = {key: [table.row for table in tables] for key, tables in self.tables.items()}

    def between(self, repeat: Repeat, first: int, last: int) -> list[StepTable]:
        """Those of rows first .. last of a repeat."""
        rows = self.rows[id(repeat)]
        return self.tables[id(repeat)][bisect_left(rows, first) : bisect_left(rows, last)]


def _operands(program: Program, flat: Program, parts: list[Part]) -> IndexArray:
    rows = np.empty((int(flat.operand_starts[-1]), 2), np.int64)
    classes, tables = classes_of(program.buffers), _Tables(program)
    for part in parts:
        first, last = program.operand_starts[[part.leaves.start, part.leaves.stop]].tolist()
        stored = program.operands[first:last]
        executed = part.positions >= 0
        moves = _moves(program, part, first, last, tables)[executed]
        values = np.empty_like(moves)
        np.add(moves[..., OFFSET], stored[:, OFFSET], out=values[..., OFFSET])
        values[..., BUFFER] = stored[:, BUFFER]
        if moves[..., BUFFER].any():
            values[..., BUFFER] = classes.advanced(values[..., BUFFER], moves[..., BUFFER])
        rows[flat.operand_starts[part.positions[executed]][..., None] + np.arange(last - first)] = values
    return rows


def _moves(program: Program, part: Part, first: int, last: int, tables: _Tables) -> IndexArray:
    """[iterations of the repeats around ..., rows, 2]: how far rows first..last have advanced."""
    moves = np.zeros((last - first, 2), np.int64)
    for depth, repeat in enumerate(part.around):
        begin = int(program.operand_starts[repeat.begin])
        steps = repeat.steps[first - begin : last - begin]
        moves = moves[..., None, :, :] + np.arange(repeat.trips)[:, None, None] * steps
        for table in tables.between(repeat, first, last):
            wide = table.values.reshape((1,) * (depth + 1 - table.values.ndim) + table.values.shape)
            moves[..., table.row - first, table.column] += wide
    return moves


def _immediates(program: Program, flat: Program, parts: list[Part]) -> ValueArray:
    """Immediates that vary are looked up, never computed: their bits are exact."""
    varying = {table.number: table.values for repeat in program.repeats for table in repeat.immediates}
    values = np.empty(int(flat.immediate_starts[-1]), np.float64)
    for part in parts:
        first, last = program.immediate_starts[[part.leaves.start, part.leaves.stop]].tolist()
        if first == last:
            continue
        executed = part.positions >= 0
        starts = flat.immediate_starts[part.positions[executed]]
        values[starts[:, None] + np.arange(last - first)] = program.immediates[first:last]
        for number in range(first, last) if part.around else ():
            if number in varying:
                values[starts + (number - first)] = np.broadcast_to(varying[number], executed.shape)[executed]
    return values
