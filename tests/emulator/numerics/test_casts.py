"""Casts against ml_dtypes, NumPy in float64 and arithmetic: every code of the 16-bit formats, and 2**24 float32."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.emulator.numerics.patterns import LOWER_HALVES, bits, canonical, structured, tfloat32_oracle
from trnlab.emulator import dtypes
from trnlab.emulator.dtypes import DTYPES, DType
from trnlab.emulator.errors import DtypeError
from trnlab.emulator.numerics.casts import narrow, widen

ROUNDED = [d for d in DTYPES if (d.is_float or d.format.kind == "scale") and d not in ("float32", "tfloat32")]
NARROW = [d for d in ROUNDED if d.format.bits <= 8]
INTEGERS = [d for d in DTYPES if d.format.kind in ("int", "uint")]
SOURCES = {"bfloat16": ml_dtypes.bfloat16, "float16": np.float16}
CHUNK = 16  # lower half-words that are cast at a time

compiled = jax.jit(narrow, static_argnums=1)


@pytest.fixture(autouse=True)
def _quiet_numpy() -> Iterator[None]:
    with np.errstate(all="ignore"):
        yield


def codes16(source: Any) -> NDArray[Any]:
    return np.arange(2**16, dtype=np.uint16).view(source)


# --------------------------------------------------------------------------------------- nearest even, every pattern


@pytest.mark.parametrize("dtype", ROUNDED, ids=str)
@pytest.mark.parametrize("source", SOURCES)
def test_every_code_of_a_16_bit_format_is_cast_as_ml_dtypes_does(dtype: DType, source: str) -> None:
    x = codes16(SOURCES[source])
    wide = np.asarray(widen(x, dtypes.as_dtype(source)))
    expected = bits(canonical(x.astype(np.float32)).astype(dtype.storage))
    for function in (narrow, compiled):
        found = function(wide, dtype)
        assert found.dtype == dtype.storage
        np.testing.assert_array_equal(bits(found), expected)


@pytest.mark.parametrize("dtype", ROUNDED, ids=str)
def test_two_to_the_24_float32_are_cast_as_ml_dtypes_does(dtype: DType) -> None:
    for first in range(0, len(LOWER_HALVES), CHUNK):
        x = structured(CHUNK, first)
        expected = bits(canonical(x).astype(dtype.storage))
        np.testing.assert_array_equal(bits(compiled(x, dtype)), expected)
        np.testing.assert_array_equal(bits(narrow(x, dtype)), expected)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [d for d in NARROW if d != "float8_e8m0fnu"] + [dtypes.float8_e8m0fnu], ids=str)
def test_all_float32_are_cast_as_ml_dtypes_does(dtype: DType) -> None:
    """All 2**32 patterns in chunks of 2**24: two to five minutes a format on two busy cores, 18 minutes in all."""
    for high in range(2**8):
        x = np.arange(high << 24, (high + 1) << 24, dtype=np.uint32).view(np.float32)
        np.testing.assert_array_equal(bits(compiled(x, dtype)), bits(canonical(x).astype(dtype.storage)))


# ------------------------------------------------------------------------------------------------------------- NaN

CANONICAL_NAN = {
    # Quiet NaN with an empty payload, sign clear: the exponent's bits and the top bit of the mantissa.
    "bfloat16": 0x7FC0,
    "float16": 0x7E00,
    "float8_e5m2": 0x7E,
    "float8_e4m3": 0x7C,
    "float8_e3m4": 0x78,
    # One NaN for each sign: all bits but the sign's.
    "float8_e4m3fn": 0x7F,
    # One NaN, all bits.
    "float8_e8m0fnu": 0xFF,
    # No NaN: ml_dtypes and XLA make zero of it, with the sign of the canonical NaN inverted.
    "float4_e2m1fn": 0x08,
}


@pytest.mark.parametrize("dtype", ROUNDED, ids=str)
def test_every_nan_becomes_the_one_of_its_format(dtype: DType) -> None:
    payloads = np.array([0x7FC00000, 0xFFC00000, 0x7F800001, 0xFF800001, 0x7FFFFFFF, 0xFFFFFFFF], np.uint32)
    found = bits(compiled(payloads.view(np.float32), dtype))
    np.testing.assert_array_equal(found, np.full(payloads.size, CANONICAL_NAN[dtype]))


# What XLA's own cast, without `narrow`, makes of a NaN other than ml_dtypes does, and in which operands: the class of
# the difference, by format. Elsewhere the two agree on every code.
PAYLOADS_DIFFER = {"float8_e5m2": "both are NaN", "float4_e2m1fn": "both are zero, of either sign"}
IS_OF_CLASS: dict[str, Callable[[NDArray[np.float32]], NDArray[np.bool_]]] = {
    "both are NaN": np.isnan,
    "both are zero, of either sign": lambda x: x == 0,
}


@pytest.mark.parametrize("dtype", NARROW, ids=str)
@pytest.mark.parametrize("source", SOURCES)
def test_casts_of_xla_and_ml_dtypes_differ_in_nan_payloads_only(dtype: DType, source: str) -> None:
    x = codes16(SOURCES[source])
    expected = x.astype(dtype.storage)
    cast = np.asarray(jax.jit(lambda x: x.astype(dtype.storage))(x))
    differs = bits(cast) != bits(expected)
    assert not differs[~np.isnan(x)].any()
    if differs.any():
        is_of_class = IS_OF_CLASS[PAYLOADS_DIFFER[dtype]]
        assert is_of_class(cast[differs].astype(np.float32)).all()
        assert is_of_class(expected[differs].astype(np.float32)).all()


# -------------------------------------------------------------------------------------------------------- tfloat32


def test_tfloat32_keeps_ten_mantissa_bits() -> None:
    x = structured()
    found = np.asarray(compiled(x, dtypes.tfloat32))
    np.testing.assert_array_equal(bits(found), bits(canonical(tfloat32_oracle(x))))
    assert not (bits(found) & 0x1FFF).any()


@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
def test_integers_round_to_even_then_saturate(dtype: DType) -> None:
    halves = np.arange(-300, 300, dtype=np.float32) / 2
    limits = np.iinfo(dtype.storage)
    edges = np.array([limits.min, limits.max], np.float64) + np.array([[-1], [-0.5], [0], [0.5], [1]])
    x = np.concatenate([halves, edges.astype(np.float32).reshape(-1), structured()[::7]])
    exact = np.clip(np.rint(x.astype(np.float64)), limits.min, limits.max)
    expected = np.where(np.isnan(x), 0.0, exact).astype(np.int64).astype(dtype.storage)
    np.testing.assert_array_equal(np.asarray(compiled(x, dtype)), expected)


def test_bool_is_one_for_all_but_zero() -> None:
    x = np.array([0.0, -0.0, 1.0, -3.5, 1e-40, np.inf, np.nan], np.float32)
    np.testing.assert_array_equal(np.asarray(narrow(x, dtypes.bool_)), np.array([0, 0, 1, 1, 1, 1, 1], np.uint8))


def test_narrow_to_float32_changes_no_bit() -> None:
    x = structured()
    np.testing.assert_array_equal(bits(compiled(x, dtypes.float32)), bits(x))


@pytest.mark.parametrize("dtype", [d for d in DTYPES if not d.is_packed and d.itemsize <= 2], ids=str)
def test_widen_is_exact_for_every_code(dtype: DType) -> None:
    count = 16 if dtype == "float4_e2m1fn" else 2 ** (8 * dtype.itemsize)
    codes = np.arange(count).astype(f"uint{8 * dtype.itemsize}").view(dtype.storage)
    found = np.asarray(jax.jit(widen, static_argnums=1)(codes, dtype))
    expected = codes.astype(np.float32)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(bits(canonical(found)), bits(canonical(expected)))


def test_widen_rounds_long_integers_to_even() -> None:
    x = np.array([2**24 + 1, 2**24 + 3, -(2**31), 2**31 - 1], np.int32)
    expected = np.array([2**24, 2**24 + 4, -(2.0**31), 2.0**31], np.float32)
    np.testing.assert_array_equal(np.asarray(widen(x, dtypes.int32)), expected)
    top = np.array([2**32 - 1], np.uint32)
    np.testing.assert_array_equal(np.asarray(widen(top, dtypes.uint32)), np.array([2.0**32], np.float32))


def test_dtype_errors_carry_data() -> None:
    x = np.zeros(4, np.float32)
    with pytest.raises(DtypeError, match="pack_x4"):
        narrow(x, dtypes.float8_e5m2_x4)
    with pytest.raises(DtypeError, match="float64") as caught:
        narrow(x.astype(np.float64), dtypes.bfloat16)
    assert caught.value.violation.operand == "x"
    assert isinstance(caught.value, TypeError)
    with pytest.raises(DtypeError, match="decode_x4"):
        widen(np.zeros(4, np.uint32), dtypes.float8_e5m2_x4)
    with pytest.raises(DtypeError, match="float16"):
        widen(x, dtypes.float16)


# ------------------------------------------------------------- guards: what the emulator takes for granted of XLA


@pytest.mark.parametrize("dtype", [d for d in ROUNDED if d.is_float], ids=str)
def test_xla_does_not_elide_a_narrow_round_trip(dtype: DType) -> None:
    """f32 to `dtype` and back inside one program changes the value: excess precision is not kept."""
    x = structured()

    @jax.jit
    def round_trip(x: jax.Array) -> jax.Array:
        return widen(narrow(x, dtype), dtype)

    expected = canonical(x).astype(dtype.storage).astype(np.float32)
    found = np.asarray(round_trip(x))
    np.testing.assert_array_equal(bits(canonical(found)), bits(canonical(expected)))
    assert (bits(found) != bits(x)).mean() > 0.5


@pytest.mark.parametrize("dtype", [d for d in ROUNDED if d.is_float], ids=str)
def test_xla_keeps_no_excess_precision_between_operations(dtype: DType) -> None:
    """A product rounded to `dtype` before it is added to: not one fused or wider operation."""
    a, b, c = np.random.default_rng(3).uniform(0.5, 1.0, (3, 2**16)).astype(np.float32)
    product = (a * b).astype(dtype.storage).astype(np.float32)

    @jax.jit
    def rounded_between(a: jax.Array, b: jax.Array, c: jax.Array) -> jax.Array:
        return widen(narrow(a * b, dtype), dtype) + c

    np.testing.assert_array_equal(bits(rounded_between(a, b, c)), bits(product + c))
    assert (product != a * b).any()


TINY = np.float32(2.0**-127)
FLUSHED: dict[str, Callable[[Any], Any]] = {
    "multiply": lambda x: x * 1.0000001,
    "add": lambda x: x + x,
    "compare with zero": lambda x: jnp.where(x > 0, 1.0, 0.0),
    "maximum": lambda x: jnp.maximum(x, 0.0),
}
KEPT: dict[str, Callable[[Any], Any]] = {
    "select": lambda x: jnp.where(jnp.arange(x.size) >= 0, x, 1.0),
    "cast to bfloat16 and back": lambda x: x.astype(jnp.bfloat16).astype(jnp.float32),
    "bits": lambda x: jax.lax.bitcast_convert_type(jax.lax.bitcast_convert_type(x, jnp.uint32) | 0, jnp.float32),
}


@pytest.mark.parametrize("operation", FLUSHED)
def test_arithmetic_of_xla_flushes_subnormals(operation: str) -> None:
    """Why `SubnormalPolicy.KEEP` cannot reach float32 results; should this fail, the host's arithmetic has changed."""
    found = np.asarray(jax.jit(FLUSHED[operation])(np.full(8, TINY)))
    np.testing.assert_array_equal(found, np.zeros(8, np.float32))


@pytest.mark.parametrize("operation", KEPT)
def test_what_moves_bits_keeps_subnormals(operation: str) -> None:
    found = np.asarray(jax.jit(KEPT[operation])(np.full(8, TINY)))
    np.testing.assert_array_equal(bits(found), np.full(8, 1 << 22, np.uint32))
