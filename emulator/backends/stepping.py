"""Stretches of instructions run step by step: compile time by kinds of instruction, not by their number.

    while there are steps:
        for every group of kinds:
            while the next step is of this group:
                results = switch(kind)(operands)
                write the results where the step says

Everything a stretch uses lies in pools (see `pools`) that the loops carry and change in place: what a switch returns is
as small as an instruction's results, and nothing that a loop carries goes through a branch, which would copy it. The
switch also keeps XLA from fusing reads with the write that follows. Every loop is steered by one counter, so none of
them starts before the one in front of it is done, and no pool is copied to keep an old value.

Steps are chosen by constants alone: under `jax.vmap` the branches are batched, and still only one of them runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from math import prod
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from trnlab.emulator.backends import stretches, words as word_math
from trnlab.emulator.backends.indirection import Rows, moved_by_index
from trnlab.emulator.backends.instructions import InstructionLowering
from trnlab.emulator.backends.layout import Plan
from trnlab.emulator.backends.memory_state import FAULT, Memory
from trnlab.emulator.backends.operands import Operands
from trnlab.emulator.backends.pools import Pool, Pooling
from trnlab.emulator.backends.positions import Placed, Scope
from trnlab.emulator.backends.steps import BRANCH, GROUP, NUMBER, Kind, Placement, Site, Steps, plan_steps
from trnlab.emulator.backends.storage import Family
from trnlab.emulator.backends.stretches import Part, Stretch, parts_by_block
from trnlab.emulator.backends.views import View, read
from trnlab.emulator.backends.widening import Axes
from trnlab.emulator.backends.words import stored_word
from trnlab.emulator.nest import Block
from trnlab.emulator.program import OperandSignature, Signature
from trnlab.emulator.view_algebra import Shape


class Stepping:
    """Runs the stretches of one plan.

    outside: families whose content does not come from instructions alone, or is not for instructions alone
    limit:   how many instructions of the program are compiled in line
    """

    def __init__(self, plan: Plan, instructions: InstructionLowering, outside: Iterable[int], limit: int) -> None:
        self.instructions = instructions
        self.pooling = Pooling(plan, outside)
        self._parts = parts_by_block(plan, limit)
        self.planned: dict[tuple[object, ...], Steps] = {}

    def parts(self, block: Block) -> Sequence[Part]:
        """A block's items, stretches among them."""
        return self._parts.get(block, block.items)

    def steps(self, stretch: Stretch, scope: Scope, memory: Memory) -> Steps | None:
        """The stretch as steps, or None where that would save nothing."""
        existing = frozenset(memory.words) & self.pooling.families(stretch)
        around = tuple((block, at._replace(number=None), at.number is None) for block, at in scope.items())
        key = (stretch, around, existing)
        if key not in self.planned:
            self.planned[key] = plan_steps(self.pooling, self.instructions.target, stretch, scope, existing)
        steps = self.planned[key]
        return steps if steps.kinds <= stretches.MOST_KINDS * len(steps) else None

    def run(self, steps: Steps, scope: Scope, memory: Memory) -> None:
        """Execute the steps, updating the memory."""
        _Run(self.instructions, steps, scope, memory).all()


class _Outcome(NamedTuple):
    """What a step hands to what writes its results.

    rows:  run-time addresses, by position
    fault: the fault after the step, from one that has run-time addresses
    """

    results: list[Array]
    rows: dict[int, Rows]
    fault: Array | None


