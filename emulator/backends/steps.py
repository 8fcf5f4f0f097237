"""A stretch of instructions as a table: a row per step, and the few kinds of instruction that the rows choose from.

Instructions are of one *kind* when they differ only in numbers: where their operands start, and immediates. Kinds whose
results go to places of one form make a *group*, because what writes a result has to know its form.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, NamedTuple

import numpy as np

from trnlab.emulator.backends.boxes import Move
from trnlab.emulator.backends.immediates import Immediate, known_immediates
from trnlab.emulator.backends.pools import Pool, Pooled, Pooling, Span, Use
from trnlab.emulator.backends.positions import Located, Lookup, Number, Scope, locate, slot_of
from trnlab.emulator.backends.semantics import meaning_of
from trnlab.emulator.backends.step_table import Table, TableBuilder
from trnlab.emulator.backends.stretches import Execution, Stretch
from trnlab.emulator.backends.views import View
from trnlab.emulator.backends.words import carrier
from trnlab.emulator.nest import Block
from trnlab.emulator.target import Target
from trnlab.emulator.view_algebra import Shape, row_major

GROUP, BRANCH, NUMBER = 0, 1, 2
"""Columns of the table of places: the step's group, its kind in the group, its instruction. Then come coordinates."""
_COORDINATES = 3


# ------------------------------------------------------------------------------------------- what the lowering needs


class Placement(NamedTuple):
    """A view whose moves are moved by columns of the table of places.

    pool: the pool that it is a view of, or -1 for something else
    """

    pool: int
    view: View
    loops: tuple[Block, ...]
    columns: Shape


class Site(NamedTuple):
    """An operand of a kind. One of another word size than its pool's is a view of a storage, taken out of the pool.

    outer:  its view of the pool, or the storage
    inner:  its view of the storage
    inside: an indirect operand's view of its own buffer
    """

    outer: Placement
    inner: Placement | None
    inside: Placement | None


class Scalar(NamedTuple):
    """An immediate of a kind: from which column of the table of words on, and what its axes stand for."""

    column: int
    dtype: np.dtype[Any]
    shape: Shape
    merged: tuple[Block, ...]

    @property
    def size(self) -> int:
        """How many columns it takes."""
        return prod(self.shape)


@dataclass(frozen=True, eq=False)
class Kind:
    """An instruction but for its numbers; `number` is one of those that it stands for."""

    number: int
    sites: tuple[Site, ...]
    scalars: tuple[Scalar, ...]


@dataclass(frozen=True, eq=False)
class Steps:
    """A stretch ready to be lowered. Its tables have one more row than it has steps, which belongs to no group."""

    pools: tuple[Pool, ...]
    groups: tuple[tuple[Kind, ...], ...]
    places: Table
    words: Table

    def __len__(self) -> int:
        return len(self.places.values) - 1

    @property
    def kinds(self) -> int:
        """How many instructions have to be compiled."""
        return sum(len(group) for group in self.groups)


def plan_steps(pooling: Pooling, target: Target, stretch: Stretch, scope: Scope, existing: frozenset[int]) -> Steps:
    """The steps of a stretch; `existing` are the families that have values when it begins."""
    return _Planner(pooling, target, pooling.pooled(stretch, scope, existing)).steps()


# ------------------------------------------------------------------------------------------------ forms and spots


class _Form(NamedTuple):
    """A view but for where it starts; each of its coordinates moves it by a number of elements."""

    pool: int
    view: View
    loops: tuple[Block, ...]
    units: Shape


class _Drift(NamedTuple):
    """What a run-time number adds to a coordinate: factor * number, and the bounds of that."""

    coordinate: int
    factor: int
    number: Number
    low: int
    high: int


class _Spot(NamedTuple):
    """Where a view starts: the coordinates of its form."""

    starts: Shape
    drifts: tuple[_Drift, ...] = ()


def _by_coordinates(pool: int, located: Located) -> tuple[_Form, _Spot]:
    """Along the axes of the box that the view is; otherwise along its elements."""
    view, numbers, loops = located
    box = view.box()
    if box is None:
        return _by_elements(pool, located)
    moved = {axis for axis, _ in box.moved}
    spans = box.spans()
    axes = [a for a, extent in enumerate(box.extents) if extent > spans[a] or a in moved]
    drifts = (
        _drift(axes.index(axis), factor, number, move)
        for (axis, factor), number, move in zip(box.moved, numbers, view.moves, strict=True)
    )
    form = _Form(pool, _bare(view), loops, tuple(box.strides[a] for a in axes))
    return form, _Spot(tuple(box.first[a] for a in axes), tuple(drifts))


def _by_elements(pool: int, located: Located) -> tuple[_Form, _Spot]:
    view, numbers, loops = located
    drifts = (_drift(0, move.unit, number, move) for number, move in zip(numbers, view.moves, strict=True))
    return _Form(pool, _bare(view), loops, (1,)), _Spot((view.offset,), tuple(drifts))


