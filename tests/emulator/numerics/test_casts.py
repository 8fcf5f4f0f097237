"""Casts, seals, x4 words, exact powers of two and the f32 dot, against ml_dtypes and NumPy in float64."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from numpy.typing import NDArray

from trnlab.emulator import dtypes
from trnlab.emulator.dtypes import DTYPES, DType, element_of
from trnlab.emulator.errors import DtypeError, ShapeError
from trnlab.emulator.numerics.casts import (
    OverflowPolicy,
    decode_x4,
    ldexp_f32,
    matmul_f32,
    narrow,
    pack_x4,
    packed_of,
    seal,
    unpack_x4,
    widen,
)

UNIT_ROUNDOFF = 2.0**-24
ROUNDED = [d for d in DTYPES if (d.is_float or d.format.kind == "scale") and d not in ("float32", "tfloat32")]
INTEGERS = [d for d in DTYPES if d.format.kind in ("int", "uint")]
PACKED = [d for d in DTYPES if d.is_packed]
# Distances from a tie: of bfloat16 (0x8000), of float16 and tfloat32 (0x1000 with bit 13 even and odd), and of the
# narrower formats, whose ties lie in the upper half-word (0).
LOWER_HALVES = [0, 1, 0xFFFF, 0x7FFF, 0x8000, 0x8001, 0x0FFF, 0x1000, 0x1001, 0x2FFF, 0x3000, 0x3001, 0x5555, 0xAAAA]
LOWER_HALVES += [0x2000, 0xF000]


@pytest.fixture(autouse=True)
def _quiet_numpy() -> Iterator[None]:
    with np.errstate(all="ignore"):
        yield


def structured() -> NDArray[np.float32]:
    """2**20 f32 values: every upper half-word, NaNs and infinities included, with each chosen lower half-word."""
    upper = np.arange(2**16, dtype=np.uint32)[:, None] << 16
    return (upper | np.array(LOWER_HALVES, np.uint32)).reshape(-1).view(np.float32)


def every(source: Any) -> NDArray[np.float32]:
    values: NDArray[np.float32] = np.arange(2**16, dtype=np.uint16).view(source).astype(np.float32)
    return values


def bits(x: Any) -> NDArray[Any]:
    array = np.asarray(x)
    return array.view(np.dtype(f"uint{8 * array.dtype.itemsize}"))


def canonical(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """narrow makes every NaN the canonical one, so the oracle is asked about that one only."""
    return np.where(np.isnan(x), np.float32(np.nan), x)


INPUTS: dict[str, Callable[[], NDArray[np.float32]]] = {
    "bfloat16": lambda: every(ml_dtypes.bfloat16),
    "float16": lambda: every(np.float16),
    "structured": structured,
}


@pytest.mark.parametrize("dtype", ROUNDED, ids=str)
@pytest.mark.parametrize("inputs", INPUTS)
def test_narrow_is_the_cast_of_ml_dtypes(dtype: DType, inputs: str) -> None:
    x = INPUTS[inputs]()
    expected = canonical(x).astype(dtype.storage)
    found = jax.jit(narrow, static_argnums=1)(x, dtype)
    assert found.dtype == dtype.storage
    np.testing.assert_array_equal(bits(found), bits(expected))


@pytest.mark.parametrize("dtype", [*ROUNDED, dtypes.tfloat32, dtypes.bool_, *INTEGERS], ids=str)
def test_narrow_is_the_same_eagerly_and_compiled(dtype: DType) -> None:
    x = structured()[::37]
    for policy in OverflowPolicy:
        eager, compiled = narrow(x, dtype, policy), jax.jit(narrow, static_argnums=(1, 2))(x, dtype, policy)
        np.testing.assert_array_equal(bits(eager), bits(compiled))


@pytest.mark.parametrize("dtype", ROUNDED, ids=str)
def test_saturate_rounds_the_clipped_value(dtype: DType) -> None:
    x = structured()
    largest = dtype.format.max
    expected = np.clip(canonical(x), -largest, largest).astype(np.float32).astype(dtype.storage)
    found = np.asarray(jax.jit(narrow, static_argnums=(1, 2))(x, dtype, OverflowPolicy.SATURATE))
    np.testing.assert_array_equal(bits(found), bits(expected))
    if dtype.is_float:  # the scale format turns zero and negatives into NaN under either policy
        assert np.isfinite(found.astype(np.float32)[~np.isnan(x)]).all()


def test_overflow_by_policy() -> None:
    x = np.array([300.0, -500.0, np.inf], np.float32)
    ieee = {"float8_e4m3": [np.inf, -np.inf, np.inf], "float8_e4m3fn": [288.0, np.nan, np.nan]}
    ieee |= {"float8_e5m2": [320.0, -512.0, np.inf], "float4_e2m1fn": [6.0, -6.0, 6.0]}
    saturated = {"float8_e4m3": [240.0, -240.0, 240.0], "float8_e4m3fn": [288.0, -448.0, 448.0]}
    for expectations, policy in ((ieee, OverflowPolicy.IEEE), (saturated, OverflowPolicy.SATURATE)):
        for name, expected in expectations.items():
            dtype = dtypes.as_dtype(name)
            found = np.asarray(widen(narrow(x, dtype, policy), dtype))
            np.testing.assert_array_equal(found, np.array(expected, np.float32), err_msg=name)


def tfloat32_oracle(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """RNE to 11 significant bits in float64, where x / quantum is exact; below 2**-126 the quantum is 2**-136."""
    wide = x.astype(np.float64)
    exponent = np.maximum(np.frexp(wide)[1], -125)
    quantum = np.ldexp(1.0, exponent - 11)
    return np.where(np.isfinite(x), np.rint(wide / quantum) * quantum, wide).astype(np.float32)


def test_tfloat32_keeps_ten_mantissa_bits() -> None:
    x = structured()
    found = np.asarray(jax.jit(narrow, static_argnums=1)(x, dtypes.tfloat32))
    np.testing.assert_array_equal(bits(found), bits(canonical(tfloat32_oracle(x))))
    assert not (bits(found) & 0x1FFF).any()


def test_tfloat32_overflow() -> None:
    x = np.array([np.finfo(np.float32).max, -np.inf], np.float32)
    largest = dtypes.tfloat32.format.max
    np.testing.assert_array_equal(np.asarray(narrow(x, dtypes.tfloat32)), [np.inf, -np.inf])
    saturated = np.asarray(narrow(x, dtypes.tfloat32, OverflowPolicy.SATURATE))
    np.testing.assert_array_equal(saturated, np.array([largest, -largest], np.float32))


@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
def test_integers_round_to_even_then_saturate(dtype: DType) -> None:
    halves = np.arange(-300, 300, dtype=np.float32) / 2
    limits = np.iinfo(dtype.storage)
    edges = np.array([limits.min, limits.max], np.float64) + np.array([[-1], [-0.5], [0], [0.5], [1]])
    x = np.concatenate([halves, edges.astype(np.float32).reshape(-1), structured()[::7]])
    exact = np.clip(np.rint(x.astype(np.float64)), limits.min, limits.max)
    expected = np.where(np.isnan(x), 0.0, exact).astype(np.int64).astype(dtype.storage)
    np.testing.assert_array_equal(np.asarray(jax.jit(narrow, static_argnums=1)(x, dtype)), expected)


def test_bool_is_one_for_all_but_zero() -> None:
    x = np.array([0.0, -0.0, 1.0, -3.5, 1e-40, np.inf, np.nan], np.float32)
    np.testing.assert_array_equal(np.asarray(narrow(x, dtypes.bool_)), np.array([0, 0, 1, 1, 1, 1, 1], np.uint8))


def test_narrow_to_float32_changes_no_bit() -> None:
    x = structured()
    np.testing.assert_array_equal(bits(jax.jit(narrow, static_argnums=1)(x, dtypes.float32)), bits(x))


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


# ------------------------------------------------------------------------------------------------------- seal


def test_a_sealed_product_is_rounded_before_the_addition() -> None:
    generator = np.random.default_rng(0)
    a, b, c = generator.standard_normal((3, 2**16), np.float32)
    found = jax.jit(lambda a, b, c: seal(a * b) + c)(a, b, c)
    np.testing.assert_array_equal(bits(found), bits(a * b + c))


def test_seal_makes_nan_canonical_and_keeps_every_other_bit() -> None:
    x = structured()
    np.testing.assert_array_equal(bits(jax.jit(seal)(x)), bits(canonical(x)))


# --------------------------------------------------------------------------------------------------------- x4


def all_words(dtype: DType) -> NDArray[Any]:
    """Words that together hold every element code in every lane."""
    if dtype.storage == np.uint16:
        return np.arange(2**16, dtype=np.uint16).reshape(64, -1)
    codes = np.arange(256, dtype=np.uint32)
    lanes = [codes, codes[::-1], np.roll(codes, 17), np.roll(codes, 101)]
    return (
        np.asarray(sum(lane << (8 * position) for position, lane in enumerate(lanes))).astype(np.uint32).reshape(8, -1)
    )


def element_codes(words: NDArray[Any], dtype: DType) -> NDArray[np.uint8]:
    """The documented order, by arithmetic: lane l holds bits [l * width, (l + 1) * width)."""
    width = element_of(dtype).format.bits
    lanes = [(words.astype(np.uint32) >> (lane * width)) & (2**width - 1) for lane in range(4)]
    return np.stack(lanes, axis=-1).astype(np.uint8)


@pytest.mark.parametrize("dtype", PACKED, ids=str)
def test_x4_words_are_little_endian_and_round_trip(dtype: DType) -> None:
    words = all_words(dtype)
    codes = element_codes(words, dtype)
    unpacked = jax.jit(unpack_x4, static_argnums=1)(words, dtype)
    assert unpacked.shape == (*words.shape[:-1], 4 * words.shape[-1])
    assert unpacked.dtype == element_of(dtype).storage
    np.testing.assert_array_equal(bits(unpacked).reshape(codes.shape), codes)
    packed = jax.jit(pack_x4)(unpacked)
    assert packed.dtype == dtype.storage
    np.testing.assert_array_equal(np.asarray(packed), words)


@pytest.mark.parametrize("dtype", PACKED, ids=str)
def test_decode_gives_the_value_of_every_code(dtype: DType) -> None:
    words = all_words(dtype)
    expected = element_codes(words, dtype).view(element_of(dtype).storage).astype(np.float32)
    found = np.asarray(jax.jit(decode_x4, static_argnums=1)(words, dtype))
    np.testing.assert_array_equal(bits(canonical(found)), bits(canonical(expected)))


def test_x4_errors() -> None:
    assert packed_of(dtypes.float8_e4m3fn) == dtypes.float8_e4m3fn_x4
    with pytest.raises(DtypeError, match="float8_e4m3"):
        pack_x4(np.zeros(4, ml_dtypes.float8_e4m3))
    with pytest.raises(ShapeError, match="multiple of 4"):
        pack_x4(np.zeros(6, ml_dtypes.float8_e5m2))
    with pytest.raises(DtypeError, match="uint16"):
        decode_x4(np.zeros(4, np.uint32), dtypes.float4_e2m1fn_x4)
    with pytest.raises(DtypeError, match="float8_e5m2_x4"):
        unpack_x4(np.zeros(4, np.uint32), dtypes.uint32)


# ------------------------------------------------------------------------------------------------- arithmetic

compiled_ldexp = jax.jit(ldexp_f32)


def ldexp_oracle(x: NDArray[np.float32], exponent: NDArray[np.int32]) -> NDArray[np.float32]:
    """float64 holds x * 2**exponent exactly for |exponent| <= 400; NumPy's cast then rounds once."""
    return np.ldexp(x.astype(np.float64), exponent).astype(np.float32)


