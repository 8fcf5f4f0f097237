"""Run-time addresses against loops over elements in NumPy: alone, in a slot of a storage, moved by a loop."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from trnlab.emulator.backends import indirection
from trnlab.emulator.backends.boxes import Move
from trnlab.emulator.backends.indirection import Rows, Target
from trnlab.emulator.backends.positions import Placed
from trnlab.emulator.backends.views import View
from trnlab.emulator.dtypes import as_dtype
from trnlab.emulator.memory import MemoryRegion
from trnlab.emulator.program import IndirectionSignature, OperandSignature

ROWS, COLUMNS = 10, 12
INT32 = as_dtype("int32")
SLOTS = 3
MEMORY = np.arange(SLOTS * ROWS * COLUMNS, dtype=np.uint32)
PLACES = {"alone": (1, 0, 0), "moved": (SLOTS, 2, -1)}
"""Slots of the storage, the operand's slot, and by how many slots a run-time number 0..2 moves it."""


def operand(
    shape: tuple, strides: tuple, kind: str, stride: int, extent: int, dtype: Any = INT32, group: int = 0
) -> OperandSignature:
    how = IndirectionSignature(kind, stride, extent, group)
    region = MemoryRegion.shared_hbm
    return OperandSignature("x", "update", region, (ROWS, COLUMNS), INT32, as_dtype(dtype), shape, strides, how)


def numbers(view: OperandSignature, offset: int, index: list[int]) -> np.ndarray:
    """Element numbers by the definition: a vector places row p at index[p] * stride, columns likewise place column i,
    a scalar moves the whole view.
    """
    assert view.indirection is not None
    kind, stride = view.indirection[:2]
    replaced = {"vector": 0, "columns": len(view.shape) - 1}.get(kind)
    out = np.zeros(view.shape, np.int64)
    for place in np.ndindex(*view.shape):
        inner = sum(i * s for d, (i, s) in enumerate(zip(place, view.strides, strict=True)) if d != replaced)
        out[place] = offset + inner + stride * index[0 if replaced is None else place[replaced]]
    return out


