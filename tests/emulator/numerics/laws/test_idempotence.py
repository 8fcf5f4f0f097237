"""Quantising what was quantised: the OCP rule is done after one round, the NKI rule after two.

Values that decode to 2**128, which f32 has not, are left out: the NKI rule rounds the largest bfloat16 up to it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import assume, given
from numpy.typing import NDArray

from tests.emulator.numerics.mx_blocks import any_block, every_case, every_element, every_fp8, once, quantize
from trnlab.emulator.dtypes import DType, float8_e5m2
from trnlab.emulator.numerics.microscaling_policies import ScaleRule

Block = NDArray[Any]


@every_element
@given(x=any_block)
def test_the_ocp_rule_is_idempotent_in_codes_and_scales(element: DType, x: Block) -> None:
    """q(q(x)) = q(x): the largest element keeps its binade, since clipping stops it at the format's maximum."""
    rule = ScaleRule.OCP_FLOOR
    elements, codes = quantize(x, element, rule)
    again, codes_again = quantize(once(x, element, rule), element, rule)
    np.testing.assert_array_equal(again, elements)
    np.testing.assert_array_equal(codes_again, codes)


@every_fp8
@given(x=any_block)
def test_the_nki_rule_settles_after_two_rounds(element: DType, x: Block) -> None:
    """q(q(q(x))) = q(q(x)): when amax rounds up to 2**(k+1), the second round has a doubled scale and amax is exact."""
    first = once(x, element, ScaleRule.NKI)
    assume(np.isfinite(first).all())
    twice = once(first, element, ScaleRule.NKI)
    np.testing.assert_array_equal(once(twice, element, ScaleRule.NKI), twice)


@every_case
@given(x=any_block)
def test_once_settled_codes_and_scales_stay(element: DType, rule: ScaleRule, x: Block) -> None:
    first = once(x, element, rule)
    assume(np.isfinite(first).all())
    settled = once(first, element, rule)
    elements, codes = quantize(settled, element, rule)
    again, codes_again = quantize(once(settled, element, rule), element, rule)
    np.testing.assert_array_equal(again, elements)
    np.testing.assert_array_equal(codes_again, codes)


@given(x=any_block)
def test_the_ocp_rule_keeps_what_the_nki_rule_made_of_e5m2(x: Block) -> None:
    """Half the scale doubles the elements, and float8_e5m2's largest significand, 1.75, has a place in every binade.

    Not so float8_e4m3fn, whose 1.875 has none in the top binade (`test_counterexamples`).
    """
    nki = once(x, float8_e5m2, ScaleRule.NKI)
    assume(np.isfinite(nki).all())
    np.testing.assert_array_equal(once(nki, float8_e5m2, ScaleRule.OCP_FLOOR), nki)
