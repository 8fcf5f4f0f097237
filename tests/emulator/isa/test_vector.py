"""tensor_tensor and reciprocal: values, dtypes, native integers, limits, engines, generations."""

from __future__ import annotations

from types import SimpleNamespace

import ml_dtypes
import numpy as np
import pytest

from tests.emulator.isa.values import RNG, F, P, f32, instructions, like, operator, random, same
from trnlab.emulator.errors import (
    ArgumentError,
    BufferError,
    DtypeError,
    EngineError,
    GenerationError,
    ShapeError,
)
from trnlab.emulator.nki import isa as nisa, language as nl
from trnlab.emulator.nki.isa import engine
from trnlab.emulator.target import Engine

# -------------------------------------------------------------------------------------------------- tensor_tensor

ARITHMETIC = {
    "add": np.add,
    "subtract": np.subtract,
    "multiply": np.multiply,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "abs_max": lambda a, b: np.where(np.abs(a) > np.abs(b), a, b),
    "abs_min": lambda a, b: np.where(np.abs(a) < np.abs(b), a, b),
    "equal": np.equal,
    "not_equal": np.not_equal,
    "greater_equal": np.greater_equal,
    "greater": np.greater,
    "less_equal": np.less_equal,
    "less": np.less,
    "logical_and": np.logical_and,
    "logical_or": np.logical_or,
    "logical_xor": np.logical_xor,
}
BITVEC = {
    "bitwise_and": np.bitwise_and,
    "bitwise_or": np.bitwise_or,
    "bitwise_xor": np.bitwise_xor,
    "left_shift": np.left_shift,
    "right_shift": np.right_shift,
}


@pytest.mark.parametrize("name", ARITHMETIC)
def test_tensor_tensor_computes_in_float32_and_casts_on_write(run, name):
    a = np.round(random(ml_dtypes.bfloat16)).astype(ml_dtypes.bfloat16)  # whole numbers: equalities and zeros occur
    b = np.round(random(ml_dtypes.float8_e4m3)).astype(ml_dtypes.float8_e4m3)

    def body(x, y):
        wide, narrow = like(x, nl.float32), like(x, nl.float16)
        nisa.tensor_tensor(wide, x, y, operator(name))
        nisa.tensor_tensor(narrow, x, y, operator(name))
        return wide, narrow

    wide, narrow = run(body, a, b).outputs
    expected = f32(ARITHMETIC[name](f32(a), f32(b)))
    np.testing.assert_array_equal(wide, expected)  # signs of zeros are the operators' own tests
    np.testing.assert_array_equal(narrow, expected.astype(np.float16))


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.uint32])
@pytest.mark.parametrize("name", BITVEC)
def test_tensor_tensor_bitvec_works_on_patterns(run, name, dtype):
    a, b = random(dtype), random(dtype)
    if name.endswith("shift"):
        b = RNG.integers(0, 8 * np.dtype(dtype).itemsize, (P, F)).astype(dtype)

    def body(x, y):
        destination = like(x)
        nisa.tensor_tensor(destination, x, y, operator(name))
        return destination

    executed = run(body, a, b)
    unsigned = f"u{np.dtype(dtype).itemsize}"  # shifts are logical, whatever the sign
    same(executed.outputs[0], BITVEC[name](a.view(unsigned), b.view(unsigned)).astype(unsigned).view(dtype))
    assert instructions(executed, "tensor_tensor")[0].engine is Engine.VECTOR


def test_tensor_tensor_bitvec_of_mixed_widths_extends_with_zeros(run):
    a, b = random(np.int8), random(np.uint16)

    def body(x, y):
        narrow, wide = like(x, nl.uint8), like(x, nl.int32)
        nisa.tensor_tensor(narrow, x, y, operator("bitwise_or"))
        nisa.tensor_tensor(wide, x, y, operator("bitwise_or"))
        return narrow, wide

    narrow, wide = run(body, a, b).outputs
    expected = a.view(np.uint8).astype(np.uint32) | b.astype(np.uint32)
    same(narrow, expected.astype(np.uint8))
    same(wide, expected.astype(np.int32))


