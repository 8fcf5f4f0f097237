"""quantize_mx and dequantize_mx against a float64 oracle written from the published formulas; laws are in `laws`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
import ml_dtypes
import numpy as np
import pytest
from numpy.typing import NDArray

from trnlab.emulator import dtypes
from trnlab.emulator.dtypes import DType
from trnlab.emulator.errors import ArgumentError, DtypeError, ShapeError
from trnlab.emulator.numerics.microscaling import dequantize_mx, quantize_mx, scale_codes, scale_value
from trnlab.emulator.numerics.microscaling_policies import NON_FINITE_CODE, ScaleRule
from trnlab.emulator.numerics.x4_words import packed_of

BFLOAT16, FLOAT16, FLOAT32 = np.dtype(ml_dtypes.bfloat16), np.dtype(np.float16), np.dtype(np.float32)
EMAX = {"float8_e4m3fn": 8, "float8_e5m2": 15, "float4_e2m1fn": 2}
LARGEST = {"float8_e4m3fn": 448.0, "float8_e5m2": 57344.0, "float4_e2m1fn": 6.0}
FP8 = [dtypes.float8_e4m3fn, dtypes.float8_e5m2]
CASES = [(element, rule) for rule in ScaleRule for element in FP8] + [(dtypes.float4_e2m1fn, ScaleRule.OCP_FLOOR)]
every_case = pytest.mark.parametrize(("element", "rule"), CASES, ids=lambda value: getattr(value, "value", str(value)))

compiled_quantize = jax.jit(quantize_mx, static_argnums=(1, 2))
compiled_dequantize = jax.jit(dequantize_mx, static_argnums=2)


@pytest.fixture(autouse=True)
def _quiet_numpy() -> Iterator[None]:
    with np.errstate(all="ignore"):
        yield


def quantize(x: NDArray[Any], element: DType, rule: ScaleRule) -> tuple[NDArray[Any], NDArray[np.uint8]]:
    """Element codes [P, F] and scale codes [P/8, F/4]; packing has its own tests."""
    words, codes = (np.array(result) for result in compiled_quantize(x, element, rule))
    width = element.format.bits
    lanes = np.stack([(words.astype(np.uint32) >> (width * lane)) & (2**width - 1) for lane in range(4)], axis=-1)
    return lanes.astype(np.uint8).reshape(x.shape), codes


def dequantize(elements: NDArray[np.uint8], codes: NDArray[np.uint8], element: DType) -> NDArray[np.float64]:
    """The exact value: float64 holds every element times every scale."""
    values = elements.view(element.storage).astype(np.float64)
    exponent = np.repeat(np.repeat(codes.astype(np.int32) - 127, 8, axis=0), 4, axis=1)
    return np.ldexp(values, exponent)


def oracle(x: NDArray[Any], element: DType, rule: ScaleRule) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The published formulas in float64, for finite input, with the exponent clamped to [-127, 127] before scaling."""
    wide = x.astype(np.float64)
    partitions, free = wide.shape
    largest = np.abs(wide).reshape(partitions // 8, 8, free // 4, 4).max(axis=(1, 3))
    floor_log2 = np.frexp(largest)[1] - 1  # frexp: largest = m * 2**e with m in [0.5, 1)
    extra = {ScaleRule.NKI: 1, ScaleRule.OCP_FLOOR: 0}[rule]
    exponent = np.where(largest > 0, np.clip(floor_log2 - (EMAX[element] - extra), -127, 127), -127)
    scaled = np.ldexp(wide, -np.repeat(np.repeat(exponent, 8, axis=0), 4, axis=1))
    if rule is ScaleRule.OCP_FLOOR:
        scaled = np.clip(scaled, -LARGEST[element], LARGEST[element])
    # float32 holds every scaled value that an element can tell from zero, so the two casts round once.
    return scaled.astype(np.float32).astype(element.storage).view(np.uint8), (exponent + 127).astype(np.uint8)


def check_against_oracle(x: NDArray[Any], element: DType, rule: ScaleRule) -> None:
    (elements, codes), (expected_elements, expected_codes) = quantize(x, element, rule), oracle(x, element, rule)
    np.testing.assert_array_equal(codes, expected_codes)
    np.testing.assert_array_equal(elements, expected_elements)


def as_groups(values: NDArray[Any]) -> NDArray[Any]:
    """A flat array as [128, F] such that each run of 32 values is one scaling group."""
    return values.reshape(16, -1, 8, 4).transpose(0, 2, 1, 3).reshape(128, -1)


def every_pattern(source: np.dtype[Any]) -> NDArray[Any]:
    patterns = np.arange(2**16, dtype=np.uint16).view(source)
    return np.where(np.isfinite(patterns.astype(np.float32)), patterns, np.zeros(1, source))


@every_case
@pytest.mark.parametrize("source", [BFLOAT16, FLOAT16], ids=str)
def test_every_finite_pattern_of_the_source(source: np.dtype[Any], element: DType, rule: ScaleRule) -> None:
    patterns = every_pattern(source)
    shuffled = np.random.default_rng(0).permutation(patterns)
    for x in (as_groups(patterns), as_groups(shuffled), patterns.reshape(128, -1)):
        check_against_oracle(x, element, rule)


def magnitudes(generator: np.random.Generator) -> dict[str, NDArray[np.float32]]:
    """float32 tiles [128, 512] whose groups visit the edges of the formats."""
    shape = (128, 512)
    gauss = generator.standard_normal(shape).astype(np.float32)
    exponent = generator.integers(-149, 127, (16, 128)).repeat(8, axis=0).repeat(4, axis=1)
    outlier = np.where(generator.random(shape) < 1 / 32, np.float32(2.0**20), np.float32(1))
    # Largest values at the edges of rounding up and clipping: 1.75, 1.8125, 1.875, 1.9921875 and the next below 2.
    edges = generator.choice(np.array([1, 1.5, 1.75, 1.8125, 1.875, 1.9921875, 2 - 2.0**-23], np.float32), shape)
    return {
        "gaussian": gauss,
        "any exponent": np.ldexp(gauss, exponent).astype(np.float32),
        "outliers": gauss * outlier,
        "edges": np.ldexp(edges, generator.integers(-8, 1, shape)).astype(np.float32),
        "clamped": np.ldexp(gauss, generator.integers(-149, -110, shape)).astype(np.float32),
        "subnormal": generator.integers(0, 2**23, shape).astype(np.uint32).view(np.float32),
        "largest": np.ldexp(gauss, 127).clip(-3.38e38, 3.38e38).astype(np.float32),
        "zero": np.where(generator.random(shape) < 0.5, np.float32(0), np.float32(-0.0)),
    }


@every_case
@pytest.mark.parametrize("source", [BFLOAT16, FLOAT32], ids=str)
def test_structured_tiles(source: np.dtype[Any], element: DType, rule: ScaleRule) -> None:
    for name, values in magnitudes(np.random.default_rng(3)).items():
        x = values.astype(source)
        assert np.isfinite(x.astype(np.float32)).all(), name
        check_against_oracle(x, element, rule)


@every_case
def test_ties_of_the_element_go_to_even(element: DType, rule: ScaleRule) -> None:
    """Midpoints of neighbouring elements and the float32 values next to them, under a fixed largest value."""
    codes = np.arange(2**element.format.bits).astype(np.uint8)
    grid = np.unique(np.abs(codes.view(element.storage).astype(np.float32)))
    top = 2.0 ** (EMAX[element] - (rule is ScaleRule.NKI))  # the exponent to which the rule brings it: scale 1
    grid = grid[np.isfinite(grid) & (grid <= top)]
    middle = (grid[1:] + grid[:-1]) / 2
    x = np.concatenate([middle, np.nextafter(middle, np.float32(0)), np.nextafter(middle, np.float32(np.inf))])
    x = np.concatenate([x, -x])
    tile = np.full((128, 512), top, np.float32)
    tile.reshape(-1)[np.arange(x.size) * 64 + 1] = x
    check_against_oracle(tile, element, rule)


def test_worked_example() -> None:
    """amax = 5: floor(log2 5) = 2. NKI: 2 - 7 = -5, code 122, 5 * 2**5 = 160. OCP: 2 - 8 = -6, 121, 320."""
    x = np.zeros((8, 4), np.float32)
    x[3, 2] = 5
    for rule, code, value in ((ScaleRule.NKI, 122, 160.0), (ScaleRule.OCP_FLOOR, 121, 320.0)):
        elements, codes = quantize(x, dtypes.float8_e4m3fn, rule)
        assert codes.tolist() == [[code]]
        assert float(elements.view(ml_dtypes.float8_e4m3fn)[3, 2]) == value
    # E_max = 15 for float8_e5m2: 2 - 14 = -12, code 115; an empty group has code 0.
    assert quantize(x, dtypes.float8_e5m2, ScaleRule.NKI)[1].tolist() == [[115]]
    assert quantize(x * 0, dtypes.float8_e5m2, ScaleRule.NKI)[1].tolist() == [[0]]


@every_case
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_non_finite_value_spoils_its_group_only(value: float, element: DType, rule: ScaleRule) -> None:
    clean = np.random.default_rng(5).standard_normal((128, 512)).astype(BFLOAT16)
    x = clean.copy()
    x[13, 7] = value  # group of partitions 8..15 and elements 4..7
    elements, codes = quantize(x, element, rule)
    expected, expected_codes = quantize(clean, element, rule)
    expected_codes[1, 1] = NON_FINITE_CODE
    np.testing.assert_array_equal(codes, expected_codes)
    spoilt = elements[8:16, 4:8].view(element.storage).astype(np.float32)
    assert np.isnan(spoilt).all() if element.format.has_nan else (spoilt == 0).all()
    elements[8:16, 4:8] = expected[8:16, 4:8]
    np.testing.assert_array_equal(elements, expected)


# ------------------------------------------------------------------------------------------------ dequantise


@pytest.mark.parametrize("element", [*FP8, dtypes.float4_e2m1fn], ids=str)
def test_every_element_under_every_scale(element: DType) -> None:
    """[2048, 32]: 256 scale codes down the partitions, the element codes in each of their groups."""
    count = 2**element.format.bits
    per_scale = np.resize(np.arange(count, dtype=np.uint8), 256).reshape(8, 32)
    elements = np.tile(per_scale, (256, 1))
    codes = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 8, axis=1)
    lanes = elements.reshape(2048, 8, 4).astype(np.uint32) << (np.arange(4) * element.format.bits).astype(np.uint32)
    packed = packed_of(element)
    found = np.asarray(compiled_dequantize(lanes.sum(axis=-1).astype(packed.storage), codes, packed))
    expected = dequantize(elements, codes, element)
    finite_codes = np.repeat(codes[:, 0] < 255, 8)
    rounded = expected[finite_codes].astype(np.float32)
    # Exact: the cast to float32 loses nothing where it does not overflow.
    is_held = np.isfinite(rounded) & np.isfinite(expected[finite_codes])
    assert (rounded.astype(np.float64) == expected[finite_codes])[is_held].all()
    np.testing.assert_array_equal(found[finite_codes], rounded)
    np.testing.assert_array_equal(np.signbit(found[finite_codes]), np.signbit(rounded))
    assert np.isnan(found[~finite_codes]).all()


