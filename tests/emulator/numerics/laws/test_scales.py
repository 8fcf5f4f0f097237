"""Arithmetic of float8_e8m0fnu: codes add where values multiply, order alike, and scale elements exactly."""

from __future__ import annotations

import ml_dtypes
import numpy as np
from hypothesis import given, strategies as st

from tests.emulator.numerics.mx_blocks import every_element
from trnlab.emulator.dtypes import DType, float8_e8m0fnu
from trnlab.emulator.numerics.casts import narrow
from trnlab.emulator.numerics.microscaling import scale_codes, scale_value
from trnlab.emulator.numerics.microscaling_host import dequantize_mx_host, pack_x4
from trnlab.emulator.numerics.microscaling_layout import LaneOrder
from trnlab.emulator.numerics.x4_words import packed_of

CODES = np.arange(255, dtype=np.uint8)  # 255 is NaN


def test_products_of_scales_add_their_codes() -> None:
    """2**(a - 127) * 2**(b - 127) = 2**((a + b - 127) - 127), for all pairs whose product is a scale."""
    values = np.asarray(scale_value(CODES)).astype(np.float64)
    product = values[:, None] * values
    code = CODES.astype(int)[:, None] + CODES - 127
    is_scale = (code >= 0) & (code <= 254)
    np.testing.assert_array_equal(product[is_scale], np.ldexp(1.0, code[is_scale] - 127))
    assert is_scale.sum() == 255**2 - 2 * sum(range(128))  # 127 + 126 + ... + 1 pairs fall off at either end


def test_codes_order_like_values_and_neighbours_double() -> None:
    values = np.asarray(scale_value(CODES)).astype(np.float64)
    assert (values[1:] == 2 * values[:-1]).all()
    assert values[127] == 1
    assert np.isnan(np.asarray(scale_value(np.array([255], np.uint8)))).all()


def test_casting_a_scale_to_its_format_gives_its_code_back() -> None:
    values = np.asarray(scale_value(CODES))
    stored = narrow(values, float8_e8m0fnu)
    np.testing.assert_array_equal(np.asarray(scale_codes(np.asarray(stored))), CODES)


@given(code=st.integers(1, 253), fraction=st.integers(0, 2**23 - 1))
def test_casting_to_a_scale_takes_the_nearer_power_and_ties_go_up(code: int, fraction: int) -> None:
    """Between neighbours 2**e and 2**(e + 1) the midpoint is 1.5 * 2**e; a plain cast, which MX scales never use."""
    value = np.ldexp(1 + fraction / 2**23, code - 127)
    expected = code + (value >= 1.5 * 2.0 ** (code - 127))
    found = narrow(np.array([value], np.float32), float8_e8m0fnu)
    assert int(np.asarray(found).view(np.uint8)[0]) == expected
    assert int(np.array([value], np.float32).astype(ml_dtypes.float8_e8m0fnu).view(np.uint8)[0]) == expected


def test_casting_to_a_scale_goes_up_among_subnormals() -> None:
    """Between 2**-127 and 2**-126 a cast, ml_dtypes' and XLA's alike, goes up even where down is nearer."""
    pattern = np.array([0x00400000, 0x00400001, 0x005FFFFF, 0x00600000, 0x007FFFFF], np.uint32).view(np.float32)
    for stored in (np.asarray(narrow(pattern, float8_e8m0fnu)), pattern.astype(ml_dtypes.float8_e8m0fnu)):
        assert stored.view(np.uint8).tolist() == [0, 1, 1, 1, 1]


@every_element
@given(code=st.integers(1, 254), seed=st.integers(0, 2**32 - 1))
def test_one_more_in_the_code_doubles_the_block(element: DType, code: int, seed: int) -> None:
    """dequantise(words, c) = 2 dequantise(words, c - 1), exactly, subnormals and infinities included."""
    bits = np.random.default_rng(seed).integers(0, 2**element.format.bits, (8, 4)).astype(np.uint8)
    words, dtype = pack_x4(bits.view(element.storage)), packed_of(element)
    low, high = (
        dequantize_mx_host(words, np.array([[c]], np.uint8), dtype, order=LaneOrder.CONSECUTIVE).astype(np.float64)
        for c in (code - 1, code)
    )
    doubled = 2 * low
    overflows = np.abs(doubled) > np.finfo(np.float32).max
    np.testing.assert_array_equal(high, np.where(overflows, np.copysign(np.inf, low), doubled))
