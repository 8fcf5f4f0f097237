"""For tests of kernels: array strategies for every NKI dtype, ULP distances, comparisons with an oracle.

    from hypothesis import given
    from trnlab.emulator.testing import assert_matches, kernel_arguments

    @given(kernel_arguments({"lhsT": ("K", "M"), "rhs": ("K", "N")}, "bfloat16"))
    def test_matmul(arguments):
        assert_matches(matmul, lambda lhsT, rhs: lhsT.T @ rhs, **arguments, contraction=arguments["lhsT"].shape[0])

Arrays and shapes shrink to the smallest failing case, and a failure prints a line that reproduces it. A kernel is
traced and compiled once for every new set of shapes: draw sizes from few values, or pass mode="reference".

The strategies need hypothesis, which is imported when one is made: `pip install trnlab[testing]`.
"""

from trnlab.emulator.testing.arguments import kernel_arguments as kernel_arguments, tile_shapes as tile_shapes
from trnlab.emulator.testing.comparison import Comparison as Comparison, UlpBin as UlpBin, compare as compare
from trnlab.emulator.testing.formats import decode as decode, encode as encode, ordered as ordered, round_to as round_to
from trnlab.emulator.testing.matching import Bound as Bound, assert_matches as assert_matches
from trnlab.emulator.testing.microscaled import assert_mx_equal as assert_mx_equal
from trnlab.emulator.testing.mismatch import MismatchError as MismatchError
from trnlab.emulator.testing.reproduce import codes_of as codes_of, from_codes as from_codes
from trnlab.emulator.testing.strategies import arrays as arrays
from trnlab.emulator.testing.ulp import (
    NAN_DISTANCE as NAN_DISTANCE,
    assert_ulp_close as assert_ulp_close,
    ulp_distance as ulp_distance,
)
