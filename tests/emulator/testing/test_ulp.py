"""ULP distances against the position in the sorted list of a format's values."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from trnlab.emulator.errors import ShapeError
from trnlab.emulator.testing import NAN_DISTANCE, MismatchError, assert_ulp_close, ulp_distance

EIGHT_BITS = ("float8_e5m2", "float8_e4m3", "float8_e3m4", "float8_e4m3fn", "float8_e8m0fnu")


def codes_of(name: str) -> np.ndarray:
    count = 16 if name == "float4_e2m1fn" else 256
    return np.arange(count, dtype=np.uint8).view(getattr(ml_dtypes, name))


def expected_distances(values: np.ndarray) -> np.ndarray:
    """How far apart two values stand in the sorted list of all different ones: no bit of the format is used."""
    numbers = np.unique(values[~np.isnan(values)])  # both zeros are one value; infinities come after the largest
    place = np.searchsorted(numbers, values)
    distance = np.abs(place[:, None] - place[None, :])
    is_nan = np.isnan(values)
    distance[is_nan[:, None] != is_nan[None, :]] = NAN_DISTANCE
    distance[is_nan[:, None] & is_nan[None, :]] = 0
    return distance


@pytest.mark.parametrize("name", [*EIGHT_BITS, "float4_e2m1fn"])
def test_all_pairs_of_small_formats(name: str) -> None:
    codes = codes_of(name)
    found = ulp_distance(codes[:, None], codes[None, :])
    assert np.array_equal(found, expected_distances(codes.astype(np.float64)))


@pytest.mark.parametrize("name", ["bfloat16", "float16"])
def test_every_code_against_a_few_of_16_bit_formats(name: str) -> None:
    codes = np.arange(2**16, dtype=np.uint16).view(np.dtype(getattr(ml_dtypes, name, name)))
    with np.errstate(invalid="ignore"):
        values = codes.astype(np.float64)
    numbers = np.unique(values[~np.isnan(values)])
    place = np.searchsorted(numbers, values)
    for code in (0x0000, 0x8000, 0x0001, 0x3F80, 0xBC00, 0x7BFF):
        expected = np.where(np.isnan(values), NAN_DISTANCE, np.abs(place - place[code]))
        assert np.array_equal(ulp_distance(codes, codes[code]), expected)


def test_float32_steps() -> None:
    x = np.array([0.0, 1.0, -2.5, 1e-45, 3e38], np.float32)
    up = x
    for steps in range(1, 4):
        up = np.nextafter(up, np.float32(np.inf))
        assert ulp_distance(x, up).tolist() == [steps] * 5
    assert ulp_distance(np.float32(-1e-45), np.float32(1e-45)) == 2  # through the two zeros, which are one
    assert ulp_distance(np.finfo(np.float32).max, np.float32(np.inf), "float32") == 1
    # From one end to the other, still nearer than a NaN: 2 * (0x7f800000 - 1) is below 2**32.
    assert ulp_distance(-np.finfo(np.float32).max, np.finfo(np.float32).max, "float32") == 2 * 0x7F7FFFFF < NAN_DISTANCE


def test_tfloat32_counts_its_own_steps() -> None:
    one = np.float32(1)
    assert ulp_distance(one, one + np.float32(2.0**-10), "tfloat32") == 1
    assert ulp_distance(one, one + np.float32(2.0**-23), "tfloat32") == 0


def test_wider_numbers_are_rounded_first_and_integers_subtracted() -> None:
    assert ulp_distance(np.float64(1.0), 1.004, "bfloat16") == 1  # 1.004 is nearer to 1.0078125 than to 1
    assert ulp_distance(np.float64(1.0), 1.003, "bfloat16") == 0
    assert ulp_distance(np.array([3, 250], np.uint8), np.array([250, 3], np.uint8)).tolist() == [247, 247]
    assert ulp_distance(np.int32(2**31 - 1), np.int32(-(2**31))) == 2**32 - 1


def test_packed_words_lane_by_lane() -> None:
    a, b = np.array([0x38383838], np.uint32), np.array([0x38393738], np.uint32)
    assert ulp_distance(a, b, "float8_e4m3fn_x4").tolist() == [[0, 1, 1, 0]]


def test_assert_ulp_close() -> None:
    x = np.array([[1.0, 2.0], [3.0, 4.0]], np.float32)
    y = x.copy()
    y[1, 0] = np.nextafter(np.nextafter(np.float32(3), np.float32(9)), np.float32(9))
    assert_ulp_close(x, x, 0)
    assert_ulp_close(y, x, 2)
    with pytest.raises(MismatchError, match="2 ulp apart, at most 1 allowed") as failure:
        assert_ulp_close(y, x, 1)
    assert failure.value.comparison.worst_index == (1, 0)
    with pytest.raises(AssertionError):
        assert_ulp_close(np.float32([np.nan]), np.float32([1.0]), 10**6)
    with pytest.raises(ShapeError, match="as actual"):
        assert_ulp_close(x, x[0], 1)
    with pytest.raises(ShapeError, match="broadcast"):
        ulp_distance(np.ones(2, np.float32), np.ones(3, np.float32))
