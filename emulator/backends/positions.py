"""From an operand of a folded program to a view: where it lies in its family's storage, in the iterations of now.

A repeat around an instruction is at a `Position`: iterations that run together become a dimension of the view, the
number of a sequential iteration becomes a move.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import gcd, prod
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from trnlab.emulator.backends.boxes import Move
from trnlab.emulator.backends.layout import Plan, free_elements, spread_offset, spread_stride
from trnlab.emulator.backends.storage import Advance, Family
from trnlab.emulator.backends.views import View
from trnlab.emulator.nest import Block
from trnlab.emulator.program import IndexArray
from trnlab.emulator.repeats import Repeat
from trnlab.emulator.view_algebra import Shape, row_major


class Position(NamedTuple):
    """The iterations of one repeat that run now: base + number * scale + 0 .. iterations-1.

    number: a run-time int32 in 0..high, or None
    """

    base: int
    iterations: int
    number: Array | None = None
    scale: int = 1
    high: int = 0


Scope = dict[Block, Position]
"""The repeats around an instruction, outermost first."""


class Lookup(NamedTuple):
    """The entry of a table at the rounds of now; its leading axes count the rounds of these repeats."""

    entries: np.ndarray[Any, Any]
    rounds: tuple[Block, ...]

    def value(self, scope: Scope) -> Array:
        """What is left of the table at the run-time numbers."""
        found = jnp.asarray(self.entries)
        for block in self.rounds:
            found = lax.dynamic_index_in_dim(
                found, round_of(block, scope), keepdims=False, allow_negative_indices=False
            )
        return found


Number = Block | Lookup
"""What a view is moved by: the number of a repeat's round, or a table's entry for it."""


def value_of_number(number: Number, scope: Scope) -> Array:
    """The run-time number, int32."""
    return number.value(scope) if isinstance(number, Lookup) else round_of(number, scope)


def round_of(block: Block, scope: Scope) -> Array:
    """The number of a repeat's round, for a repeat that runs in rounds."""
    number = scope[block].number
    assert number is not None, "this repeat runs all at once"
    return number


class Located(NamedTuple):
    """A view, what its moves will be moved by, and which repeats its leading dimensions stand for."""

    view: View
    numbers: tuple[Number, ...]
    loops: tuple[Block, ...]


class Placed(NamedTuple):
    """A view, what its moves are moved by, and which repeats its leading dimensions stand for."""

    view: View
    moved: tuple[Array, ...]
    loops: tuple[Block, ...]


def widths(plan: Plan, family: Family, scope: Scope) -> list[tuple[Block, int]]:
    """The repeats that the family's storage has one part for per iteration, outermost first, and how many."""
    dims = plan.dims[family.number]
    return [(block, at.iterations) for block, at in scope.items() if at.iterations > 1 and block in dims]


def storage_size(plan: Plan, family: Family, scope: Scope) -> int:
    """Elements of the family's storage here, of the buffer's own dtype."""
    return prod(count for _, count in widths(plan, family, scope)) * family.slots * family.buffer.size


def storage_shape(plan: Plan, family: Family, scope: Scope) -> Shape:
    """The storage as an array of outer parts, slots, partitions, inner parts and the buffer's other dimensions."""
    wide = widths(plan, family, scope)
    inside = plan.inner[family.number]
    outer = [count for block, count in wide if block not in inside]
    inner = [count for block, count in wide if block in inside]
    slots = [family.slots] if family.slots > 1 else []
    return (*outer, *slots, family.buffer.shape[0], *inner, *family.buffer.shape[1:])


class _Frame(NamedTuple):
    """How positions in a family become positions in its storage, in elements of a view's dtype.

    each:  elements of a slot, inner parts included
    parts: how far apart the parts of each merged repeat lie
    free:  elements of a partition
    inner_parts: parts inside each partition
    """

    each: int
    parts: dict[Block, int]
    free: int
    inner_parts: int

    def step(self, stride: int) -> int:
        return stride if self.inner_parts == 1 else spread_stride(stride, self.free, self.inner_parts)

    def start(self, offset: int) -> int:
        return offset if self.inner_parts == 1 else spread_offset(offset, self.free, self.inner_parts)


def _frame(plan: Plan, family: Family, scope: Scope, own: int, item: int, free: int) -> _Frame:
    inside = plan.inner[family.number]
    wide = widths(plan, family, scope)
    inner = prod(count for block, count in wide if block in inside)
    each = family.buffer.size * own // item * inner
    next_inner, next_outer = free, family.slots * each
    parts: dict[Block, int] = {}
    for block, count in reversed(wide):
        if block in inside:
            parts[block] = next_inner
            next_inner *= count
        else:
            parts[block] = next_outer
            next_outer *= count
    return _Frame(each, parts, free, inner)


def place(plan: Plan, row: int, scope: Scope, *, inside_buffer: bool = False) -> Placed:
    """The view of one operand row, with the numbers that move it; the rest as for `locate`."""
    view, numbers, loops = locate(plan, row, scope, inside_buffer=inside_buffer)
    return Placed(view, tuple(value_of_number(number, scope) for number in numbers), loops)


