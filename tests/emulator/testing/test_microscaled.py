"""Microscaled tensors are compared word by word and code by code."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from trnlab.emulator import DTYPES, quantize_mx_host
from trnlab.emulator.errors import DtypeError, ShapeError
from trnlab.emulator.numerics.microscaling_layout import scatter_scales
from trnlab.emulator.testing import MismatchError, assert_mx_equal

DTYPE = next(dtype for dtype in DTYPES if dtype == "float8_e4m3fn_x4")
WORDS = np.full((64, 3), 0x38383838, np.uint32)  # four elements 1.0
CODES = np.full((8, 3), 127, np.uint8)  # scales of 1


def test_equal_pairs() -> None:
    assert_mx_equal((WORDS, CODES), (WORDS.copy(), CODES.view(ml_dtypes.float8_e8m0fnu)), DTYPE)
    words, scales = quantize_mx_host(np.ones((128, 2), np.float32), DTYPE)
    assert_mx_equal((words, scales), (words, scales), DTYPE)
    structured = WORDS.view(np.dtype([(str(DTYPE), np.uint32)]))
    assert_mx_equal((structured, CODES), (structured, CODES))


def test_a_scale_off_by_one_is_seen_and_shown() -> None:
    other = CODES.copy()
    other[7, 2] = 128
    with pytest.raises(MismatchError) as failure:
        assert_mx_equal((WORDS, other), (WORDS, CODES), DTYPE)
    text = str(failure.value)
    assert "1 of 24 scale codes differ" in text
    assert "scale [7, 2]: code 128 (2**1), expected 127 (2**0)" in text
    assert "words differ" not in text


@pytest.mark.parametrize("spread", [False, True])
def test_a_word_is_shown_with_what_it_stands_for(spread: bool) -> None:
    codes = CODES.copy()
    codes[5, 1] = 130  # the scale of partitions 40 to 47
    scales = scatter_scales(codes, 64) if spread else codes
    other = WORDS.copy()
    other[41, 1] = 0x38383840  # element 0 is 2.0
    with pytest.raises(MismatchError) as failure:
        assert_mx_equal((other, scales), (WORDS, scales), DTYPE)
    expected = "word [41, 1]: 0x38383840 [2.0, 1.0, 1.0, 1.0] times 2**3, expected 0x38383838 [1.0, 1.0, 1.0, 1.0]"
    assert expected in str(failure.value)
    assert "1 of 192 words differ" in str(failure.value)


def test_code_255_is_called_what_it_is() -> None:
    other = CODES.copy()
    other[0, 0] = 255
    with pytest.raises(MismatchError, match=r"code 255 \(NaN\)"):
        assert_mx_equal((WORDS, other), (WORDS, CODES), DTYPE)


def test_refusals() -> None:
    with pytest.raises(DtypeError, match="pass dtype="):
        assert_mx_equal((WORDS, CODES), (WORDS, CODES))
    with pytest.raises(DtypeError, match="the words of float8_e4m3fn_x4"):
        assert_mx_equal((WORDS.astype(np.uint16), CODES), (WORDS, CODES), DTYPE)
    with pytest.raises(DtypeError, match="uint8 or float8_e8m0fnu"):
        assert_mx_equal((WORDS, CODES.astype(np.int32)), (WORDS, CODES), DTYPE)
    with pytest.raises(ShapeError, match="scales"):
        assert_mx_equal((WORDS, CODES), (WORDS, CODES[:4]), DTYPE)
