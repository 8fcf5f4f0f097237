"""Tensors made inside kernels: fills in every memory, constants, identity matrices, and what does not fit."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

import trnlab.emulator.nki.language as nl
from trnlab.emulator import (
    ArgumentError,
    CapacityError,
    DtypeError,
    PartitionError,
    ShapeError,
    TraceError,
    run,
    trace,
)

DTYPES = ("float32", "bfloat16", "float16", "float8_e4m3", "float8_e5m2", "int32", "uint8", "int16", "uint32")


def returned(make):
    """A kernel that returns what `make()` makes, wherever that lives."""

    def kernel():
        tensor = make()
        if nl.is_hbm(tensor.buffer):
            return tensor
        out = nl.ndarray(tensor.shape, tensor.dtype, buffer=nl.shared_hbm)
        nl.store(out, tensor if nl.is_sbuf(tensor.buffer) else nl.copy(tensor))
        return out

    return kernel


@pytest.mark.parametrize(
    ("dtype", "buffer"), [*((dtype, "sbuf") for dtype in DTYPES), ("float32", "psum"), ("bfloat16", "shared_hbm")]
)
def test_fills(dtype, buffer):
    element, place = getattr(nl, dtype), getattr(nl, buffer)
    for make, value in ((nl.zeros, 0), (nl.ones, 1)):
        found = run(returned(lambda make=make: make((6, 5), element, buffer=place))).outputs
        assert found.dtype == element.storage
        np.testing.assert_array_equal(found.astype(np.float32), np.full((6, 5), value, np.float32))
    found = run(returned(lambda: nl.full((6, 5), 3, element, buffer=place))).outputs
    np.testing.assert_array_equal(found.astype(np.float32), np.full((6, 5), 3, np.float32))


@pytest.mark.parametrize("shape", [(7,), (3, 5, 11), (4099,), (300, 700)])
def test_fills_in_hbm_take_any_shape(shape):
    found = run(returned(lambda: nl.full(shape, 2.5, nl.float32, buffer=nl.shared_hbm))).outputs
    np.testing.assert_array_equal(found, np.full(shape, 2.5, np.float32))


def test_fills_in_hbm_move_long_rows():
    # The row repeated is the longest divisor of the element count within 8 KiB: 2048 of 2**20 float32 elements.
    program = trace(returned(lambda: nl.zeros((1024, 1024), nl.float32, buffer=nl.shared_hbm)))
    (copy,) = [instruction for instruction in program if instruction.opcode == "dma_copy"]
    assert copy.signature.operand("src").shape == (1, 512, 2048)


def test_like_another_tensor():
    def kernel():
        model = nl.full((8, 3), 7, nl.bfloat16, buffer=nl.psum)
        zeros, wide = nl.zeros_like(model), nl.zeros_like(model, dtype=nl.float32, buffer=nl.psum)
        assert (zeros.shape, zeros.dtype, zeros.buffer) == ((8, 3), nl.bfloat16, nl.sbuf)
        assert (wide.shape, wide.dtype, wide.buffer) == ((8, 3), nl.float32, nl.psum)
        empty = nl.empty_like(model)
        assert (empty.shape, empty.dtype, empty.buffer) == ((8, 3), nl.bfloat16, nl.psum)
        other = nl.empty_like(model, nl.int32, nl.shared_hbm, "named")
        assert (other.dtype, other.buffer, other.name) == (nl.int32, nl.shared_hbm, "named")
        nl.store(other, nl.zeros((8, 3), nl.int32))
        return other

    np.testing.assert_array_equal(run(kernel).outputs, np.zeros((8, 3)))


def test_fresh_memory_shows_its_use():
    def kernel():
        tile = nl.ndarray((4, 4), nl.float32)
        out = nl.ndarray((4, 4), nl.float32, buffer=nl.shared_hbm)
        nl.store(out, nl.add(tile, 1.0))
        return out

    assert np.isnan(run(kernel).outputs).all()


@pytest.mark.parametrize(
    "constant",
    [
        np.arange(12, dtype=np.int32).reshape(3, 4),
        np.linspace(0, 1, 6, dtype=np.float32),
        np.arange(6).astype(ml_dtypes.float8_e4m3fn).reshape(2, 3),
        np.array([[True, False]]),
    ],
)
def test_shared_constant(constant):
    result = run(returned(lambda: nl.shared_constant(constant)))
    np.testing.assert_array_equal(result.outputs, constant)
    (data,) = result.program.constants.values()
    assert data == constant.tobytes()


@pytest.mark.parametrize("name", ["float8_e4m3fn_x4", "float4_e2m1fn_x4"])
def test_shared_constant_of_packed_words(name):
    dtype = getattr(nl, name)
    words = np.arange(24, dtype=dtype.storage).reshape(4, 6)
    seen = []

    def kernel():
        tensor = nl.shared_constant(words.view(dtype))
        seen.append(tensor.dtype)
        return tensor

    np.testing.assert_array_equal(run(returned(kernel)).outputs, words)
    assert seen == [dtype]


def test_shared_constant_from_a_file(tmp_path):
    array = np.random.default_rng(0).standard_normal((4, 5)).astype(np.float32)
    np.save(tmp_path / "weights.npy", array)
    for path in (tmp_path / "weights.npy", str(tmp_path / "weights.npy")):
        np.testing.assert_array_equal(run(returned(lambda path=path: nl.shared_constant(path))).outputs, array)


@pytest.mark.parametrize(("n", "dtype"), [(1, "uint8"), (7, "float32"), (128, "bfloat16"), (64, "float8_e5m2")])
def test_identity_matrix(n, dtype):
    found = run(returned(lambda: nl.shared_identity_matrix(n, getattr(nl, dtype)))).outputs
    assert found.dtype == getattr(nl, dtype).storage
    np.testing.assert_array_equal(found.astype(np.float32), np.eye(n))


def test_identity_matrix_into_a_given_tile():
    def make():
        tile = nl.ndarray((16, 16), nl.float16)
        assert nl.shared_identity_matrix(16, dst=tile) is tile
        return tile

    np.testing.assert_array_equal(run(returned(make)).outputs, np.eye(16))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: nl.ndarray((129, 4), nl.float32), PartitionError, "128 partitions"),
        (lambda: nl.ndarray((4,), nl.float32), ShapeError, "at least 2 dimensions"),
        (lambda: nl.ndarray((4, 0), nl.float32), ShapeError, "positive integers"),
        (lambda: nl.ndarray((4, 2**20), nl.float32), CapacityError, "bytes per partition"),
        (lambda: nl.ndarray((4, 4), "float64"), DtypeError, "float64"),
        (lambda: nl.ndarray((4, 4), nl.float32, buffer="l2"), ArgumentError, "'l2'"),
        (lambda: nl.ndarray((4, 4), nl.float32, buffer=nl.MemoryRegion.register), ArgumentError, "register"),
        (lambda: nl.ndarray((4, 4), nl.float32, address=(0, 2)), ArgumentError, "multiple of 4 bytes"),
        (lambda: nl.ndarray((4, 4), nl.float32, address=(0, "a")), ArgumentError, "two compile-time integers"),
        (lambda: nl.ndarray((4, 4), nl.float32, address=3), ArgumentError, "two compile-time integers"),
        (lambda: nl.ndarray((4, 4), nl.float32, buffer=["sbuf"]), ArgumentError, "buffer"),
        (lambda: nl.ndarray((4, 4), nl.float32, name=3), ArgumentError, "name: found 3"),
        (lambda: nl.shared_constant("no such file.npy"), ArgumentError, "no such file.npy"),
        (lambda: nl.shared_identity_matrix(4, dst="a"), ArgumentError, "dst"),
        (lambda: nl.full((4, 4), 2.5, nl.int32), ArgumentError, "integer"),
        (lambda: nl.zeros_like([1]), ArgumentError, "nl.zeros_like: x"),
        (lambda: nl.shared_constant(3), ArgumentError, "nl.shared_constant"),
        (lambda: nl.shared_constant(np.zeros(3)), DtypeError, "float64"),
        (lambda: nl.shared_identity_matrix(129), PartitionError, "nl.shared_identity_matrix"),
        (lambda: nl.shared_identity_matrix(4, dst=nl.ndarray((4, 3), nl.float32)), ArgumentError, "dst"),
    ],
)
def test_what_does_not_fit_says_so(make, error, message):
    with pytest.raises(error, match=message):
        run(returned(make))


def test_none_is_no_name():
    def make():
        first, second = nl.ndarray((4, 4), nl.float32, name=None), nl.ndarray((4, 4), nl.float32, name="")
        assert first.name != second.name
        nl.store(out := nl.ndarray((4, 4), nl.float32, buffer=nl.shared_hbm), nl.full((4, 4), 1.0, nl.float32))
        return out

    run(make)


def test_outside_a_kernel():
    with pytest.raises(TraceError, match=r"nl\.ndarray"):
        nl.ndarray((4, 4), nl.float32)