INTEGER = {
    "add": lambda a, b: a + b,
    "subtract": lambda a, b: a - b,
    "multiply": lambda a, b: a * b,
    "maximum": np.maximum,
    "less": np.less,
    "equal": np.equal,
}


@pytest.mark.parametrize("name", INTEGER)
def test_tensor_tensor_native_integers_wrap_around_on_gpsimd(run, name):
    a, b = random(np.int32), random(np.int32)
    a[:, 0], b[:, 0] = 2**31 - 1, 2**31 - 1

    def body(x, y):
        destination = like(x)
        nisa.tensor_tensor(destination, x, y, operator(name))
        return destination

    executed = run(body, a, b)
    exact = INTEGER[name](a.astype(object), b.astype(object))  # unbounded integers, then modulo 2**32
    wrapped = np.array([int(value) % 2**32 for value in exact.reshape(-1)], np.uint32).view(np.int32).reshape(P, F)
    same(executed.outputs[0], wrapped)
    assert instructions(executed, "tensor_tensor")[0].engine is Engine.GPSIMD


def test_tensor_tensor_native_integers_of_mixed_sign_are_unsigned(run):
    a, b = np.full((P, F), -1, np.int32), np.full((P, F), 5, np.uint32)

    def body(x, y):
        destination = like(x, nl.uint32)
        nisa.tensor_tensor(destination, x, y, operator("maximum"))
        return destination

    assert (run(body, a, b).outputs[0] == 2**32 - 1).all()


def test_tensor_tensor_integers_on_vector_go_through_float32(run):
    a, b = np.full((P, F), 2**24, np.int32), np.full((P, F), 1, np.int32)

    def body(x, y):
        asked, psum, back = like(x), like(x, buffer=nl.psum), like(x)
        nisa.tensor_tensor(asked, x, y, operator("add"), engine=engine.vector)
        nisa.tensor_tensor(psum, x, y, operator("add"))  # GpSimd cannot reach PSUM
        nisa.tensor_copy(back, psum)
        return asked, back

    executed = run(body, a, b)
    assert all((output == 2**24).all() for output in executed.outputs)
    assert [item.engine for item in instructions(executed, "tensor_tensor")] == [Engine.VECTOR, Engine.VECTOR]


def test_tensor_tensor_power_runs_on_gpsimd(run, reject):
    a, b = np.abs(random(np.float32)) + 0.1, random(np.float32, scale=1.0)

    def body(x, y):
        destination = like(x)
        nisa.tensor_tensor(destination, x, y, operator("power"))
        return destination

    executed = run(body, a, b)
    np.testing.assert_allclose(executed.outputs[0], a.astype(np.float64) ** b.astype(np.float64), rtol=1e-6)
    assert instructions(executed, "tensor_tensor")[0].engine is Engine.GPSIMD

    def on_vector(x, y):
        nisa.tensor_tensor(like(x), x, y, operator("power"), engine=engine.vector)

    reject(EngineError, on_vector, a, b, at="tensor_tensor.engine", found="vector", allowed="gpsimd for op=power")

    def to_psum(x, y):
        nisa.tensor_tensor(like(x, buffer=nl.psum), x, y, operator("power"))

    reject(EngineError, to_psum, a, b, at="tensor_tensor.dst", found="psum", allowed="sbuf")


def test_tensor_tensor_one_operand_may_be_in_psum(run, reject):
    a, b = random(np.float32), random(np.float32)

    def body(x, y):
        psum, destination = like(y, buffer=nl.psum), like(x)
        nisa.tensor_copy(psum, y)
        nisa.tensor_tensor(destination, x, psum, operator("subtract"))
        nisa.tensor_tensor(destination, psum, destination, operator("add"))
        return destination

    same(run(body, a, b).outputs[0], b + (a - b))

    def both(x, y):
        left, right = like(x, buffer=nl.psum), like(y, buffer=nl.psum)
        nisa.tensor_copy(left, x)
        nisa.tensor_copy(right, y)
        nisa.tensor_tensor(x, left, right, operator("add"))

    reject(BufferError, both, a, b, at="tensor_tensor.data2", found="both in psum", allowed="at most one")


