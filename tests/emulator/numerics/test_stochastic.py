"""Stochastic rounding against neighbours found by integer arithmetic, and against the binomial distribution."""

from __future__ import annotations

from collections.abc import Iterator
from math import sqrt
from typing import Any

import jax
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from jax.extend.random import threefry_2x32
from numpy.typing import NDArray

from tests.emulator.numerics.patterns import bits, canonical, structured
from trnlab.emulator import dtypes
from trnlab.emulator.dtypes import DTYPES, DType
from trnlab.emulator.errors import DtypeError, ShapeError
from trnlab.emulator.numerics.casts import narrow, widen
from trnlab.emulator.numerics.stochastic import narrow_stochastic, random_bits
from trnlab.emulator.target import OverflowPolicy, SubnormalPolicy

FLOATS = [d for d in DTYPES if d.is_float and d != "float32"]
TOWARD_ZERO, AWAY = np.uint32(0), np.uint32(2**32 - 1)
compiled = jax.jit(narrow_stochastic, static_argnums=(1, 3, 4))


@pytest.fixture(autouse=True)
def _quiet_numpy() -> Iterator[None]:
    with np.errstate(all="ignore"):
        yield


def same_bits(x: NDArray[np.float32], value: np.uint32) -> NDArray[np.uint32]:
    return np.full(x.shape, value)


def neighbours(x: NDArray[np.float32], dtype: DType) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """|x|'s neighbours toward and away from zero in float64, as if the format had no largest value.

    The ulp is 2**(e - mantissa_bits), e = floor(log2 |x|) but at least the smallest normal number's; |x| / ulp is
    exact in float64, which scales by powers of two without rounding.
    """
    magnitude = np.abs(x.astype(np.float64))
    exponent = np.maximum(np.frexp(magnitude)[1] - 1, 1 - dtype.format.bias)
    ulp = np.ldexp(1.0, exponent - dtype.format.mantissa_bits)
    return np.floor(magnitude / ulp) * ulp, np.ceil(magnitude / ulp) * ulp


def in_range(dtype: DType, count: int = 4) -> NDArray[np.float32]:
    x = structured(count)
    return x[np.abs(x) <= dtype.format.max]


def exact(result: Any, dtype: DType) -> NDArray[np.float64]:
    return np.asarray(widen(result, dtype)).astype(np.float64)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_the_extreme_bits_give_the_two_neighbours(dtype: DType) -> None:
    """Bits of all ones round away whenever the fraction, cut to 32 bits, is not zero; bits of zero never do."""
    x = in_range(dtype)
    low, high = neighbours(x, dtype)
    down = exact(compiled(x, dtype, same_bits(x, TOWARD_ZERO)), dtype)
    np.testing.assert_array_equal(down, np.copysign(low, x))
    up = exact(compiled(x, dtype, same_bits(x, AWAY)), dtype)
    fraction = np.where(high > low, (np.abs(x.astype(np.float64)) - low) / np.where(high > low, high - low, 1), 0)
    expected = np.where(fraction >= 2.0**-32, high, low)
    fits = expected <= dtype.format.max  # the neighbour beyond the largest value is an overflow
    np.testing.assert_array_equal(up[fits], np.copysign(expected, x)[fits])
    assert (up[~fits] != down[~fits]).all() or dtype == "float4_e2m1fn"  # the one format that always saturates


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_representable_values_do_not_depend_on_the_bits(dtype: DType) -> None:
    if dtype == "tfloat32":
        x = (structured().view(np.uint32) & np.uint32(0xFFFFE000)).view(np.float32)
    else:
        count = 16 if dtype == "float4_e2m1fn" else 2**dtype.format.bits
        x = np.arange(count).astype(f"uint{8 * dtype.itemsize}").view(dtype.storage).astype(np.float32)
    expected = bits(narrow(x, dtype))
    for value in (TOWARD_ZERO, AWAY, np.uint32(0x80000000)):
        np.testing.assert_array_equal(bits(compiled(x, dtype, same_bits(x, value))), expected)


