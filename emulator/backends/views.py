"""Views of a storage as XLA operations: what an instruction reads, where it writes.

A storage is an array of unsigned words whose shape does not matter; a `View` of it has the instruction's own dimensions
and, in front of them, one for every merged loop that moves it (see `merging`): the view of all iterations at once.
Reading hands back the dimensions in the order in which they lie in memory, as far as the instruction's own stay in
order, so that widening an instruction costs no transposition; `View.arrangement` says where each one is.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from trnlab.emulator.backends import boxes
from trnlab.emulator.backends.boxes import INDEX_MAX, Box, Move, Shape
from trnlab.emulator.errors import BackendError
from trnlab.emulator.view_algebra import reaches_twice


class View(NamedTuple):
    """An access pattern in elements of its own dtype.

    name:    the operand's, for messages
    size:    elements in the storage
    hints:   strides at which the storage is naturally cut: its rows, its tiles
    loops:   how many of the leading dimensions are merged loops
    moves:   what else moves it, at run time
    """

    name: str
    size: int
    hints: Shape
    shape: Shape
    strides: Shape
    loops: int
    offset: int
    moves: tuple[Move, ...] = ()

    def box(self) -> Box | None:
        """The slice that it is, or None."""
        return boxes.find_box(self.size, self.hints, self.shape, self.strides, self.offset, self.moves)

    def arrangement(self) -> Shape:
        """The dimensions in the order in which `read` returns and `write` takes them."""
        return _arrangement(self)

    def check(self) -> None:
        """Raise BackendError where element numbers would not fit their 32 bits."""
        if self.size > INDEX_MAX:
            message = f"{self.name}: only slices of a buffer of {self.size} elements can be compiled"
            raise BackendError(message)

    def numbers(self, order: Sequence[int], moved: Sequence[Array]) -> Array:
        """The element numbers, dimensions in the order."""
        self.check()
        offset: int | Array = self.offset
        for move, number in zip(self.moves, moved, strict=True):
            offset = offset + number * move.unit
        return boxes.grid(tuple(self.shape[d] for d in order), tuple(self.strides[d] for d in order), offset)


@lru_cache(maxsize=65536)
def _arrangement(view: View) -> Shape:
    own = list(range(view.loops, len(view.shape)))
    box = view.box()
    if box is None:
        return tuple(range(len(view.shape)))
    rank = {dim: position for position, dim in enumerate(box.order)}
    walked = [dim for dim in own if dim in rank]
    if [rank[dim] for dim in walked] != sorted(rank[dim] for dim in walked):
        return tuple(range(len(view.shape)))
    order = own
    for loop in sorted(range(view.loops), key=lambda dim: rank.get(dim, -1)):
        faster = [position for position, dim in enumerate(order) if rank.get(dim, -1) > rank.get(loop, -1)]
        order.insert(faster[0] if faster else len(order), loop)
    return tuple(order)


def opaque(value: Array) -> Array:
    """The value, as one that XLA cannot look through."""
    result: Array = lax.optimization_barrier(value)  # type: ignore[no-untyped-call]
    return result


def read(words: Array, view: View, moved: Sequence[Array] = ()) -> Array:
    """The words of a view, dimensions as in its arrangement.

    moved: the numbers of its moves, int32

    The compiler may not look through a transposition, a broadcast or a gather: it would choose other arithmetic than
    for the instruction alone.
    """
    arranged = view.arrangement()
    box = view.box()
    if box is None:
        return opaque(boxes.gather(words, view.numbers(arranged, moved)))
    taken = boxes.read_box(words, box, view.shape, moved)
    kept = [dim for dim in arranged if dim in box.order]
    is_plain = tuple(kept) == box.order
    if not is_plain:
        taken = lax.transpose(taken, [box.order.index(dim) for dim in kept])
    shape = tuple(view.shape[dim] for dim in arranged)
    core = tuple(view.shape[dim] if dim in box.order else 1 for dim in arranged)
    result = jnp.broadcast_to(taken.reshape(core), shape)
    return result if is_plain and core == shape else opaque(result)


def replaced(view: View, new: Array) -> Array | None:
    """The storage's value after a view that covers all of it was written; None when the view does not."""
    box = view.box()
    return (
        None if box is None or view.moves or not box.is_whole else _in_memory_order(view, box, new).reshape(box.extents)
    )


def write(
    words: Array,
    view: View,
    new: Array,
    moved: Sequence[Array] = (),
    *,
    tie: Array | None = None,
    apart: bool = False,
) -> Array:
    """The storage's value after the view was written; of several writes to one element the last stays.

    new:   dimensions as in the view's arrangement
    tie:   an int32 zero that must be known before anything is written
    apart: write by element numbers, which XLA does not fuse with what computes `new`
    """
    box = view.box()
    if box is not None and box.has_unit_steps and not apart:
        return boxes.write_box(words, box, _in_memory_order(view, box, new), moved, tie)
    order = view.arrangement()
    numbers = view.numbers(order, moved)
    distinct = not reaches_twice(view.shape, view.strides)
    return boxes.scatter(words, numbers if tie is None else numbers + tie, new, distinct=distinct)


def _in_memory_order(view: View, box: Box, new: Array) -> Array:
    """The written elements in the order of the box; where the view repeats an element, its last one."""
    arranged = view.arrangement()
    kept = [view.shape[dim] if dim in box.order else 1 for dim in arranged]
    if kept != list(new.shape):
        new = lax.slice(new, [size - last for size, last in zip(new.shape, kept, strict=True)], new.shape)
    walked = [dim for dim in arranged if dim in box.order]
    new = new.reshape([view.shape[dim] for dim in walked])
    order = [walked.index(dim) for dim in box.order]
    return new if order == sorted(order) else lax.transpose(new, order)