def _bare(view: View) -> View:
    return view._replace(name="", offset=0, moves=())


def _drift(coordinate: int, factor: int, number: Number, move: Move) -> _Drift:
    low, high = sorted((factor * move.low, factor * move.high))
    return _Drift(coordinate, factor, number, low, high)


def _in_pool(view: View, span: Span, slots: int) -> View:
    """A view of a storage as a view of the pool in which it takes a span of slots."""
    each = view.size // span.slots
    hints = (each, *view.hints) if slots > 1 else view.hints
    return view._replace(size=slots * each, hints=hints, offset=view.offset + span.first * each)


def _whole(pool: Pool, span: Span) -> Located:
    shape = (span.slots, *pool.shape)
    strides = row_major(shape)
    view = View("", prod(shape), strides, shape, strides, 0, 0)
    return Located(_in_pool(view, span, pool.family.slots), (), ())


class _Operand(NamedTuple):
    """The views of one operand of one step: those of `Site`, as far as there are any."""

    outer: tuple[_Form, _Spot]
    inner: tuple[_Form, _Spot] | None
    inside: tuple[_Form, _Spot] | None

    def forms(self) -> Hashable:
        """What must be equal for operands of one kind."""
        return tuple(None if part is None else part[0] for part in self)


class _Step(NamedTuple):
    number: int
    operands: tuple[_Operand, ...]
    immediates: tuple[Immediate, ...]


# ---------------------------------------------------------------------------------------------------------- planning


