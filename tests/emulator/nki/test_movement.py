"""Loads, stores, copies, transposes, broadcasts, matrix products and assignment, through kernels."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

import trnlab.emulator.nki.language as nl
from tests.emulator.reference import run
from trnlab.emulator import ArgumentError, BoundsError, BufferError, KernelError, ShapeError, trace


def normal(seed, shape):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("dtype", [np.float32, ml_dtypes.bfloat16, np.int32, ml_dtypes.float8_e4m3fn])
def test_load_and_store_keep_the_bits(on_chip, dtype):
    x = np.random.default_rng(0).integers(0, 256, (64, 32), dtype=np.uint8).view(dtype)
    np.testing.assert_array_equal(on_chip(lambda t: t, x).view(np.uint8), x.view(np.uint8))


def test_load_casts():
    x = normal(1, (32, 3, 4))

    def kernel(source):
        tile = nl.load(source, dtype=nl.bfloat16)
        assert (tile.shape, tile.dtype, tile.buffer) == ((32, 3, 4), nl.bfloat16, nl.sbuf)
        out = nl.ndarray(tile.shape, nl.float32, buffer=nl.shared_hbm)
        nl.store(out, value=tile)
        return out

    np.testing.assert_array_equal(run(kernel, x).outputs, x.astype(ml_dtypes.bfloat16).astype(np.float32))


def test_slices_with_ds(on_chip):
    x = normal(2, (16, 12))
    np.testing.assert_array_equal(on_chip(lambda t: t[nl.ds(0, 8), nl.ds(5, 4)], x), x[:8, 5:9])
    with pytest.raises(BoundsError):
        on_chip(lambda t: t[:, nl.ds(10, 4)], x)


@pytest.mark.parametrize("dtype", [np.float32, ml_dtypes.bfloat16])
@pytest.mark.parametrize("shape", [(128, 128), (128, 64), (17, 96), (32, 32)])
def test_transpose(on_chip, shape, dtype):
    x = normal(3, shape).astype(dtype)
    found = on_chip(nl.transpose, x)
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, x.T)


def test_transpose_lives_in_psum_and_casts_first(on_chip):
    def check(t):
        result = nl.transpose(t, dtype=nl.bfloat16)
        assert (result.buffer, result.dtype) == (nl.psum, nl.bfloat16)
        return result

    x = normal(4, (64, 32))
    np.testing.assert_array_equal(on_chip(check, x), x.astype(ml_dtypes.bfloat16).T)


@pytest.mark.parametrize("target", ["trn1", "trn2", "trn3"])
@pytest.mark.parametrize("dtype", [None, "float32"])
def test_load_transpose2d(target, dtype):
    x = normal(5, (48, 96)).astype(ml_dtypes.bfloat16)

    def kernel(source):
        tile = nl.load_transpose2d(source, dtype and getattr(nl, dtype))
        out = nl.ndarray(tile.shape, tile.dtype, buffer=nl.shared_hbm)
        nl.store(out, tile)
        return out

    found = run(kernel, x, target=target).outputs
    assert found.dtype == (dtype or ml_dtypes.bfloat16)
    np.testing.assert_array_equal(found.astype(np.float32), x.T.astype(np.float32))


@pytest.mark.parametrize("transpose_x", [False, True])
def test_matmul(on_chip, transpose_x):
    x, y = normal(6, (96, 64)), normal(7, (96 if transpose_x else 64, 200))
    left = x.T if transpose_x else x

    def product(a, b):
        result = nl.matmul(a, b, transpose_x)
        assert (result.buffer, result.dtype, result.shape) == (nl.psum, nl.float32, (left.shape[0], 200))
        return result

    found = on_chip(product, x, y)
    expected = left.astype(np.float64) @ y
    # K products in float32, any order: K * 2**-24 of the sum of magnitudes.
    bound = left.shape[1] * 2.0**-24 * (np.abs(left).astype(np.float64) @ np.abs(y))
    assert (np.abs(found - expected) <= bound).all()


def test_expand_dims(on_chip):
    x = normal(8, (8, 6))
    assert on_chip(lambda t: nl.expand_dims(t, 1), x).shape == (8, 1, 6)
    assert on_chip(lambda t: nl.expand_dims(t, -1), x).shape == (8, 6, 1)
    with pytest.raises(ShapeError):
        on_chip(lambda t: nl.expand_dims(t, 0), x)


@pytest.mark.parametrize(
    ("shape", "to"),
    [
        ((16, 1), (16, 9)),
        ((1, 9), (128, 9)),
        ((1, 1), (40, 5)),
        ((1, 4, 1), (33, 4, 6)),
        ((8, 3, 1), (8, 3, 5)),
        ((8, 3), (8, 3)),
    ],
)
@pytest.mark.parametrize("buffer", ["sbuf", "psum"])
def test_broadcast_to(on_chip, shape, to, buffer):
    x = normal(9, shape)

    def broadcast(tile):
        if buffer == "psum":
            source, tile = tile, nl.ndarray(shape, nl.float32, buffer=nl.psum)
            tile[...] = source
        return nl.broadcast_to(tile, to)

    np.testing.assert_array_equal(on_chip(broadcast, x), np.broadcast_to(x, to))


def test_broadcast_to_the_same_shape_is_the_tile_itself_or_its_cast(on_chip):
    def check(t):
        assert nl.broadcast_to(t, t.shape) is t
        return nl.broadcast_to(t, t.shape, dtype=nl.float16)

    x = normal(10, (8, 4))
    np.testing.assert_array_equal(on_chip(check, x), x.astype(np.float16))


@pytest.mark.parametrize("to", [(8, 4, 1), (16, 4), (8, 5), (8,)])
def test_broadcast_to_what_does_not_fit(on_chip, to):
    with pytest.raises(ShapeError, match=r"nl.broadcast_to: shape"):
        on_chip(lambda t: nl.broadcast_to(t, to), normal(11, (8, 4)))


@pytest.mark.parametrize(
    ("function", "error"),
    [
        (nl.load, BufferError),
        (lambda t: nl.store(t, t), BufferError),
        (nl.load_transpose2d, BufferError),
        (lambda t: nl.transpose(t.reshape((8, 2, 2))), ShapeError),
        (lambda t: nl.matmul(t.reshape((8, 2, 2)), t), ShapeError),
        (lambda t: nl.copy(nl.ndarray((8, 4), nl.float32, buffer=nl.shared_hbm)), BufferError),
        (lambda t: nl.load(3), ArgumentError),
    ],
)
def test_what_does_not_fit_says_so(on_chip, function, error):
    with pytest.raises(error):
        on_chip(function, normal(12, (8, 4)))


# --------------------------------------------------------------------------------------------------------- assignment


def test_assignment_chooses_the_instruction():
    x = normal(13, (8, 4))

    def kernel(source):
        tile = nl.ndarray((8, 4), nl.float32)
        tile[...] = source  # from HBM
        other = nl.ndarray((8, 8), nl.float32)
        other[:, 0:4] = tile  # on chip
        other[:, 4:8] = 1.5  # a number
        other[0:1, 7] = np.float32(-2)
        out = nl.ndarray((9, 8), nl.float32, buffer=nl.shared_hbm)
        out[0:8, :] = other  # to HBM
        out[8] = 7.0  # a number into HBM
        return out

    expected = np.full((9, 8), 7, np.float32)
    expected[:8] = np.concatenate([x, np.full((8, 4), 1.5)], axis=1)
    expected[0, 7] = -2
    np.testing.assert_array_equal(run(kernel, x).outputs, expected)
    opcodes = [instruction.opcode for instruction in trace(kernel, x)]
    assert opcodes == ["dma_copy", "tensor_copy", "memset", "memset", "dma_copy", "memset", "dma_copy"]


@pytest.mark.parametrize("value", ["text", None, np.zeros((8, 4), np.float32)])
def test_assignment_of_anything_else(on_chip, value):
    def assign(tile):
        tile[...] = value
        return tile

    with pytest.raises(ArgumentError, match=r"__setitem__: value"):
        on_chip(assign, normal(14, (8, 4)))


def test_assignment_of_another_shape(on_chip):
    def assign(tile):
        tile[...] = tile[:, 0:2]
        return tile

    with pytest.raises(KernelError, match="free size"):
        on_chip(assign, normal(15, (8, 4)))
