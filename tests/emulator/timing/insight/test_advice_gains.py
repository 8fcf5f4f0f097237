"""Advice applied by hand: the cured kernel is faster by what was promised, and no longer objected to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import trnlab.emulator.nki.isa as nisa
import trnlab.emulator.nki.language as nl
from tests.emulator.timing.insight.kernels import FLOAT32, array, load, timed
from trnlab.emulator.timing.insight.advice import advice
from trnlab.emulator.timing.timeline import Timeline


def copy_in_pieces(rows: int, columns: int, **how: Any) -> Callable[[Any], Any]:
    """A copy through SBUF in tiles of rows x columns."""

    def kernel(x: Any) -> Any:
        result = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
        for row in range(0, x.shape[0], rows):
            for column in range(0, x.shape[1], columns):
                place = (slice(row, row + rows), slice(column, column + columns))
                nisa.dma_copy(result[place], load(x[place], **how), **how)
        return result

    return kernel


def product_in_depths(depth: int) -> Callable[[Any, Any], Any]:
    """Eight matmuls of every tile of `depth` contraction rows."""

    def kernel(lhs: Any, rhs: Any) -> Any:
        for start in range(0, lhs.shape[0], depth):
            part = slice(start, start + depth)
            stationary, moving = (load(side[part], dge_mode=nisa.dge_mode.none) for side in (lhs, rhs))
            for _ in range(8):
                nisa.nc_matmul(nl.ndarray((128, 512), dtype=nl.float32, buffer=nl.psum), stationary, moving)
        return lhs

    return kernel


def tables(grouped: bool) -> Callable[[Any], Any]:
    """sqrt(exp(x)) of eight tiles: all exponentials first, or one tile after the other."""

    def kernel(x: Any) -> Any:
        whole = load(x)
        tiles = [whole[:, column : column + 512] for column in range(0, x.shape[1], 512)]
        functions = [(nl.exp, tile) for tile in tiles] + [(nl.sqrt, tile) for tile in tiles]
        if not grouped:
            functions = [(function, tile) for tile in tiles for function in (nl.exp, nl.sqrt)]
        for function, tile in functions:
            nisa.activation(tile, function, tile)
        return x

    return kernel


def gains(ill: Timeline, cured: Timeline, rule: str) -> tuple[float, float]:
    """Promised, and come true."""
    (promised,) = [item.gain_seconds for item in advice(ill) if item.rule == rule]
    assert rule not in {item.rule for item in advice(cured)}
    return promised, ill.total_seconds - cured.total_seconds


@pytest.mark.parametrize("columns", [128, 512])  # descriptors of 256 B and of 1 KiB
def test_small_transfers_made_large(columns: int) -> None:
    x = array((128, 16384))
    promised, true = gains(timed(copy_in_pieces(128, columns), x), timed(copy_in_pieces(128, 2048), x), "small-dma")
    assert promised == pytest.approx(true, rel=0.05)


def test_transfers_that_wait_for_no_generator() -> None:
    x, static = array((128, 16384)), {"dge_mode": nisa.dge_mode.none}
    waiting, free = (timed(copy_in_pieces(128, 128, **how), x) for how in ({}, static))
    promised, true = gains(waiting, free, "descriptor-generation")
    # 128 loads and as many stores of 256 B rows: 600 ns each one after another, or 864 ns for both, side by side.
    assert promised == pytest.approx(true, abs=1e-12)
    assert true == pytest.approx(128 * (2 * 600.2e-9 - 128 * 256 / (368e9 * 0.103)), rel=0.05)


def test_narrow_transfers_spread_over_all_partitions() -> None:
    x = array((512, 2048))
    promised, true = gains(timed(copy_in_pieces(8, 2048), x), timed(copy_in_pieces(128, 2048), x), "few-dma-engines")
    assert promised == pytest.approx(true, rel=0.05)


def test_an_array_filled_by_half_filled_whole() -> None:
    operands = array((2048, 128)), array((2048, 512))
    half, whole = (timed(product_in_depths(depth), *operands) for depth in (64, 128))
    promised, true = gains(half, whole, "array-underused")
    assert promised == pytest.approx(true, rel=0.05)


def test_activations_grouped_by_table() -> None:
    x = array((128, 4096), FLOAT32)
    alternating, grouped = (timed(tables(way), x) for way in (False, True))
    (promised,) = [item.gain_seconds for item in advice(alternating) if item.rule == "table-loads"]
    true = alternating.total_seconds - grouped.total_seconds
    assert true > 0
    # What is promised is the time of all loads; two remain when they are grouped, of 1.28 us each.
    assert promised == pytest.approx(true + 2 * 1.28e-6, rel=1e-3)


def serial_copy(in_flight: bool) -> Callable[[Any], Any]:
    """A copy of 16 tiles through SBUF, through one tile after the other's store or through a tile each."""

    def kernel(x: Any) -> Any:
        result = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
        tile = nl.ndarray((128, 2048), dtype=x.dtype, buffer=nl.sbuf)
        for row in range(0, x.shape[0], 128):
            tile = nl.ndarray((128, 2048), dtype=x.dtype, buffer=nl.sbuf) if in_flight else tile
            nisa.dma_copy(tile, x[row : row + 128])
            nisa.dma_copy(result[row : row + 128], tile)
        return result

    return kernel


def test_the_latency_of_the_first_load_and_of_the_last_store_is_nobodys_fault() -> None:
    x = array((2048, 2048))
    for kernel in (copy_in_pieces(128, 2048), serial_copy(in_flight=True)):
        assert "dma-latency" not in {item.rule for item in advice(timed(kernel, x))}
    assert advice(timed(copy_in_pieces(128, 2048), array((128, 2048)))) == ()


def test_loads_that_wait_for_stores_made_to_overlap() -> None:
    x = array((2048, 2048))
    serial, overlapping = (timed(serial_copy(way), x) for way in (False, True))
    promised, true = gains(serial, overlapping, "dma-latency")
    # 16 loads and 16 stores of 1.3 and 0.3 us, less the first and the last, and less 90 ns that occupy the DMA engines;
    # the transfers themselves overlap a little.
    assert promised == pytest.approx(30 * 1.51e-6, rel=0.01)
    assert true == pytest.approx(promised, rel=0.1)
