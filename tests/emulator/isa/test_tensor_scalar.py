"""tensor_scalar and scalar_tensor_tensor: values, dtypes, limits, engines, generations."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from tests.emulator.isa.values import F, P, f32, instructions, like, operator, random, same
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

# -------------------------------------------------------------------------------------------------- tensor_scalar


def test_tensor_scalar_rounds_between_its_two_operators(run):
    a, scale, shift = random(np.float32, (128, 512)), random(np.float32, (128, 1)), random(np.float32, (128, 1))

    def body(x, by, plus):
        constants, vectors = like(x), like(x)
        nisa.tensor_scalar(constants, x, operator("multiply"), 1.7, op1=operator("add"), operand1=-0.3)
        nisa.tensor_scalar(vectors, x, operator("multiply"), by, op1=operator("add"), operand1=plus)
        return constants, vectors

    constants, vectors = run(body, a, scale, shift).outputs
    same(
        constants, a * np.float32(1.7) + np.float32(-0.3)
    )  # NumPy rounds the product: a fused multiply-add would differ
    same(vectors, a * scale + shift)


REVERSIBLE = {"subtract": np.subtract, "less": np.less, "maximum": np.maximum}


@pytest.mark.parametrize("name", REVERSIBLE)
def test_tensor_scalar_reverses_operands(run, name):
    a, column = random(ml_dtypes.bfloat16), random(np.float32, (P, 1))

    def body(x, y):
        first, second = like(x, nl.float32), like(x, nl.float32)
        nisa.tensor_scalar(first, x, operator(name), y, reverse0=True)
        nisa.tensor_scalar(second, x, operator("add"), 1.0, op1=operator(name), operand1=y, reverse1=True)
        return first, second

    first, second = run(body, a, column).outputs
    same(first, f32(REVERSIBLE[name](column, f32(a))))
    same(second, f32(REVERSIBLE[name](column, f32(a) + np.float32(1))))


@pytest.mark.parametrize("name", ["abs", "square", "relu", "reciprocal", "bypass"])
def test_tensor_scalar_unary_operators_take_none_or_zero(run, name):
    a = random(np.float32)
    expected = {
        "abs": np.abs(a),
        "square": a * a,
        "relu": np.maximum(a, np.float32(0)),
        "reciprocal": np.float32(1) / a,
        "bypass": a,
    }[name]

    def body(x):
        by_none, by_zero, second = like(x), like(x), like(x)
        nisa.tensor_scalar(by_none, x, operator(name), None)
        nisa.tensor_scalar(by_zero, x, operator(name), 0.0)
        nisa.tensor_scalar(second, x, operator("add"), 0.5, op1=operator(name), operand1=None)
        return by_none, by_zero, second

    by_none, by_zero, second = run(body, a).outputs
    same(by_none, expected)
    same(by_zero, expected)
    if name == "square":
        same(second, (a + np.float32(0.5)) ** 2)


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.uint32])
def test_tensor_scalar_bitvec_chains_patterns(run, dtype):
    a, column = random(dtype), random(dtype, (P, 1))

    def body(x, y):
        shifted, masked, inverted = like(x), like(x), like(x)
        nisa.tensor_scalar(shifted, x, operator("right_shift"), 4, op1=operator("bitwise_and"), operand1=0x0F)
        nisa.tensor_scalar(masked, x, operator("bitwise_xor"), y)
        nisa.tensor_scalar(inverted, x, operator("invert"), None, op1=operator("bitwise_xor"), operand1=-1)
        return shifted, masked, inverted

    shifted, masked, inverted = run(body, a, column).outputs
    unsigned = f"u{np.dtype(dtype).itemsize}"
    same(shifted, ((a.view(unsigned) >> 4) & 0x0F).view(dtype))
    same(masked, a ^ column)
    same(inverted, a)


def test_tensor_scalar_first_operator_may_be_left_out(run, reject):
    a = random(np.float32)

    def body(x):
        destination = like(x)
        nisa.tensor_scalar(destination, x, None, None, op1=operator("maximum"), operand1=0.25)
        return destination

    same(run(body, a).outputs[0], np.maximum(a, np.float32(0.25)))

    def neither(x):
        nisa.tensor_scalar(like(x), x, None, None)

    reject(ArgumentError, neither, a, at="tensor_scalar.op0", found="None and None", allowed="an operator")


def test_tensor_scalar_integers_go_through_float32(run):
    a = np.full((P, F), 2**24, np.int32)

    def body(x):
        destination = like(x)
        nisa.tensor_scalar(destination, x, operator("add"), 1)
        return destination

    executed = run(body, a)
    assert (executed.outputs[0] == 2**24).all()
    assert instructions(executed, "tensor_scalar")[0].engine is Engine.VECTOR


def scalar_body(first, second=None, where=engine.scalar):
    def body(x):
        destination = like(x)
        operand1 = None if second is None else 2.0
        nisa.tensor_scalar(
            destination, x, operator(first), 3.0, op1=second and operator(second), operand1=operand1, engine=where
        )
        return destination

    return body


@pytest.mark.parametrize("target", ["trn1", "trn2"])
def test_tensor_scalar_scalar_engine_multiplies_and_adds_before_v4(run, reject, target):
    a = random(np.float32)
    same(run(scalar_body("multiply", "add"), a, target=target).outputs[0], a * np.float32(3) + np.float32(2))
    same(run(scalar_body("multiply"), a, target=target).outputs[0], a * np.float32(3))
    same(run(scalar_body("add"), a, target=target).outputs[0], a + np.float32(3))
    for pair in (("add", "multiply"), ("multiply", "multiply"), ("maximum", None)):
        reject(
            EngineError,
            scalar_body(*pair),
            a,
            at="tensor_scalar.engine",
            found="scalar",
            allowed="vector (scalar is for multiply and add",
            target=target,
        )


def test_tensor_scalar_scalar_engine_takes_every_arithmetic_operator_from_v4_on(run):
    a = random(np.float32)
    same(run(scalar_body("maximum", "subtract"), a).outputs[0], np.maximum(a, np.float32(3)) - np.float32(2))


def test_tensor_scalar_gpsimd_is_for_rsqrt(run, reject):
    a = np.abs(random(np.float32)) + 0.5

    def body(x):
        destination = like(x)
        nisa.tensor_scalar(destination, x, operator("add"), 1e-6, op1=operator("rsqrt"), operand1=0.0)
        return destination

    executed = run(body, a)
    expected = 1 / np.sqrt((a + np.float32(1e-6)).astype(np.float64))
    np.testing.assert_allclose(executed.outputs[0], expected, rtol=3e-7)
    assert instructions(executed, "tensor_scalar")[0].engine is Engine.GPSIMD

    def rsqrt_on_vector(x):
        nisa.tensor_scalar(like(x), x, operator("rsqrt"), 0.0, engine=engine.vector)

    reject(EngineError, rsqrt_on_vector, a, at="tensor_scalar.engine", found="vector", allowed="gpsimd for rsqrt")
    reject(
        EngineError,
        scalar_body("add", where=engine.gpsimd),
        a,
        at="tensor_scalar.engine",
        found="gpsimd",
        allowed="vector, scalar (gpsimd is for rsqrt)",
    )


def test_tensor_scalar_operators_of_one_class(reject):
    a = random(np.int32)

    def mixed(x):
        nisa.tensor_scalar(like(x), x, operator("bitwise_and"), 3, op1=operator("add"), operand1=1)

    reject(
        ArgumentError,
        mixed,
        a,
        at="tensor_scalar.op1",
        found="bitwise_and and add",
        allowed="both bitvec or both arithmetic",
    )

    def bits_on_scalar(x):
        nisa.tensor_scalar(like(x), x, operator("bitwise_and"), 3, engine=engine.scalar)

    reject(
        EngineError, bits_on_scalar, a, at="tensor_scalar.engine", found="scalar", allowed="vector for bitvec operators"
    )


def test_tensor_scalar_operands(reject):
    a, half, whole = random(np.float32), random(ml_dtypes.bfloat16, (P, 1)), random(np.int32)

    def low_precision(x, y):
        nisa.tensor_scalar(like(x), x, operator("add"), y)

    reject(
        DtypeError,
        low_precision,
        a,
        half,
        at="tensor_scalar.operand0",
        found="bfloat16[64, 1]",
        allowed="float32 for arithmetic operators",
    )

    def too_wide(x, y):
        nisa.tensor_scalar(like(x), x, operator("add"), x)

    reject(ShapeError, too_wide, a, half, at="tensor_scalar.operand0", allowed="(P, 1)")

    def missing(x):
        nisa.tensor_scalar(like(x), x, operator("add"), None)

    reject(ArgumentError, missing, a, at="tensor_scalar.operand0", found="None", allowed="binary operator add")

    def superfluous(x):
        nisa.tensor_scalar(like(x), x, operator("abs"), 3.0)

    reject(
        ArgumentError,
        superfluous,
        a,
        at="tensor_scalar.operand0",
        found="an operand",
        allowed="None or 0 for the unary operator abs",
    )

    def without_operator(x):
        nisa.tensor_scalar(like(x), x, operator("add"), 1.0, operand1=2.0)

    reject(ArgumentError, without_operator, a, at="tensor_scalar.operand1", allowed="None for op1=None")

    def fraction(x):
        nisa.tensor_scalar(like(x), x, operator("bitwise_and"), 0.5)

    reject(
        ArgumentError,
        fraction,
        whole,
        at="tensor_scalar.operand0",
        found="0.5",
        allowed="a 32-bit integer for op bitwise_and",
        everywhere=True,
    )

    def an_array(x):
        nisa.tensor_scalar(like(x), x, operator("add"), np.zeros((P, 1), np.float32))

    reject(ArgumentError, an_array, a, at="tensor_scalar.operand0", found="ndarray", everywhere=True)


@pytest.mark.parametrize("name", ["square", "relu", "abs_max"])
def test_tensor_scalar_operators_of_neuroncore_v4(reject, name):
    def body(x):
        nisa.tensor_scalar(like(x), x, operator(name), 1.0 if name == "abs_max" else None)

    reject(
        GenerationError,
        body,
        random(np.float32),
        at="tensor_scalar.op0",
        found=f"{name} on NeuronCore-v3",
        allowed="from NeuronCore-v4 (trn3) on",
        target="trn2",
    )


# ------------------------------------------------------------------------------------------ scalar_tensor_tensor


def test_scalar_tensor_tensor_applies_both_operators(run):
    a, b, column = random(np.float32, (128, 512)), random(ml_dtypes.bfloat16, (128, 512)), random(np.float32, (128, 1))

    def body(x, y, by):
        forward, reversed_, unary = like(x), like(x), like(x)
        nisa.scalar_tensor_tensor(forward, x, operator("multiply"), by, operator("add"), y)
        nisa.scalar_tensor_tensor(
            reversed_, x, operator("subtract"), 1.5, operator("subtract"), y, reverse0=True, reverse1=True
        )
        nisa.scalar_tensor_tensor(unary, x, operator("abs"), 0.0, operator("maximum"), y)
        return forward, reversed_, unary

    forward, reversed_, unary = run(body, a, b, column).outputs
    same(forward, a * column + f32(b))  # rounded twice, not fused
    same(reversed_, f32(b) - (np.float32(1.5) - a))
    same(unary, np.maximum(np.abs(a), f32(b)))


def test_scalar_tensor_tensor_limits(reject):
    a, b, whole = random(np.float32), random(np.float32), random(np.int32)

    def bits(x):
        nisa.scalar_tensor_tensor(like(x), x, operator("bitwise_and"), 3, operator("add"), x)

    reject(ArgumentError, bits, whole, at="scalar_tensor_tensor.op0", found="bitwise_and", allowed="add")

    def unary(x):
        nisa.scalar_tensor_tensor(like(x), x, operator("add"), 3, operator("abs"), x)

    reject(ArgumentError, unary, a, at="scalar_tensor_tensor.op1", found="abs", allowed="add, subtract")

    def both_in_psum(x, y):
        left, right = like(x, buffer=nl.psum), like(y, buffer=nl.psum)
        nisa.memset(left, 0)
        nisa.memset(right, 0)
        nisa.scalar_tensor_tensor(x, left, operator("add"), 1.0, operator("add"), right)

    reject(
        BufferError, both_in_psum, a, b, at="scalar_tensor_tensor.operand1", found="both in psum", allowed="at most one"
    )

    def not_a_tensor(x):
        nisa.scalar_tensor_tensor(like(x), x, operator("add"), 1.0, operator("add"), 2.0)

    reject(ArgumentError, not_a_tensor, a, at="scalar_tensor_tensor.operand1", found="2.0", everywhere=True)

    def shorter(x):
        nisa.scalar_tensor_tensor(like(x), x, operator("add"), 1.0, operator("add"), x[:, :5])

    reject(ShapeError, shorter, a, at="scalar_tensor_tensor.operand1", found="free size 5", allowed="24")
