"""Slots that buffers take in turns: never two at once in one, as few as possible, and found where the tables say."""

from __future__ import annotations

from random import Random

import jax
import numpy as np
import pytest
from hypothesis import given, strategies as st

import trnlab.emulator.nki as nki
import trnlab.emulator.nki.isa as nisa
import trnlab.emulator.nki.language as nl
from tests.emulator.backends.harness import normal, planned, same_bits, tile
from tests.emulator.backends.random_kernels import arguments, kernel_of
from tests.emulator.backends.random_recipes import random_recipe
from trnlab.emulator import launch
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


ROWS, COLUMNS = (0, 20, 45, 100), (0, 2, 7, 9, 11, 14)


@nki.jit
def tiles_by_two_tables(x):
    """[a, b] is tile ROWS[a] + COLUMNS[b] of a chain whose other tiles are dead; and columns of x, in the same loop."""
    out = nl.ndarray((len(ROWS), len(COLUMNS), 8, 8), dtype=x.dtype, buffer=nl.shared_hbm)
    plain = nl.ndarray((len(ROWS), 8, 8), dtype=x.dtype, buffer=nl.shared_hbm)
    wanted = sorted({row + column for row in ROWS for column in COLUMNS})
    kept = {}
    for number, before in zip(wanted, [-1, *wanted], strict=False):
        kept[number] = tile(name="best")
        nisa.dma_copy(kept[number], x[:, 0:8])
        for step in range(number - before - 1):
            further = tile(name="best")
            nisa.tensor_scalar(further, kept[number], nl.add, float(number + step))
            kept[number] = further
    for a, row in enumerate(ROWS):
        nisa.dma_copy(plain[a], x[:, 8 * a : 8 * a + 8])
        for b, column in enumerate(COLUMNS):
            nisa.dma_copy(out[a, b], kept[row + column])
    return out, plain


def test_a_repeat_that_chooses_slots_runs_one_by_one() -> None:
    """Its own table is gone: what it chose is in the one that the repeat inside looks slots up in."""
    x = normal(1, 8, 32)
    plan = planned(tiles_by_two_tables, x)
    shared = [turn[1].shape for turn in plan.storage.turns.values() if turn is not None]
    assert any(len(shape) == 2 and shape[0] > 1 for shape in shared)
    same_bits(tiles_by_two_tables, x)


@nki.jit
def repeated_maximum(x):
    """`running_maximum` in a loop that is counted at run time."""
    out = nl.ndarray((3, 12, 8, 8), dtype=x.dtype, buffer=nl.shared_hbm)
    for _ in nl.dynamic_range(3):
        for i in range(12):
            best = tile(name="best")
            nisa.dma_copy(best, x[:, 0:8])
            for j in range(1, i // 2 + 1):
                better = tile(name="best")
                nisa.tensor_tensor(better, best, x_tile(x, j), nl.maximum)
                best = better
            for copy in range(3):
                nisa.dma_copy(out[copy, i], best)
    return out


def test_a_run_time_loop_around_changes_no_slots() -> None:
    x = normal(2, 8, 48)
    storage = planned(repeated_maximum, x).storage
    chained = [family for family in storage.families if storage.program.buffers[family.members[0][1]].name == "best"]
    assert [family.slots for family in chained if len(family.members) > 12] == [2]
    same_bits(repeated_maximum, x)


ORDER = (3, 0, 7, 1, 6, 2, 5, 4)


@nki.jit
def permuted_lower_half(x):
    """Blocks of columns of the lower rows in another order: tables move the columns, the rows begin at 8."""
    out = nl.ndarray((16, 8 * len(ORDER)), dtype=x.dtype, buffer=nl.shared_hbm)
    for number in ORDER:
        part = (slice(8, 16), slice(8 * number, 8 * number + 8))
        held = tile()
        nisa.dma_copy(held, x[part])
        nisa.dma_copy(out[part], held)
    return out


def test_what_a_table_moves_is_a_slice_wherever_it_starts() -> None:
    x = normal(3, 16, 8 * len(ORDER))
    assert any(repeat.tables for repeat in planned(permuted_lower_half, x).storage.program.repeats)
    text = jax.jit(permuted_lower_half).lower(x).as_text()
    assert "stablehlo.scatter" not in text
    assert "stablehlo.gather" not in text
    found = launch.run(permuted_lower_half, x).outputs
    np.testing.assert_array_equal(np.asarray(found)[8:], x[8:])