def test_infinities_of_formats_without_them_do_not_depend_on_the_bits() -> None:
    x = np.array([np.inf, -np.inf, np.nan, 0.0, -0.0], np.float32)
    for dtype in (dtypes.float8_e4m3fn, dtypes.float4_e2m1fn):
        expected = bits(narrow(x, dtype))
        np.testing.assert_array_equal(bits(compiled(x, dtype, same_bits(x, AWAY))), expected)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_the_threshold_is_the_fraction_of_two_to_the_32(dtype: DType) -> None:
    """The least bits that round away are 2**32 - fraction * 2**32: one less does not. So uniform bits are unbiased."""
    x = in_range(dtype, 16)[::7]
    low, high = neighbours(x, dtype)
    fits = (high > low) & (high <= dtype.format.max)
    x, low, high = x[fits], low[fits], high[fits]
    fraction = np.floor((np.abs(x.astype(np.float64)) - low) / (high - low) * 2.0**32)
    reachable = fraction > 0
    x, low, high, fraction = x[reachable], low[reachable], high[reachable], fraction[reachable]
    assert x.size > 1000
    threshold = (2.0**32 - fraction).astype(np.uint32)
    np.testing.assert_array_equal(exact(compiled(x, dtype, threshold), dtype), np.copysign(high, x))
    np.testing.assert_array_equal(exact(compiled(x, dtype, threshold - np.uint32(1)), dtype), np.copysign(low, x))


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_the_mean_is_the_value(dtype: DType) -> None:
    """Of n draws the share rounded away lies within 5 standard errors sqrt(p (1 - p) / n) of the fraction p."""
    small = dtype.format.smallest_subnormal
    unit = 2.0**-dtype.format.mantissa_bits
    n = 2**16
    for low, ulp, p in ((1.0, unit, 0.25), (-1.0, -unit, 0.7), (0.0, small, 0.375), (small, small, 0.5)):
        value = np.float32(low + p * ulp)
        held = (float(value) - low) / ulp  # what of p float32 can hold
        x = np.full(n, value, np.float32)
        drawn = random_bits(np.array([11, 5], np.uint32), 0, (n,))
        away = np.abs(exact(compiled(x, dtype, drawn), dtype)) > abs(low)
        assert abs(away.mean() - held) <= 5 * sqrt(held * (1 - held) / n)


@settings(deadline=None, max_examples=200)
@given(
    st.integers(0, 2**32 - 1),
    st.lists(st.integers(0, 2**32 - 1), min_size=8, max_size=8),
    st.sampled_from(FLOATS),
)
def test_the_result_grows_in_magnitude_with_the_bits_and_is_a_neighbour(
    pattern: int, drawn: list[int], dtype: DType
) -> None:
    x = canonical(np.full(8, pattern, np.uint32).view(np.float32))
    ordered = np.sort(np.array(drawn, np.uint32))
    found = exact(compiled(x, dtype, ordered, OverflowPolicy.SATURATE), dtype)
    if np.isnan(x[0]):
        assert dtype == "float4_e2m1fn" or np.isnan(found).all()
        return
    assert (np.diff(np.abs(found)) >= 0).all()
    if np.isinf(x[0]):
        assert (found == np.copysign(dtype.format.max, x[0])).all()
        return
    low, high = (np.minimum(side, dtype.format.max) for side in neighbours(x[:1], dtype))
    assert set(np.abs(found).tolist()) <= {*low.tolist(), *high.tolist()}


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_policies_apply_to_the_neighbour(dtype: DType) -> None:
    form = dtype.format
    ulp = 2.0 ** (np.frexp(form.max)[1] - 1 - form.mantissa_bits)
    x = np.array([form.max + ulp / 4, -form.max - ulp / 4], np.float32)
    signs = np.sign(x)
    down = exact(compiled(x, dtype, same_bits(x, TOWARD_ZERO)), dtype)
    np.testing.assert_array_equal(down, signs * form.max)
    beyond = {
        OverflowPolicy.INFINITY: np.inf if form.has_infinity else np.nan if form.has_nan else form.max,
        OverflowPolicy.NAN: np.nan if form.has_nan else form.max,
        OverflowPolicy.SATURATE: form.max,
    }
    for overflow, value in beyond.items():
        found = exact(compiled(x, dtype, same_bits(x, AWAY), overflow), dtype)
        np.testing.assert_array_equal(found, signs * value)
    tiny = np.array([form.smallest_normal - form.smallest_subnormal / 2], np.float32)
    flush = (OverflowPolicy.INFINITY, SubnormalPolicy.FLUSH)
    assert exact(compiled(tiny, dtype, same_bits(tiny, TOWARD_ZERO), *flush), dtype) == 0
    kept = compiled(tiny, dtype, same_bits(tiny, AWAY), *flush)
    assert exact(kept, dtype) == form.smallest_normal


