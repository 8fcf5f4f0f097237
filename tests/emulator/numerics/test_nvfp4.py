"""NVFP4 against exact rational arithmetic, its edges, and what its smaller blocks gain over MXFP4."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from numpy.typing import NDArray

from trnlab.emulator.errors import ArgumentError, DtypeError, ShapeError
from trnlab.emulator.numerics.nvfp4 import Nvfp4, dequantize_nvfp4, quantize_nvfp4

Array = NDArray[Any]
GRID = [Fraction(n, 2) for n in (0, 1, 2, 3, 4, 6, 8, 12)]  # FP4, by code
SCALES = [Fraction(float(v)) for v in np.arange(127, dtype=np.uint8).view(ml_dtypes.float8_e4m3fn).astype(np.float64)]


def nearest(value: Fraction, grid: list[Fraction]) -> int:
    """Index of the grid point nearest to the value; a tie goes to the even index, which has the even significand."""
    return min(range(len(grid)), key=lambda i: (abs(grid[i] - value), i % 2))


def oracle(x: Array) -> tuple[list[int], list[int], Fraction]:
    """(element codes, scale codes, tensor scale) of [1, K] by the recipe, in rational numbers."""
    values = [Fraction(float(v)) for v in x.astype(np.float64).reshape(-1)]
    tensor_scale = Fraction(float(np.float32(float(max(map(abs, values))) / 2688)))
    codes, scales = [], []
    for start in range(0, len(values), 16):
        block = values[start : start + 16]
        wanted = max(map(abs, block)) / (6 * tensor_scale) if tensor_scale else Fraction(0)
        scales.append(nearest(min(wanted, SCALES[-1]), SCALES))
        divisor = SCALES[scales[-1]] * tensor_scale
        codes += [nearest(abs(v) / divisor, GRID) if divisor else 0 for v in block]
    return codes, scales, tensor_scale


def draw(seed: int, kind: str) -> Array:
    generator = np.random.default_rng(seed)
    x = generator.standard_normal((1, 64))
    if kind == "wide":
        x *= 2.0 ** generator.integers(-14, 1, (1, 4)).repeat(16, axis=1)
    if kind == "ties":  # multiples of a quarter under a scale of one, and the largest that makes the scales exact
        x = generator.integers(-24, 25, (1, 64)) / 4
        x[0, ::16] = 6.0
        x[0, 0] = 2688.0
    return x.astype(np.float32)


@settings(max_examples=40)
@given(seed=st.integers(0, 2**32 - 1), kind=st.sampled_from(["gaussian", "wide", "ties"]))
def test_every_rounding_is_the_nearest_of_the_exact_quotient(seed: int, kind: str) -> None:
    x = draw(seed, kind)
    packed, scales, tensor_scale = quantize_nvfp4(x)
    codes, scale_codes, expected_scale = oracle(x)
    assert Fraction(float(tensor_scale)) == expected_scale
    assert scales.view(np.uint8).reshape(-1).tolist() == scale_codes
    nibbles = np.stack([packed & 0xF, packed >> 4], axis=-1).reshape(-1)
    assert (nibbles & 7).tolist() == codes
    np.testing.assert_array_equal(nibbles >> 3, np.signbit(x).reshape(-1))


@settings(max_examples=25)
@given(seed=st.integers(0, 2**32 - 1), kind=st.sampled_from(["gaussian", "wide"]))
def test_decoding_rounds_once(seed: int, kind: str) -> None:
    """Element times both scales has at most 2 + 4 + 24 bits: float64 is exact, f32 is one rounding."""
    x = draw(seed, kind)
    quantised = quantize_nvfp4(x)
    codes, scale_codes, tensor_scale = oracle(x)
    exact = [float(GRID[code] * SCALES[scale_codes[i // 16]] * tensor_scale) for i, code in enumerate(codes)]
    np.testing.assert_array_equal(np.abs(dequantize_nvfp4(quantised)).reshape(-1), np.array(exact).astype(np.float32))


@settings(max_examples=25)
@given(seed=st.integers(0, 2**32 - 1), k=st.integers(-60, 60))
def test_power_of_two_equivariance_goes_through_the_tensor_scale(seed: int, k: int) -> None:
    x = draw(seed, "wide")
    one, other = quantize_nvfp4(x), quantize_nvfp4(np.ldexp(x, k))
    np.testing.assert_array_equal(other.packed, one.packed)
    np.testing.assert_array_equal(other.scales.view(np.uint8), one.scales.view(np.uint8))
    assert other.tensor_scale == np.ldexp(one.tensor_scale, k)


@settings(max_examples=25)
@given(seed=st.integers(0, 2**32 - 1))
def test_sign_symmetry_and_order_within_a_block(seed: int) -> None:
    x = draw(seed, "gaussian")
    decoded = dequantize_nvfp4(quantize_nvfp4(x))
    np.testing.assert_array_equal(dequantize_nvfp4(quantize_nvfp4(-x)), -decoded)
    order = np.random.default_rng(seed).permutation(16)
    shuffled = x.reshape(4, 16)[:, order].reshape(1, 64)
    np.testing.assert_array_equal(
        dequantize_nvfp4(quantize_nvfp4(shuffled)), decoded.reshape(4, 16)[:, order].reshape(1, 64)
    )


def test_worked_example() -> None:
    """amax 6 * 448: the tensor scale is 1; a block of largest 3 gets the scale 0.5, so 1 is the element 2, code 4."""
    x = np.zeros((1, 32), np.float32)
    x[0, 0], x[0, 16], x[0, 17] = 2688.0, -3.0, 1.0
    packed, scales, tensor_scale = quantize_nvfp4(x)
    assert tensor_scale == 1
    assert scales.astype(float).tolist() == [[448.0, 0.5]]
    assert packed[0, 0] == 0x07
    assert packed[0, 8] == 0x4F
    assert dequantize_nvfp4(Nvfp4(packed, scales, tensor_scale))[0, [0, 16, 17]].tolist() == [2688.0, -3.0, 1.0]


def test_zeros_and_blocks_below_the_smallest_scale() -> None:
    assert not dequantize_nvfp4(quantize_nvfp4(np.zeros((2, 16), np.float32))).any()
    x = np.zeros((1, 32), np.float32)
    x[0, 0], x[0, 16] = 2688.0, 6 * 2.0**-11  # 2**-11 is a quarter of the smallest float8_e4m3fn: the scale is zero
    quantised = quantize_nvfp4(x)
    assert quantised.scales.astype(float).tolist() == [[448.0, 0.0]]
    assert dequantize_nvfp4(quantised)[0, 16] == 0


def test_a_part_of_a_tensor_uses_the_tensors_scale() -> None:
    x = np.random.default_rng(0).standard_normal((4, 64)).astype(ml_dtypes.bfloat16)
    whole = quantize_nvfp4(x)
    part = quantize_nvfp4(x[1:3], whole.tensor_scale)
    np.testing.assert_array_equal(part.packed, whole.packed[1:3])
    np.testing.assert_array_equal(part.scales.view(np.uint8), whole.scales[1:3].view(np.uint8))


def test_smaller_blocks_lose_less_than_mxfp4_on_gaussians() -> None:
    """MXFP4's relative error is 0.115 (OCP floor, 20,000 gaussian blocks); NVFP4 stays below."""
    x = np.random.default_rng(1).standard_normal((512, 512)).astype(np.float32)
    error = dequantize_nvfp4(quantize_nvfp4(x)).astype(np.float64) - x
    assert np.sqrt((error**2).sum() / (x.astype(np.float64) ** 2).sum()) < 0.1


