"""Reads and writes of direct views, bits and all, against NumPy windows on the same bytes."""

from __future__ import annotations

from math import prod

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from trnlab.emulator import view_algebra as algebra
from trnlab.emulator.backends import lowering
from trnlab.emulator.dtypes import DTYPES, DType, as_dtype
from trnlab.emulator.errors import BackendError
from trnlab.emulator.memory import Buffer, MemoryRegion, uninitialised_bytes
from trnlab.emulator.program import OperandSignature

SHAPE = (6, 16)
TENSOR_DTYPES = [dtype for dtype in DTYPES if dtype != "float4_e2m1fn"]  # a lone E2M1 element has no tensor form


def operand(shape: tuple[int, ...], strides: tuple[int, ...], dtype: DType, own: DType) -> OperandSignature:
    return OperandSignature("x", "read", MemoryRegion.sbuf, SHAPE, own, dtype, shape, strides)


def random_bits(seed: int, shape: tuple[int, ...], dtype: DType) -> np.ndarray:
    """Every bit pattern, signalling NaNs included."""
    raw = np.random.default_rng(seed).integers(0, 256, prod(shape) * dtype.itemsize, dtype=np.uint8)
    return raw.view(dtype.storage).reshape(shape)


def words(array: object) -> np.ndarray:
    array = np.ascontiguousarray(np.asarray(array))
    return array.view(f"u{array.dtype.itemsize}")


def window(memory: np.ndarray, view: OperandSignature, offset: int) -> np.ndarray:
    item = view.dtype.itemsize
    strides = [stride * item for stride in view.strides]
    return np.ndarray(view.shape, view.dtype.storage, memory, offset * item, strides)


@st.composite
def views(draw: st.DrawFn) -> tuple[OperandSignature, int]:
    """An operand on a [6, 16] buffer: any two dtypes, any pattern inside."""
    own, dtype = draw(st.sampled_from(TENSOR_DTYPES)), draw(st.sampled_from(TENSOR_DTYPES))
    size = prod(SHAPE) * own.itemsize // dtype.itemsize
    row = size // SHAPE[0]
    stride = st.sampled_from([0, 1, 2, 3, row // 2, row, 2 * row])
    shape, strides = [], []
    for _ in range(draw(st.integers(1, 3))):
        shape.append(draw(st.integers(1, 5)))
        strides.append(draw(stride))
    _, highest = algebra.reach(tuple(shape), tuple(strides), 0)
    if highest >= size:
        shape, highest = [1] * len(shape), 0
    view = operand(tuple(shape), tuple(strides), dtype, own)
    return view, draw(st.integers(0, size - 1 - highest))


@settings(max_examples=15)  # every new shape is compiled anew
@given(views())
def test_reading_a_view_is_a_numpy_window(view_and_offset: tuple[OperandSignature, int]) -> None:
    view, offset = view_and_offset
    memory = random_bits(1, SHAPE, view.buffer_dtype)
    got = lowering.read(jnp.asarray(words(memory).reshape(-1)), view, offset)
    np.testing.assert_array_equal(got, words(window(memory, view, offset)))


@settings(max_examples=15)  # every new shape is compiled anew
@given(views())
def test_writing_a_view_is_a_numpy_window(view_and_offset: tuple[OperandSignature, int]) -> None:
    view, offset = view_and_offset
    memory = random_bits(2, SHAPE, view.buffer_dtype)
    new = random_bits(3, view.shape, view.dtype)
    got = lowering.overwrite(jnp.asarray(words(memory).reshape(-1)), view, offset, jnp.asarray(words(new)))
    expected = words(memory.copy())
    target = window(expected, view, offset).view(f"u{view.dtype.itemsize}")
    for index in np.ndindex(*view.shape):  # element order: the last of several writes to one element stays
        target[index] = words(new)[index]
    np.testing.assert_array_equal(got, expected.reshape(-1))


@settings(max_examples=15)  # every new shape is compiled anew
@given(views())
def test_a_whole_replacement_is_a_write(view_and_offset: tuple[OperandSignature, int]) -> None:
    view, offset = view_and_offset
    new = jnp.asarray(words(random_bits(3, view.shape, view.dtype)))
    whole = lowering.replaced(view, offset, new)
    if whole is not None:
        fresh = jnp.asarray(words(random_bits(4, SHAPE, view.buffer_dtype)).reshape(-1))
        np.testing.assert_array_equal(whole, lowering.overwrite(fresh, view, offset, new))


@pytest.mark.parametrize(
    ("shape", "strides", "offset", "whole"),
    [
        (SHAPE, (16, 1), 0, True),
        ((16, 6), (1, 16), 0, True),
        ((6, 2, 16), (16, 0, 1), 0, True),
        ((6, 8), (16, 2), 0, False),
        ((5, 16), (16, 1), 16, False),
    ],
)
def test_which_writes_replace_the_whole_buffer(shape: tuple, strides: tuple, offset: int, whole: bool) -> None:
    float32 = as_dtype("float32")
    view = operand(shape, strides, float32, float32)
    assert (lowering.replaced(view, offset, jnp.zeros(shape, jnp.uint32)) is not None) == whole


@pytest.mark.parametrize("dtype", TENSOR_DTYPES, ids=str)
def test_fresh_memory_is_the_references(dtype: DType) -> None:
    buffer = Buffer(0, MemoryRegion.sbuf, SHAPE, dtype, "x")
    np.testing.assert_array_equal(
        np.asarray(lowering.fresh(buffer)).view(np.uint8), uninitialised_bytes(dtype, buffer.nbytes)
    )


@pytest.mark.parametrize("dtype", TENSOR_DTYPES, ids=str)
def test_constants_keep_their_bits(dtype: DType) -> None:
    buffer = Buffer(0, MemoryRegion.sbuf, SHAPE, dtype, "x")
    data = random_bits(5, SHAPE, dtype)
    np.testing.assert_array_equal(lowering.constant(buffer, data.tobytes()), words(data.reshape(-1)))


def test_element_numbers_beyond_32_bits_are_refused() -> None:
    float32 = as_dtype("float32")
    view = operand((3,), (-1,), float32, float32)._replace(buffer_shape=(2**16, 2**16))
    with pytest.raises(BackendError, match="x: only slices"):
        lowering.read(jnp.zeros(4, jnp.uint32), view, 2)