def locate(plan: Plan, row: int, scope: Scope, *, inside_buffer: bool = False) -> Located:
    """The view of one operand row, without computing anything at run time.

    inside_buffer: leave the slot and its movement out, so that the view stays inside its buffer (see `indirection`)
    """
    storage = plan.storage
    operand = storage.operand(row)
    family = storage.families[int(storage.family_of[row])]
    item, own = operand.dtype.itemsize, operand.buffer_dtype.itemsize
    frame = _frame(plan, family, scope, own, item, free_elements(operand))
    slots = 0 if inside_buffer else frame.each
    offset = frame.start(storage.offset(row)) + int(storage.slot_of[row]) * slots
    shape, strides, loops = [], [], []
    moves: list[Move] = []
    numbers: list[Number] = []
    for block, at in scope.items():
        advance = storage.advance(block, row)
        advance = advance._replace(offset=frame.step(advance.offset))
        step = advance.offset + advance.slot * slots
        offset += at.base * step
        if at.number is not None and step:
            moves.append(Move(step * at.scale, 0, at.high))
            numbers.append(block)
        for table, unit in _tables(advance, slots):
            entry = entry_of(table, scope, block)
            if isinstance(entry, int):
                offset += entry * unit
            else:
                moves.append(Move(unit, int(entry.entries.min()), int(entry.entries.max())))
                numbers.append(entry)
        stride = step + frame.parts.get(block, 0)
        if at.iterations > 1 and stride:
            shape.append(at.iterations)
            strides.append(stride)
            loops.append(block)
    view = View(
        name=operand.name,
        size=storage_size(plan, family, scope) * own // item,
        hints=_hints(operand.buffer_shape, own, item, frame, family.slots),
        shape=(*shape, *operand.shape),
        strides=(*strides, *(frame.step(stride) for stride in operand.strides)),
        loops=len(loops),
        offset=offset,
        moves=tuple(moves),
    )
    return _looked_up(Located(view, tuple(numbers), tuple(loops)))


def _tables(advance: Advance, slots: int) -> list[tuple[IndexArray, int]]:
    """The tables of a repeat that move a view, and by how much each unit of their entries does."""
    found = []
    if advance.offset_table is not None:
        unit = gcd(*np.unique(advance.offset_table).tolist()) or 1
        found.append((advance.offset_table // unit, unit))
    if advance.slot_table is not None and slots:
        found.append((advance.slot_table, slots))
    return found


def _looked_up(located: Located) -> Located:
    """With the view's offset in the first table that moves it, where it is a slice all the same: entries are free.

    Lookups that differ only in their entries are one kernel to XLA; a sum after each would be one for every summand.
    """
    view, numbers, loops = located
    at = next((at for at, number in enumerate(numbers) if isinstance(number, Lookup)), None)
    if at is None:
        return located
    table, move = numbers[at], view.moves[at]
    assert isinstance(table, Lookup)
    units, left = divmod(view.offset, move.unit)
    moves = list(view.moves)
    moves[at] = Move(move.unit, move.low + units, move.high + units)
    lifted = view._replace(offset=left, moves=tuple(moves))
    if lifted.box() is None and view.box() is not None:
        return located
    entries = table._replace(entries=table.entries + np.int32(units))
    return Located(lifted, (*numbers[:at], entries, *numbers[at + 1 :]), loops)


def slot_of(plan: Plan, row: int, scope: Scope) -> int | None:
    """The slot of its family that an operand row lies in; None where several iterations or a run-time number decide."""
    storage = plan.storage
    slot = int(storage.slot_of[row])
    for block, at in scope.items():
        advance = storage.advance(block, row)
        if advance.slot and (at.number is not None or at.iterations > 1):
            return None
        slot += at.base * advance.slot
        if advance.slot_table is not None:
            entry = entry_of(advance.slot_table, scope, block)
            if not isinstance(entry, int):
                return None
            slot += entry
    return slot


def _hints(buffer_shape: Shape, own: int, item: int, frame: _Frame, slots: int) -> Shape:
    """Strides at which the storage is naturally cut: its slots and the buffer's own axes, where they are whole."""
    dense = [stride * own for stride in row_major(buffer_shape)]
    inner = [frame.step(stride // item) for stride in dense if stride % item == 0]
    return (*([frame.each] if slots > 1 else []), *(stride for stride in inner if 0 < stride < frame.each))


def entry_of(table: IndexArray, scope: Scope, block: Block) -> int | Lookup:
    """What a table of a repeat says in the iterations of now: a known number, or where to look it up.

    table: over the repeat's own counter, or with one axis per repeat around before it, of size 1 where it is the same
    """
    around = list(scope)[: list(scope).index(block) + 1]
    axes = [b for b in around if isinstance(b.loop, Repeat)][-table.ndim :]
    entries, rounds, merged = entries_of(table, [(axis, scope[axis]) for axis in axes])
    assert not merged, "what a table moves is not merged"
    return Lookup(entries.astype(np.int32), rounds) if rounds else int(entries)


def entries_of(
    table: np.ndarray[Any, Any], axes: Iterable[tuple[Block, Position]]
) -> tuple[np.ndarray[Any, Any], tuple[Block, ...], tuple[Block, ...]]:
    """The entries for the iterations of now, by the rounds of some repeats and by the merged iterations of others.

    table: one of these axes per repeat, of size 1 where it does not matter
    """
    index: list[IndexArray] = []
    shape: list[int] = []
    rounds: list[tuple[Block, int]] = []
    merged: list[tuple[Block, int]] = []
    for size, (block, at) in zip(table.shape, axes, strict=True):
        starts = at.base + (np.zeros(1, int) if at.number is None else at.scale * np.arange(at.high + 1))
        here = starts[:, None] + np.arange(at.iterations) if size > 1 else np.zeros((1, 1), int)
        index.append(here.reshape(-1))
        shape += here.shape
        rounds += [(block, len(starts))] if size > 1 and at.number is not None else []
        merged += [(block, at.iterations)] if size > 1 and at.iterations > 1 else []
    by_repeat = table[np.ix_(*index)].reshape(shape)
    rounds_first = by_repeat.transpose([*range(0, len(shape), 2), *range(1, len(shape), 2)])
    entries = rounds_first.reshape([count for _, count in (*rounds, *merged)])
    return entries, tuple(block for block, _ in rounds), tuple(block for block, _ in merged)
