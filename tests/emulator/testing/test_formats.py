"""Values, one rounding, and order of every format, against ml_dtypes and against arithmetic written out."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from trnlab.emulator.dtypes import DTYPES, as_dtype
from trnlab.emulator.errors import DtypeError
from trnlab.emulator.testing import decode, encode, ordered, round_to

NARROW = ("bfloat16", "float16", "float8_e5m2", "float8_e4m3", "float8_e3m4", "float8_e4m3fn", "float4_e2m1fn")


def storage(name: str) -> np.dtype:
    return np.dtype(getattr(ml_dtypes, name, name))


@pytest.mark.parametrize("name", NARROW)
def test_rounding_agrees_with_ml_dtypes_on_float32(name: str) -> None:
    # ml_dtypes rounds float32 once; every upper half word, with the lower halves that decide ties.
    upper = np.arange(2**16, dtype=np.uint32) << 16
    words = (upper[:, None] + np.array([0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF], np.uint32)).reshape(-1)
    x = words.view(np.float32)
    with np.errstate(all="ignore"):
        expected = x.astype(storage(name)).astype(np.float64)
    found = round_to(x, name)
    same = (found == expected) & (np.signbit(found) == np.signbit(expected)) | (np.isnan(found) & np.isnan(expected))
    if name == "float4_e2m1fn":  # NaN becomes a zero, whose sign ml_dtypes takes from the NaN
        same |= np.isnan(x) & (found == 0)
    assert same.all(), x[~same][:5]


def test_rounding_of_float64_happens_once() -> None:
    # Neighbours in float8_e4m3 are 1 and 1.125. One float64 step above their middle rounds up; through float32 it
    # would become the middle first, and then 1.
    above = np.nextafter(1.0625, 2)
    assert round_to([above, 1.0625, np.nextafter(1.0625, 1)], "float8_e4m3").tolist() == [1.125, 1.0, 1.0]
    assert np.float32(above) == np.float32(1.0625)


def test_beyond_the_largest_value() -> None:
    huge = [1e9, -1e9, np.inf, np.nan]
    assert np.array_equal(round_to(huge, "float8_e4m3"), [np.inf, -np.inf, np.inf, np.nan], equal_nan=True)
    assert np.isnan(round_to(huge, "float8_e4m3fn")).all()
    assert np.array_equal(round_to(huge, "float4_e2m1fn"), [6, -6, 6, -0.0])
    assert round_to([464, 464.1], "float8_e4m3fn")[0] == 448  # a tie, and 448 is the even one
    assert np.isnan(round_to(464.1, "float8_e4m3fn"))


def test_scales_integers_and_bool() -> None:
    # Nearest power of two, ties up; none for zero and negatives.
    assert np.array_equal(
        round_to([1.49, 1.5, 3.0, 0.0, -1.0, 2.0**127, 2.0**128, 2.0**-200], "float8_e8m0fnu"),
        [1, 2, 4, np.nan, np.nan, 2.0**127, np.nan, 2.0**-127],
        equal_nan=True,
    )
    assert round_to([0.5, 1.5, 2.5, 300, -300, np.nan], "int8").tolist() == [0, 2, 2, 127, -128, 0]
    assert round_to([-1, 256.7], "uint8").tolist() == [0, 255]
    assert round_to([0.0, -0.0, 0.1, np.nan], "bool").tolist() == [0, 0, 1, 1]
    # tfloat32 keeps 10 bits: 1 + 2**-11 is a tie, and 1 the even neighbour.
    assert round_to([1 + 2.0**-11, 1 + 3 * 2.0**-11], "tfloat32").tolist() == [1, 1 + 2.0**-9]


@pytest.mark.parametrize("dtype", [dtype for dtype in DTYPES if not dtype.is_packed and dtype.format.bits <= 16])
def test_encode_undoes_decode_for_every_code(dtype: str) -> None:
    element = as_dtype(dtype)
    codes = np.arange(2 if element == "bool" else 2**element.format.bits, dtype=f"u{element.itemsize}")
    stored = codes.view(element.storage)
    values = decode(stored, element)
    assert values.dtype == np.float64
    number = ~np.isnan(values)
    assert np.array_equal(encode(values, element)[number].view(codes.dtype), codes[number])
    with np.errstate(invalid="ignore"):  # signalling NaNs
        assert np.array_equal(values, stored.astype(np.float32).astype(np.float64), equal_nan=True)


def test_packed_words_are_their_elements() -> None:
    # 1.0 is 0x38 in float8_e4m3fn and 2 in float4_e2m1fn; 448 is 0x7e, -6 is 15, 0.5 is 1.
    assert decode(np.array([0x007E3838], np.uint32), "float8_e4m3fn_x4").tolist() == [[1.0, 1.0, 448.0, 0.0]]
    assert decode(np.array([0xF012], np.uint16), "float4_e2m1fn_x4").tolist() == [[1.0, 0.5, 0.0, -6.0]]
    structured = np.zeros((2, 3), np.dtype([("float8_e5m2_x4", np.uint32)]))
    assert decode(structured).shape == (2, 3, 4)


def test_order_of_codes() -> None:
    codes = np.array([0x80, 0x00, 0x01, 0x81, 0x77, 0x78, 0xF8, 0x7F], np.uint8).view(storage("float8_e4m3"))
    # -0 and 0, the smallest numbers of both signs, 240 and what follows it: infinity; a NaN beyond all.
    found = ordered(codes).tolist()
    assert found[:7] == [0, 0, 1, -1, 0x77, 0x78, -0x78]
    assert found[7] > 2**32


def test_wrong_dtypes_are_refused() -> None:
    with pytest.raises(DtypeError, match="float64"):
        decode(np.ones(2))
    with pytest.raises(DtypeError, match="its element, float8_e5m2"):
        round_to([1.0], "float8_e5m2_x4")
    with pytest.raises(DtypeError, match="the storage of bfloat16"):
        ordered(np.ones(2, np.float32), "bfloat16")