def placed(view: OperandSignature, offset: int, place: str, number: Any) -> tuple[Placed, Any]:
    """The operand where its slot and the loop's number put it, and the offset that this comes to."""
    slots, slot, step = PLACES[place]
    each = ROWS * COLUMNS * 4 // view.dtype.itemsize
    start = offset + slot * each
    moves = (Move(step * each, 0, 2),) if step else ()
    found = View("x", slots * each, (each, each // ROWS, 1), view.shape, view.strides, 0, start, moves)
    return Placed(found, (number,) if step else (), ()), start + step * each * number


def resolved(view: OperandSignature, offset: int, index: Any) -> Rows:
    return indirection.resolve(view, placed(view, offset, "alone", 0)[0], jnp.asarray(index, jnp.int32))


@partial(jax.jit, static_argnums=(0, 1, 2))
def reading(view: OperandSignature, offset: int, place: str, number: Any, memory: Any, index: Any) -> Any:
    rows = resolved(view, offset, index)
    return indirection.read(memory, Target(view, placed(view, offset, place, number)[0]), rows), rows


@partial(jax.jit, static_argnums=(0, 1, 2))
def writing(
    view: OperandSignature, offset: int, place: str, number: Any, memory: Any, index: Any, new: Any, keep: Any
) -> Any:
    """As it is, tied to a reader and apart, and for every group of flags."""
    target, rows = Target(view, placed(view, offset, place, number)[0]), resolved(view, offset, index)
    plain = indirection.write(memory, target, rows, new, [])
    apart = indirection.write(memory, target, rows, new, [], tie=index.reshape(-1)[0] * 0, apart=True)
    return plain, apart, [indirection.write(memory, target, rows, new, [flags]) for flags in keep]


VIEWS = {
    "rows": (operand((4, 12), (12, 1), "vector", 12, 10), 0, [[3], [0], [9], [3]]),
    "parts of rows": (operand((4, 5), (12, 2), "vector", 12, 10), 1, [[3], [0], [9], [4]]),
    "blocks of rows": (operand((2, 3, 12), (36, 12, 1), "vector", 12, 8), 0, [[7], [2]]),
    "overlapping runs": (operand((4, 5), (12, 1), "vector", 2, 50), 0, [[3], [4], [40], [5]]),
    "index matrix, column by column": (operand((4, 12), (12, 1), "vector", 12, 10), 0, [[1, 3], [2, 4]]),
    "one row": (operand((12,), (1,), "scalar", 12, 10), 0, [[7]]),
    "columns from a start": (operand((10, 4), (12, 1), "scalar", 1, 9), 0, [[8]]),
    "every second column": (operand((10, 4), (12, 2), "scalar", 1, 5), 1, [[3]]),
    "rows transposed": (operand((4, 3), (1, 12), "scalar", 12, 8), 2, [[5]]),
    "a pattern that is no box": (operand((3, 4), (5, 2), "scalar", 3, 20), 4, [[11]]),
    "halves of words": (operand((10, 4), (24, 1), "scalar", 2, 9, "uint16"), 1, [[8]]),
    "backwards": (operand((2, 12), (12, 1), "scalar", -12, 8), 84, [[7]]),
}
COLUMN_VIEWS = {
    "columns, one group": (operand((10, 5), (12, 1), "columns", 1, 12, group=16), 0, [[3], [0], [11], [3], [7]]),
    "columns, groups of two": (
        operand((10, 5), (12, 1), "columns", 1, 12, group=2),
        0,
        [[1, 3, 9], [2, 4, 9], [9, 9, 9]],
    ),
    "columns of every second element": (operand((10, 3), (12, 2), "columns", 2, 5, group=16), 3, [[4], [0], [2]]),
}
WHERE = [("alone", 0), ("moved", 0), ("moved", 1)]


def flat_index(view: OperandSignature, index: Any) -> list[int]:
    """The index values column by column, the padding of groups left out."""
    assert view.indirection is not None
    return np.asarray(index)[: view.indirection.group or None].T.reshape(-1).tolist()


def elements_of(memory: np.ndarray, view: OperandSignature) -> np.ndarray:
    return memory.view(f"u{view.dtype.itemsize}")


def stored(view: OperandSignature, place: str) -> np.ndarray:
    """The storage that the place speaks of, as elements of the view's dtype."""
    return elements_of(MEMORY[: PLACES[place][0] * ROWS * COLUMNS].copy(), view)


ALL_VIEWS = VIEWS | COLUMN_VIEWS


@pytest.mark.parametrize(("place", "number"), WHERE)
@pytest.mark.parametrize(("view", "offset", "index"), ALL_VIEWS.values(), ids=ALL_VIEWS)
def test_reading(view: OperandSignature, offset: int, index: Any, place: str, number: int) -> None:
    memory = stored(view, place)
    got, rows = reading(view, offset, place, number, memory, np.asarray(index, np.int32))
    assert bool(rows.inside.all())
    assert not bool(rows.leaves.any())
    _, start = placed(view, offset, place, number)
    np.testing.assert_array_equal(got, memory[numbers(view, start, flat_index(view, index))])


def written(where: np.ndarray, new: np.ndarray, memory: np.ndarray) -> np.ndarray:
    """The memory after writes in element order."""
    for at, value in zip(where.reshape(-1), new.reshape(-1), strict=True):
        memory[at] = value
    return memory


def values_for(view: OperandSignature) -> np.ndarray:
    return (np.arange(np.prod(view.shape)).reshape(view.shape) + 1000).astype(f"u{view.dtype.itemsize}")


@pytest.mark.parametrize(("place", "number"), WHERE)
@pytest.mark.parametrize(("view", "offset", "index"), ALL_VIEWS.values(), ids=ALL_VIEWS)
def test_writing_in_element_order(view: Any, offset: int, index: Any, place: str, number: int) -> None:
    """Parts whose flag is false keep their content; offsets of columns are never skipped."""
    _, start = placed(view, offset, place, number)
    where, new = numbers(view, start, flat_index(view, index)), values_for(view)
    keep = [np.arange(flags) % 2 == 1 for flags in (1, 2)] if view.indirection.kind != "columns" else []
    memory = stored(view, place)
    plain, apart, parts = writing(view, offset, place, number, memory, np.asarray(index, np.int32), new, keep)
    expected = written(where, new, memory.copy())
    np.testing.assert_array_equal(plain.reshape(-1), expected)
    np.testing.assert_array_equal(apart.reshape(-1), expected)
    for flags, got in zip(keep, parts, strict=True):
        chosen = np.repeat(flags, where.size // flags.size)
        expected = written(where.reshape(-1)[chosen], new.reshape(-1)[chosen], memory.copy())
        np.testing.assert_array_equal(got.reshape(-1), expected)


def test_groups_of_flags_join() -> None:
    """A direct [4, 12] view under 4 flags and 2 flags: a row is written where both of its flags hold."""
    view = operand((4, 12), (12, 1), "vector", 12, 10)._replace(indirection=None)
    keep = [jnp.array([True, False, True, True]), jnp.array([True, False])]
    here, _ = placed(view, 0, "alone", 0)
    memory = stored(view, "alone")
    got = indirection.write(jnp.asarray(memory), Target(view, here), None, jnp.zeros((4, 12), jnp.uint32), keep)
    memory[:12] = 0  # row 0: (True, True); row 1: (False, True); rows 2 and 3: (True, False)
    np.testing.assert_array_equal(got.reshape(-1), memory)


def test_bad_indices_are_found_and_made_safe() -> None:
    view = operand((4, 12), (12, 1), "vector", 12, 10)
    rows = resolved(view, 0, [[3], [-1], [10], [9]])
    assert rows.values.tolist() == [3, -1, 10, 9]
    assert rows.inside.tolist() == [True, False, False, True]
    assert rows.safe.tolist() == [3, 0, 0, 9]
    assert not bool(rows.leaves.any())


def test_unsigned_indices_beyond_31_bits_are_out_of_bounds() -> None:
    view = operand((12,), (1,), "scalar", 12, 10)
    rows = indirection.resolve(view, placed(view, 0, "alone", 0)[0], jnp.array([[2**32 - 1]], jnp.uint32))
    assert rows.inside.tolist() == [False]


@pytest.mark.parametrize(
    ("stride", "offset", "leaving"),
    [
        (12, 24, {8, 9}),  # 24 + 12 * 8 + 11 = 131 > 119
        (-12, 36, {4, 5, 6, 7, 8, 9}),  # 36 - 12 * 4 < 0
        (0, 0, set()),
    ],
)
def test_indices_in_bounds_that_lead_out_of_the_buffer(stride: int, offset: int, leaving: set[int]) -> None:
    view = operand((10, 12), (0, 1), "vector", stride, 10)
    rows = resolved(view, offset, np.arange(10)[:, None])
    assert set(np.flatnonzero(rows.leaves).tolist()) == leaving
    assert rows.safe.tolist() == [0 if i in leaving else i for i in range(10)]
    assert bool(rows.inside.all())


def test_column_offsets_out_of_the_row_are_found_and_made_safe() -> None:
    view = operand((10, 4), (12, 1), "columns", 1, 12, group=16)
    rows = resolved(view, 0, [[3], [12], [-1], [11]])
    assert rows.inside.tolist() == [True, False, False, True]
    assert rows.safe.tolist() == [3, 0, 0, 11]
    assert not bool(rows.leaves.any())
