"""Views of a storage against NumPy's strided windows: any two dtypes, merged loops in front, run-time moves."""

from __future__ import annotations

from itertools import product
from math import prod
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from tests.emulator.backends.harness import bits
from tests.emulator.backends.test_words import TENSOR_DTYPES, carried, random_bits
from trnlab.emulator import view_algebra as algebra
from trnlab.emulator.backends import views, words
from trnlab.emulator.backends.boxes import Move
from trnlab.emulator.backends.views import View
from trnlab.emulator.dtypes import DType
from trnlab.emulator.errors import BackendError

SHAPE = (6, 48)


class Case(NamedTuple):
    """A view of a [6, 48] storage of one dtype, as another, and where its moves lead to."""

    view: View
    own: DType
    dtype: DType
    numbers: tuple[int, ...]

    @property
    def offset(self) -> int:
        moves = zip(self.view.moves, self.numbers, strict=True)
        return self.view.offset + sum(move.unit * number for move, number in moves)

    def window(self, memory: np.ndarray) -> np.ndarray:
        """The view by its definition, dimensions in its own order."""
        item = self.dtype.itemsize
        strides = [stride * item for stride in self.view.strides]
        return np.ndarray(self.view.shape, f"u{item}", memory, self.offset * item, strides)

    @property
    def moved(self) -> list[jnp.ndarray]:
        return [jnp.int32(number) for number in self.numbers]