class _Run:
    """One execution of a stretch."""

    def __init__(self, instructions: InstructionLowering, steps: Steps, scope: Scope, memory: Memory) -> None:
        self.instructions = instructions
        self.program = instructions.program
        self.steps = steps
        self.scope = scope
        self.memory = memory
        self.places = steps.places.numbers(scope)
        self.words = steps.words.numbers(scope)

    def all(self) -> None:
        """Gather the pools, run the steps, hand the storages back."""
        current = {pool.family.number: self.gathered(pool) for pool in self.steps.pools}
        if FAULT in self.memory.words:
            current[FAULT] = self.memory.words[FAULT]
        carried = sorted(set().union(*(self.changed(group) for group in self.steps.groups)))

        def turn(state: tuple[Array, list[Array]]) -> tuple[Array, list[Array]]:
            at, values = state
            inner = current | dict(zip(carried, values, strict=True))
            for number in range(len(self.steps.groups)):
                at = self.group(number, at, inner)
            return at, [inner[name] for name in carried]

        start = (jnp.int32(0), [current[name] for name in carried])
        _, values = lax.while_loop(lambda state: state[0] < len(self.steps), turn, start)
        self.hand_back(current | dict(zip(carried, values, strict=True)))

    # -- pools ------------------------------------------------------------------------------------------------------

    def gathered(self, pool: Pool) -> Array:
        """The storages that exist, one after the other, and fresh memory for the others."""
        values = [self.memory.words[kept.family] for kept in pool.kept if kept.family in self.memory.words]
        missing = pool.family.slots - sum(value.size for value in values) // prod(pool.shape)
        if pool.family.slots == len(values) == 1:
            return values[0].reshape(pool.shape)
        slots = [value.reshape(-1, *pool.shape) for value in values]
        if missing:
            slots.append(word_math.fresh(pool.family.buffer, (missing, *pool.shape), self.memory.zero))
        return jnp.concatenate(slots)

    def hand_back(self, values: dict[int, Array]) -> None:
        """What a stretch leaves behind; whoever writes to what it read has to wait for it."""
        memory, read_only, results = self.memory, set[int](), list[Array]()
        for pool in self.steps.pools:
            slots = values[pool.family.number].reshape(-1, *pool.shape)
            for kept in pool.kept:
                if kept.written:
                    results.append(slots[kept.span.first : kept.span.first + kept.span.slots])
                    memory.replace(kept.family, results[-1], 0, moved=False)
                else:
                    read_only.add(kept.family)
        if results:
            memory.note_reader(read_only & memory.words.keys(), lambda: stored_word(results[0]))
        if FAULT in values:
            memory.words[FAULT] = values[FAULT]

    # -- steps ------------------------------------------------------------------------------------------------------

    def signature(self, kind: Kind) -> Signature:
        return self.program.signature_of(kind.number)

    def changed(self, group: Sequence[Kind]) -> list[int]:
        """The pools that a group changes, the fault included."""
        operands = self.signature(group[0]).operands
        names = {site.outer.pool for site, operand in zip(group[0].sites, operands, strict=True) if operand.writes}
        return sorted(names | ({FAULT} if any(operand.indirection for operand in operands) else set()))

    def group(self, number: int, at: Array, current: dict[int, Array]) -> Array:
        """The steps from `at` on that belong to the group; returns the next one."""
        group = self.steps.groups[number]
        changed = self.changed(group)

        def body(state: tuple[Array, list[Array]]) -> tuple[Array, list[Array]]:
            at, values = state
            memory = Memory(current | dict(zip(changed, values, strict=True)), self.memory.zero)
            self.step(group, at, memory)
            return at + 1, [memory.words[n].reshape(v.shape) for n, v in zip(changed, values, strict=True)]

        shapes = [self.written_shape(group[0], name) or current[name].shape for name in changed]
        state = (at, [current[name].reshape(shape) for name, shape in zip(changed, shapes, strict=True)])
        at, values = lax.while_loop(lambda state: _row(self.places, state[0])[GROUP] == number, body, state)
        current.update({name: value.reshape(current[name].shape) for name, value in zip(changed, values, strict=True)})
        return at

    def written_shape(self, kind: Kind, pool: int) -> Shape | None:
        """How a kind reshapes a pool to write to it: reshaped any later, XLA would not write in place."""
        signature = self.signature(kind)
        for site, operand in zip(kind.sites, signature.operands, strict=True):
            if operand.writes and site.outer.pool == pool:
                box = None if self.is_scattered(signature, operand) else _written_view(operand, site).box()
                return (site.outer.view.size,) if box is None or not box.has_unit_steps else box.extents
        return None

    def is_scattered(self, signature: Signature, operand: OperandSignature) -> bool:
        """Whether run-time addresses let an operand be written by element numbers only."""
        skips = signature.attribute("oob_mode") == "skip" and any(o.indirection for o in signature.operands)
        return skips or (operand.indirection is not None and operand.indirection.kind != "scalar")

    def reads_what_it_changes(self, kind: Kind) -> bool:
        """Whether a kind's results go to a pool that it reads from."""
        pairs = list(zip(kind.sites, self.signature(kind).operands, strict=True))
        written = {site.outer.pool for site, operand in pairs if operand.writes}
        return any(operand.reads and site.outer.pool in written for site, operand in pairs)

    def step(self, group: Sequence[Kind], at: Array, memory: Memory) -> None:
        """One step of a group."""
        places = _row(self.places, at)
        if self.signature(group[0]).opcode == "device_print":
            operands = self.operands(group[0], places, memory)
            self.instructions.show(operands, self.instructions.addresses(places[NUMBER], operands))
            return

        def branch(kind: Kind) -> _Outcome:
            return self.outcome(kind, at, Memory(dict(memory.words), memory.zero))

        def idle() -> _Outcome:
            """It is never run: a switch of one branch would be none."""
            shapes = jax.eval_shape(lambda: branch(group[0]))
            zeros: _Outcome = jax.tree.map(lambda s: jnp.full(s.shape, memory.zero.astype(s.dtype)), shapes)
            return zeros

        branches = [partial(branch, kind) for kind in group]
        if len(group) > 1:
            outcome = lax.switch(places[BRANCH], branches)
        elif self.reads_what_it_changes(group[0]):
            outcome = lax.switch(places[BRANCH], [*branches, idle])
        else:
            outcome = branches[0]()
        self.instructions.store(self.targets(group[0], places, memory), outcome.rows, outcome.results, isolated=True)
        if outcome.fault is not None:
            memory.words[FAULT] = outcome.fault

    def outcome(self, kind: Kind, at: Array, memory: Memory) -> _Outcome:
        """What an instruction of a kind computes; the memory is the step's own.

        It looks up its numbers itself: what uses them does it on the way, and nothing is compiled only to fetch them.
        """
        places, words = _row(self.places, at), _row(self.words, at)
        operands = self.operands(kind, places, memory)
        rows = self.instructions.addresses(places[NUMBER], operands)
        scalars = [
            (lax.bitcast_convert_type(words[s.column : s.column + s.size].reshape(s.shape), s.dtype), Axes(s.merged))
            for s in kind.scalars
        ]
        results = self.instructions.evaluate(operands, rows, scalars)
        fault = memory.words[FAULT] if rows else None
        for position in operands.positions(writes=True):
            if kind.sites[position].inner is not None:  # then this is the only result: see `stretches.can_step`
                self.instructions.store(operands, rows, results)
                shape = kind.sites[position].outer.view.shape
                return _Outcome([memory.words[operands.families[position].number].reshape(shape)], {}, fault)
        return _Outcome(results, rows, fault)

    # -- operands ---------------------------------------------------------------------------------------------------

    def operands(self, kind: Kind, places: Array, memory: Memory) -> Operands:
        """A kind's operands in one step; slots that are taken out of their pools become storages of the memory."""
        placed, families = [], []
        for position, site in enumerate(kind.sites):
            pool, outer = self.steps.pools[site.outer.pool], _placed(site.outer, places)
            families.append(pool.family)
            placed.append(outer)
            if site.inner is not None:
                name = len(self.steps.pools) + position
                memory.words[name] = read(memory.words[pool.family.number], outer.view, outer.moved)
                families[-1] = Family(name, pool.family.buffer, (), pool.family.owner, 0, 1, written=True)
                placed[-1] = _placed(site.inner, places)

        def inside(position: int) -> Placed:
            placement = kind.sites[position].inside
            assert placement is not None
            return _placed(placement, places)

        return Operands(self.instructions.plan, self.signature(kind), placed, families, inside, self.scope, memory)

    def targets(self, kind: Kind, places: Array, memory: Memory) -> Operands:
        """Where the outcomes of a kind's group are written: into the pools."""
        operands = [
            operand if site.inner is None else operand._replace(dtype=operand.buffer_dtype)
            for operand, site in zip(self.signature(kind).operands, kind.sites, strict=True)
        ]
        signature = self.signature(kind)._replace(operands=tuple(operands))
        placed = [_placed(site.outer, places) for site in kind.sites]
        families = [self.steps.pools[site.outer.pool].family for site in kind.sites]
        return Operands(self.instructions.plan, signature, placed, families, placed.__getitem__, self.scope, memory)


def _placed(placement: Placement, places: Array) -> Placed:
    return Placed(placement.view, tuple(places[column] for column in placement.columns), placement.loops)


def _written_view(operand: OperandSignature, site: Site) -> View:
    return site.outer.view if operand.indirection is None else moved_by_index(operand.indirection, site.outer.view)


def _row(table: Array, at: Array) -> Array:
    row: Array = lax.dynamic_index_in_dim(table, at, keepdims=False, allow_negative_indices=False)
    return row
