"""Error bounds that the kernel tests assert, from the standard model of floating-point arithmetic.

|fl(sum a_k b_k) - sum a_k b_k| <= gamma_K sum |a_k b_k| for any order of additions, gamma_n = n u / (1 - n u) (Higham,
Accuracy and Stability of Numerical Algorithms, section 3.1); storing in a format with m mantissa bits adds 2**-(m+1)
of the value.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
UNIT_FLOAT32 = 2.0**-24
MANTISSA_BITS = {"float32": 23, "bfloat16": 7, "float16": 10}


def matmul_bound(lhsT: Array, rhs: Array, out_dtype: str) -> Array:
    """Elementwise bound on |C - lhsT.T @ rhs| for float32 accumulation stored as `out_dtype`."""
    magnitude = np.abs(lhsT.astype(np.float64)).T @ np.abs(rhs.astype(np.float64))
    terms = lhsT.shape[0]
    gamma = terms * UNIT_FLOAT32 / (1 - terms * UNIT_FLOAT32)
    accumulated = gamma * magnitude
    rounding = 2.0 ** -(MANTISSA_BITS[out_dtype] + 1)
    exact = np.abs(lhsT.astype(np.float64).T @ rhs.astype(np.float64))
    return accumulated + rounding * (exact + accumulated) + 2.0**-126


def assert_within(found: Array, expected: Array, bound: Array) -> None:
    """Every element of `found` within `bound` of `expected`; names the worst one."""
    error = np.abs(np.asarray(found, np.float64) - expected)
    assert np.isfinite(error).all(), "the result has NaN or infinity"
    worst = np.unravel_index(np.argmax(error - bound), error.shape)
    assert (error <= bound).all(), f"at {worst}: error {error[worst]:.3g}, bound {bound[worst]:.3g}"
