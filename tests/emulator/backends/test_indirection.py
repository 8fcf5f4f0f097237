"""Run-time addresses against loops over elements in NumPy."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from trnlab.emulator.backends import indirection
from trnlab.emulator.dtypes import as_dtype
from trnlab.emulator.memory import MemoryRegion
from trnlab.emulator.program import IndirectionSignature, OperandSignature

ROWS, COLUMNS = 10, 12
INT32 = as_dtype("int32")
MEMORY = np.arange(ROWS * COLUMNS, dtype=np.uint32)


def operand(shape: tuple, strides: tuple, kind: str, stride: int, extent: int, dtype: Any = INT32) -> OperandSignature:
    how = IndirectionSignature(kind, stride, extent)
    region = MemoryRegion.shared_hbm
    return OperandSignature("x", "update", region, (ROWS, COLUMNS), INT32, as_dtype(dtype), shape, strides, how)


def numbers(view: OperandSignature, offset: int, index: list[int]) -> np.ndarray:
    """Element numbers by the definition: a vector places row p at index[p] * stride, a scalar moves the whole view."""
    assert view.indirection is not None
    kind, stride, _ = view.indirection
    out = np.zeros(view.shape, np.int64)
    for place in np.ndindex(*view.shape):
        inner = sum(i * s for i, s in list(zip(place, view.strides, strict=True))[kind == "vector" :])
        out[place] = offset + inner + stride * index[place[0] if kind == "vector" else 0]
    return out


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


def flat_index(view: OperandSignature, index: Any) -> list[int]:
    return np.asarray(index).T.reshape(-1).tolist()


def elements_of(memory: np.ndarray, view: OperandSignature) -> np.ndarray:
    return memory.view(f"u{view.dtype.itemsize}")


@pytest.mark.parametrize(("view", "offset", "index"), VIEWS.values(), ids=VIEWS)
def test_reading(view: OperandSignature, offset: int, index: Any) -> None:
    rows = indirection.resolve(view, offset, jnp.asarray(index, jnp.int32))
    assert bool(rows.inside.all())
    assert not bool(rows.leaves.any())
    got = indirection.read(jnp.asarray(MEMORY), view, offset, rows)
    expected = elements_of(MEMORY, view)[numbers(view, offset, flat_index(view, index))]
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize(("view", "offset", "index"), VIEWS.values(), ids=VIEWS)
def test_writing_in_element_order(view: OperandSignature, offset: int, index: Any) -> None:
    rows = indirection.resolve(view, offset, jnp.asarray(index, jnp.int32))
    new = (np.arange(np.prod(view.shape)).reshape(view.shape) + 1000).astype(f"u{view.dtype.itemsize}")
    expected = MEMORY.copy()
    where = numbers(view, offset, flat_index(view, index))
    for number, value in zip(where.reshape(-1), new.reshape(-1), strict=True):
        elements_of(expected, view)[number] = value
    got = indirection.write(jnp.asarray(MEMORY), view, offset, rows, jnp.asarray(new), [])
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize(("view", "offset", "index"), VIEWS.values(), ids=VIEWS)
@pytest.mark.parametrize("flags", [1, 2])
def test_parts_whose_flag_is_false_keep_their_content(view: Any, offset: int, index: Any, flags: int) -> None:
    rows = indirection.resolve(view, offset, jnp.asarray(index, jnp.int32))
    keep = np.arange(flags) % 2 == 1
    new = (np.arange(np.prod(view.shape)).reshape(view.shape) + 1000).astype(f"u{view.dtype.itemsize}")
    expected = MEMORY.copy()
    where = numbers(view, offset, flat_index(view, index)).reshape(-1)
    chosen = np.repeat(keep, where.size // flags)
    for number, value in zip(where[chosen], new.reshape(-1)[chosen], strict=True):
        elements_of(expected, view)[number] = value
    got = indirection.write(jnp.asarray(MEMORY), view, offset, rows, jnp.asarray(new), [jnp.asarray(keep)])
    np.testing.assert_array_equal(got, expected)


def test_groups_of_flags_join() -> None:
    """A direct [4, 12] view under 4 flags and 2 flags: a row is written where both of its flags hold."""
    view = operand((4, 12), (12, 1), "vector", 12, 10)._replace(indirection=None)
    keep = [jnp.array([True, False, True, True]), jnp.array([True, False])]
    got = indirection.write(jnp.asarray(MEMORY), view, 0, None, jnp.zeros((4, 12), jnp.uint32), keep)
    expected = MEMORY.copy()
    expected[:12] = 0  # row 0: (True, True); row 1: (False, True); rows 2 and 3: (True, False)
    np.testing.assert_array_equal(got, expected)


def test_bad_indices_are_found_and_made_safe() -> None:
    view = operand((4, 12), (12, 1), "vector", 12, 10)
    rows = indirection.resolve(view, 0, jnp.array([[3], [-1], [10], [9]], jnp.int32))
    assert rows.values.tolist() == [3, -1, 10, 9]
    assert rows.inside.tolist() == [True, False, False, True]
    assert rows.safe.tolist() == [3, 0, 0, 9]
    assert not bool(rows.leaves.any())


def test_unsigned_indices_beyond_31_bits_are_out_of_bounds() -> None:
    view = operand((12,), (1,), "scalar", 12, 10)
    rows = indirection.resolve(view, 0, jnp.array([[2**32 - 1]], jnp.uint32))
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
    rows = indirection.resolve(view, offset, jnp.arange(10, dtype=jnp.int32)[:, None])
    assert set(np.flatnonzero(rows.leaves).tolist()) == leaving
    assert rows.safe.tolist() == [0 if i in leaving else i for i in range(10)]
    assert bool(rows.inside.all())
