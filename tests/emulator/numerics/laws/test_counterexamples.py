"""Laws that one may expect and that do not hold, each with a block that breaks it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.emulator.numerics.mx_blocks import EMAX, dequantize, every_case, every_element, every_fp8, once, quantize
from trnlab.emulator import dtypes
from trnlab.emulator.dtypes import DType
from trnlab.emulator.numerics.microscaling_host import pack_operand, quantize_mx_host, unpack_operand
from trnlab.emulator.numerics.microscaling_layout import LaneOrder
from trnlab.emulator.numerics.microscaling_policies import ScaleRule

E4M3, E5M2, E2M1 = dtypes.float8_e4m3fn, dtypes.float8_e5m2, dtypes.float4_e2m1fn
NKI, OCP = ScaleRule.NKI, ScaleRule.OCP_FLOOR


def block(*values: float) -> NDArray[np.float32]:
    """One block that starts with the values and goes on with zeros."""
    return np.array([*values, *[0.0] * (32 - len(values))], np.float32)[None]


def test_the_nki_rule_is_not_idempotent_in_value() -> None:
    """amax = 1.96875, E4M3: the scale is 2**-7, amax rounds up to 2, and the second scale is 2**-6.

    Under 2**-7 the smallest step is 2**-16, under 2**-6 it is 2**-15: 2**-16 is an element first and a tie then.
    """
    x = block(1.96875, 2.0**-16)
    first = once(x, E4M3, NKI)
    assert first[0, :2].tolist() == [2.0, 2.0**-16]
    assert once(first, E4M3, NKI)[0, :2].tolist() == [2.0, 0.0]


@every_fp8
def test_the_nki_rule_is_not_idempotent_in_codes(element: DType) -> None:
    """A largest value that rounds up to the next binade moves the scale in the second round, values staying."""
    x = block(1.96875, 1.0)
    elements, codes = quantize(x, element, NKI)
    again, codes_again = quantize(once(x, element, NKI), element, NKI)
    assert codes_again[0] == codes[0] + 1
    assert (again != elements).any()
    np.testing.assert_array_equal(dequantize(again, codes_again, element), dequantize(elements, codes, element))


def test_the_ocp_rule_does_not_keep_what_the_nki_rule_made_of_e4m3() -> None:
    """1.875 is 240 * 2**-7 under the NKI scale and would be 480 * 2**-8 under the OCP one, which clips at 448."""
    x = block(1.875)
    assert once(x, E4M3, NKI)[0, 0] == 1.875
    assert once(x, E4M3, OCP)[0, 0] == 448 / 256


@every_case
def test_scaling_by_three_does_not_commute(element: DType, rule: ScaleRule) -> None:
    """1.09375 rounds to 1.125 (E4M3) or 1 (E5M2), 3.28125 to 3.25 or 3.5; E2M1: 0.42 to 0.375, 1.26 to 1.5."""
    x = block(1.0, 0.42 if element == E2M1 else 1.09375)
    assert (once(3 * x, element, rule) != 3 * once(x, element, rule)).any()


@every_case
def test_enlarging_the_largest_moves_the_others(element: DType, rule: ScaleRule) -> None:
    """Beside 2**40 the others are flushed, which they are not beside 1."""
    assert once(block(1.0, 0.5), element, rule)[0, 1] == 0.5
    assert once(block(2.0**40, 0.5), element, rule)[0, 1] == 0.0


@every_case
def test_the_largest_may_grow(element: DType, rule: ScaleRule) -> None:
    """A value above a midpoint rounds up, amax too: 1.1875 to 1.25 (m = 2, 3), 1.3 to 1.5 (m = 1)."""
    value = 1.3 if element == E2M1 else 1.1953125
    assert once(block(value), element, rule)[0, 0] > value


@every_element
def test_sums_are_not_quantised_termwise(element: DType) -> None:
    """1 and 0.0625 are exact, each in its block; their sum takes four bits after the point."""
    x, y = block(1.0), block(0.0625)
    assert (once(x, element, OCP) + once(y, element, OCP))[0, 0] == 1.0625
    assert once(x + y, element, OCP)[0, 0] == 1.0


def test_transposing_does_not_commute() -> None:
    """Blocks lie along K: a matrix whose rows differ in size loses its small rows one way and nothing the other."""
    x = np.ones((32, 32), np.float32)
    x[1::2] = 2.0**-20
    dtype = dtypes.float8_e4m3fn_x4
    along_k, along_n = (unpack_operand(*pack_operand(m, dtype), dtype, rows=32) for m in (x, x.T))
    np.testing.assert_array_equal(along_n.T, x)
    assert (along_k[1::2] == 0).all()


def test_padding_k_moves_the_blocks_of_strided_lanes() -> None:
    """128 rows are 32 words of rows p, p + 32, p + 64, p + 96; with 384 rows of zeros after, words of rows p alone.

    A large row 32 spoils the block of row 0 only while they share it. In consecutive order it never does.
    """
    x = np.full((128, 1), 2.0**-20, np.float32)
    x[32] = 1
    padded = np.concatenate([x, np.zeros((384, 1), np.float32)])
    dtype, changed = dtypes.float8_e4m3fn_x4, {}
    for order in LaneOrder:
        short, long = (
            unpack_operand(*pack_operand(m, dtype, order=order), dtype, rows=128, order=order) for m in (x, padded)
        )
        changed[order] = bool((short != long).any())
    assert changed == {LaneOrder.STRIDED: True, LaneOrder.CONSECUTIVE: False}


def test_lane_orders_differ_in_value_not_only_in_place() -> None:
    """Another map from K to partition and lane makes other blocks."""
    x = np.random.default_rng(0).standard_normal((128, 4)).astype(np.float32)
    dtype = dtypes.float8_e4m3fn_x4
    decoded = [unpack_operand(*pack_operand(x, dtype, order=order), dtype, order=order) for order in LaneOrder]
    assert (decoded[0] != decoded[1]).any()


@pytest.mark.parametrize("element", [E4M3, E5M2], ids=str)
def test_the_scale_of_no_rule_is_the_most_accurate(element: DType) -> None:
    """Neither rule beats the other everywhere: OCP clips what NKI keeps, NKI flushes what OCP keeps."""
    step = 2.0 ** {E4M3: -9, E5M2: -16}[element]
    clipped, flushed = block(1.9375), block(1.0, step * 2.0 ** -EMAX[element])
    errors: list[dict[ScaleRule, Any]] = [
        {rule: np.abs(once(x, element, rule) - x).max() for rule in ScaleRule} for x in (clipped, flushed)
    ]
    assert errors[0][NKI] < errors[0][OCP]
    assert errors[1][OCP] < errors[1][NKI]


def test_host_words_need_their_order_to_be_read() -> None:
    """Read in the other order, the same words are another matrix: nothing in them says which."""
    x = np.arange(64, dtype=np.float32).reshape(32, 2)
    dtype = dtypes.float8_e4m3fn_x4
    words, codes = quantize_mx_host(x, dtype, order=LaneOrder.CONSECUTIVE)
    consecutive, strided = (
        unpack_operand(words, codes, dtype, order=order) for order in (LaneOrder.CONSECUTIVE, LaneOrder.STRIDED)
    )
    np.testing.assert_array_equal(np.sort(consecutive, axis=0), np.sort(strided, axis=0))
    assert (consecutive != strided).any()
