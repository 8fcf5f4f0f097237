"""Reductions and normalisations of nki.language against NumPy in float64, through kernels."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

import trnlab.emulator.nki.language as nl
from trnlab.emulator import ArgumentError, ShapeError

TILE = (32, 4, 6)
# A float32 sum of n terms in any order is within n * 2**-24 of the sum of magnitudes.
UNIT = 2.0**-24


def normal(seed, shape=TILE):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


REDUCTIONS = {"sum": np.sum, "prod": np.prod, "max": np.max, "min": np.min, "mean": np.mean}


@pytest.mark.parametrize("name", REDUCTIONS)
@pytest.mark.parametrize("axis", [2, -1, [1, 2], (2, 1)])
@pytest.mark.parametrize("keepdims", [False, True])
def test_reductions(on_chip, name, axis, keepdims):
    x = normal(0)
    axes = tuple(axis) if isinstance(axis, (list, tuple)) else axis
    expected = REDUCTIONS[name](x.astype(np.float64), axis=axes, keepdims=keepdims)
    found = on_chip(lambda t: getattr(nl, name)(t, axis, keepdims=keepdims), x)
    # A tile keeps two dimensions: (32,) is stored as (32, 1).
    assert found.shape == (expected.shape if expected.ndim > 1 else (32, 1))
    np.testing.assert_allclose(found.reshape(expected.shape), expected, rtol=24 * UNIT, atol=24 * 24 * UNIT)


def test_sum_of_narrow_tiles_rounds_once(on_chip):
    x = normal(1, (16, 64)).astype(ml_dtypes.bfloat16)
    found = on_chip(lambda t: nl.sum(t, axis=1), x)
    wide = on_chip(lambda t: nl.sum(t, axis=1, dtype=nl.float32), x)
    assert found.dtype == ml_dtypes.bfloat16
    np.testing.assert_array_equal(found, wide.astype(ml_dtypes.bfloat16))
    np.testing.assert_allclose(wide[:, 0], x.astype(np.float64).sum(1), atol=64 * 64 * UNIT)


@pytest.mark.parametrize("axis", [1, 2, (1, 2)])
def test_all(on_chip, axis):
    shape = (8, 5) if axis == 1 else (8, 3, 5)
    x = (np.random.default_rng(2).random(shape) > 0.15).astype(np.float32) * -3
    found = on_chip(lambda t: nl.all(t, axis), x)
    expected = np.all(x, axis=axis)
    assert 0 < expected.mean() < 1  # both outcomes occur
    np.testing.assert_array_equal(found.reshape(expected.shape), expected)


@pytest.mark.parametrize("axis", [2, (1, 2)])
def test_variance_keeps_its_axes(on_chip, axis):
    x = normal(3) + 1000
    found = on_chip(lambda t: nl.var(t, axis), x)
    expected = np.var(x.astype(np.float64), axis=axis, keepdims=True)
    assert found.shape == expected.shape
    # The mean of values near 1000 is off by some 1000 * 24 * 2**-24; its square enters.
    np.testing.assert_allclose(found, expected, rtol=1e-4)


@pytest.mark.parametrize("axis", [-1, 2, (1, 2)])
@pytest.mark.parametrize("scale", [1.0, 80.0])
def test_softmax(on_chip, axis, scale):
    x = normal(4) * np.float32(scale)
    shifted = np.exp(x.astype(np.float64) - x.max(axis=axis, keepdims=True))
    expected = shifted / shifted.sum(axis=axis, keepdims=True)
    np.testing.assert_allclose(on_chip(lambda t: nl.softmax(t, axis), x), expected, rtol=2e-5, atol=1e-37)


def test_rms_norm(on_chip):
    x, w = normal(5, (16, 48)), normal(6, (16, 48))
    expected = x / np.sqrt((x.astype(np.float64) ** 2).sum(1, keepdims=True) / 48 + 1e-6) * w
    np.testing.assert_allclose(on_chip(lambda t, v: nl.rms_norm(t, v, axis=1, n=48), x, w), expected, rtol=5e-6)


def test_rms_norm_computes_in_the_dtype_asked_for(on_chip):
    x, w = normal(7, (16, 48)), np.ones((16, 48), np.float32)
    exact = on_chip(lambda t, v: nl.rms_norm(t, v, 1, 48), x, w)
    narrow = on_chip(lambda t, v: nl.rms_norm(t, v, 1, 48, compute_dtype=nl.bfloat16), x, w)
    assert narrow.dtype == np.float32
    error = np.abs(narrow / exact - 1).max()
    assert 2**-10 < error < 2**-5  # bfloat16 has 8 significant bits, and three of its roundings meet


@pytest.mark.parametrize("axis", [0, 1, (0, 1, 2), (), "free", 3])
def test_other_axes_are_refused(on_chip, axis):
    with pytest.raises(ArgumentError, match=r"axis: .*allowed.*\(1, 2\) or \(2,\)"):
        on_chip(lambda t: nl.sum(t, axis), normal(8))


def test_weights_of_another_shape_are_refused(on_chip):
    with pytest.raises(ShapeError, match=r"nl.broadcast_to"):
        on_chip(lambda t, v: nl.rms_norm(t, v, 1, 48), normal(9, (16, 48)), normal(10, (1, 48)))
