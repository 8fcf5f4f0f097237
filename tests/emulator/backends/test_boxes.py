"""Boxes and element numbers against NumPy's strided windows."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from numpy.lib.stride_tricks import as_strided

from trnlab.emulator import view_algebra as algebra
from trnlab.emulator.backends import boxes
from trnlab.emulator.backends.boxes import INDEX_MAX, find_box

ROWS, COLUMNS = 8, 24
SIZE = ROWS * COLUMNS
Pattern = tuple[tuple[int, ...], tuple[int, ...], int]


def window(flat: np.ndarray, shape: Any, strides: Any, offset: int) -> np.ndarray:
    return as_strided(flat[offset:], shape, [stride * flat.itemsize for stride in strides])


@st.composite
def patterns(draw: st.DrawFn, low: int = -3) -> Pattern:
    """(shape, strides, offset) inside a buffer of SIZE elements; natural strides are likelier than odd ones."""
    stride = st.one_of(st.sampled_from([0, 1, 2, 3, 4, 6, 12, COLUMNS, 2 * COLUMNS]), st.integers(low, 30))
    shape, strides = [], []
    for _ in range(draw(st.integers(1, 4))):
        shape.append(draw(st.integers(1, 6)))
        strides.append(draw(stride))
    lowest, highest = algebra.reach(tuple(shape), tuple(strides), 0)
    if highest - lowest >= SIZE:
        shape, lowest, highest = [1] * len(shape), 0, 0
    offset = draw(st.integers(-lowest, SIZE - 1 - highest))
    return tuple(shape), tuple(strides), offset


@settings(max_examples=25)
@given(patterns())
def test_a_box_reads_what_the_strides_reach(pattern: Pattern) -> None:
    shape, strides, offset = pattern
    box = find_box(SIZE, (COLUMNS, 1), shape, strides, offset)
    if box is None:
        return
    flat = np.arange(SIZE)
    got = boxes.read_box(jnp.asarray(flat), box, box.start(offset), shape)
    np.testing.assert_array_equal(got, window(flat, shape, strides, offset))


@settings(max_examples=25)
@given(patterns())
def test_a_box_with_run_time_coordinates_reads_the_same(pattern: Pattern) -> None:
    shape, strides, offset = pattern
    box = find_box(SIZE, (COLUMNS, 1), shape, strides, offset)
    if box is None:
        return
    flat = np.arange(SIZE)
    start = [jnp.int32(coordinate) for coordinate in box.start(offset)]
    got = boxes.read_box(jnp.asarray(flat), box, start, shape)
    np.testing.assert_array_equal(got, window(flat, shape, strides, offset))


@settings(max_examples=300)
@given(patterns())
def test_what_is_inside_a_box_is_exactly_the_view(pattern: Pattern) -> None:
    """Without running anything: the box's slice of element numbers, transposed, is the pattern."""
    shape, strides, offset = pattern
    box = find_box(SIZE, (COLUMNS, 1), shape, strides, offset)
    if box is None:
        return
    whole = np.arange(SIZE).reshape(box.extents)
    cut = whole[
        tuple(
            slice(first, first + span, step)
            for first, span, step in zip(box.start(offset), box.spans(), box.steps, strict=True)
        )
    ]
    assert cut.shape == box.counts
    walked = np.broadcast_to(cut.transpose(boxes.to_axes(box)).reshape(boxes.core(box)), shape)
    np.testing.assert_array_equal(walked, window(np.arange(SIZE), shape, strides, offset))


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
    assert find_box(SIZE, (COLUMNS, 1), shape, strides, offset) is not None


@pytest.mark.parametrize(
    ("shape", "strides", "offset"),
    [
        ((4, 4), (1, 1), 0),  # overlapping windows
        ((3,), (-1,), 5),  # backwards
        ((4, 8), (20, 1), 7),  # rows of a pitch that does not divide the buffer
    ],
)
def test_other_patterns_are_not(shape: Any, strides: Any, offset: int) -> None:
    assert find_box(SIZE, (COLUMNS, 1), shape, strides, offset) is None


@settings(max_examples=15)  # every new shape is compiled anew
@given(patterns())
def test_element_numbers(pattern: Pattern) -> None:
    shape, strides, offset = pattern
    np.testing.assert_array_equal(boxes.grid(shape, strides, offset), window(np.arange(SIZE), shape, strides, offset))


@given(patterns())
def test_scatter_keeps_the_last_of_equal_numbers(pattern: Pattern) -> None:
    shape, strides, offset = pattern
    numbers = window(np.arange(SIZE), shape, strides, offset)
    new = np.arange(numbers.size).reshape(shape) + 1000
    expected = np.arange(SIZE)
    for number, value in zip(numbers.reshape(-1).tolist(), new.reshape(-1).tolist(), strict=True):
        expected[number] = value
    padded = np.full(6**4, INDEX_MAX), np.zeros(6**4, int)  # one shape, so that it is compiled once
    padded[0][: numbers.size], padded[1][: numbers.size] = numbers.reshape(-1), new.reshape(-1)
    got = boxes.scatter(jnp.arange(SIZE), jnp.asarray(padded[0]), jnp.asarray(padded[1]), distinct=False)
    np.testing.assert_array_equal(got, expected)


def test_scatter_drops_numbers_out_of_bounds() -> None:
    got = boxes.scatter(jnp.zeros(4, int), jnp.array([1, INDEX_MAX, 4]), jnp.array([7, 8, 9]), distinct=True)
    np.testing.assert_array_equal(got, [0, 7, 0, 0])
