"""How far a quantised value may lie from the value: by element, and relative to the largest of its block.

With m mantissa bits, X the block's scale and s the smallest element: half a step of the element's grid, so
|x - q| <= max(2**-(m+1) |x|, X s / 2) where nothing clips. Relative to amax in [2**k, 2**(k+1)):

- NKI, X = 2**(k - E_max + 1): the worst is amax at a midpoint just above 2**k: (2**-(m+1)) / (1 + 2**-(m+1)).
- OCP, X = 2**(k - E_max): amax up to 2**(k+1) is clipped to the largest element, 1.75 * 2**k (FP8) or 1.5 * 2**k
  (FP4): up to an eighth, or a quarter, of it is lost.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, target
from numpy.typing import NDArray

from tests.emulator.numerics.mx_blocks import (
    EMAX,
    LARGEST,
    MANTISSA,
    SMALLEST,
    any_block,
    dequantize,
    every_case,
    every_fp8,
    quantize,
)
from trnlab.emulator import dtypes
from trnlab.emulator.dtypes import DType
from trnlab.emulator.numerics.microscaling_policies import ScaleRule

Block = NDArray[Any]


@every_case
@given(x=any_block)
def test_element_bound(element: DType, rule: ScaleRule, x: Block) -> None:
    elements, codes = quantize(x, element, rule)
    exact, found = x.astype(np.float64), dequantize(elements, codes, element)
    scale = 2.0 ** (int(codes[0]) - 127)
    bound = np.maximum(np.abs(exact) * 2.0 ** -(MANTISSA[element] + 1), scale * SMALLEST[element] / 2)
    is_clipped = np.abs(exact) > LARGEST[element] * scale
    error = np.abs(exact - found)
    assert (error <= np.where(is_clipped, np.abs(exact) - LARGEST[element] * scale, bound)).all()
    if rule is ScaleRule.NKI:
        assert not is_clipped.any()


def worst_of_amax(element: DType, rule: ScaleRule) -> float:
    """The bound on max |x - q| / amax that the docstring derives."""
    half = 2.0 ** -(MANTISSA[element] + 1)
    clipped = 1 - LARGEST[element] / 2.0 ** (EMAX[element] + 1)
    return max(half / (1 + half), clipped if rule is ScaleRule.OCP_FLOOR else 0.0)


@every_case
@given(x=any_block)
def test_bound_relative_to_the_largest(element: DType, rule: ScaleRule, x: Block) -> None:
    elements, codes = quantize(x, element, rule)
    exact = x.astype(np.float64)
    largest = np.abs(exact).max()
    error = np.abs(exact - dequantize(elements, codes, element)).max()
    # Below the clamp the grid is no finer than half the smallest element under 2**-127.
    assert error <= max(worst_of_amax(element, rule) * largest, 2.0**-127 * SMALLEST[element] / 2)
    if codes[0] > 0:
        target(float(error / largest), label="largest error over amax")


def test_bounds_are_the_ones_stated() -> None:
    """1/17 and 1/9 for the NKI rule, 1/8 and 1/4 for the OCP rule."""
    assert worst_of_amax(dtypes.float8_e4m3fn, ScaleRule.NKI) == 1 / 17
    assert worst_of_amax(dtypes.float8_e5m2, ScaleRule.NKI) == 1 / 9
    for element in (dtypes.float8_e4m3fn, dtypes.float8_e5m2):
        assert worst_of_amax(element, ScaleRule.OCP_FLOOR) == 1 / 8
    assert worst_of_amax(dtypes.float4_e2m1fn, ScaleRule.OCP_FLOOR) == 1 / 4


@every_fp8
@given(x=any_block)
def test_the_nki_rule_reaches_the_top_binade_by_rounding_only(element: DType, x: Block) -> None:
    """|element| <= 2**E_max, so no finite block overflows, and amax is in the two binades below."""
    elements, codes = quantize(x, element, ScaleRule.NKI)
    largest = np.abs(elements.view(element.storage).astype(np.float64)).max()
    assert largest <= 2.0 ** EMAX[element]
    assert codes[0] == 0 or largest >= 2.0 ** (EMAX[element] - 1)
