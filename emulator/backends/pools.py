"""Pools: the storages that a stretch of instructions uses, those of one layout together, and reused when they are dead.

A step picks its operands at run time, so they must lie in one array; and because names are not reused in a program, an
array with room for all of them would be as large as everything that was ever written.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from math import prod
from typing import Final, NamedTuple

from trnlab.emulator.backends.layout import Plan
from trnlab.emulator.backends.positions import Located, Scope, locate, storage_shape, widths
from trnlab.emulator.backends.storage import Family
from trnlab.emulator.backends.stretches import Execution, Stretch, executions
from trnlab.emulator.nest import Block
from trnlab.emulator.program import OperandSignature, Signature
from trnlab.emulator.view_algebra import Shape

POOLED_BYTES: Final = 4 * 2**20
"""A larger slot has a pool of its own: it is neither copied into one nor out of it."""


class Held(NamedTuple):
    """A storage's content: its family, and the iterations of the repeats written out in which it is new."""

    family: int
    iterations: tuple[int, ...]


class Use(NamedTuple):
    """One operand of one execution."""

    row: int
    operand: OperandSignature
    located: Located
    held: Held


class Life(NamedTuple):
    """When a content is needed.

    layout:  what it must share with others in its pool
    slots:   how many it takes
    kept:    it was there before the stretch or is needed after it
    fresh:   its first use finds what uninitialised memory holds; otherwise it is written whole
    written: it is written at all
    """

    layout: Hashable
    slots: int
    first: int
    last: int
    kept: bool
    fresh: bool
    written: bool = False


class Span(NamedTuple):
    """Consecutive slots of a pool."""

    pool: int
    first: int
    slots: int


class Kept(NamedTuple):
    """A family that exists before or after a stretch, its slots, and whether the stretch writes it."""

    family: int
    span: Span
    written: bool


@dataclass(frozen=True, eq=False)
class Pool:
    """An array of `family.slots` slots of one shape.

    family: stands for the pool where a family is asked for; its number is the pool's
    kept:   in order, from slot 0 on; those that exist before the stretch come first
    """

    family: Family
    shape: Shape
    kept: tuple[Kept, ...]


class Pooled(NamedTuple):
    """The executions of a stretch, every operand of each, and where every content lies."""

    steps: list[Execution]
    uses: list[list[Use]]
    pools: tuple[Pool, ...]
    place_of: dict[Held, Span]


def assign_slots(lives: Sequence[Life]) -> list[int]:
    """Every life's first slot: no two share one at a time; who expects fresh memory gets slots that had no other.

    Slots of a layout are numbered from 0, first those of kept lives, in order.
    """
    size: dict[Hashable, int] = {}
    free: dict[Hashable, list[int]] = {}
    ending: list[tuple[int, int, int]] = []
    slots = [-1] * len(lives)

    def new(life: Life) -> int:
        first = size.get(life.layout, 0)
        size[life.layout] = first + life.slots
        return first

    for number, life in enumerate(lives):
        if life.kept:
            slots[number] = new(life)
    for number in sorted(range(len(lives)), key=lambda n: lives[n].first):
        life = lives[number]
        if life.kept:
            continue
        while ending and ending[0][0] < life.first:
            _, at, over = heappop(ending)
            heappush(free.setdefault((lives[over].layout, lives[over].slots), []), at)
        waiting = free.get((life.layout, life.slots))
        slots[number] = new(life) if life.fresh or not waiting else heappop(waiting)
        heappush(ending, (life.last, slots[number], number))
    return slots