def test_eager_and_compiled_agree_and_repeat() -> None:
    x = structured()[::61]
    for dtype in (dtypes.bfloat16, dtypes.float8_e4m3fn):
        drawn = random_bits(np.array([7, 0], np.uint32), 0, x.shape)
        once, again = compiled(x, dtype, drawn), narrow_stochastic(x, dtype, drawn)
        np.testing.assert_array_equal(bits(once), bits(again))


def test_float32_is_not_rounded() -> None:
    x = structured()
    np.testing.assert_array_equal(bits(compiled(x, dtypes.float32, same_bits(x, AWAY))), bits(x))


def test_random_bits_are_keyed_by_seed_number_stream_and_element() -> None:
    key = np.array([3, 9], np.uint32)
    whole = np.asarray(random_bits(key, 2, (4, 8)))
    np.testing.assert_array_equal(whole.reshape(-1)[:5], np.asarray(random_bits(key, 2, (5,))))
    others = [random_bits(np.array(k, np.uint32), s, (4, 8)) for k, s in (([4, 9], 2), ([3, 8], 2), ([3, 9], 1))]
    assert all((np.asarray(other) != whole).mean() > 0.9 for other in others)


def test_random_bits_are_threefry_2x32() -> None:
    # A published known answer (Random123, 20 rounds): key 0 0, counter 0 0 gives 6b200159 99ba4efe.
    assert int(random_bits(np.zeros(2, np.uint32), 0, (1,))[0]) == 0x6B200159
    key = np.array([0x13198A2E, 0x03707344], np.uint32)
    counters = np.stack([np.full(64, 7), np.arange(64)]).astype(np.uint32)
    expected = np.asarray(threefry_2x32(key, counters.reshape(-1)))[:64]  # JAX's own: all first words, all second
    np.testing.assert_array_equal(np.asarray(random_bits(key, 7, (8, 8))).reshape(-1), expected)


def test_errors_carry_data() -> None:
    x, drawn = np.zeros(4, np.float32), np.zeros(4, np.uint32)
    cases: list[tuple[Any, Any, Any, str]] = [
        (x.astype(np.float64), dtypes.bfloat16, drawn, "float64"),
        (x, dtypes.float8_e5m2_x4, drawn, "pack_x4"),
        (x, dtypes.float8_e8m0fnu, drawn, "float8_e8m0fnu"),
        (x, dtypes.int8, drawn, "int8"),
        (x, dtypes.bfloat16, drawn.astype(np.int32), "uint32"),
    ]
    for values, dtype, random, text in cases:
        with pytest.raises(DtypeError, match=text) as caught:
            narrow_stochastic(values, dtype, random)
        assert caught.value.violation.subject == "narrow_stochastic"
    with pytest.raises(ShapeError, match=r"shape \(3,\)"):
        narrow_stochastic(x, dtypes.bfloat16, drawn[:3])
