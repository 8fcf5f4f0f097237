"""What travels through a compiled program: every dtype's bits, unchanged."""

from __future__ import annotations

from itertools import product
from math import prod

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

from tests.emulator.backends.harness import bits
from trnlab.emulator.backends import words
from trnlab.emulator.dtypes import DTYPES, DType, as_dtype
from trnlab.emulator.memory import Buffer, MemoryRegion, uninitialised_bytes

SHAPE = (6, 16)
TENSOR_DTYPES = [dtype for dtype in DTYPES if dtype != "float4_e2m1fn"]  # a lone E2M1 element has no tensor form
ZERO = jnp.uint32(0)


def random_bits(seed: int, shape: tuple[int, ...], dtype: DType) -> np.ndarray:
    """Every bit pattern, signalling NaNs included."""
    raw = np.random.default_rng(seed).integers(0, 256, prod(shape) * dtype.itemsize, dtype=np.uint8)
    return raw.view(dtype.storage).reshape(shape)


def carried(array: np.ndarray, dtype: DType) -> jax.Array:
    return jnp.asarray(array.view(words.carrier(dtype)))


@pytest.mark.parametrize("dtype", TENSOR_DTYPES, ids=str)
def test_elements_keep_their_bits_on_the_way(dtype: DType) -> None:
    data = random_bits(0, SHAPE, dtype)
    travelling = words.to_words(carried(data, dtype), dtype)
    assert travelling.dtype == words.carrier(dtype)
    np.testing.assert_array_equal(bits(travelling), bits(data))
    back = words.to_elements(travelling, dtype)
    assert back.dtype == dtype.storage
    np.testing.assert_array_equal(bits(back), bits(data))


def test_float32_travels_as_it_is_and_the_others_as_unsigned_words() -> None:
    assert words.carrier(as_dtype("float32")) == np.float32
    assert words.carrier(as_dtype("int32")) == np.uint32
    assert words.carrier(as_dtype("bfloat16")) == np.uint16
    assert words.carrier(as_dtype("float8_e4m3")) == np.uint8


@pytest.mark.parametrize(("old", "new"), list(product(("float32", "int32", "bfloat16", "uint16", "uint8"), repeat=2)))
def test_a_dtype_seen_as_another_is_numpys_view(old: str, new: str) -> None:
    before, after = as_dtype(old), as_dtype(new)
    data = random_bits(1, SHAPE, before)
    got = jax.jit(words.recast, static_argnums=1)(carried(data, before), after)
    assert got.dtype == words.carrier(after)
    np.testing.assert_array_equal(bits(got).reshape(-1), data.reshape(-1).view(f"u{after.itemsize}"))


@pytest.mark.parametrize("pattern", [0x7FA00000, 0xFF800001, 0x7FC12345, 0x00000001, 0x807FFFFF])
def test_float32_moves_keep_nan_payloads_and_subnormals(pattern: int) -> None:
    """Through all that moves values: slices, updates, loops, selections of words."""
    data = np.full((8, 4), pattern, np.uint32).view(np.float32)

    @jax.jit
    def moved(x: jax.Array) -> jax.Array:
        def step(i: jax.Array, y: jax.Array) -> jax.Array:
            row = jax.lax.dynamic_slice(x, (i, 0), (1, 4))
            return jax.lax.dynamic_update_slice(y, row, (7 - i, 0))

        return jax.lax.fori_loop(0, 8, step, words.to_words(jnp.zeros((8, 4)), as_dtype("float32"))).T

    np.testing.assert_array_equal(bits(moved(jnp.asarray(data))), np.full((4, 8), pattern, np.uint32))


@pytest.mark.parametrize("dtype", TENSOR_DTYPES, ids=str)
def test_fresh_memory_is_the_references(dtype: DType) -> None:
    buffer = Buffer(0, MemoryRegion.sbuf, SHAPE, dtype, "x")
    got = words.fresh(buffer, (3, *SHAPE), ZERO)
    assert (got.shape, got.dtype) == ((3, *SHAPE), words.carrier(dtype))
    np.testing.assert_array_equal(
        np.asarray(got).reshape(-1).view(np.uint8), uninitialised_bytes(dtype, 3 * buffer.nbytes)
    )


@pytest.mark.parametrize("dtype", TENSOR_DTYPES, ids=str)
def test_constants_keep_their_bits(dtype: DType) -> None:
    buffer = Buffer(0, MemoryRegion.sbuf, SHAPE, dtype, "x")
    data = random_bits(5, SHAPE, dtype)
    got = words.constant(buffer, data.tobytes(), ZERO)
    assert (got.shape, got.dtype) == (SHAPE, words.carrier(dtype))
    np.testing.assert_array_equal(bits(got), bits(data))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_the_run_time_zero_is_zero_for_every_byte(dtype: type) -> None:
    values = np.tile(np.arange(256, dtype=np.uint8)[:, None], np.dtype(dtype).itemsize).view(dtype)[:, 0]
    zeros = jax.jit(jax.vmap(words.run_time_zero))(jnp.asarray(values))
    assert zeros.dtype == np.uint32
    assert not np.any(zeros)


def test_the_run_time_zero_is_not_found_by_the_compiler() -> None:
    """If it were, constants would be visible again: the compiled function still reads its argument."""
    text = (
        jax.jit(lambda x: jnp.float32(3.0) + words.run_time_zero(x).astype(jnp.float32)).lower(ZERO).compile().as_text()
    )
    assert "multiply" in text


def test_the_first_word_of_a_storage() -> None:
    storage = np.arange(24, dtype=ml_dtypes.bfloat16).reshape(2, 3, 4).view(np.uint16)
    assert int(words.stored_word(jnp.asarray(storage + 7))) == int(storage[0, 0, 0]) + 7
