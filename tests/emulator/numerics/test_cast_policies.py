"""Overflow and subnormal policies of the casts, against selections on the results of ml_dtypes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
import pytest

from tests.emulator.numerics.patterns import bits, canonical, structured, tfloat32_oracle
from trnlab.emulator import dtypes
from trnlab.emulator.dtypes import DTYPES, DType
from trnlab.emulator.numerics.casts import narrow, widen
from trnlab.emulator.target import OverflowPolicy, SubnormalPolicy

ROUNDED = [d for d in DTYPES if (d.is_float or d.format.kind == "scale") and d not in ("float32", "tfloat32")]

compiled = jax.jit(narrow, static_argnums=(1, 2, 3))


@pytest.fixture(autouse=True)
def _quiet_numpy() -> Iterator[None]:
    with np.errstate(all="ignore"):
        yield


@pytest.mark.parametrize("dtype", [*ROUNDED, dtypes.tfloat32], ids=str)
def test_policies_give_the_same_eagerly_and_compiled(dtype: DType) -> None:
    x = structured()[::37]

    def every_policy(x: Any) -> list[jax.Array]:
        return [narrow(x, dtype, overflow, subnormals) for overflow in OverflowPolicy for subnormals in SubnormalPolicy]

    for eager, found in zip(every_policy(x), jax.jit(every_policy)(x), strict=True):
        np.testing.assert_array_equal(bits(eager), bits(found))


@pytest.mark.parametrize("dtype", [dtypes.int8, dtypes.uint32, dtypes.bool_], ids=str)
def test_policies_do_not_reach_integers(dtype: DType) -> None:
    x = structured()[::370]
    expected = bits(narrow(x, dtype))
    for overflow in OverflowPolicy:
        np.testing.assert_array_equal(bits(narrow(x, dtype, overflow, SubnormalPolicy.FLUSH)), expected)


@pytest.mark.parametrize("dtype", ROUNDED, ids=str)
def test_saturate_rounds_the_clipped_value(dtype: DType) -> None:
    x = structured()
    largest = dtype.format.max
    expected = np.clip(canonical(x), -largest, largest).astype(np.float32).astype(dtype.storage)
    found = np.asarray(compiled(x, dtype, OverflowPolicy.SATURATE))
    np.testing.assert_array_equal(bits(found), bits(expected))
    if dtype.is_float:  # the scale format turns zero and negatives into NaN under either policy
        assert np.isfinite(found.astype(np.float32)[~np.isnan(x)]).all()


@pytest.mark.parametrize("dtype", ROUNDED, ids=str)
def test_nan_beyond_replaces_the_infinities_that_finite_values_round_to(dtype: DType) -> None:
    x = structured()
    plain = canonical(x).astype(dtype.storage)
    overflowed = np.isfinite(x) & np.isinf(plain.astype(np.float32))
    assert overflowed.any() == dtype.format.has_infinity
    expected = np.where(overflowed, canonical(np.full(1, np.nan, np.float32)).astype(dtype.storage), plain)
    np.testing.assert_array_equal(bits(compiled(x, dtype, OverflowPolicy.NAN)), bits(expected))


@pytest.mark.parametrize("dtype", [d for d in ROUNDED if d.is_float], ids=str)
def test_flush_replaces_the_subnormal_results(dtype: DType) -> None:
    x = structured(64)
    plain = canonical(x).astype(dtype.storage)
    magnitude = np.abs(plain.astype(np.float64))  # float64: NumPy compares the float32 subnormals of bfloat16 exactly
    subnormal = (magnitude > 0) & (magnitude < dtype.format.smallest_normal)
    assert subnormal.any()
    expected = np.where(subnormal, np.copysign(np.float32(0), x).astype(dtype.storage), plain)
    np.testing.assert_array_equal(
        bits(compiled(x, dtype, OverflowPolicy.INFINITY, SubnormalPolicy.FLUSH)), bits(expected)
    )


def test_flush_reaches_float32_and_tfloat32() -> None:
    x = canonical(structured())
    for dtype, plain in ((dtypes.float32, x), (dtypes.tfloat32, canonical(tfloat32_oracle(x)))):
        code = bits(plain)
        subnormal = ((code & 0x7F800000) == 0) & ((code & 0x7FFFFF) != 0)
        expected = np.where(subnormal, code & 0x80000000, code)
        np.testing.assert_array_equal(
            bits(compiled(x, dtype, OverflowPolicy.INFINITY, SubnormalPolicy.FLUSH)), expected
        )


OVERFLOWS: dict[OverflowPolicy, dict[str, list[float]]] = {
    OverflowPolicy.INFINITY: {
        "float8_e4m3": [np.inf, -np.inf, np.inf, 240.0],
        "float8_e4m3fn": [288.0, np.nan, np.nan, 240.0],
        "float8_e5m2": [320.0, -512.0, np.inf, 256.0],
        "float4_e2m1fn": [6.0, -6.0, 6.0, 6.0],
    },
    OverflowPolicy.NAN: {
        "float8_e4m3": [np.nan, np.nan, np.inf, 240.0],
        "float8_e4m3fn": [288.0, np.nan, np.nan, 240.0],
        "float4_e2m1fn": [6.0, -6.0, 6.0, 6.0],
    },
    OverflowPolicy.SATURATE: {
        "float8_e4m3": [240.0, -240.0, 240.0, 240.0],
        "float8_e4m3fn": [288.0, -448.0, 448.0, 240.0],
        "float4_e2m1fn": [6.0, -6.0, 6.0, 6.0],
    },
}


@pytest.mark.parametrize("policy", OverflowPolicy)
def test_overflow_by_policy(policy: OverflowPolicy) -> None:
    # 247 lies above 240 and below 248, from where on FP8 with an exponent of 4 bits and an infinity overflows.
    x = np.array([300.0, -500.0, np.inf, 247.0], np.float32)
    for name, expected in OVERFLOWS[policy].items():
        dtype = dtypes.as_dtype(name)
        found = np.asarray(widen(narrow(x, dtype, policy), dtype))
        np.testing.assert_array_equal(found, np.array(expected, np.float32), err_msg=name)


def test_tfloat32_overflow() -> None:
    x = np.array([np.finfo(np.float32).max, -np.inf], np.float32)
    largest = dtypes.tfloat32.format.max
    np.testing.assert_array_equal(np.asarray(narrow(x, dtypes.tfloat32)), [np.inf, -np.inf])
    saturated = np.asarray(narrow(x, dtypes.tfloat32, OverflowPolicy.SATURATE))
    np.testing.assert_array_equal(saturated, np.array([largest, -largest], np.float32))
