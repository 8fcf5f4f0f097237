"""From a loop nest to a program: which columns stay, and how the repeats advance them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from trnlab.emulator.fold_fit import fitted
from trnlab.emulator.fold_periods import Mask
from trnlab.emulator.fold_tree import Item, Leaves, Placed, Ragged, needed_axes, placed, reached
from trnlab.emulator.program import Program
from trnlab.emulator.repeats import ImmediateTable, Integers, Repeat, StepTable


def assembled(program: Program, rows: Integers, items: Sequence[Item]) -> Program:
    """The program with those of its instructions that the items keep, and their loops as repeats.

    rows: (index in the class of the buffer, offset) of every operand row
    """
    assembly = _Assembly(program, rows)
    for item in items:
        assembly.walk(placed(item, np.zeros((), np.int64)), np.ones((), bool))
    kept = np.concatenate(assembly.kept)
    # Where each instruction went; only those outside all repeats are asked for.
    gone = np.searchsorted(kept, np.arange(len(program) + 1))
    return program.replace(
        signature_ids=program.signature_ids[kept],
        location_ids=program.location_ids[kept],
        operands=program.operands[_spread(program.operand_starts, kept)],
        immediates=program.immediates[_spread(program.immediate_starts, kept)],
        loops=tuple(replace(loop, begin=int(gone[loop.begin]), end=int(gone[loop.end])) for loop in program.loops),
        repeats=tuple(assembly.repeats),
        names={int(gone[number]): name for number, name in program.names.items()},
        edges=tuple((int(gone[producer]), int(gone[consumer])) for producer, consumer in program.edges),
    )


def _spread(starts: Integers, kept: Integers) -> Integers:
    """Where the values of the instructions that stay are."""
    widths = np.diff(starts)[kept]
    ends = np.cumsum(widths)
    places: Integers = np.arange(ends[-1] if len(ends) else 0) + np.repeat(starts[kept] - ends + widths, widths)
    return places


class _Assembly:
    """Walks a nest and collects the numbers of instructions that stay, and the repeats around them.

    advances: for every depth of nesting the steps and tables of all that was met so deep, in order
    """

    def __init__(self, program: Program, rows: Integers) -> None:
        self.program = program
        self.rows = rows
        self.kept: list[Integers] = []
        self.repeats: list[Repeat] = []
        self.count = self.count_rows = self.count_immediates = 0
        self.steps: list[list[Integers]] = []
        self.tables: list[list[StepTable]] = []
        self.immediates: list[list[ImmediateTable]] = [[]]

    def walk(self, item: Placed, ran: Mask) -> None:
        """Collect an item; `ran` says which iterations of the loops around it are executed."""
        if isinstance(item, Leaves):
            self.collect(item, ran)
        else:
            self.enclose(item, ran)

    def enclose(self, loop: Ragged, ran: Mask) -> None:
        """Collect a loop's body, then the loop."""
        depth = ran.ndim
        if depth == len(self.steps):
            self.steps.append([])
            self.tables.append([])
        begin, steps, tables = self.count, len(self.steps[depth]), len(self.tables[depth])
        self.immediates.append([])
        inside = reached(ran, loop)
        for part in loop.items:
            self.walk(part, inside)
        self.repeats.append(
            Repeat(
                begin=begin,
                end=self.count,
                trips=loop.trips,
                steps=np.concatenate(self.steps[depth][steps:]),
                tables=tuple(sorted(self.tables[depth][tables:], key=lambda table: table[:2])),
                immediates=tuple(self.immediates.pop()),
                trip_table=loop.counts,
            )
        )

    def collect(self, leaves: Leaves, ran: Mask) -> None:
        """Collect instructions, and how each of the loops around advances them."""
        first = leaves.numbers[np.unravel_index(ran.argmax(), ran.shape)]
        numbers = np.where(ran[..., None], leaves.numbers, first) if ran.ndim else leaves.numbers
        self.kept.append(first)
        self.count += len(first)
        rows = self._values(self.program.operand_starts, self.rows, numbers)
        bits = self._values(self.program.immediate_starts, self.program.immediates.view(np.int64), numbers)
        if ran.ndim:
            self._advance(rows, ran)
            self.immediates[-1] += self._varying(bits, ran)
        self.count_rows += rows.shape[-2]
        self.count_immediates += bits.shape[-1]

    def _values(self, starts: Integers, values: Integers, numbers: Integers) -> Integers:
        """The values that belong to instructions that follow each other, in every iteration."""
        first, last = numbers.reshape(-1, numbers.shape[-1])[0, [0, -1]]
        width = int(starts[last + 1] - starts[first])
        found: Integers = values[starts[numbers[..., 0]][..., None] + np.arange(width)]
        return found

    def _advance(self, rows: Integers, ran: Mask) -> None:
        fit = fitted(rows.reshape(*ran.shape, 2 * rows.shape[-2]), ran)
        for depth, steps in enumerate(fit.steps):
            self.steps[depth].append(steps.reshape(-1, 2))
        for depth, column, values in fit.tables:
            row, kind = divmod(column, 2)
            self.tables[depth].append(StepTable(self.count_rows + row, kind, values))

    def _varying(self, bits: Integers, ran: Mask) -> Iterator[ImmediateTable]:
        """Tables of the immediates whose bits are not always the same."""
        once = bits[np.unravel_index(ran.argmax(), ran.shape)]
        varies = ((bits != once) & ran[..., None]).any(axis=tuple(range(ran.ndim)))
        for place in np.flatnonzero(varies).tolist():
            values = needed_axes(bits[..., place], ran)
            yield ImmediateTable(self.count_immediates + place, values.view(np.float64))