def test_scale_values_and_codes() -> None:
    codes = np.arange(256, dtype=np.uint8)
    expected = np.append(np.ldexp(1.0, np.arange(255) - 127), np.nan).astype(np.float32)
    np.testing.assert_array_equal(np.asarray(scale_value(codes)), expected)
    stored = codes.view(ml_dtypes.float8_e8m0fnu)
    np.testing.assert_array_equal(np.asarray(scale_codes(stored)), codes)
    np.testing.assert_array_equal(np.asarray(scale_value(stored)), expected)


@pytest.mark.parametrize("dtype", [dtypes.float8_e4m3fn_x4, dtypes.float8_e5m2_x4], ids=str)
def test_every_element_code_has_its_value(dtype: DType) -> None:
    """A scale of 2**0 leaves every FP8 code as ml_dtypes has it, signed zeros and subnormals included."""
    words = np.arange(256, dtype=np.uint8).view(np.uint32).reshape(8, 8)
    found = np.asarray(compiled_dequantize(words, np.full((1, 8), 127, np.uint8), dtype))
    storage = {"float8_e4m3fn_x4": ml_dtypes.float8_e4m3fn, "float8_e5m2_x4": ml_dtypes.float8_e5m2}[str(dtype)]
    expected = np.arange(256, dtype=np.uint8).view(storage).astype(np.float32).reshape(8, 32)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(np.signbit(found), np.signbit(expected))


def test_errors() -> None:
    x = np.zeros((8, 4), np.float32)
    with pytest.raises(DtypeError, match="float32"):
        quantize_mx(x.astype(np.int32), dtypes.float8_e5m2)
    with pytest.raises(TypeError, match="float64"):
        quantize_mx(x.astype(np.float64), dtypes.float8_e5m2)
    with pytest.raises(DtypeError, match="float8_e5m2"):
        quantize_mx(x, dtypes.float8_e4m3)
    with pytest.raises(ArgumentError, match="OCP_FLOOR"):
        quantize_mx(x, dtypes.float4_e2m1fn, ScaleRule.NKI)
    for shape in ((12, 4), (8, 6), (8, 4, 1)):
        with pytest.raises(ShapeError, match="multiple of 8"):
            quantize_mx(np.zeros(shape, np.float32), dtypes.float8_e5m2)
    words = np.zeros((8, 4), np.uint32)
    with pytest.raises(ShapeError, match=r"P/8"):
        dequantize_mx(words, np.zeros((2, 4), np.uint8), dtypes.float8_e5m2_x4)
    with pytest.raises(DtypeError, match="uint8"):
        dequantize_mx(words, np.zeros((1, 4), np.int32), dtypes.float8_e5m2_x4)
