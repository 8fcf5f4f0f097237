"""Rounding, trigonometry, division and selection: the compositions are as exact as their docstrings say."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import trnlab.emulator.nki.language as nl
from tests.emulator.reference import run
from trnlab.emulator import ArgumentError, DtypeError, ShapeError, trace

ROUNDINGS = {"floor": np.floor, "ceil": np.ceil, "trunc": np.trunc}


def awkward_floats():
    """Halves, integers, their neighbours, both sides of 2**23 and 2**31, tiny and huge values, infinities and NaN."""
    base = np.array([0, 0.3, 0.5, 0.7, 1, 1.5, 2, 2.5, 3.5, 1e-30, 4194304.5, 8388607.5, 8388608, 2**24, 2**31, 3e38])
    base = base.astype(np.float32)
    near = np.concatenate([base, np.nextafter(base, np.float32(np.inf)), np.nextafter(base, np.float32(-1))])
    near = near[np.abs(near) >= np.finfo(np.float32).tiny * (near != 0)]
    return np.concatenate([near, -near, np.array([np.inf, -np.inf, np.nan], np.float32)])


@pytest.mark.parametrize("name", ROUNDINGS)
def test_rounding_is_exact(on_chip, name):
    x = np.concatenate([awkward_floats(), np.random.default_rng(0).standard_normal(401).astype(np.float32) * 1000])
    x = np.resize(x, (8, 64))
    np.testing.assert_array_equal(on_chip(getattr(nl, name), x), ROUNDINGS[name](x))


@pytest.mark.parametrize("name", ROUNDINGS)
@pytest.mark.parametrize("dtype", [ml_dtypes.bfloat16, np.float16, ml_dtypes.float8_e5m2])
def test_rounding_of_narrow_floats_is_exact(on_chip, name, dtype):
    bits = 8 * np.dtype(dtype).itemsize
    every = np.arange(2**bits, dtype=np.uint32).astype(f"u{bits // 8}").view(dtype).reshape(-1, 2 ** (bits // 2))
    every = every[:: 2 if bits == 16 else 1]  # 128 partitions hold half of all sixteen-bit codes
    wide = every.astype(np.float32)
    # The engines' float32 arithmetic counts subnormals as zero; of these formats only bfloat16 reaches them.
    every[np.abs(wide) < np.finfo(np.float32).tiny] = 0
    found = on_chip(getattr(nl, name), every)
    assert found.dtype == dtype
    with np.errstate(invalid="ignore"):  # signalling NaN are among the codes
        expected = ROUNDINGS[name](every.astype(np.float32)).astype(dtype)
    np.testing.assert_array_equal(found.astype(np.float32), expected.astype(np.float32))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(width=32, allow_subnormal=False), min_size=6, max_size=6))
def test_rounding_of_any_float32(values):
    x = np.array([values], np.float32)

    def kernel(source):
        tile = nl.load(source)
        out = nl.ndarray((3, *x.shape), nl.float32, buffer=nl.shared_hbm)
        for i, function in enumerate((nl.floor, nl.ceil, nl.trunc)):
            nl.store(out[i], function(tile))
        return out

    np.testing.assert_array_equal(run(kernel, x).outputs, np.stack([np.floor(x), np.ceil(x), np.trunc(x)]))


def test_integers_are_their_own_rounding(on_chip):
    x = np.array([[2**31 - 1, -(2**31), 5]], np.int32)
    np.testing.assert_array_equal(on_chip(nl.floor, x), x)


# ------------------------------------------------------------------------------------------------- trigonometry

BOUND = 51_471  # 2**14 pi, the range for which the docstrings state their bounds


def angles():
    rng = np.random.default_rng(1)
    near_multiples = (np.arange(1, 2**14, 97) * np.pi / 2).astype(np.float32)
    wide = rng.uniform(-BOUND, BOUND, 1500).astype(np.float32)
    narrow = rng.uniform(-10, 10, 1500).astype(np.float32)
    return np.resize(np.concatenate([near_multiples, -near_multiples, wide, narrow]), (64, 64))


def test_sine_and_cosine_far_from_the_origin(on_chip):
    x = angles()
    exact = x.astype(np.float64)
    # Half a unit in the last place of results near 1 (6e-8), the activation's own error, and the bound of 2e-7.
    np.testing.assert_allclose(on_chip(nl.sin, x), np.sin(exact), rtol=0, atol=4e-7)
    np.testing.assert_allclose(on_chip(nl.cos, x), np.cos(exact), rtol=0, atol=4e-7)


def test_sine_and_cosine_beyond_the_range_of_the_small_bound(on_chip):
    x = np.random.default_rng(3).uniform(-(2**22) * np.pi, 2**22 * np.pi, (32, 64)).astype(np.float32)
    exact = x.astype(np.float64)
    allowed = 2.0**-23 * np.abs(exact) + 4e-7
    assert (np.abs(on_chip(nl.sin, x) - np.sin(exact)) <= allowed).all()
    assert (np.abs(on_chip(nl.cos, x) - np.cos(exact)) <= allowed).all()


def test_sine_is_relatively_exact_near_its_zeros(on_chip):
    x = (np.arange(-8, 8) * np.pi).astype(np.float32).reshape(2, 8)
    np.testing.assert_allclose(on_chip(nl.sin, x), np.sin(x.astype(np.float64)), rtol=2e-3, atol=1e-10)


def test_published_example_of_the_sine_beyond_pi(on_chip):
    # The reference gives about 0.41 for sin(9) and 27.65 for the activation alone.
    np.testing.assert_allclose(on_chip(nl.sin, np.full((1, 1), 9.0, np.float32)), 0.41, atol=0.01)


def test_tangent(on_chip):
    x = angles()
    exact = x.astype(np.float64)
    relative = np.abs(on_chip(nl.tan, x) / np.tan(exact) - 1)
    allowed = 3e-7 / np.abs(np.cos(exact)) + 2e-7 / np.abs(np.sin(exact)) + 3e-7
    assert (relative <= allowed).all()


def test_arctangent_over_the_whole_line(on_chip):
    magnitudes = np.geomspace(1e-30, 1e30, 1000).astype(np.float32)
    x = np.concatenate([magnitudes, -magnitudes, np.array([0, 1, -1, np.inf, -np.inf], np.float32)])
    x = np.resize(x, (5, 401))
    np.testing.assert_allclose(on_chip(nl.arctan, x), np.arctan(x.astype(np.float64)), rtol=5e-7, atol=0)


# ----------------------------------------------------------------------------------------------------------- where


@pytest.mark.parametrize(
    "dtype", [np.float32, ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, np.int32, np.uint16, np.int8]
)
def test_where_selects_bit_for_bit(on_chip, dtype):
    rng = np.random.default_rng(2)
    size = np.dtype(dtype).itemsize
    x, y = rng.integers(0, 256, (2, 32, 8 * size), dtype=np.uint8).view(dtype)  # NaN and infinities among them
    condition = rng.integers(0, 2, (32, 8)).astype(np.float32) * -2.5
    found = on_chip(nl.where, condition, x, y)
    assert found.dtype == dtype
    np.testing.assert_array_equal(found.view(np.uint8), np.where(condition != 0, x, y).view(np.uint8))


def test_where_takes_numbers_columns_and_a_dtype(on_chip):
    condition = np.array([[1.0, 0.0, 3.0]], np.float32)
    column = np.array([[7.0]], np.float32)
    np.testing.assert_array_equal(on_chip(lambda c: nl.where(c, 10.0, 0.0), condition), [[10, 0, 10]])
    np.testing.assert_array_equal(on_chip(lambda c, v: nl.where(c, v, -1.0), condition, column), [[7, -1, 7]])
    narrow = on_chip(lambda c: nl.where(c, 1, 0, dtype=nl.uint8), condition)
    assert narrow.dtype == np.uint8
    np.testing.assert_array_equal(narrow, [[1, 0, 1]])


def test_where_needs_a_condition_tile_of_the_right_shape(on_chip):
    x = np.zeros((4, 4), np.float32)
    with pytest.raises(ArgumentError, match="condition"):
        on_chip(lambda t: nl.where(1.0, t, t), x)
    with pytest.raises(ShapeError):
        on_chip(lambda t: nl.where(t, t[:, 0:3], t), x)


@pytest.mark.parametrize("dtype", [np.float32, ml_dtypes.bfloat16, np.int8, np.uint16])
def test_gather_flattened_takes_along_the_free_dimensions(on_chip, dtype):
    rng = np.random.default_rng(3)
    data = rng.integers(0, 100, (32, 4, 16)).astype(dtype)
    indices = rng.integers(0, 64, (32, 5, 2)).astype(np.uint32)
    expected = np.take_along_axis(data.reshape(32, 64), indices.reshape(32, 10).astype(int), axis=1).reshape(32, 5, 2)
    np.testing.assert_array_equal(on_chip(nl.gather_flattened, data, indices), expected)
    wide = on_chip(lambda d, i: nl.gather_flattened(data=d, indices=i, axis=0, dtype=nl.float32), data, indices)
    assert wide.dtype == np.float32
    np.testing.assert_array_equal(wide, expected.astype(np.float32))


def test_gather_flattened_has_one_axis(on_chip):
    data, indices = np.zeros((4, 8), np.float32), np.zeros((4, 2), np.uint32)
    for axis in (1, -1, "a", None):
        with pytest.raises(ArgumentError, match="axis"):
            on_chip(lambda d, i, axis=axis: nl.gather_flattened(d, i, axis=axis), data, indices)
    with pytest.raises(DtypeError):
        on_chip(nl.gather_flattened, data, indices.astype(np.int32))


def test_division_by_the_number_zero(on_chip):
    x = np.array([[1.0, -2.0, 0.0]], np.float32)
    np.testing.assert_array_equal(on_chip(lambda t: nl.divide(t, 0), x), [[np.inf, -np.inf, np.nan]])
    np.testing.assert_array_equal(on_chip(lambda t: nl.divide(t, -0.0), x), [[-np.inf, np.inf, np.nan]])


def test_compositions_are_ordinary_instructions():
    def kernel(x):
        out = nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)
        nl.store(out, nl.floor(nl.load(x)))
        return out

    program = trace(kernel, np.zeros((4, 4), np.float32))
    # load; clamp; to int32; compare; correct; fraction; subtract; store
    opcodes = [instruction.opcode for instruction in program]
    assert opcodes == ["dma_copy", "tensor_scalar", "tensor_copy", *["tensor_tensor"] * 4, "dma_copy"]
    assert all(instruction.location.file == __file__ for instruction in program)