class _Planner:
    def __init__(self, pooling: Pooling, target: Target, pooled: Pooled) -> None:
        self.plan = pooling.plan
        self.program = pooling.storage.program
        self.target = target
        self.pooled = pooled
        self.places = TableBuilder(len(pooled.steps) + 1, np.dtype(np.int32))
        self.words = TableBuilder(len(pooled.steps) + 1, np.dtype(np.uint32))
        self.static: dict[int, Hashable] = {}

    def steps(self) -> Steps:
        steps = [self.step(at, used) for at, used in zip(self.pooled.steps, self.pooled.uses, strict=True)]
        by_group: dict[Hashable, dict[Hashable, list[int]]] = {}
        for row, step in enumerate(steps):
            kind = self.kind_of(step)
            by_group.setdefault(self.group_of(step, kind), {}).setdefault(kind, []).append(row)
        numbers = np.asarray([[step.number] for step in steps])
        self.places.put(np.arange(len(steps)), NUMBER, numbers)
        groups = []
        for number, kinds in enumerate(by_group.values()):
            for branch, rows in enumerate(kinds.values()):
                self.places.put(np.asarray(rows), GROUP, np.asarray([[number, branch]] * len(rows)))
            groups.append(tuple(self.group(steps, list(kinds.values()))))
        self.places.put(np.asarray([len(steps)]), GROUP, np.asarray([[-1]]))
        return Steps(self.pooled.pools, tuple(groups), self.places.table(), self.words.table())

    # -- one step ---------------------------------------------------------------------------------------------------

    def step(self, at: Execution, used: Sequence[Use]) -> _Step:
        raw = meaning_of(self.program.signature_of(at.number), self.target).math == "raw"
        immediates = known_immediates(self.program, at.number, at.scope, raw=raw)
        return _Step(at.number, tuple(self.operand(use, at.scope) for use in used), tuple(immediates))

    def operand(self, use: Use, scope: Scope) -> _Operand:
        span = self.pooled.place_of[use.held]
        pool = self.pooled.pools[span.pool]
        inside = None
        if use.operand.indirection is not None:
            inside = _by_elements(-1, locate(self.plan, use.row, scope, inside_buffer=True))
        if use.operand.dtype.itemsize != use.operand.buffer_dtype.itemsize:
            span, inner = self.storage_of(use, span, scope)
            return _Operand(_by_coordinates(span.pool, _whole(pool, span)), _by_coordinates(-1, inner), inside)
        view = _in_pool(use.located.view, span, pool.family.slots)
        return _Operand(_by_coordinates(span.pool, use.located._replace(view=view)), None, inside)

    def storage_of(self, use: Use, span: Span, scope: Scope) -> tuple[Span, Located]:
        """What of a span has to be taken out of the pool for one operand, and the operand's view of it."""
        slot = slot_of(self.plan, use.row, scope)
        if slot is None or span.slots == 1:
            return span, use.located
        alone = locate(self.plan, use.row, scope, inside_buffer=True)
        size = use.located.view.size // span.slots
        return Span(span.pool, span.first + slot, 1), alone._replace(view=alone.view._replace(size=size))

    # -- what steps have in common ----------------------------------------------------------------------------------

    def kind_of(self, step: _Step) -> Hashable:
        """Equal for instructions that differ only in numbers."""
        immediates = tuple((i.values.dtype, i.values.shape[len(i.rounds) :], i.merged) for i in step.immediates)
        name = int(self.program.signature_ids[step.number])
        if name not in self.static:
            signature = self.program.signatures[name]
            # Where an operand is indirect, bounds are judged by all that its signature says.
            operands = [o if o.indirection else (o.access, o.dtype, o.shape) for o in signature.operands]
            self.static[name] = (meaning_of(signature, self.target), tuple(operands))
        return self.static[name], tuple(operand.forms() for operand in step.operands), immediates

    def group_of(self, step: _Step, kind: Hashable) -> Hashable:
        """Equal for kinds whose results can be written by one operation; run-time addresses and prints stay alone."""
        signature = self.program.signature_of(step.number)
        if signature.opcode == "device_print" or any(operand.indirection for operand in signature.operands):
            return kind
        return tuple(
            (operand.outer[0], carrier(declared.buffer_dtype if operand.inner else declared.dtype))
            for operand, declared in zip(step.operands, signature.operands, strict=True)
            if declared.writes
        )

    def group(self, steps: Sequence[_Step], kinds: Sequence[list[int]]) -> Iterator[Kind]:
        """The kinds of a group, each given by its rows; where results go is in the same columns for all."""
        rows = [row for kind in kinds for row in kind]
        column = _COORDINATES
        targets: list[Placement] = []
        for position in range(len(self.results(steps[rows[0]]))):
            placed = self.placed([self.results(steps[row])[position].outer for row in rows], rows, column)
            targets.append(placed)
            column += len(placed.columns)
        for kind in kinds:
            yield self.kind([steps[row] for row in kind], kind, targets, column)

    def results(self, step: _Step) -> list[_Operand]:
        declared = self.program.signature_of(step.number).operands
        return [operand for operand, o in zip(step.operands, declared, strict=True) if o.writes]

    def kind(self, steps: Sequence[_Step], rows: list[int], targets: Sequence[Placement], column: int) -> Kind:
        declared = self.program.signature_of(steps[0].number).operands
        left = iter(targets)
        sites = []
        for position, operand in enumerate(declared):
            parts: list[Placement | None] = [next(left)] if operand.writes else []
            for part in range(len(parts), 3):
                found = [step.operands[position][part] for step in steps]
                known = [pair for pair in found if pair is not None]
                parts.append(self.placed(known, rows, column) if known else None)
                column += len(parts[-1].columns) if parts[-1] is not None else 0
            outer, inner, inside = parts
            assert outer is not None
            sites.append(Site(outer, inner, inside))
        return Kind(steps[0].number, tuple(sites), tuple(self.scalars(steps, rows)))

    # -- numbers ----------------------------------------------------------------------------------------------------

    def placed(self, found: Sequence[tuple[_Form, _Spot]], rows: Sequence[int], column: int) -> Placement:
        """One form at the spots of several rows; coordinates that differ between them get columns, from this one on."""
        form = found[0][0]
        starts = np.asarray([spot.starts for _, spot in found], np.int64).reshape(len(found), len(form.units))
        low, high = starts.copy(), starts.copy()
        drifts = [(at, drift) for at, (_, spot) in enumerate(found) for drift in spot.drifts]
        for at, drift in drifts:
            low[at, drift.coordinate] += drift.low
            high[at, drift.coordinate] += drift.high
        lowest, highest = low.min(axis=0).tolist(), high.max(axis=0).tolist()
        differing = [c for c in range(len(form.units)) if lowest[c] < highest[c]]
        columns = {coordinate: column + place for place, coordinate in enumerate(differing)}
        for coordinate, place in columns.items():
            self.places.put(np.asarray(rows), place, starts[:, [coordinate]])
        for at, drift in drifts:
            if drift.coordinate in columns:
                self.places.add(rows[at], columns[drift.coordinate], drift.factor, drift.number)
        offset = sum(form.units[c] * lowest[c] for c in range(len(form.units)) if c not in columns)
        moves = tuple(Move(form.units[c], lowest[c], highest[c]) for c in differing)
        return Placement(form.pool, form.view._replace(offset=offset, moves=moves), form.loops, tuple(columns.values()))

    def scalars(self, steps: Sequence[_Step], rows: Sequence[int]) -> Iterator[Scalar]:
        column = 0
        for index, first in enumerate(steps[0].immediates):
            shape = first.values.shape[len(first.rounds) :]
            for step, row in zip(steps, rows, strict=True):
                values, rounds, _ = step.immediates[index]
                words = values.reshape(*values.shape[: len(rounds)], -1).view(np.uint32)
                if rounds:
                    self.words.add(row, column, 1, Lookup(words, rounds))
                else:
                    self.words.put(np.asarray([row]), column, words[None])
            yield Scalar(column, first.values.dtype, shape, first.merged)
            column += prod(shape)
