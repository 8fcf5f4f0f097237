"""Re-rolling: a traced program with its Python loops folded back into loop nests, and `flatten`, the exact inverse.

    fold(program).flat == program

Tracing unrolls every loop that is not dynamic, so a kernel of ten lines becomes thousands of instructions. Folding
finds what repeats (see `fold_search`) and keeps one iteration of it, with the steps by which its rows advance (see
`repeats`). That makes listings readable; the other readers still flatten what they are given. Meaning does not change;
every fold is checked by flattening it again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from trnlab.emulator.fold_flatten import flatten
from trnlab.emulator.fold_periods import intern, row_hashes
from trnlab.emulator.fold_search import Columns, Node, find_loops
from trnlab.emulator.memory import MemoryRegion
from trnlab.emulator.program import Program
from trnlab.emulator.repeats import ImmediateTable, Integers, Repeat, classes_of

__all__ = ["flatten", "fold"]

_KEPT = ("signature_ids", "operands", "location_ids")


def fold(program: Program) -> Program:
    """The same program with what repeats stored once, `flatten(fold(program)) == program`; unfoldable ones unchanged.

    Iterations agree in signature, source line and buffer classes. Nothing folds across a structured loop's ends, nor
    across instructions that are named, explicitly ordered, or write a register that a structured loop reads.
    Time is linear in the number of instructions for programs of loops; aperiodic words of few signatures take longer.

    Raises:
        AssertionError: the result does not flatten to the program: a defect of this module, never a wrong fold.
    """
    if program.repeats or not len(program):
        return program
    breaks = sorted({at for loop in program.loops for at in (loop.begin, loop.end)})
    items = find_loops(_columns(program), 0, _keys(program), breaks)
    if not any(isinstance(item, Node) for item in items):
        return program
    folded = _assembled(program, items)
    _verify(folded, program)
    return folded


# -- what the search sees --------------------------------------------------------------------------------------------


def _columns(program: Program) -> Columns:
    rows = program.operands.copy()
    rows[:, 0] = classes_of(program.buffers).index_of[rows[:, 0]]
    starts = program.operand_starts
    return Columns(starts, rows, row_hashes(starts, rows), _crossing(program))


def _crossing(program: Program) -> Integers:
    """For the gap before each instruction, how many buffers are used both before and after it."""
    used = program.operands[:, 0]
    at = np.repeat(np.arange(len(program)), np.diff(program.operand_starts))
    first, last = np.zeros((2, len(program.buffers)), np.int64)
    last[used] = at
    first[used[::-1]] = at[::-1]
    size = len(program) + 1
    return np.cumsum(np.bincount(first + 1, minlength=size)[:size] - np.bincount(last + 1, minlength=size)[:size])


def _keys(program: Program) -> Integers:
    """Equal where instructions agree in all but rows and immediates; what must stay alone has a key of its own."""
    names = program.signature_ids.astype(np.int64) * (len(program.locations) + 1) + program.location_ids
    classes = classes_of(program.buffers).class_of[program.operands[:, :1]]
    keys = intern(names, program.operand_starts, classes)
    alone = np.fromiter(_alone(program), np.int64)
    keys[alone] = -1 - np.arange(len(alone))
    return keys


def _alone(program: Program) -> Iterator[int]:
    """Instructions that may be in no repeat."""
    yield from program.names
    yield from (number for edge in program.edges for number in edge)
    read = {number for loop in program.loops for number in (loop.register, loop.lower_register, loop.upper_register)}
    for name, signature in enumerate(program.signatures):
        for position, operand in enumerate(signature.operands):
            if read and operand.writes and operand.region is MemoryRegion.register:
                where = np.flatnonzero(program.signature_ids == name)
                buffers = program.operands[program.operand_starts[where] + position, 0]
                yield from where[np.isin(buffers, [number for number in read if number is not None])].tolist()


# -- from nodes to a program -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class _Placed:
    """A node, where its body stands in the folded program, and the immediates that vary right inside it."""

    node: Node
    begin: int
    end: int
    immediates: tuple[ImmediateTable, ...]


class _Assembly:
    """Walks the nodes and collects what stays: the flat numbers of instructions, and where the nodes' bodies stand."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.bits = program.immediates.view(np.int64)
        self.kept: list[range] = []
        self.count = 0
        self.count_immediates = 0
        self.placed: list[_Placed] = []

    def walk(self, items: Sequence[range | Node], grid: Integers) -> list[ImmediateTable]:
        """Collect the items; the immediates among them that vary.

        grid: how far each iteration of the nodes around is from the first one, in instructions; an axis per node
        """
        found: list[ImmediateTable] = []
        for item in items:
            if isinstance(item, Node):
                begin = self.count
                inner = self.walk(item.items, grid[..., None] + item.period * np.arange(item.trips))
                self.placed.append(_Placed(item, begin, self.count, tuple(inner)))
            else:
                self.kept.append(item)
                self.count += len(item)
                found += self.varying(item, grid)
        return found

    def varying(self, leaves: range, grid: Integers) -> Iterator[ImmediateTable]:
        """Tables of the immediates of some instructions, where their bits are not always the same."""
        starts = self.program.immediate_starts
        first, last = int(starts[leaves.start]), int(starts[leaves.stop])
        for number in range(first, last) if grid.ndim else ():
            leaf = int(np.searchsorted(starts, number, side="right")) - 1
            bits = self.bits[starts[leaf + grid] + (number - starts[leaf])]
            for axis in range(bits.ndim):
                once = bits.take([0], axis=axis)
                bits = once if (bits == once).all() else bits
            if bits.size > 1:
                yield ImmediateTable(self.count_immediates + number - first, bits.view(np.float64))
        self.count_immediates += last - first


