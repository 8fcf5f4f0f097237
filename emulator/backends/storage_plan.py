"""Planning the storage of a folded program: which buffers belong together, and which loop owns them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from math import gcd, prod
from typing import NamedTuple

import numpy as np

from trnlab.emulator.backends.slot_turns import Turns, slots_in_turns, turns_of
from trnlab.emulator.backends.storage import Family, Mask, Storage, innermost_blocks, paths_of, tables_of
from trnlab.emulator.fold_flatten import Part, execution_order, parts_of
from trnlab.emulator.nest import Block, live_ranges, nest
from trnlab.emulator.program import IndexArray, Program
from trnlab.emulator.repeats import BUFFER, OFFSET, Repeat, classes_of


def plan_storage(program: Program) -> Storage:
    """The storage of a folded program; one without repeats gets a family per buffer."""
    top = nest(program)
    kept = {*program.inputs, *program.outputs}
    deepest = _deepest_owners(program, top, kept)
    groups = _families(program)
    return _Planner(program, top, deepest, kept).plan(groups)


def _families(program: Program) -> IndexArray:
    """For every operand row a label that is equal for rows that reach a common buffer."""
    rows, buffers = _visits(program)
    row_label = np.arange(len(program.operands))
    buffer_label = np.full(len(program.buffers), len(program.operands))
    while True:
        np.minimum.at(buffer_label, buffers, row_label[rows])
        smaller = row_label.copy()
        np.minimum.at(smaller, rows, buffer_label[buffers])
        smaller = smaller[smaller]  # a label's own label is as good
        if np.array_equal(smaller, row_label):
            return row_label
        row_label = smaller


def _visits(program: Program) -> tuple[IndexArray, IndexArray]:
    """Every (operand row, buffer) that occurs when the program runs, once."""
    flat = program.flat
    order = execution_order(program)
    widths = np.diff(program.operand_starts)[order]
    rows = np.arange(len(flat.operands)) + np.repeat(program.operand_starts[order] - flat.operand_starts[:-1], widths)
    pairs = np.unique(rows * (len(program.buffers) + 1) + flat.operands[:, BUFFER])
    return pairs // (len(program.buffers) + 1), pairs % (len(program.buffers) + 1)


def _deepest_owners(program: Program, top: Block, kept: set[int]) -> IndexArray:
    """For every buffer the number of blocks around all of its uses that use it in one iteration only."""
    ranges = live_ranges(program)
    depth = np.zeros(len(program.buffers), np.int64)
    open_still = ranges.first >= 0
    open_still[list(kept)] = False
    for level in _levels(program, top):
        first, last = level.iteration[ranges.first], level.iteration[ranges.last]
        contained = (first == last) & (first >= 0) & open_still
        contained &= ~level.structured[np.maximum(ranges.first, 0)] | ranges.local
        depth[contained] += 1
        open_still = contained
    return depth


class _Level(NamedTuple):
    """For every instruction of the flat program: the iteration it is in, or -1; whether that is a run-time loop's."""

    iteration: IndexArray
    structured: Mask


def _levels(program: Program, top: Block) -> Iterator[_Level]:
    """The iterations of the blocks at depth 1, 2, ... of the nest, over the flat program."""
    paths, innermost = dict(paths_of(top, ())), innermost_blocks(top, len(program))
    first_id: dict[Block, int] = {}
    levels: list[_Level] = []
    size, count = len(program.flat), 0
    for part in parts_of(program):
        executed = part.positions >= 0
        for leaves in _by_block(part.leaves, innermost):
            shift = leaves.start - part.leaves.start
            places = part.positions[executed][:, None] + np.arange(shift, shift + len(leaves))
            for depth, block in enumerate(paths[innermost[leaves.start]]):
                if depth == len(levels):
                    levels.append(_Level(np.full(size, -1, np.int64), np.zeros(size, bool)))
                loops = 0 if not isinstance(block.loop, Repeat) else part.around.index(block.loop) + 1
                shape = part.positions.shape[:loops]
                if block not in first_id:
                    first_id[block] = count
                    count += prod(shape)
                numbers = first_id[block] + np.arange(prod(shape)).reshape(shape + (1,) * (executed.ndim - loops))
                levels[depth].iteration[places] = np.broadcast_to(numbers, executed.shape)[executed][:, None]
                levels[depth].structured[places] = loops == 0
    yield from levels