def test_ldexp_rounds_once_everywhere() -> None:
    x = canonical(structured())
    exponent = np.random.default_rng(1).integers(-400, 400, x.size, dtype=np.int32)
    exponent[::2] = np.random.default_rng(2).integers(-30, 30, exponent[::2].size)
    np.testing.assert_array_equal(bits(compiled_ldexp(x, exponent)), bits(ldexp_oracle(x, exponent)))


@settings(deadline=None)  # the first example compiles
@given(st.floats(width=32, allow_nan=False), st.integers(-320, 320))
def test_ldexp_of_any_float(value: float, power: int) -> None:
    x, exponent = np.array([value], np.float32), np.array([power], np.int32)
    np.testing.assert_array_equal(bits(compiled_ldexp(x, exponent)), bits(ldexp_oracle(x, exponent)))


@pytest.mark.parametrize(("k", "m", "n"), [(128, 128, 512), (128, 1, 1), (77, 1, 33), (3, 5, 2), (1, 1, 1)])
def test_matmul_keeps_its_bits_inside_a_larger_program_and_its_bound(k: int, m: int, n: int) -> None:
    generator = np.random.default_rng(k + m + n)
    a = generator.standard_normal((k, m), np.float32)
    b = generator.standard_normal((k, n), np.float32)
    alone = np.asarray(jax.jit(matmul_f32)(a, b))

    def larger(a: jax.Array, b: jax.Array) -> tuple[jax.Array, jax.Array]:
        def step(index: jax.Array, state: jax.Array) -> jax.Array:
            return jnp.maximum(state, seal(matmul_f32(seal(a * 2), seal(b + index * 0))))

        looped = jax.lax.fori_loop(0, 2, step, jnp.full((m, n), -jnp.inf))
        return seal(jnp.exp(-jnp.abs(seal(matmul_f32(a, b))))), looped

    _, looped = jax.jit(larger)(a, b)
    np.testing.assert_array_equal(np.asarray(looped), 2 * alone)  # doubling one operand doubles every rounding
    exact = a.T.astype(np.float64) @ b.astype(np.float64)
    magnitude = np.abs(a.T).astype(np.float64) @ np.abs(b).astype(np.float64)
    gamma = k * UNIT_ROUNDOFF / (1 - k * UNIT_ROUNDOFF)
    assert alone.shape == (m, n)
    assert (np.abs(alone - exact) <= gamma * magnitude).all()
