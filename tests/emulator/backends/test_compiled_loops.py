"""The compiled back end against the reference, bit for bit: run-time addresses, structured loops, prints in them."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import trnlab.emulator.nki as nki
import trnlab.emulator.nki.isa as nisa
import trnlab.emulator.nki.language as nl
from tests.emulator.backends.harness import load, normal, same_bits, store
from trnlab.emulator import errors, launch
from trnlab.emulator.backends import rolled


@nki.jit
def gather_scatter(table, rows, places):
    index, where = load(rows), load(places)
    tile = nl.ndarray((rows.shape[0], table.shape[1]), dtype=table.dtype)
    nisa.memset(tile, -1.0)
    nisa.dma_copy(tile, table.vector_select(0, index), oob_mode=nisa.oob_mode.skip)
    out = nl.ndarray(table.shape, dtype=table.dtype, buffer=nl.shared_hbm)
    nisa.dma_copy(out, table)
    nisa.dma_copy(out.vector_select(0, where), tile, oob_mode=nisa.oob_mode.skip)
    return out, store(tile)


def test_gather_and_scatter_skip_what_is_out_of_bounds() -> None:
    table = normal(0, 50, 16)
    rows = np.array([3, 49, 50, -1, 0, 7], np.int32)[:, None]
    places = np.array([9, 2, 9, 99, -5, 2], np.int32)[:, None]
    out, tile = same_bits(gather_scatter, table, rows, places)
    expected = np.full((6, 16), -1, np.float32)
    expected[[0, 1, 4, 5]] = table[[3, 49, 0, 7]]
    np.testing.assert_array_equal(tile, expected)
    scattered = table.copy()
    scattered[9], scattered[2] = expected[2], expected[5]  # the later of two writes to a row
    np.testing.assert_array_equal(out, scattered)


@nki.jit
def pick(table, row):
    register = nisa.register_alloc(load(row))
    out = nl.ndarray((8, 4), dtype=nl.float32, buffer=nl.shared_hbm)
    nisa.dma_copy(out, table[nl.ds(register, 8), 2:6])
    return out


def test_a_run_time_index_out_of_bounds_names_the_line() -> None:
    table = normal(0, 50, 16)
    np.testing.assert_array_equal(same_bits(pick, table, np.array([[42]], np.int32)), table[42:50, 2:6])
    for mode in ("reference", "compiled"):
        with pytest.raises(errors.BoundsError, match=r"nisa.dma_copy: table.*run-time index 43.*0 to 42") as caught:
            launch.run(pick, table, np.array([[43]], np.int32), mode=mode)
        location = caught.value.violation.location
        assert location is not None
        assert "nisa.dma_copy(out, table" in location.text


def test_under_an_outer_jit_an_index_out_of_bounds_poisons_the_results() -> None:
    traced = jax.jit(pick)
    table = normal(0, 50, 16)
    np.testing.assert_array_equal(traced(table, np.array([[42]], np.int32)), table[42:50, 2:6])
    assert np.isnan(traced(table, np.array([[43]], np.int32))).all()
    assert np.isnan(traced(table, np.array([[-1]], np.int32))).all()


@nki.jit
def counted(x, bound):
    """sum over i < bound of x[i] * 1.5 + i, with a prefix sum stored along the way."""
    total = nl.ndarray((128, 8), dtype=nl.float32)
    nisa.memset(total, 0.0)
    sums = nl.ndarray(x.shape, dtype=nl.float32, buffer=nl.shared_hbm)
    nisa.dma_copy(sums, x)
    register = nisa.register_alloc(load(bound))

    def body(i):
        tile = nl.ndarray((128, 8), dtype=nl.float32)
        nisa.dma_copy(tile, x[i])
        nisa.tensor_scalar(tile, tile, nl.multiply, 1.5)
        nisa.tensor_tensor(total, total, tile, nl.add)
        nisa.dma_copy(sums[i], total)

    nl.fori_loop(0, register, body)
    return sums, store(total)


@pytest.mark.parametrize("trips", [0, 1, 3, 5])
def test_counted_loops(trips: int) -> None:
    x = normal(0, 5, 128, 8)
    sums, total = same_bits(counted, x, np.array([[trips]], np.int32))
    expected = np.zeros((128, 8), np.float32)
    prefix = x.copy()
    for i in range(trips):
        expected = expected + np.float32(x[i] * np.float32(1.5))
        prefix[i] = expected
    np.testing.assert_array_equal(total, expected)
    np.testing.assert_array_equal(sums, prefix)


def test_nested_loops_with_steps_and_a_while_loop() -> None:
    @nki.jit
    def nested(x, count):
        total = nl.ndarray((128, 8), dtype=nl.float32)
        nisa.memset(total, 0.0)
        remaining = load(count)
        condition = nisa.register_alloc(remaining)

        def outer(register):
            part = nl.ndarray((128, 8), dtype=nl.float32)  # whole in every iteration: local to it
            nisa.memset(part, 1.0)

            def inner(i):
                nisa.tensor_scalar(part, part, nl.multiply, 1.25)
                nisa.dma_copy(total[:, 0:1], x[i, :, 0:1])

            nl.fori_loop(1, 6, inner, step=2)
            nisa.tensor_tensor(total, total, part, nl.add)
            nisa.tensor_scalar(remaining, remaining, nl.subtract, 1)
            again = nisa.register_alloc()
            nisa.register_load(again, remaining)
            return again

        nl.while_loop(condition, outer)
        return store(total), store(remaining)

    x = normal(0, 6, 128, 8)
    total, remaining = same_bits(nested, x, np.array([[3]], np.int32))
    assert remaining == 0
    np.testing.assert_array_equal(total[:, 1:], np.full((128, 7), np.float32(3 * 1.25**3)))
    np.testing.assert_array_equal(total[:, 0], x[5, :, 0] + np.float32(1.25**3))


@pytest.mark.parametrize(
    ("lower", "upper", "step"),
    [(0, 5, 1), (5, 0, 1), (-7, 8, 3), (5, -6, -2), (-(2**31), 2**31 - 1, 2**30), (2**31 - 1, -(2**31), -(2**30))],
)
def test_trip_counts_are_those_of_range(lower: int, upper: int, step: int) -> None:
    assert int(rolled.trip_count(jnp.int32(lower), jnp.int32(upper), step)) == len(range(lower, upper, step))


def test_prints_come_in_program_order_in_both_modes() -> None:
    @nki.jit
    def talk(x, bound):
        tile = load(x)
        register = nisa.register_alloc(load(bound))

        def body(i):
            nisa.tensor_scalar(tile, tile, nl.add, 1.0)
            nl.device_print("in the loop", tile[0:1, 0:1])

        nl.device_print("before", tile[0:1, 0:2])
        nl.fori_loop(0, register, body)
        nl.device_print("after", tile[1:2, 1:2])
        return store(tile)

    heard: dict[str, list[tuple[str, list[float]]]] = {"reference": [], "compiled": []}
    for mode, messages in heard.items():

        def note(prefix: str, values: np.ndarray, messages: Any = messages) -> None:
            messages.append((prefix, values.reshape(-1).tolist()))

        launch.run(talk, np.zeros((128, 8), np.float32), np.array([[3]], np.int32), mode=mode, on_print=note)
    assert heard["compiled"] == heard["reference"]
    expected = [("before", [0.0, 0.0]), *(("in the loop", [float(i)]) for i in (1, 2, 3)), ("after", [3.0])]
    assert heard["reference"] == expected
