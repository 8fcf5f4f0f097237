"""Where the buffers of a folded program live while it runs: families, the loop that owns each, and their slots.

Buffers that one instruction walks through in a loop (a list of tiles, a tile allocated anew in every iteration) form a
*family*. It belongs to the innermost loop whose iterations use none of each other's buffers: there it needs only as
many *slots* as one iteration uses, and its content dies with the iteration. Everything here is integers and sets;
nothing of it knows XLA.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from trnlab.emulator.memory import Buffer
from trnlab.emulator.nest import Block
from trnlab.emulator.program import IndexArray, OperandSignature, Program
from trnlab.emulator.repeats import BUFFER, OFFSET, Repeat

Mask = np.ndarray[Any, np.dtype[np.bool_]]


@dataclass(frozen=True, slots=True, eq=False)
class Family:
    """Buffers of one class that share a storage of `slots` times their size.

    members: (slot, buffer number), as if nothing but the whole program owned the family
    owner:   the block in each iteration of which the storage is new
    depth:   how many blocks are around what the owner repeats; 0 for the whole program
    """

    number: int
    buffer: Buffer
    members: tuple[tuple[int, int], ...]
    owner: Block
    depth: int
    slots: int
    written: bool

    @property
    def nbytes(self) -> int:
        """Bytes of the storage."""
        return self.slots * self.buffer.nbytes


class Advance(NamedTuple):
    """How one more iteration of a repeat moves an operand: by a constant, and by entries of tables (see `StepTable`).

    Elements of the operand's dtype for `offset`, slots for `slot`.
    """

    offset: int
    slot: int
    offset_table: IndexArray | None
    slot_table: IndexArray | None

    @property
    def has_table(self) -> bool:
        """Whether the movement differs from one iteration to the next."""
        return self.offset_table is not None or self.slot_table is not None


@dataclass(frozen=True, eq=False)
class Storage:
    """The plan: which family each operand row belongs to, and its slot in the first iteration of everything.

    turns: by operand row, of families whose buffers take turns: the repeat at which its slots are looked up, and the
           table; None where it finds all its buffers in one slot
    """

    program: Program
    top: Block
    families: tuple[Family, ...]
    family_of: IndexArray
    slot_of: IndexArray
    gaps: IndexArray
    writes: Mask
    turns: Mapping[int, tuple[Repeat, IndexArray] | None]

    @cached_property
    def paths(self) -> dict[Block, tuple[Block, ...]]:
        """For every block the blocks around it, outermost first, itself last; the whole program is not among them."""
        return dict(paths_of(self.top, ()))

    @cached_property
    def slot_of_buffer(self) -> dict[int, tuple[int, int]]:
        """(family, slot in the first iteration of everything) of every buffer."""
        return {number: (family.number, slot) for family in self.families for slot, number in family.members}

    def family_of_buffer(self, number: int) -> Family:
        """The family that a buffer belongs to."""
        return self.families[self.slot_of_buffer[number][0]]

    @cached_property
    def _instruction_of(self) -> IndexArray:
        return np.repeat(np.arange(len(self.program)), np.diff(self.program.operand_starts))

    @cached_property
    def _innermost(self) -> list[Block]:
        return innermost_blocks(self.top, len(self.program))

    def block_of(self, row: int) -> Block:
        """The innermost block around the instruction of an operand row."""
        return self._innermost[int(self._instruction_of[row])]

    def path_of(self, number: int) -> tuple[Block, ...]:
        """The blocks around an instruction, outermost first."""
        return self.paths[self._innermost[number]]

    def reads_and_writes(self, number: int) -> tuple[list[int], list[int]]:
        """The families that an instruction reads, and those that it writes."""
        first = int(self.program.operand_starts[number])
        operands = self.program.signature_of(number).operands
        names = self.family_of[first : first + len(operands)].tolist()
        reads = [name for name, operand in zip(names, operands, strict=True) if operand.reads]
        return reads, [name for name, operand in zip(names, operands, strict=True) if operand.writes]

    def operand(self, row: int) -> OperandSignature:
        """The signature of an operand row."""
        number = int(self._instruction_of[row])
        return self.program.signature_of(number).operands[row - int(self.program.operand_starts[number])]

    def offset(self, row: int) -> int:
        """The element offset of an operand row in its buffer, in the first iteration of everything."""
        return int(self.program.operands[row, OFFSET])

    def rows(self, block: Block) -> range:
        """The operand rows of a block's instructions."""
        starts = self.program.operand_starts
        return range(int(starts[block.begin]), int(starts[block.end]))

    def owns(self, block: Block, family: Family) -> bool:
        """Whether the family is new in every iteration of the block, or of one inside it."""
        path = self.paths.get(family.owner, ())
        return block in path

    def advance(self, block: Block, row: int) -> Advance:
        """How an iteration of the repeat moves one of the operand rows inside it."""
        repeat = block.loop
        assert isinstance(repeat, Repeat)
        slot, offset = repeat.steps[row - self.rows(block).start].tolist()
        tables = tables_of(repeat).get(row, {})
        offset_table, slot_table = tables.get(OFFSET), tables.get(BUFFER)
        family = self.families[int(self.family_of[row])]
        if self.owns(block, family):
            return Advance(offset, 0, offset_table, None)  # its slots move along with the iteration
        if row in self.turns:
            turn = self.turns[row]
            return Advance(offset, 0, offset_table, turn[1] if turn is not None and turn[0] is repeat else None)
        gap = int(self.gaps[family.number])
        return Advance(offset, slot // gap, offset_table, None if slot_table is None else slot_table // gap)


def tables_of(repeat: Repeat) -> dict[int, dict[int, IndexArray]]:
    """The step tables of a repeat, by operand row and column; two of one row and column add up."""
    found: dict[int, dict[int, IndexArray]] = {}
    for table in repeat.tables:
        columns = found.setdefault(table.row, {})
        columns[table.column] = columns.get(table.column, 0) + table.values
    return found


def paths_of(block: Block, around: tuple[Block, ...]) -> Iterator[tuple[Block, tuple[Block, ...]]]:
    """Every block with the blocks around it, outermost first, itself last; the whole program is in no path."""
    path = around if block.loop is None else (*around, block)
    yield block, path
    for item in block.items:
        if isinstance(item, Block):
            yield from paths_of(item, path)


def innermost_blocks(top: Block, size: int) -> list[Block]:
    """For every instruction the innermost block around it."""
    found = [top] * size

    def visit(block: Block) -> None:
        for item in block.items:
            if isinstance(item, Block):
                visit(item)
            else:
                found[item.start : item.stop] = [block] * len(item)

    visit(top)
    return found
