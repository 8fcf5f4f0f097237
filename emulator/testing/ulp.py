"""Distances in units in the last place, for every format."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trnlab.emulator.dtypes import DType, element_of
from trnlab.emulator.errors import ShapeError
from trnlab.emulator.source import fail
from trnlab.emulator.testing.formats import NAN_CODE, as_array, dtype_of, encode, ordered
from trnlab.emulator.testing.mismatch import MismatchError

NAN_DISTANCE: Final = 2**32
"""From a NaN to any number: farther than any two float32 numbers are apart."""


def ulp_distance(a: Any, b: Any, dtype: Any = None) -> NDArray[np.int64]:
    """How many representable numbers `dtype` has from a to b, element by element: 0 for equal ones, 1 for neighbours.

    a, b:   arrays that broadcast, stored as `dtype` is (packed words give a last axis of four lanes); other floats and
            numbers are rounded into `dtype` first, once, to nearest even
    dtype:  default: that of a

    Both zeros are one number; a NaN is at distance 0 from every NaN and `NAN_DISTANCE` from every number; infinity is
    one step beyond the largest value.

    Raises:
        DtypeError: no such dtype.
        ShapeError: shapes that do not broadcast.
    """
    element = dtype_of(as_array(a) if dtype is None and not hasattr(a, "dtype") else a, dtype)
    left, right = (_codes(values, element) for values in (a, b))
    try:
        left, right = np.broadcast_arrays(left, right)
    except ValueError:
        allowed = "shapes that broadcast"
        fail(ShapeError, "ulp_distance", operand="b", found=f"{left.shape} and {right.shape}", allowed=allowed)
    one_is_nan = (left == NAN_CODE) != (right == NAN_CODE)
    return np.where(one_is_nan, NAN_DISTANCE, np.abs(left - right))


def _codes(values: Any, dtype: DType) -> NDArray[np.int64]:
    array = as_array(values)
    is_stored = array.dtype == dtype.storage and dtype != "tfloat32"
    if is_stored or dtype.is_packed:
        return ordered(array, dtype)
    return ordered(encode(array, element_of(dtype)), dtype)


def assert_ulp_close(actual: Any, expected: Any, max_ulp: int, dtype: Any = None) -> None:
    """`ulp_distance(actual, expected, dtype) <= max_ulp` everywhere.

    Raises:
        MismatchError: (an AssertionError) some element is farther; the text shows the worst one and the distribution.
        ShapeError: shapes that differ.
    """
    from trnlab.emulator.testing.comparison import compare

    comparison = compare(actual, expected, dtype)
    worst = comparison.max_ulp
    if worst > max_ulp:
        raise MismatchError(f"{worst} ulp apart, at most {max_ulp} allowed\n{comparison}", comparison)