class Pooling:
    """Plans the pools of the stretches of one plan.

    outside: families whose content does not come from instructions alone, or is not for instructions alone
    """

    def __init__(self, plan: Plan, outside: Iterable[int]) -> None:
        self.plan = plan
        self.storage = plan.storage
        self.outside = frozenset(outside)
        rows: dict[int, list[int]] = {}
        for row, name in enumerate(self.storage.family_of.tolist()):
            rows.setdefault(name, [row, row])[1] = row
        self.rows = rows

    def families(self, stretch: Stretch) -> frozenset[int]:
        """What a stretch uses."""
        starts = self.storage.program.operand_starts
        rows = slice(starts[stretch.instructions.start], starts[stretch.instructions.stop])
        return frozenset(self.storage.family_of[rows].tolist())

    def pooled(self, stretch: Stretch, scope: Scope, existing: Iterable[int]) -> Pooled:
        """existing: the families that have values when the stretch begins"""
        steps = list(executions(stretch.items, scope))
        written_out = frozenset(stretch.blocks)
        uses = [list(self.uses(step, written_out)) for step in steps]
        before = frozenset(existing)
        lives: dict[Held, Life] = {}
        for time, (step, used) in enumerate(zip(steps, uses, strict=True)):
            for use in used:
                life = lives.get(use.held)
                if life is None:
                    life = self.life(use.held, time, step, used, stretch, scope, before)
                lives[use.held] = life._replace(last=time, written=life.written or use.operand.writes)
        # What exists before the stretch comes first, in one piece.
        order = sorted(lives, key=lambda held: held.family not in before)
        slots = assign_slots([lives[held] for held in order])
        numbers = {layout: number for number, layout in enumerate(dict.fromkeys(lives[held].layout for held in order))}
        place_of = {
            held: Span(numbers[lives[held].layout], slot, lives[held].slots)
            for held, slot in zip(order, slots, strict=True)
        }
        pools = self.pools(lives, place_of, scope)
        return Pooled(steps, uses, tuple(pools), place_of)

    def uses(self, step: Execution, written_out: frozenset[Block]) -> Iterator[Use]:
        """Every operand of a step: where it lies, and in what."""
        storage = self.storage
        first = int(storage.program.operand_starts[step.number])
        for position, operand in enumerate(storage.program.signature_of(step.number).operands):
            row = first + position
            family = storage.families[int(storage.family_of[row])]
            around = storage.paths.get(family.owner, ())
            held = Held(family.number, tuple(step.scope[block].base for block in around if block in written_out))
            yield Use(row, operand, locate(self.plan, row, step.scope), held)

    def life(
        self,
        held: Held,
        time: int,
        step: Execution,
        used: list[Use],
        stretch: Stretch,
        scope: Scope,
        before: frozenset[int],
    ) -> Life:
        """What a storage needs of a pool, from its first use on."""
        family = self.storage.families[held.family]
        count, shape = self.slots(family, scope)
        large = prod(shape) * family.buffer.dtype.itemsize > POOLED_BYTES
        layout = (family.buffer.dtype, shape, held if large else None)
        kept = held.family in before or not (held.iterations or self.is_local(family, stretch))
        signature = self.storage.program.signature_of(step.number)
        fresh = not all(_covers(use, signature) for use in used if use.held == held)
        return Life(layout, count, time, time, kept, fresh)

    def slots(self, family: Family, scope: Scope) -> tuple[int, Shape]:
        """How many slots a family takes, and their shape: one for each of its own, where they lie side by side."""
        shape = storage_shape(self.plan, family, scope)
        parts_outside = any(b not in self.plan.inner[family.number] for b, _ in widths(self.plan, family, scope))
        return (1, shape) if family.slots == 1 or parts_outside else (family.slots, shape[1:])

    def is_local(self, family: Family, stretch: Stretch) -> bool:
        """Whether the family is new whenever the stretch runs, and nothing but the stretch uses it."""
        starts = self.storage.program.operand_starts
        first, last = self.rows[family.number]
        inside = starts[stretch.instructions.start] <= first and last < starts[stretch.instructions.stop]
        owned = stretch.block is self.storage.top or self.storage.owns(stretch.block, family)
        return bool(inside and owned and family.number not in self.outside)

    def pools(self, lives: dict[Held, Life], place_of: dict[Held, Span], scope: Scope) -> Iterator[Pool]:
        """The pools that the places make up."""
        members: dict[int, list[Held]] = {}
        for held, span in place_of.items():
            members.setdefault(span.pool, []).append(held)
        for number, helds in sorted(members.items()):
            family = self.storage.families[helds[0].family]
            size = max(place_of[held].first + place_of[held].slots for held in helds)
            kept = tuple(Kept(held.family, place_of[held], lives[held].written) for held in helds if lives[held].kept)
            stand_in = Family(number, family.buffer, (), self.storage.top, 0, size, written=True)
            yield Pool(stand_in, self.slots(family, scope)[1], kept)


def _covers(use: Use, signature: Signature) -> bool:
    """Whether the operand is written only, and all of its storage."""
    if use.operand.access != "write" or use.operand.indirection is not None:
        return False
    box = use.located.view.box()
    return signature.attribute("oob_mode") != "skip" and box is not None and box.is_whole and not use.located.numbers
