"""The compiled back end against the reference, bit for bit: partial writes, strange views, aliasing."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

import trnlab.emulator.nki as nki
import trnlab.emulator.nki.isa as nisa
import trnlab.emulator.nki.language as nl
from tests.emulator.backends.harness import bits, load, normal, same_bits, store
from tests.repetition import everyday
from trnlab.emulator import launch
from trnlab.emulator.memory import INTEGER_SENTINEL


def test_partial_writes_leave_uninitialised_memory_as_it_is() -> None:
    @nki.jit
    def partial(x):
        outputs = []
        for dtype in (nl.float32, nl.bfloat16, nl.float8_e4m3, nl.int32, nl.uint8, nl.float8_e5m2_x4):
            tile = nl.ndarray((128, 40), dtype=dtype)
            if dtype == nl.float8_e5m2_x4:
                nisa.memset(tile[:64, 3:9], 0)
            else:
                nisa.dma_copy(tile[32:96, 8:28:2], x[:64, :10])
                nisa.memset(tile[:, 1:2], 7)
            outputs.append(store(tile))
        return tuple(outputs)

    results = same_bits(partial, normal(0, 128, 16))
    assert np.isnan(results[0][0, 0])
    assert results[3][0, 0] == INTEGER_SENTINEL


def test_strided_transposed_and_reinterpreted_views() -> None:
    @nki.jit
    def views(x):
        tile = load(x)
        moved = nl.ndarray((128, 6, 8), dtype=nl.float32)
        nisa.tensor_copy(moved.permute((0, 2, 1)), tile.reshape((128, 8, 6)))
        nisa.tensor_copy(moved[:, 1:3, ::2], tile.reshape((128, 6, 8))[:, 0:2, 4:8])
        words = nl.ndarray((128, 96), dtype=nl.uint16)
        nisa.tensor_copy(words, tile.view(nl.uint16))
        nisa.tensor_copy(words[:, 0:96:2], words[:, 1:96:2])
        nisa.tensor_copy(tile.view(nl.uint8)[:, 1:192:4], tile.view(nl.uint8)[:, 0:192:4])
        windows = nl.ndarray((128, 5, 8), dtype=nl.float32)
        nisa.tensor_copy(windows, tile.ap([[48, 128], [3, 5], [1, 8]]))
        return store(moved), store(words), store(tile), store(windows)

    same_bits(views, np.random.default_rng(0).integers(0, 2**32, (128, 48), dtype=np.uint32).view(np.float32))


def test_the_last_of_several_writes_to_one_element_stays() -> None:
    @nki.jit
    def overlapping(x):
        tile = nl.ndarray((128, 8), dtype=nl.float32)
        nisa.tensor_copy(tile.ap([[8, 128], [0, 3], [1, 8]]), load(x).reshape((128, 3, 8)))
        other = nl.ndarray((128, 8), dtype=nl.float32)
        nisa.memset(other, 0.0)
        nisa.tensor_copy(other.ap([[8, 128], [2, 3], [1, 4]]), load(x)[:, :12].reshape((128, 3, 4)))
        return store(tile), store(other)

    x = normal(0, 128, 24)
    tile, other = same_bits(overlapping, x)
    np.testing.assert_array_equal(tile, x[:, 16:])
    expected = np.stack([x[:, 0], x[:, 1], x[:, 4], x[:, 5], x[:, 8], x[:, 9], x[:, 10], x[:, 11]], 1)
    np.testing.assert_array_equal(other, expected)


def test_a_signalling_nan_moves_unchanged() -> None:
    @nki.jit
    def move(x):
        tile = nl.ndarray((128, 8), dtype=x.dtype)
        nisa.memset(tile, 0.0)
        nisa.dma_copy(tile[:, 2:6], x)
        return store(tile)

    x = np.full((128, 4), 0x7F81, np.uint16).view(ml_dtypes.bfloat16)
    assert np.all(bits(same_bits(move, x))[:, 2:6] == 0x7F81)


def test_operands_may_overlap() -> None:
    @nki.jit
    def shift(x):
        tile = load(x)
        nisa.tensor_copy(tile[:, 1:], tile[:, :-1])
        nisa.tensor_tensor(tile[:, ::2], tile[:, ::2], tile[:, 1::2], nl.add)
        return store(tile)

    same_bits(shift, normal(0, 128, 32))


def test_inputs_written_in_place_and_returned_views() -> None:
    @nki.jit
    def update(x, y):
        nisa.dma_copy(x[0:64], y[64:128])
        return x, y[:, 1:3]

    x, y = normal(0, 128, 8), normal(1, 128, 8)
    new, part = same_bits(update, x, y)
    np.testing.assert_array_equal(new, np.concatenate([y[64:], x[64:]]))
    np.testing.assert_array_equal(part, y[:, 1:3])


def test_results_do_not_share_memory_with_arguments() -> None:
    @nki.jit
    def identity(x):
        tile = load(x)
        nisa.dma_copy(x, tile)
        return x

    for mode in ("reference", "compiled"):
        x = normal(0, 128, 8)
        result = launch.run(identity, x, mode=mode).outputs
        assert not np.shares_memory(result, x)


def test_booleans_pass_through() -> None:
    @nki.jit
    def flags(x):
        return store(load(x))

    x = np.random.default_rng(0).integers(0, 2, (128, 8)).astype(bool)
    np.testing.assert_array_equal(same_bits(flags, x), x)


def random_body(seed: int, length: int = 14) -> Any:
    """A kernel of random instructions on random views of three tiles, one of them bfloat16 and one int32."""

    def window(rng: np.random.Generator, tile: Any, rows: int, columns: int, itemsize: int) -> Any:
        view = tile if tile.dtype.itemsize == itemsize else tile.view(nl.uint16 if itemsize == 2 else nl.uint32)
        step = int(rng.integers(1, 3))
        start = int(rng.integers(0, view.shape[1] - (columns - 1) * step))
        first = 32 * int(rng.integers(0, 3))
        return view[first : first + rows, start : start + (columns - 1) * step + 1 : step]

    def kernel(x):
        rng = np.random.default_rng(seed)
        tiles = [nl.ndarray((128, 48), dtype=dtype) for dtype in (nl.float32, nl.bfloat16, nl.int32)]
        nisa.dma_copy(tiles[0][:, 0:32], x)
        for _ in range(length):
            a, b, c = (tiles[i] for i in rng.integers(0, 3, 3))
            rows, columns = int(rng.choice([1, 16, 32])), int(rng.integers(1, 12))
            itemsize = int(rng.choice([2, 4]))
            views = [window(rng, tile, rows, columns, itemsize) for tile in (a, b, c)]
            kind = rng.integers(0, 5)
            if kind == 0:
                nisa.memset(window(rng, a, rows, columns, a.dtype.itemsize), int(rng.integers(0, 9)))
            elif kind == 1:
                nisa.tensor_copy(views[0], views[1])
            elif kind == 2:
                nisa.tensor_tensor(views[0], views[1], views[2], nl.multiply)
            elif kind == 3:
                nisa.tensor_scalar(views[0], views[1], nl.add, 1.75)
            else:
                split = views[1].reshape_dim(1, (columns, 1)).permute((0, 2, 1))
                nisa.dma_copy(views[0], split.reshape((rows, columns)))
        return tuple(store(tile) for tile in tiles)

    return kernel


@pytest.mark.parametrize("seed", everyday(3, range(8)))
def test_random_programs(seed: int) -> None:
    same_bits(random_body(seed), normal(seed, 128, 32))