def _by_block(leaves: range, innermost: Sequence[Block]) -> Iterator[range]:
    """The stretches of instructions inside the same blocks: a run-time loop may begin or end between two of them."""
    begin = leaves.start
    for number in leaves:
        if innermost[number] is not innermost[begin]:
            yield range(begin, number)
            begin = number
    yield range(begin, leaves.stop)


class _Planner:
    """Turns groups of rows into families."""

    def __init__(self, program: Program, top: Block, deepest: IndexArray, kept: set[int]) -> None:
        self.program = program
        self.top = top
        self.deepest = deepest
        self.ranges = live_ranges(program)
        self.kept = kept
        self.classes = classes_of(program.buffers)
        self.paths = dict(paths_of(top, ()))
        self.block_of = innermost_blocks(top, len(program))
        widths = np.diff(program.operand_starts)
        self.instruction_of = np.repeat(np.arange(len(program)), widths)
        self.writes = np.asarray([o.writes for s in program.signatures for o in s.operands], bool)
        first = np.concatenate([[0], np.cumsum([len(s.operands) for s in program.signatures])]).astype(np.int64)
        within = np.arange(len(program.operands)) - program.operand_starts[self.instruction_of]
        self.row_writes = self.writes[first[program.signature_ids[self.instruction_of]] + within]
        self.index = self.classes.index_of[program.operands[:, BUFFER]]
        self.slot_of = np.zeros(len(program.operands), np.int64)
        self.family_of = np.zeros(len(program.operands), np.int64)
        self.turns: dict[int, tuple[Repeat, IndexArray] | None] = {}

    @cached_property
    def parts(self) -> dict[int, Part]:
        """Where the executions of every instruction stand in the flat program."""
        return {number: part for part in parts_of(self.program) for number in part.leaves}

    def plan(self, labels: IndexArray) -> Storage:
        rows, buffers = _visits(self.program)
        by_label: dict[int, list[int]] = {}
        for label, buffer in zip(labels[rows].tolist(), buffers.tolist(), strict=True):
            by_label.setdefault(label, []).append(buffer)
        order = np.argsort(labels, kind="stable")
        groups = np.split(order, np.flatnonzero(np.diff(labels[order])) + 1) if len(order) else []
        families: list[Family] = []
        gaps: list[int] = []
        for group in groups:
            members = sorted(set(by_label[int(labels[group[0]])]))
            family, gap = self.family(len(families), group, members)
            families.append(family)
            gaps.append(gap)
        for number in self.unused(buffers):
            buffer = self.program.buffers[number]
            families.append(Family(len(families), buffer, ((0, number),), self.top, 0, 1, written=False))
            gaps.append(1)
        spread = np.asarray(gaps, np.int64)
        return Storage(
            self.program, self.top, tuple(families), self.family_of, self.slot_of, spread, self.row_writes, self.turns
        )

    def unused(self, buffers: IndexArray) -> list[int]:
        """Buffers that no instruction touches: arguments handed through, registers that only steer loops."""
        steering = {n for loop in self.program.loops for n in (loop.register, loop.lower_register, loop.upper_register)}
        wanted = self.kept | {number for number in steering if number is not None}
        return sorted(wanted - set(buffers.tolist()))

    def family(self, number: int, rows: IndexArray, members: Sequence[int]) -> tuple[Family, int]:
        owner, depth = self.owner(rows, int(self.deepest[members].min()))
        low, high, gap = self.span(rows, depth)
        slots = (high - low) // gap + 1
        written = bool(self.row_writes[rows].any())
        self.family_of[rows] = number
        taken = self.slots_in_turns(rows, members, depth, slots)
        if taken is not None:
            placed = tuple(zip(taken, members, strict=True))
            return Family(number, self.program.buffers[members[0]], placed, owner, depth, max(taken) + 1, written), 1
        self.slot_of[rows] = (self.index[rows] - low) // gap
        indices = self.classes.index_of[members]
        placed = tuple(zip(((indices - low) // gap).tolist(), members, strict=True))
        return Family(number, self.program.buffers[members[0]], placed, owner, depth, slots, written), gap

    def slots_in_turns(self, rows: IndexArray, members: Sequence[int], depth: int, slots: int) -> Sequence[int] | None:
        """A slot for each buffer, in turns, and note where the rows find them; None to give each a slot of its own.

        Only buffers that are overwritten whole before they are read can take turns. And tables keep iterations from
        running together: it is for loops that never do, or for one slot that all share.
        """
        if not self.kept.isdisjoint(members) or not self.ranges.local[members].all():
            return None
        taken = slots_in_turns(self.ranges.first[members].tolist(), self.ranges.last[members].tolist())
        count = max(taken) + 1
        if count >= slots or not (self.is_irregular(rows, depth) if count > 1 else slots > len(members)):
            return None
        slot_of = dict(zip(members, taken, strict=True))
        turns = {row: self.turns_of_row(row, slot_of) for row in rows.tolist()}
        owned = len(self.repeats_around(int(rows[0]))) - len(self.repeats_around(int(rows[0]), depth))
        if any(max(turn.slots.shape[:owned], default=1) > 1 for turn in turns.values()):
            return None  # the owner's iterations would have to agree on them
        for row, (around, table) in turns.items():
            self.slot_of[row] = int(table) if not table.ndim else 0
            self.turns[row] = (around[table.ndim - 1], table) if table.ndim else None
        return taken

    def is_irregular(self, rows: IndexArray, depth: int) -> bool:
        """Whether every repeat that moves one of the rows to another buffer would run one by one all the same.

        It does where its trips vary, or where a table moves one of the rows, or any operand inside its buffer.
        """
        moved, never_merged = set[Repeat](), set[Repeat]()
        for row in rows.tolist():
            for repeat in self.repeats_around(row, depth):
                columns = tables_of(repeat).get(row, {}) if repeat.tables else {}
                if BUFFER in columns or self.step_of(repeat, row):
                    moved.add(repeat)
                if BUFFER in columns or repeat.trip_table is not None:
                    never_merged.add(repeat)
        return all(repeat in never_merged or any(t.column == OFFSET for t in repeat.tables) for repeat in moved)

    def repeats_around(self, row: int, depth: int = 0) -> list[Repeat]:
        """The repeats around an operand row, but for those among the outermost `depth` blocks."""
        path = self.paths[self.block_of[int(self.instruction_of[row])]][depth:]
        return [block.loop for block in path if isinstance(block.loop, Repeat)]

    def step_of(self, repeat: Repeat, row: int) -> int:
        """By how many buffers an iteration of a repeat moves a row."""
        return int(repeat.steps[row - int(self.program.operand_starts[repeat.begin]), BUFFER])

    def turns_of_row(self, row: int, slot_of: Mapping[int, int]) -> Turns:
        number = int(self.instruction_of[row])
        return turns_of(self.program, self.parts[number], row, number, slot_of)

    def owner(self, rows: IndexArray, depth: int) -> tuple[Block, int]:
        """The innermost possible owner that all rows follow alike."""
        path = self.paths[self.block_of[int(self.instruction_of[rows[0]])]]
        for level, block in enumerate(path[:depth]):
            if isinstance(block.loop, Repeat) and not self.move_alike(block, rows):
                depth = level
                break
        return (path[depth - 1] if depth else self.top), depth

    def move_alike(self, block: Block, rows: IndexArray) -> bool:
        repeat = block.loop
        assert isinstance(repeat, Repeat)
        steps = repeat.steps[rows - int(self.program.operand_starts[block.begin]), BUFFER]
        tables = tables_of(repeat)
        kinds = (
            {
                None if (values := tables.get(row, {}).get(BUFFER)) is None else (values.shape, values.tobytes())
                for row in rows.tolist()
            }
            if tables
            else {None}
        )
        return bool((steps == steps[0]).all()) and len(kinds) == 1

    def span(self, rows: IndexArray, depth: int) -> tuple[int, int, int]:
        """(lowest, highest, greatest common distance) of the class indices that one iteration of the owner uses."""
        low, high = self.index[rows].copy(), self.index[rows].copy()
        gap = int(np.gcd.reduce(low - low.min()))
        for position, row in enumerate(rows.tolist()):
            for repeat in self.repeats_around(row, depth):
                step = self.step_of(repeat, row)
                values = tables_of(repeat).get(row, {}).get(BUFFER) if repeat.tables else None
                moved = np.arange(repeat.trips) * step
                gap = gcd(gap, step)
                if values is not None:
                    moved = moved + values
                    gap = gcd(gap, *np.unique(values).tolist())
                low[position] += moved.min()
                high[position] += moved.max()
        return int(low.min()), int(high.max()), max(gap, 1)
