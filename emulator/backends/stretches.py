"""Which stretches of a folded program are too long to be compiled instruction by instruction.

XLA takes milliseconds for every instruction that it compiles, so a program keeps only so many in line. What is beyond
that goes into stretches: instructions that follow each other, and short repeats between them written out. A stretch
runs as one loop over its instructions, which compiles each *kind* of instruction once (see `stepping`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Final, NamedTuple, TypeAlias

import numpy as np

from trnlab.emulator.backends.layout import Plan
from trnlab.emulator.backends.positions import Position, Scope, entry_of
from trnlab.emulator.nest import Block
from trnlab.emulator.program import Signature
from trnlab.emulator.repeats import Repeat

INLINE_INSTRUCTIONS: Final = 128
"""How many instructions of a program are compiled in line. Chosen by measurement: each takes XLA 10 to 60 ms."""

SHORTEST: Final = 16
"""Instructions in a stretch: below that the loop around them costs more than it saves."""

MOST_KINDS: Final = 1 / 3
"""Kinds for each instruction in a stretch. Chosen by measurement: a kind takes XLA 40 to 60 ms."""

WRITTEN_OUT: Final = 64
"""How often an instruction in a stretch is written out at most; a longer repeat is worth a loop of its own."""

MERGED_OUT: Final = 4
"""The same for a repeat whose iterations could run all at once."""


@dataclass(frozen=True, eq=False)
class Stretch:
    """Consecutive items of a block, to be run step by step."""

    block: Block
    items: tuple[range | Block, ...]

    @property
    def instructions(self) -> range:
        """The instructions stored, each counted once."""
        first, last = self.items[0], self.items[-1]
        return range(first.begin if isinstance(first, Block) else first.start, _end(last))

    @property
    def blocks(self) -> Iterator[Block]:
        """The repeats that are written out."""
        yield from _blocks(self.items)


Part: TypeAlias = range | Block | Stretch


def parts_by_block(plan: Plan, limit: int) -> dict[Block, tuple[Part, ...]]:
    """The items of the blocks that have stretches, with those stretches in their place.

    limit: how many instructions of the program stay in line, where there are stretches enough
    """
    inline = len(plan.storage.program)
    if inline <= limit:
        return {}
    taken: dict[Block, list[Stretch]] = {}
    found = [stretch for stretch in _stretches(plan, plan.storage.top) if _is_worthwhile(plan, stretch, limit)]
    # A loop would gather the pools of a stretch in every iteration: stretches outside come first.
    for stretch in sorted(found, key=lambda s: (len(plan.storage.paths[s.block]), -len(s.instructions))):
        if inline <= limit:
            break
        taken.setdefault(stretch.block, []).append(stretch)
        inline -= len(stretch.instructions)
    return {block: tuple(_parts(plan, block, stretches)) for block, stretches in taken.items()}


def _is_worthwhile(plan: Plan, stretch: Stretch, limit: int) -> bool:
    """Whether it is long enough and its instructions are of few kinds, as far as their signatures tell."""
    numbers = stretch.instructions
    kinds = len(np.unique(plan.storage.program.signature_ids[numbers.start : numbers.stop]))
    return len(numbers) >= min(SHORTEST, limit) and kinds <= MOST_KINDS * len(numbers)


def _parts(plan: Plan, block: Block, stretches: list[Stretch]) -> Iterator[Part]:
    starts = {stretch.instructions.start: stretch for stretch in stretches}
    position = block.begin
    for item in _pieces(plan, block):
        begin = item.begin if isinstance(item, Block) else item.start
        if begin in starts:
            yield starts[begin]
            position = starts[begin].instructions.stop
        elif begin >= position:
            yield item


def _stretches(plan: Plan, block: Block) -> Iterator[Stretch]:
    """The longest possible ones, of a block and of the blocks inside that are not part of one."""
    items: list[range | Block] = []
    for item in _pieces(plan, block):
        if _steps(plan, item, block, 1):
            items.append(item)
            continue
        if items:
            yield Stretch(block, tuple(items))
            items = []
        if isinstance(item, Block):
            yield from _stretches(plan, item)
    if items:
        yield Stretch(block, tuple(items))


def _pieces(plan: Plan, block: Block) -> Iterator[range | Block]:
    """The block's items, cut around the instructions that stay in line."""
    for item in block.items:
        if isinstance(item, Block):
            yield item
            continue
        start = item.start
        for number in item:
            if not can_step(plan.storage.program.signature_of(number)):
                yield from (piece for piece in (range(start, number), range(number, number + 1)) if piece)
                start = number + 1
        if start < item.stop:
            yield range(start, item.stop)


def _steps(plan: Plan, item: range | Block, block: Block, times: int) -> bool:
    """Whether an item can be part of a stretch of the block, executed that many times."""
    if isinstance(item, range):
        return all(can_step(plan.storage.program.signature_of(number)) for number in item)
    repeat = item.loop
    if not isinstance(repeat, Repeat) or times * repeat.trips > WRITTEN_OUT:
        return False
    if plan.counts[item] > 1 and times * repeat.trips > MERGED_OUT:
        return False
    around = sum(isinstance(outer.loop, Repeat) for outer in plan.storage.paths[block])
    if repeat.trip_table is not None and prod(repeat.trip_table.shape[:around]) > 1:
        return False  # how often it runs is known at run time only
    return all(_steps(plan, inner, block, times * repeat.trips) for inner in item.items)


def can_step(signature: Signature) -> bool:
    """Whether the instruction can be one step: not with several results, one of which is written in another word size.

    Such a result replaces all of the buffer that it goes to, and another one may lie in the same buffer.
    """
    written = [operand for operand in signature.operands if operand.writes]
    return len(written) < 2 or all(operand.dtype.itemsize == operand.buffer_dtype.itemsize for operand in written)


class Execution(NamedTuple):
    """One instruction in one iteration of the repeats that are written out; `scope` has all repeats around it."""

    number: int
    scope: Scope


def executions(items: tuple[range | Block, ...], scope: Scope) -> Iterator[Execution]:
    """The instructions of a stretch in the order in which they run."""
    for item in items:
        if isinstance(item, range):
            yield from (Execution(number, scope) for number in item)
            continue
        repeat = item.loop
        assert isinstance(repeat, Repeat)
        trips = repeat.trips
        if repeat.trip_table is not None:
            known = entry_of(repeat.trip_table, scope, next(reversed(scope)))
            assert isinstance(known, int), "a repeat that is written out runs as often as is known"
            trips = known
        for iteration in range(trips):
            yield from executions(item.items, {**scope, item: Position(iteration, 1)})


def _blocks(items: tuple[range | Block, ...]) -> Iterator[Block]:
    for item in items:
        if isinstance(item, Block):
            yield item
            yield from _blocks(item.items)


def _end(item: range | Block) -> int:
    return item.end if isinstance(item, Block) else item.stop