X = np.ones((2, 32), np.float32)
GOOD = quantize_nvfp4(X)
NAN_SCALE = np.full((2, 2), 0x7F, np.uint8).view(ml_dtypes.float8_e4m3fn)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: quantize_nvfp4(X[:, :17]), ShapeError, "multiple of 16"),
        (lambda: quantize_nvfp4(X[:0]), ShapeError, "not empty"),
        (lambda: quantize_nvfp4(X[0, 0, ...]), ShapeError, r"\[..., K\]"),
        (lambda: quantize_nvfp4(X.astype(np.int32)), DtypeError, "int32"),
        (lambda: quantize_nvfp4(X.astype(np.float64)), TypeError, "float64"),
        (lambda: quantize_nvfp4(X * np.float32(np.nan)), ArgumentError, "NaN"),
        (lambda: quantize_nvfp4(X * np.float32(np.inf)), ArgumentError, "infinity"),
        (lambda: quantize_nvfp4(X, np.float32(-1)), ArgumentError, "tensor_scale"),
        (lambda: dequantize_nvfp4(GOOD._replace(packed=GOOD.packed.astype(np.int8))), DtypeError, "uint8"),
        (lambda: dequantize_nvfp4(GOOD._replace(scales=GOOD.scales.astype(np.float32))), DtypeError, "float8_e4m3fn"),
        (lambda: dequantize_nvfp4(GOOD._replace(scales=GOOD.scales[:1])), ShapeError, "scales"),
        (lambda: dequantize_nvfp4(GOOD._replace(scales=NAN_SCALE)), ArgumentError, "NaN or a negative"),
        (lambda: dequantize_nvfp4(GOOD._replace(scales=-GOOD.scales)), ArgumentError, "negative"),
        (lambda: dequantize_nvfp4(GOOD._replace(tensor_scale=np.float32(np.inf))), ArgumentError, "finite scale"),
    ],
)
def test_what_is_refused(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
