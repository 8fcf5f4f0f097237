"""Boxes and element numbers against NumPy's strided windows, at rest and moved by run-time numbers."""

from __future__ import annotations

from itertools import product
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from numpy.lib.stride_tricks import as_strided

from trnlab.emulator import view_algebra as algebra
from trnlab.emulator.backends import boxes
from trnlab.emulator.backends.boxes import INDEX_MAX, Box, Move, find_box

ROWS, COLUMNS = 8, 24
SIZE = ROWS * COLUMNS
HINTS = (COLUMNS, 1)
Pattern = tuple[tuple[int, ...], tuple[int, ...], int, tuple[Move, ...]]


def window(flat: np.ndarray, shape: Any, strides: Any, offset: int) -> np.ndarray:
    return as_strided(flat[offset:], shape, [stride * flat.itemsize for stride in strides])


@st.composite
def patterns(draw: st.DrawFn, most_moves: int = 2) -> Pattern:
    """(shape, strides, offset, moves) inside a buffer of SIZE elements; natural strides are likelier than odd ones."""
    stride = st.one_of(st.sampled_from([0, 1, 2, 3, 4, 6, 12, COLUMNS, 2 * COLUMNS]), st.integers(-3, 30))
    shape, strides = [], []
    for _ in range(draw(st.integers(1, 4))):
        shape.append(draw(st.integers(1, 6)))
        strides.append(draw(stride))
    lowest, highest = algebra.reach(tuple(shape), tuple(strides), 0)
    if highest - lowest >= SIZE:
        shape, lowest, highest = [1] * len(shape), 0, 0
    moves = []
    for _ in range(draw(st.integers(0, most_moves))):
        unit, low = draw(stride), draw(st.integers(-2, 2))
        high = low + draw(st.integers(0, 4))
        reached = sorted((low * unit, high * unit))
        if unit and highest + reached[1] - lowest - reached[0] < SIZE:
            moves.append(Move(unit, low, high))
            lowest, highest = lowest + reached[0], highest + reached[1]
    offset = draw(st.integers(-lowest, SIZE - 1 - highest))
    return tuple(shape), tuple(strides), offset, tuple(moves)


def whole_view(taken: np.ndarray, box: Box, shape: Any) -> np.ndarray:
    """The view from its walked dimensions, which come in the box's order."""
    walked = sorted(box.order)
    core = np.asarray(taken).transpose([box.order.index(dim) for dim in walked])
    return np.broadcast_to(core.reshape([shape[dim] if dim in walked else 1 for dim in range(len(shape))]), shape)


@settings(max_examples=300)
@given(patterns())
def test_what_is_inside_a_box_is_exactly_the_view(pattern: Pattern) -> None:
    """Without running anything: the box's slice of element numbers, transposed, is the pattern, wherever it moves."""
    shape, strides, offset, moves = pattern
    box = find_box(SIZE, HINTS, shape, strides, offset, moves)
    if box is None:
        return
    whole = np.arange(SIZE).reshape(box.extents)
    for numbers in product(*(sorted({move.low, move.high}) for move in moves)):
        first = list(box.first)
        for (axis, factor), number in zip(box.moved, numbers, strict=True):
            first[axis] += number * factor
        cut = whole[tuple(slice(f, f + span, s) for f, span, s in zip(first, box.spans(), box.steps, strict=True))]
        assert cut.shape == box.counts
        got = whole_view(cut.reshape([shape[dim] for dim in box.order]), box, shape)
        moved = sum(move.unit * number for move, number in zip(moves, numbers, strict=True))
        np.testing.assert_array_equal(got, window(np.arange(SIZE), shape, strides, offset + moved))


def boxes_of(data: st.DataObject) -> tuple[Pattern, Box, list[int]] | None:
    """A pattern, its box and a place that its moves lead to; None where the pattern is no box."""
    pattern = data.draw(patterns())
    shape, strides, offset, moves = pattern
    box = find_box(SIZE, HINTS, shape, strides, offset, moves)
    return box and (pattern, box, [data.draw(st.integers(move.low, move.high)) for move in moves])


def reached(pattern: Pattern, numbers: list[int]) -> int:
    """The view's offset at these numbers of its moves."""
    _, _, offset, moves = pattern
    return offset + sum(move.unit * number for move, number in zip(moves, numbers, strict=True))


@settings(max_examples=25)  # every new shape is compiled anew
@given(st.data())
def test_a_box_reads_what_the_strides_reach(data: st.DataObject) -> None:
    found = boxes_of(data)
    if found is None:
        return
    pattern, box, numbers = found
    shape, strides = pattern[:2]
    got = boxes.read_box(jnp.arange(SIZE), box, shape, [jnp.int32(number) for number in numbers])
    expected = window(np.arange(SIZE), shape, strides, reached(pattern, numbers))
    np.testing.assert_array_equal(whole_view(got, box, shape), expected)


@settings(max_examples=25)  # every new shape is compiled anew
@given(st.data(), st.booleans())
def test_a_box_writes_what_the_strides_reach(data: st.DataObject, tied: bool) -> None:
    found = boxes_of(data)
    if found is None or not found[1].has_unit_steps:
        return
    pattern, box, numbers = found
    shape, strides = pattern[:2]
    new = np.arange(np.prod([shape[dim] for dim in box.order], dtype=int)).reshape([shape[d] for d in box.order]) + 1000
    tie = jnp.int32(0) if tied else None
    got = boxes.write_box(jnp.arange(SIZE), box, jnp.asarray(new), [jnp.int32(n) for n in numbers], tie)
    expected = np.arange(SIZE)
    window(expected, shape, strides, reached(pattern, numbers))[...] = whole_view(new, box, shape)
    np.testing.assert_array_equal(got.reshape(-1), expected)


