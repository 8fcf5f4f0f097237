"""The comparison: the NKI Library's rule, and element by element."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from tests.conformance.compare import check_reference, compare
from tests.conformance.direct import compare_outputs
from tests.conformance.outcome import MismatchError

WANT = np.array([1.0, 100.0])


def test_the_tolerance_is_of_the_largest_magnitude() -> None:
    # 0.01 + 0.01 × 100 = 1.01 is allowed everywhere.
    assert compare("out", WANT + 1.0, WANT, rtol=0.01, atol=0.01) == 1.0
    with pytest.raises(MismatchError, match=r"2 of 2 elements off, largest difference 1.02 \(0.0102 of the largest"):
        compare("out", WANT + 1.02, WANT, rtol=0.01, atol=0.01)


def test_elementwise_the_tolerance_is_of_each_element() -> None:
    # 0.01 + 0.01 × 1 = 0.02 is allowed of the first, 1.01 of the second.
    assert compare("out", WANT + np.array([0.0195, 1.0]), WANT, rtol=0.01, atol=0.01, elementwise=True) == 1.0
    with pytest.raises(MismatchError, match="1 of 2 elements off"):
        compare("out", WANT + np.array([0.03, 1.0]), WANT, rtol=0.01, atol=0.01, elementwise=True)


def test_shapes() -> None:
    assert compare("out", WANT.reshape(2, 1), WANT, 0, 0) == 0
    with pytest.raises(MismatchError, match=r"out: shape \(3,\), expected \(2,\)"):
        compare("out", np.zeros(3), WANT, 0, 0)
    assert compare("out", np.zeros((0, 4)), np.zeros((4, 0)), 0, 0) == 0


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_finite_on_both_sides_or_on_neither(bad: float) -> None:
    for got, want in [([1.0, bad], WANT), (WANT, [1.0, bad])]:
        with pytest.raises(MismatchError, match="1 of 2 elements finite on one side only"):
            compare("out", np.array(got), np.array(want), 1.0, 1.0)
    assert compare("out", [1.0, bad], [1.0, bad], 0, 0) == 0
    assert compare("out", [bad], [bad], 0, 0) == 0


def test_narrow_floats_compare_by_value() -> None:
    want = np.array([0.5, 448.0])
    assert compare("out", want.astype(ml_dtypes.float8_e4m3fn), want, 0, 0) == 0


def test_a_reference_without_a_finite_element_is_refused() -> None:
    with pytest.raises(ValueError, match="reference of out has no finite element"):
        check_reference("out", [np.nan, np.inf])
    check_reference("out", [np.nan, 1.0])
    check_reference("out", [])


def test_the_number_of_outputs_counts() -> None:
    assert compare_outputs([WANT, WANT], (WANT, WANT + 1), 0, 1, elementwise=True) == {"output 0": 0, "output 1": 1}
    with pytest.raises(MismatchError, match="1 outputs, expected 2"):
        compare_outputs(WANT, [WANT, WANT], 0, 0, elementwise=True)
