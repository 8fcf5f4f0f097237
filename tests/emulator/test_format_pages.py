"""The reference pages of the formats, against ml_dtypes, NumPy and IEEE 754's rules."""

from __future__ import annotations

import json

import ml_dtypes
import numpy as np
import pytest

from trnlab.emulator.dtypes import DTYPES, DType, as_dtype
from trnlab.emulator.errors import GenerationError
from trnlab.emulator.format_pages import FormatNameError, as_json, codes, format_page, format_pages, page_named
from trnlab.emulator.target import Generation, get_target

ALL = tuple(get_target(generation) for generation in Generation)
FLOATS = [dtype for dtype in DTYPES if dtype.is_float and dtype != "tfloat32"]
SHORT = [dtype for dtype in DTYPES if dtype.format.bits <= 8 and not dtype.is_packed]
HALF = [dtype for dtype in FLOATS if dtype.format.bits <= 16]


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_the_numbers_of_a_float_are_those_of_ml_dtypes(dtype: DType) -> None:
    page, info = format_page(dtype, ALL), ml_dtypes.finfo(dtype.storage)
    assert (page.bits, page.exponent_bits, page.mantissa_bits) == (info.bits, info.nexp, info.nmant)
    assert page.sign_bits == 1
    assert page.max == float(info.max)
    assert page.epsilon == float(info.eps)
    assert page.smallest_normal == float(info.smallest_normal)
    assert page.smallest == page.smallest_subnormal == float(info.smallest_subnormal)
    assert page.bias is not None
    assert page.smallest_normal == 2.0 ** (1 - page.bias)


@pytest.mark.parametrize("dtype", HALF, ids=str)
def test_special_codes_are_those_that_ml_dtypes_reads_as_such(dtype: DType) -> None:
    page = format_page(dtype, ALL)
    positive = np.arange(2 ** (page.bits - 1)).astype(f"u{dtype.itemsize}")
    values = positive.view(dtype.storage).astype(np.float32)
    for codes_, is_special in ((page.nan_codes, np.isnan(values)), (page.infinity_codes, np.isinf(values))):
        found = positive[is_special].tolist()
        assert found == ([] if codes_ is None else list(range(codes_[0], codes_[1] + 1)))
    negative = (positive + 2 ** (page.bits - 1)).astype(positive.dtype).view(dtype.storage).astype(np.float32)
    np.testing.assert_array_equal(np.isnan(negative), np.isnan(values))
    assert page.has_signed_zero
    assert np.signbit(negative[0])
    assert negative[0] == 0


def test_wide_formats_have_the_special_codes_of_ieee_754() -> None:
    float32 = format_page("float32", ALL)
    assert float32.infinity_codes == (0x7F800000, 0x7F800000)
    assert float32.nan_codes == (0x7F800001, 0x7FFFFFFF)
    tfloat32 = format_page("tfloat32", ALL)  # 19 bits: those of float32 without the low 13
    assert tfloat32.infinity_codes == (0x7F800000 >> 13, 0x7F800000 >> 13)
    assert tfloat32.nan_codes == ((0x7F800000 >> 13) + 1, 0x7FFFFFFF >> 13)
    assert format_page("float8_e8m0fnu", ALL).nan_codes == (255, 255)


@pytest.mark.parametrize("dtype", SHORT, ids=str)
def test_every_code_is_listed_with_its_value(dtype: DType) -> None:
    listed = codes(dtype)
    assert [code.code for code in listed] == list(range(2**dtype.format.bits))
    patterns = np.arange(len(listed)).astype(np.uint8).view(dtype.storage)
    expected = patterns.astype(np.float64) if dtype.is_integer else patterns.astype(np.float32).astype(np.float64)
    found = np.array([float(code.value) for code in listed])
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(np.signbit(found)[found == 0], np.signbit(expected)[found == 0])
    assert [code.fields.replace(" ", "") for code in listed] == [
        format(number, f"0{dtype.format.bits}b") for number in range(len(listed))
    ]


def test_the_classes_of_codes_follow_the_exponent_field() -> None:
    """Of E4M3 with infinity: field 0 is zero or subnormal, field 15 infinity or NaN, all others normal."""
    for code in codes(as_dtype("float8_e4m3")):
        _, exponent, mantissa = (int(part, 2) for part in code.fields.split())
        first = "zero" if mantissa == 0 else "subnormal"
        last = "infinity" if mantissa == 0 else "NaN"
        assert code.klass == {0: first, 15: last}.get(exponent, "normal")


def test_wide_and_packed_formats_list_no_codes() -> None:
    assert codes(as_dtype("bfloat16")) == codes(as_dtype("float4_e2m1fn_x4")) == ()


def test_packed_pages_name_their_elements() -> None:
    page = format_page("float4_e2m1fn_x4", ALL)
    assert (page.element, page.lanes, page.bits, page.itemsize) == ("float4_e2m1fn", 4, 16, 2)
    assert (page.max, page.smallest, page.epsilon) == (6.0, 0.5, None)


def test_pages_are_those_of_the_targets() -> None:
    names = {page.name for page in format_pages([get_target("trn2")])}
    assert names == {str(dtype) for dtype in DTYPES if dtype.format.first_generation <= 3}
    assert len(format_pages(ALL)) == len(DTYPES)
    page = format_page("float8_e4m3fn", ALL)
    assert [found.target for found in page.conversions] == ["trn3", "trn4"]
    assert "bfloat16" in page.conversions[0].exactly_into
    assert "float8_e5m2" in set(page.conversions[0].into) - set(page.conversions[0].exactly_into)


def test_data_is_the_page() -> None:
    data = json.loads(as_json(format_page("float8_e4m3", ALL)))
    assert data["max"] == 240
    assert data["nan_codes"] == [0x79, 0x7F]
    assert len(data["codes"]) == 256
    assert len(json.loads(as_json(format_pages(ALL)))) == len(DTYPES)


def test_wrong_names_and_generations_are_refused() -> None:
    with pytest.raises(FormatNameError, match="did you mean float8_e4m3"):
        page_named("float8_e4m4", ALL)
    with pytest.raises(FormatNameError, match="float64"):
        page_named("float64", ALL)
    with pytest.raises(GenerationError, match="from NeuronCore-v4"):
        page_named("float8_e4m3fn", [get_target("trn1"), get_target("trn2")])