@pytest.mark.parametrize(
    ("shape", "strides", "offset"),
    [
        ((8, 24), (24, 1), 0),  # the whole buffer
        ((8, 12), (24, 1), 12),  # the right half
        ((8, 12), (24, 2), 1),  # every second column
        ((8, 8), (24, 3), 2),  # every third column
        ((8, 4, 6), (24, 6, 1), 0),  # columns split
        ((8, 6, 4), (24, 1, 6), 0),  # and transposed
        ((24, 8), (1, 24), 0),  # transposed whole
        ((8, 5, 24), (24, 0, 1), 0),  # repeated
        ((192,), (1,), 0),  # flattened
        ((4, 24), (48, 1), 24),  # every second row
        ((1, 1), (24, 1), 100),  # one element
        ((2, 7), (72, 3), 75),  # every third row and column
    ],
)
def test_the_views_of_ordinary_kernels_are_boxes(shape: Any, strides: Any, offset: int) -> None:
    assert find_box(SIZE, HINTS, shape, strides, offset) is not None


@pytest.mark.parametrize(
    ("shape", "strides", "offset", "moves"),
    [
        ((8, 4), (24, 1), 0, (Move(4, 0, 5),)),  # a window of columns, tile by tile
        ((8, 4), (24, 1), 0, (Move(1, 0, 20),)),  # column by column
        ((2, 24), (24, 1), 0, (Move(48, 0, 3),)),  # rows, two at a time
        ((2, 4), (24, 1), 0, (Move(48, 0, 3), Move(4, 0, 5))),  # tiles in both directions
        ((8, 4), (24, 1), 20, (Move(-4, 0, 5),)),  # backwards
        ((1, 24), (24, 1), 4 * 24, (Move(24, -4, 3),)),  # around a middle
        ((4, 8), (1, 24), 0, (Move(4, 0, 5),)),  # transposed
        ((8, 3, 4), (24, 0, 1), 8, (Move(2, -4, 6),)),  # repeated
    ],
)
def test_views_that_loops_move_are_boxes(shape: Any, strides: Any, offset: int, moves: Any) -> None:
    assert find_box(SIZE, HINTS, shape, strides, offset, moves) is not None


@pytest.mark.parametrize(
    ("shape", "strides", "offset", "moves"),
    [
        ((4, 4), (1, 1), 0, ()),  # overlapping windows
        ((3,), (-1,), 5, ()),  # backwards inside
        ((4, 8), (20, 1), 7, ()),  # rows of a pitch that does not divide the buffer
        ((8, 4), (24, 1), 0, (Move(5, 0, 4), Move(7, 0, 1))),  # 5 * 4 + 7 + 4 columns: into the next row
    ],
)
def test_other_patterns_are_not(shape: Any, strides: Any, offset: int, moves: Any) -> None:
    assert find_box(SIZE, HINTS, shape, strides, offset, moves) is None


def test_a_move_that_carries_into_the_next_row_changes_how_the_buffer_is_cut() -> None:
    """A row of 4 that runs through the buffer ignores the rows of 24."""
    box = find_box(SIZE, HINTS, (4,), (1,), 0, (Move(1, 0, SIZE - 4),))
    assert box is not None
    assert box.extents == (SIZE,)


@settings(max_examples=15)  # every new shape is compiled anew
@given(patterns(most_moves=0), st.booleans())
def test_element_numbers(pattern: Pattern, run_time: bool) -> None:
    shape, strides, offset, _ = pattern
    got = boxes.grid(shape, strides, jnp.int32(offset) if run_time else offset)
    np.testing.assert_array_equal(got, window(np.arange(SIZE), shape, strides, offset))


_scatter = jax.jit(boxes.scatter, static_argnames="distinct")


@given(patterns(most_moves=0))
def test_scatter_keeps_the_last_of_equal_numbers(pattern: Pattern) -> None:
    shape, strides, offset, _ = pattern
    numbers = window(np.arange(SIZE), shape, strides, offset)
    new = np.arange(numbers.size).reshape(shape) + 1000
    expected = np.arange(SIZE)
    for number, value in zip(numbers.reshape(-1).tolist(), new.reshape(-1).tolist(), strict=True):
        expected[number] = value
    padded = np.full(6**4, INDEX_MAX), np.zeros(6**4, int)  # one shape, so that it is compiled once
    padded[0][: numbers.size], padded[1][: numbers.size] = numbers.reshape(-1), new.reshape(-1)
    got = _scatter(jnp.arange(SIZE), jnp.asarray(padded[0]), jnp.asarray(padded[1]), distinct=False)
    np.testing.assert_array_equal(got, expected)


def test_scatter_drops_numbers_out_of_bounds() -> None:
    got = boxes.scatter(jnp.zeros(4, int), jnp.array([1, INDEX_MAX, 4]), jnp.array([7, 8, 9]), distinct=True)
    np.testing.assert_array_equal(got, [0, 7, 0, 0])