def _assembled(program: Program, items: Sequence[range | Node]) -> Program:
    assembly = _Assembly(program)
    assembly.walk(items, np.zeros((), np.int64))
    kept = np.concatenate([np.arange(part.start, part.stop) for part in assembly.kept])
    rows, starts = _spread(program.operand_starts, kept)
    # Where each instruction went; only those outside all repeats are asked for.
    moved = np.searchsorted(kept, np.arange(len(program) + 1))
    return program.replace(
        signature_ids=program.signature_ids[kept],
        location_ids=program.location_ids[kept],
        operands=program.operands[rows],
        immediates=program.immediates[_spread(program.immediate_starts, kept)[0]],
        loops=tuple(replace(loop, begin=int(moved[loop.begin]), end=int(moved[loop.end])) for loop in program.loops),
        repeats=tuple(_repeat(placed, program.operand_starts, rows, starts) for placed in assembly.placed),
        names={int(moved[number]): name for number, name in program.names.items()},
        edges=tuple((int(moved[producer]), int(moved[consumer])) for producer, consumer in program.edges),
    )


def _spread(starts: Integers, kept: Integers) -> tuple[Integers, Integers]:
    """The values of the instructions that stay, by their place in the flat program; and where each one's start now."""
    widths = np.diff(starts)[kept]
    ends = np.concatenate([np.zeros(1, np.int64), np.cumsum(widths)])
    return np.arange(ends[-1]) + np.repeat(starts[kept] - ends[:-1], widths), ends


def _repeat(placed: _Placed, flat_starts: Integers, rows: Integers, starts: Integers) -> Repeat:
    node, first = placed.node, int(starts[placed.begin])
    body = rows[first : starts[placed.end]] - flat_starts[node.start]
    at = np.searchsorted(body, [table.row for table in node.tables])
    tables = [
        table._replace(row=first + place)
        for table, place in zip(node.tables, at.tolist(), strict=True)
        if place < len(body) and body[place] == table.row  # the others are later iterations of inner loops
    ]
    return Repeat(
        begin=placed.begin,
        end=placed.end,
        trips=node.trips,
        steps=node.steps[body],
        tables=tuple(tables),
        immediates=placed.immediates,
    )


def _verify(folded: Program, program: Program) -> None:
    """Compare all that folding touches, bit for bit."""
    again = flatten(folded)
    same = (
        all(np.array_equal(getattr(again, name), getattr(program, name)) for name in _KEPT)
        and np.array_equal(again.immediates.view(np.int64), program.immediates.view(np.int64))
        and (again.loops, again.edges) == (program.loops, program.edges)
        and dict(again.names) == dict(program.names)
    )
    if not same:
        raise AssertionError(f"folding {program.kernel} is not exact: please report it with the program's JSON")
