"""Every code of every format survives packing, and every representable block survives quantising."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, strategies as st
from numpy.typing import NDArray

from tests.emulator.numerics.mx_blocks import ELEMENTS, EMAX, dequantize, every_element, every_fp8, quantize
from trnlab.emulator.dtypes import DType
from trnlab.emulator.numerics import x4_words
from trnlab.emulator.numerics.microscaling_host import pack_x4, unpack_x4
from trnlab.emulator.numerics.microscaling_policies import ScaleRule
from trnlab.emulator.numerics.x4_words import packed_of

Bytes = NDArray[np.uint8]


@every_element
def test_every_word_of_every_pair_of_codes(element: DType) -> None:
    """All codes in lanes 0 and 2 beside all codes in lanes 1 and 3, through NumPy and through JAX."""
    count = 2**element.format.bits
    first, second = (grid.reshape(-1).astype(np.uint8) for grid in np.meshgrid(np.arange(count), np.arange(count)))
    elements = np.stack([first, second, first, second], axis=-1).view(element.storage)
    words = pack_x4(elements)[:, 0]
    shifts = element.format.bits * np.arange(4)
    lanes = np.stack([first, second, first, second], axis=-1).astype(np.uint64) << shifts.astype(np.uint64)
    np.testing.assert_array_equal(words, lanes.sum(axis=-1).astype(words.dtype))
    np.testing.assert_array_equal(unpack_x4(words[:, None], packed_of(element)).view(np.uint8), elements.view(np.uint8))
    np.testing.assert_array_equal(np.asarray(x4_words.pack_x4(elements))[:, 0], words)


def representable(element: DType, codes: list[int], scale: int, top: int) -> tuple[Bytes, Bytes]:
    """A block of these element codes whose first one has the exponent that a rule brings amax to."""
    bits = (np.array(codes) % 2**element.format.bits).astype(np.uint8)
    values = np.abs(bits.view(element.storage).astype(np.float64))
    bits = np.where(np.isfinite(values) & (values < 2.0 ** (top + 1)), bits, 0).astype(np.uint8)
    bits[0] = np.array([2.0**top]).astype(np.float32).astype(element.storage).view(np.uint8)[0]
    return bits[None], np.array([scale], np.uint8)


blocks_of_codes = st.lists(st.integers(0, 255), min_size=32, max_size=32)


@every_element
@given(codes=blocks_of_codes, scale=st.integers(20, 230))
def test_representable_blocks_come_back_under_the_ocp_rule(element: DType, codes: list[int], scale: int) -> None:
    elements, scales = representable(element, codes, scale, EMAX[element])
    again, scales_again = quantize(
        dequantize(elements, scales, element).astype(np.float32), element, ScaleRule.OCP_FLOOR
    )
    np.testing.assert_array_equal(again, elements)
    np.testing.assert_array_equal(scales_again, scales)


@every_fp8
@given(codes=blocks_of_codes, scale=st.integers(20, 230))
def test_representable_blocks_come_back_under_the_nki_rule(element: DType, codes: list[int], scale: int) -> None:
    elements, scales = representable(element, codes, scale, EMAX[element] - 1)
    again, scales_again = quantize(dequantize(elements, scales, element).astype(np.float32), element, ScaleRule.NKI)
    np.testing.assert_array_equal(again, elements)
    np.testing.assert_array_equal(scales_again, scales)


@pytest.mark.parametrize("element", ELEMENTS, ids=str)
def test_every_finite_code_comes_back_beside_a_top_element(element: DType) -> None:
    """Each code in turn, 31 to a block, in the block's lowest and highest useful scales."""
    count = 2**element.format.bits
    for scale in (0, 1, 127, 254 - EMAX[element]):
        for start in range(0, count, 31):
            codes = [0, *range(start, min(start + 31, count))]
            elements, scales = representable(element, (codes * 32)[:32], scale, EMAX[element])
            decoded = dequantize(elements, scales, element).astype(np.float32)
            again, scales_again = quantize(decoded, element, ScaleRule.OCP_FLOOR)
            np.testing.assert_array_equal(again, elements)
            np.testing.assert_array_equal(scales_again, scales)