def elements(shape: tuple[int, ...], strides: tuple[int, ...]) -> list[set[int]]:
    """For every iteration of the first dimension the elements that it reaches."""
    rest = [range(count) for count in shape[1:]]
    return [
        {i * strides[0] + sum(a * s for a, s in zip(place, strides[1:], strict=True)) for place in product(*rest)}
        for i in range(shape[0])
    ]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Iterations of merged loops reach different elements: no others are merged where anything is written."""
    own, dtype = draw(st.sampled_from(TENSOR_DTYPES)), draw(st.sampled_from(TENSOR_DTYPES))
    size = prod(SHAPE) * own.itemsize // dtype.itemsize
    row = size // SHAPE[0]
    stride = st.sampled_from([0, 1, 2, 3, row // 4, row // 2, row, 2 * row])
    shape, strides, loops = [], [], 0
    for _ in range(draw(st.integers(1, 3))):
        shape.append(draw(st.integers(1, 4)))
        strides.append(draw(stride))
    for _ in range(draw(st.integers(0, 2))):
        count, step = draw(st.integers(2, 3)), draw(stride)
        reached = elements((count, *shape), (step, *strides))
        if len(set().union(*reached)) == sum(map(len, reached)):
            shape.insert(0, count)
            strides.insert(0, step)
            loops += 1
    _, highest = algebra.reach(tuple(shape), tuple(strides), 0)
    if highest >= size:
        shape, strides, loops, highest = [1], [1], 0, 0
    moves, numbers = [], []
    for _ in range(draw(st.integers(0, 2))):
        move = Move(draw(st.sampled_from([1, 2, row // 2, row])), 0, draw(st.integers(1, 3)))
        if highest + move.unit * move.high < size:
            highest += move.unit * move.high
            moves.append(move)
            numbers.append(draw(st.integers(0, move.high)))
    offset = draw(st.integers(0, size - 1 - highest))
    view = View("x", size, (row, 1), tuple(shape), tuple(strides), loops, offset, tuple(moves))
    return Case(view, own, dtype, tuple(numbers))


def storage_of(case: Case, memory: np.ndarray) -> jnp.ndarray:
    return words.recast(carried(memory, case.own), case.dtype)


@settings(max_examples=12)  # every new shape is compiled anew
@given(cases())
def test_reading_a_view_is_a_numpy_window(case: Case) -> None:
    memory = random_bits(1, SHAPE, case.own)
    got = views.read(storage_of(case, memory), case.view, case.moved)
    expected = case.window(memory).transpose(case.view.arrangement())
    np.testing.assert_array_equal(bits(got), expected)


@settings(max_examples=12)  # every new shape is compiled anew
@given(cases(), st.booleans(), st.booleans())
def test_writing_a_view_is_a_numpy_window(case: Case, tied: bool, apart: bool) -> None:
    memory = random_bits(2, SHAPE, case.own)
    new = random_bits(3, case.view.shape, case.dtype)
    order = case.view.arrangement()
    tie = jnp.int32(0) if tied else None
    given_words = carried(np.ascontiguousarray(new.transpose(order)), case.dtype)
    got = views.write(storage_of(case, memory), case.view, given_words, case.moved, tie=tie, apart=apart)
    expected = memory.copy()
    target = case.window(expected)
    for index in np.ndindex(*new.shape):  # element order: the last of several writes to one element stays
        target[index] = bits(new)[index]
    np.testing.assert_array_equal(bits(got).reshape(-1), expected.view(f"u{case.dtype.itemsize}").reshape(-1))


@settings(max_examples=200)
@given(cases())
def test_the_arrangement_keeps_the_instructions_own_order(case: Case) -> None:
    order = case.view.arrangement()
    assert sorted(order) == list(range(len(case.view.shape)))
    own = [dim for dim in order if dim >= case.view.loops]
    assert own == sorted(own)


def view_of(
    shape: tuple[int, ...], strides: tuple[int, ...], offset: int = 0, loops: int = 0, moves: tuple[Move, ...] = ()
) -> View:
    return View("x", prod(SHAPE), (SHAPE[1], 1), shape, strides, loops, offset, moves)


@pytest.mark.parametrize(
    ("view", "order"),
    [
        (view_of((3, 6, 16), (16, 48, 1), loops=1), (1, 0, 2)),  # tiles side by side are one wide matrix
        (view_of((3, 2, 48), (96, 48, 1), loops=1), (0, 1, 2)),  # tiles below each other are one high matrix
        (view_of((3, 2, 2, 16), (96, 16, 48, 1), loops=2), (0, 2, 1, 3)),
        (view_of((2, 3, 2, 16), (16, 96, 48, 1), loops=2), (1, 2, 0, 3)),  # whatever the order of the loops
        (view_of((3, 16, 6), (16, 1, 48), loops=1), (0, 1, 2)),  # a transposed operand is transposed anyway
        (view_of((3, 6, 16), (1, 48, 3), loops=1), (1, 2, 0)),  # interleaved columns
    ],
)
def test_merged_loops_are_where_they_lie_in_memory(view: View, order: tuple[int, ...]) -> None:
    assert view.arrangement() == order


@pytest.mark.parametrize(
    ("view", "whole"),
    [
        (view_of(SHAPE, (48, 1)), True),
        (view_of((48, 6), (1, 48)), True),
        (view_of((6, 2, 48), (48, 0, 1)), True),
        (view_of((3, 6, 16), (16, 48, 1), loops=1), True),  # by all iterations together
        (view_of((2, 6, 16), (16, 48, 1), loops=1), False),
        (view_of((6, 24), (48, 2)), False),
        (view_of((5, 48), (48, 1), 48), False),
        (view_of((3, 48), (48, 1), moves=(Move(144, 0, 1),)), False),
    ],
)
def test_which_writes_replace_the_whole_storage(view: View, whole: bool) -> None:
    shape = [view.shape[dim] for dim in view.arrangement()]
    new = jnp.arange(prod(shape), dtype=jnp.uint32).reshape(shape)
    found = views.replaced(view, new)
    assert (found is not None) == whole
    if found is not None:  # then it is what a write leaves, whatever was there
        written = views.write(jnp.full(SHAPE, 7, jnp.uint32), view, new)
        np.testing.assert_array_equal(found.reshape(-1), written.reshape(-1))


def test_element_numbers_beyond_32_bits_are_refused() -> None:
    view = View("x", 2**32, (2**16, 1), (3,), (-1,), 0, 2)
    with pytest.raises(BackendError, match="x: only slices"):
        views.read(jnp.zeros(4, jnp.uint32), view)