def test_tensor_tensor_limits(reject):
    a, b = random(np.float32), random(np.float32)

    def bits_of_floats(x, y):
        nisa.tensor_tensor(like(x), x, y, operator("bitwise_and"))

    reject(
        DtypeError,
        bits_of_floats,
        a,
        b,
        at="tensor_tensor.dst",
        found="float32",
        allowed="int32, int8, uint16, uint32, uint8 for a bitvec operator",
    )

    def bits_on_gpsimd(x, y):
        nisa.tensor_tensor(like(x), x, y, operator("bitwise_and"), engine=engine.gpsimd)

    whole = random(np.int32)
    reject(
        EngineError,
        bits_on_gpsimd,
        whole,
        whole,
        at="tensor_tensor.engine",
        found="gpsimd",
        allowed="vector for a bitvec operator",
    )

    # An activation function, a unary operator, and one that the hardware does not have.
    for wrong in (nl.exp, nl.abs, SimpleNamespace(op_name="divide")):

        def unknown(x, y, wrong=wrong):
            nisa.tensor_tensor(like(x), x, y, wrong)

        reject(ArgumentError, unknown, a, b, at="tensor_tensor.op", found=wrong.op_name, allowed="add, subtract")

    def no_operator(x, y):
        nisa.tensor_tensor(like(x), x, y, None)

    reject(ArgumentError, no_operator, a, b, at="tensor_tensor.op", found="None", everywhere=True)

    def a_function(x, y):
        nisa.tensor_tensor(like(x), x, y, np.add)

    reject(ArgumentError, a_function, a, b, at="tensor_tensor.op", allowed="nl.add", everywhere=True)

    def shorter(x, y):
        nisa.tensor_tensor(like(x), x, y[:, :3], operator("add"))

    reject(ShapeError, shorter, a, b, at="tensor_tensor.data2", found="free size 3", allowed="free size 24")

    def narrower(x, y):
        nisa.tensor_tensor(like(x), x, y[:32], operator("add"))

    reject(ShapeError, narrower, a, b, at="tensor_tensor.data2", found="count 32", allowed="count 64")


def test_tensor_tensor_absolute_extremes_need_neuroncore_v4(run, reject):
    a, b = random(np.float32), random(np.float32)

    def body(x, y):
        destination = like(x)
        nisa.tensor_tensor(destination, x, y, operator("abs_max"))
        return destination

    same(run(body, a, b, target="trn3").outputs[0], np.where(np.abs(a) > np.abs(b), a, b))
    reject(
        GenerationError,
        body,
        a,
        b,
        at="tensor_tensor.op",
        found="abs_max on NeuronCore-v3 (trn2)",
        allowed="from NeuronCore-v4 (trn3) on",
        target="trn2",
    )


# ------------------------------------------------------------------------------------------------------ reciprocal


@pytest.mark.parametrize("dtype", [np.float32, ml_dtypes.bfloat16, ml_dtypes.float8_e5m2, np.int16])
def test_reciprocal_is_the_rounded_quotient(run, dtype):
    a = random(dtype)
    a[:, 0] = 0

    def body(x):
        exact, narrow = like(x, nl.float32), like(x, nl.bfloat16)
        nisa.reciprocal(exact, x)
        nisa.reciprocal(narrow, x)
        return exact, narrow

    with np.errstate(divide="ignore"):
        expected = np.float32(1) / f32(a)
    exact, narrow = run(body, a).outputs
    same(exact, expected)
    same(narrow, expected.astype(ml_dtypes.bfloat16))


def test_reciprocal_limits(reject):
    def body(x):
        nisa.reciprocal(like(x, shape=(P, F + 1)), x)

    reject(ShapeError, body, random(np.float32), at="reciprocal.dst", found="25", allowed="24")
