"""Slots that buffers take in turns: never two at once in one, as few as possible, and found where the tables say."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from hypothesis import given, strategies as st

import trnlab.emulator.nki as nki
import trnlab.emulator.nki.isa as nisa
import trnlab.emulator.nki.language as nl
from tests.emulator.backends.harness import normal, planned, same_bits, tile
from tests.emulator.backends.random_kernels import arguments, kernel_of
from tests.emulator.backends.random_recipes import random_recipe
from trnlab.emulator.backends.slot_turns import _narrowed, slots_in_turns

lives = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 12)), min_size=1, max_size=40)


@given(lives)
def test_slots_are_as_many_as_are_in_use_at_once(drawn: list[tuple[int, int]]) -> None:
    first, last = [start for start, _ in drawn], [start + length for start, length in drawn]
    slots = slots_in_turns(first, last)
    in_use = [[slot for slot, a, b in zip(slots, first, last, strict=True) if a <= now <= b] for now in range(60)]
    assert all(len(set(found)) == len(found) for found in in_use)
    assert max(slots) + 1 == max(map(len, in_use))
    assert set(slots) == set(range(max(slots) + 1))


def test_axes_that_make_no_difference_are_left_out() -> None:
    never = -1
    np.testing.assert_array_equal(_narrowed(np.array([[1, 1, never], [never, 1, 1]])), 1)
    np.testing.assert_array_equal(_narrowed(np.array([[0, 0, never], [2, never, 2]])), [0, 2])
    np.testing.assert_array_equal(_narrowed(np.array([[0, 1, never], [never, 1, 3]])), [[0, 1, 3]])
    np.testing.assert_array_equal(_narrowed(np.array([[never, never], [4, 5]])), [[4, 5]])
    assert _narrowed(np.array(7)).shape == ()


@nki.jit
def running_maximum(x):
    """The largest value of columns 0..i, tile by tile, for rows i of blocks: each maximum a tile of its own."""
    out = nl.ndarray((12, 8, 8), dtype=x.dtype, buffer=nl.shared_hbm)
    for i in range(12):
        best = tile(name="best")
        nisa.dma_copy(best, x[:, 0:8])
        for j in range(1, i // 2 + 1):
            better = tile(name="best")
            nisa.tensor_tensor(better, best, x_tile(x, j), nl.maximum)
            best = better
        nisa.dma_copy(out[i], best)
    return out


def x_tile(x, number):
    loaded = tile(name="column")
    nisa.dma_copy(loaded, x[:, 8 * number : 8 * number + 8])
    return loaded


def test_a_chain_of_tiles_in_a_triangular_loop_takes_two_slots() -> None:
    """One is read while the next is written, and no third is alive: however many tiles the kernel names."""
    x = normal(0, 8, 48)
    storage = planned(running_maximum, x).storage
    chained = [family for family in storage.families if storage.program.buffers[family.members[0][1]].name == "best"]
    assert sum(len(family.members) for family in chained) == 12 + sum(i // 2 for i in range(12))
    assert [family.slots for family in chained if len(family.members) > 12] == [2]
    found = same_bits(running_maximum, x)
    expected = [np.maximum.reduce([x[:, 8 * j : 8 * j + 8] for j in range(i // 2 + 1)]) for i in range(12)]
    np.testing.assert_array_equal(np.asarray(found), expected)


@pytest.mark.parametrize("seed", [103, 118])
def test_random_programs_whose_buffers_take_turns(seed: int) -> None:
    kernel = kernel_of(random_recipe(Random(seed), 100))
    storage = planned(kernel, *arguments(seed)).storage
    assert any(turn is not None for turn in storage.turns.values())
    same_bits(kernel, *arguments(seed))
