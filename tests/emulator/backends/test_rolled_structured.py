"""Python loops beside, inside and around loops that run at run time, compiled and reference, bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import trnlab.emulator.nki as nki
import trnlab.emulator.nki.isa as nisa
import trnlab.emulator.nki.language as nl
from tests.emulator.backends.harness import hbm, load, normal, same_bits, same_bits_rolled, store, tile
from trnlab.emulator import errors, launch


def columns(x: Any, number: int, width: int = 8) -> Any:
    return x[:, width * number : width * number + width]


def count_of(number: int) -> np.ndarray:
    return np.array([[number]], np.int32)


@pytest.mark.parametrize("trips", [0, 1, 3])
def test_python_loops_before_inside_and_after_a_counted_loop(trips: int) -> None:
    @nki.jit
    def layered(x, count):
        kept = [load(columns(x, i)) for i in range(4)]
        out, sums = hbm(*x.shape), hbm(4, 8, 8)
        nisa.dma_copy(sums, x.reshape((8, 4, 8)).permute((1, 0, 2)))

        def body(i):
            for j in range(4):
                piece = load(columns(x, j))
                nisa.tensor_tensor(kept[j], kept[j], piece, nl.add)
            total = tile()
            nisa.memset(total, 0.0)
            for j in range(4):
                nisa.tensor_tensor(total, total, kept[j], nl.add)
            nisa.dma_copy(sums[i], total)

        nl.fori_loop(0, nisa.register_alloc(load(count)), body)
        for j in range(4):
            nisa.dma_copy(columns(out, j), kept[j])
        return out, sums

    x = normal(0, 8, 32)
    out, sums = same_bits_rolled(layered, x, count_of(trips))
    expected, rows = x.copy(), x.reshape(8, 4, 8).transpose(1, 0, 2).copy()
    for i in range(trips):
        expected = expected + x
        total = np.zeros((8, 8), np.float32)
        for j in range(4):
            total = total + columns(expected, j)
        rows[i] = total
    np.testing.assert_array_equal(out, expected)
    np.testing.assert_array_equal(sums, rows)


def test_run_time_loops_around_and_after_each_other_share_tiles_with_python_loops() -> None:
    @nki.jit
    def woven(x):
        total, out = tile(), hbm(*x.shape)
        nisa.memset(total, 1.0)
        for i in range(3):
            nisa.tensor_tensor(total, total, load(columns(x, i)), nl.add)

        def first(i):
            part = tile()
            nisa.memset(part, 0.0)
            for j in range(3):
                nisa.tensor_tensor(part, part, load(columns(x, j)), nl.maximum)

            def second(_):
                nisa.tensor_tensor(total, total, part, nl.add)
                for j in range(2):
                    nisa.tensor_scalar(total[:, 4 * j : 4 * j + 4], total[:, 4 * j : 4 * j + 4], nl.multiply, 0.5)

            nl.fori_loop(0, i, second)

        nl.fori_loop(0, 4, first)
        for i in nl.dynamic_range(2):
            nisa.tensor_scalar(total, total, nl.add, 0.25)
            nisa.dma_copy(x[nl.ds(i, 1), 0:8], total[0:1])
        for i in range(3):
            piece = load(columns(x, i))
            nisa.tensor_tensor(piece, piece, total, nl.multiply)
            nisa.dma_copy(columns(out, i), piece)
        return out, store(total)

    same_bits_rolled(woven, normal(0, 8, 24))


def test_a_while_loop_with_python_loops_in_it() -> None:
    @nki.jit
    def halving(x, count):
        kept, remaining = [load(columns(x, i)) for i in range(3)], load(count)
        condition = nisa.register_alloc(remaining)

        def body(_):
            for piece in kept:
                nisa.tensor_scalar(piece, piece, nl.multiply, 0.5)
            nisa.tensor_scalar(remaining, remaining, nl.subtract, 1)
            again = nisa.register_alloc()
            nisa.register_load(again, remaining)
            return again

        nl.while_loop(condition, body)
        out = hbm(*x.shape)
        for i in range(3):
            nisa.dma_copy(columns(out, i), kept[i])
        return out

    x = normal(0, 8, 24)
    np.testing.assert_array_equal(same_bits_rolled(halving, x, count_of(4)), x / 16)
    np.testing.assert_array_equal(same_bits(halving, x, count_of(0)), x)


def test_run_time_loops_unrolled_by_a_python_loop() -> None:
    @nki.jit
    def unrolled(x):
        out = hbm(3, 8, 8)
        for i in range(3):
            total = load(x[0:8, 8 * i : 8 * i + 8])

            def body(register: Any, total: Any = total) -> None:
                nisa.tensor_tensor(total, total, load(x[nl.ds(register, 8), 0:8]), nl.add)

            nl.fori_loop(i, 4, body)
            nisa.dma_copy(out[i], total)
        return out

    x = normal(0, 12, 24)
    result = same_bits(unrolled, x)
    for i in range(3):
        expected = columns(x[:8], i)
        for row in range(i, 4):
            expected = expected + x[row : row + 8, :8]
        np.testing.assert_array_equal(result[i], expected)


def test_tiles_local_to_run_time_iterations_are_fresh_or_carried() -> None:
    """A tile written whole in every iteration, one written in part, and one read before it is written."""

    @nki.jit
    def carried(x):
        out = hbm(5, 3, 8, 8)
        nisa.dma_copy(out, x.expand_dim(0).expand_dim(0).broadcast(0, 5).broadcast(1, 3))

        def body(i):
            whole, part, late = tile(), tile(), tile()
            nisa.dma_copy(whole, x)
            for j in range(2):
                nisa.tensor_scalar(whole[:, 4 * j : 4 * j + 4], whole[:, 4 * j : 4 * j + 4], nl.add, 1.0 + j)
            nisa.dma_copy(part[:, 0:4], whole[:, 2:6])
            nisa.dma_copy(out[i, 0], whole)
            nisa.dma_copy(out[i, 1], part)
            nisa.dma_copy(out[i, 2], late)
            nisa.tensor_copy(late, whole)

        nl.fori_loop(0, 5, body)
        return out

    x = normal(0, 8, 8)
    out = same_bits(carried, x)
    whole = x + np.repeat(np.float32([1, 2]), 4)
    for i in range(5):
        np.testing.assert_array_equal(out[i, 0], whole)
        np.testing.assert_array_equal(out[i, 1, :, :4], whole[:, 2:6])
    assert np.isnan(out[0, 2]).all()
    np.testing.assert_array_equal(out[1, 2], whole)  # the body is recorded once: the tile is the same in all iterations


def test_gathers_and_scatters_in_python_loops() -> None:
    @nki.jit
    def gathered(table, rows):
        index, out = load(rows), hbm(*table.shape)
        nisa.dma_copy(out, table)
        for i in range(4):
            piece = tile(6, 4)
            nisa.memset(piece, -1.0)
            source = table.vector_select(0, index)[:, 4 * i : 4 * i + 4]
            nisa.dma_copy(piece, source, oob_mode=nisa.oob_mode.skip)
            nisa.tensor_scalar(piece, piece, nl.multiply, 2.0)
            target = out.vector_select(0, index)[:, 4 * i : 4 * i + 4]
            nisa.dma_copy(target, piece, oob_mode=nisa.oob_mode.skip)
        return out

    table = normal(0, 20, 16)
    rows = np.array([3, 19, 20, -1, 0, 3], np.int32)[:, None]
    expected = table.copy()
    expected[[3, 19, 0]] *= 2
    np.testing.assert_array_equal(same_bits_rolled(gathered, table, rows), expected)


def test_indices_that_change_from_iteration_to_iteration() -> None:
    """A page table: which rows an iteration reads is in memory, and some iterations compute it."""

    @nki.jit
    def paged(pages, table):
        out, chosen = hbm(5, 4, 8), load(table)
        for i in range(5):
            register = nisa.register_alloc(chosen[0:1, i : i + 1])
            piece = load(pages[register])
            nisa.tensor_scalar(chosen[:, i + 1 : i + 2], chosen[:, i : i + 1], nl.subtract, 1)
            nisa.dma_copy(out[i], piece)
        return out

    pages = normal(0, 7, 4, 8)
    table = np.array([[6, 0, 0, 0, 0, 0]], np.int32)
    np.testing.assert_array_equal(same_bits_rolled(paged, pages, table), pages[[6, 5, 4, 3, 2]])


def test_an_index_out_of_bounds_in_a_late_iteration_names_the_first_bad_one() -> None:
    @nki.jit
    def picks(table, rows):
        out, index = hbm(4, 1, 8), load(rows)
        for i in range(4):
            nisa.dma_copy(out[i], table.vector_select(0, index[0:1, i : i + 1]))
        return out

    table = normal(0, 10, 8)
    good, bad = np.array([[1, 9, 0, 5]], np.int32), np.array([[1, 9, 12, 30]], np.int32)
    np.testing.assert_array_equal(same_bits(picks, table, good)[:, 0], table[good[0]])
    for mode in ("reference", "compiled"):
        with pytest.raises(errors.BoundsError, match=r"run-time index 12.*0 to 9"):
            launch.run(picks, table, bad, mode=mode)


def test_prints_in_python_loops_come_in_order() -> None:
    @nki.jit
    def talk(x):
        total = tile(8, 4)
        nisa.memset(total, 0.0)
        for i in range(4):
            nisa.tensor_tensor(total, total, load(x[:, 4 * i : 4 * i + 4]), nl.add)
            nl.device_print("so far", total[0:1, 0:2])
        return store(total)

    x = normal(0, 8, 16)
    heard: dict[str, list[Any]] = {"reference": [], "compiled": []}
    for mode, messages in heard.items():
        launch.run(talk, x, mode=mode, on_print=lambda _, values, into=messages: into.append(values.tolist()))
    assert heard["compiled"] == heard["reference"]
    assert len(heard["reference"]) == 4
