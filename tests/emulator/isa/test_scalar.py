"""activation and activation_reduce: functions, scale and bias, the accumulator registers, limits, generations."""

from __future__ import annotations

import math

import ml_dtypes
import numpy as np
import pytest

from tests.emulator.isa.values import UNIT, F, P, column, f32, f64, instructions, like, operator, random, same
from trnlab.emulator import dtypes
from trnlab.emulator.errors import ArgumentError, BufferError, DtypeError, GenerationError, ShapeError
from trnlab.emulator.memory import MemoryRegion
from trnlab.emulator.nki import isa as nisa, language as nl
from trnlab.emulator.nki.isa import reduce_cmd
from trnlab.emulator.numerics.activations import ACTIVATIONS
from trnlab.emulator.target import Engine

_erf = np.vectorize(math.erf)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def normal(x):
    return 0.5 * (1 + _erf(x / math.sqrt(2)))


def density(x):
    return np.exp(-x * x / 2) / math.sqrt(2 * math.pi)


def tanh_gelu(x):
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


# The mathematical functions in float64, from the table of activation functions (NKI reference).
EXACT = {
    "copy": lambda x: x,
    "square": np.square,
    "sigmoid": sigmoid,
    "relu": lambda x: np.maximum(x, 0),
    "prelu": lambda x: np.maximum(x, 0),  # relu_param is 0 where it cannot be given
    "gelu": lambda x: x * normal(x),
    "gelu_dx": lambda x: normal(x) + x * density(x),
    "gelu_apprx_tanh": tanh_gelu,
    "gelu_apprx_sigmoid": lambda x: x * sigmoid(1.702 * x),
    "gelu_apprx_sigmoid_dx": lambda x: sigmoid(1.702 * x) * (1 + 1.702 * x * sigmoid(-1.702 * x)),
    "silu": lambda x: x * sigmoid(x),
    "silu_dx": lambda x: sigmoid(x) * (1 + x * sigmoid(-x)),
    "tanh": np.tanh,
    "softplus": lambda x: np.log1p(np.exp(x)),
    "mish": lambda x: x * np.tanh(np.log1p(np.exp(x))),
    "erf": _erf,
    "erf_dx": lambda x: 2 / math.sqrt(math.pi) * np.exp(-x * x),
    "exp": np.exp,
    "log": lambda x: np.log(np.abs(x)),
    "sin": np.sin,
    "arctan": np.arctan,
    "sqrt": lambda x: np.sqrt(np.abs(x)),
    "rsqrt": lambda x: 1 / np.sqrt(np.abs(x)),
    "reciprocal": lambda x: 1 / x,
    "sign": np.sign,
    "abs": np.abs,
}
POSITIVE = ("log", "sqrt", "rsqrt")


def test_every_published_function_is_tested():
    assert set(EXACT) == set(ACTIVATIONS)


@pytest.mark.parametrize("name", EXACT)
def test_activation_applies_the_function_after_scale_and_bias(run, name):
    values = random(ml_dtypes.bfloat16, scale=1.0)
    if name in POSITIVE:
        values = np.abs(values) + values.dtype.type(0.5)
    bound = 1.5 if name in ("arctan", "sin") else 8.0  # the documented valid range, with room for scale and bias
    values = np.clip(f32(values), -bound / 2, bound / 2).astype(ml_dtypes.bfloat16)
    scale, bias = np.full((P, 1), 0.75, np.float32), np.full((P, 1), 0.125, np.float32)

    def body(x, by, plus):
        plain, affine = like(x, nl.float32), like(x, nl.bfloat16)
        nisa.activation(plain, operator(name), x)
        nisa.activation(affine, operator(name), x, plus, by)
        return plain, affine

    plain, affine = run(body, values, scale, bias).outputs
    np.testing.assert_allclose(plain, EXACT[name](f64(values)), rtol=2e-6, atol=5e-7)
    expected = EXACT[name](f64(values) * 0.75 + 0.125)
    np.testing.assert_allclose(f32(affine), expected, rtol=2.0**-8, atol=2.0**-20)


def test_activation_rounds_the_product_before_the_sum(run):
    values, scale, bias = random(np.float32, (128, 512)), random(np.float32, (128, 1)), random(np.float32, (128, 1))

    def body(x, by, plus):
        vectors, numbers, mixed = like(x), like(x), like(x)
        nisa.activation(vectors, nl.copy, x, bias=plus, scale=by)
        nisa.activation(numbers, nl.copy, x, bias=-0.3, scale=1.7)
        nisa.activation(mixed, nl.copy, x, scale=by)
        return vectors, numbers, mixed

    vectors, numbers, mixed = run(body, values, scale, bias).outputs
    same(vectors, values * scale + bias)  # NumPy rounds twice; a fused multiply-add differs in a fifth of the elements
    same(numbers, values * np.float32(1.7) + np.float32(-0.3))
    same(mixed, values * scale)


@pytest.mark.parametrize("dtype", [np.int8, np.uint16, np.int32, np.float16, ml_dtypes.float8_e4m3])
def test_activation_casts_on_both_sides(run, dtype):
    values = random(dtype)

    def body(x):
        back, squared = like(x), like(x, nl.float32)
        nisa.activation(back, nl.copy, x)
        nisa.activation(squared, nl.square, x)
        return back, squared

    back, squared = run(body, values).outputs
    same(squared, f32(values) * f32(values))
    if dtype is np.int32:  # through float32: the integers beyond 2**24 are rounded
        limits = np.iinfo(np.int32)
        same(back, np.clip(f64(values), limits.min, limits.max).astype(np.int32))
    else:
        same(back, values)


def test_activation_reads_and_writes_psum_on_the_scalar_engine(run):
    values = random(np.float32)

    def body(x):
        source, destination = like(x, buffer=nl.psum), like(x, buffer=nl.psum)
        nisa.tensor_copy(source, x)
        nisa.activation(destination, nl.relu, source)
        return destination

    executed = run(body, values)
    same(executed.outputs[0], np.maximum(values, np.float32(0)))
    assert instructions(executed, "activation")[0].engine is Engine.SCALAR


def test_activation_bias_may_be_of_any_dtype(run):
    values, bias = random(np.float32), random(ml_dtypes.bfloat16, (P, 1))

    def body(x, plus):
        result = like(x)
        nisa.activation(result, nl.copy, x, bias=plus)
        return result

    same(run(body, values, bias).outputs[0], values + f32(bias))


# ---------------------------------------------------------------------------------------------------- accumulators


def test_activation_registers_follow_the_commands(run):
    values = np.round(random(np.float32))  # whole numbers: every sum is exact
    commands = ("reset_reduce", "reduce", "idle", "reduce", "reset", "reduce")

    def body(x):
        scratch = like(x)
        sums = [column(x) for _ in commands]
        for command, total in zip(commands, sums, strict=True):
            nisa.activation(scratch, nl.abs, x, reduce_op=nl.add, reduce_res=total, reduce_cmd=reduce_cmd[command])
        return tuple(sums)

    one = np.abs(values).sum(axis=1, keepdims=True)
    expected = (one, 2 * one, 2 * one, 3 * one, 0 * one, one)
    for found, wanted in zip(run(body, values).outputs, expected, strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_activation_sums_unrounded_results(run):
    values = np.full((P, 512), 1 + 2.0**-8, np.float32)  # bfloat16 would round each to 1

    def body(x):
        narrow, total = like(x, nl.bfloat16), column(x)
        nisa.activation_reduce(narrow, nl.copy, x, nl.add, total)
        return narrow, total

    narrow, total = run(body, values).outputs
    assert (f32(narrow) == 1).all()
    assert (total == 514).all()


def test_activation_reduce_resets_and_sums(run):
    values, scale, bias = random(ml_dtypes.bfloat16), random(np.float32, (P, 1)), random(np.float32, (P, 1))

    def body(x, by, plus):
        result, total, later = like(x, nl.float32), column(x), column(x, nl.bfloat16)
        nisa.activation_reduce(result, nl.square, x, nl.add, total, plus, by)
        nisa.activation_reduce(
            result, nl.square, x, nl.add, None, bias=plus, scale=by
        )  # the sum stays in the registers
        nisa.activation(like(x), nl.copy, x, reduce_res=later)
        return result, total, later

    result, total, later = run(body, values, scale, bias).outputs
    exact = (f32(values) * scale + bias) ** 2
    same(result, exact)
    sums = f64(exact).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(total, sums, rtol=F * UNIT)
    same(later, total.astype(ml_dtypes.bfloat16))


def test_reduce_res_may_alias_dst(run):
    values = np.round(random(np.float32))

    def body(x):
        nisa.activation(x, nl.copy, x, reduce_op=nl.add, reduce_res=x[:, 0:1], reduce_cmd=reduce_cmd.reset_reduce)
        return x

    found = run(body, values).outputs[0]
    np.testing.assert_array_equal(found[:, 0:1], values.sum(axis=1, keepdims=True))  # written last
    same(found[:, 1:], values[:, 1:])


def test_scalar_and_vector_registers_are_apart_and_only_used_where_needed(run):
    values = np.round(random(np.float32))

    def body(x):
        scratch, scalar, vector = like(x), column(x), column(x)
        nisa.activation(scratch, nl.copy, x, reduce_op=nl.add, reduce_cmd=reduce_cmd.reset_reduce)
        nisa.tensor_scalar_reduce(scratch, x, nl.multiply, 2.0, nl.add)
        nisa.activation(scratch, nl.copy, x)
        nisa.activation(scratch, nl.copy, x, reduce_res=scalar)
        nisa.exponential(scratch, x, reduce_res=vector)
        return scalar, vector

    executed = run(body, values)
    sums = values.sum(axis=1, keepdims=True)
    np.testing.assert_array_equal(executed.outputs[0], sums)
    np.testing.assert_array_equal(executed.outputs[1], 2 * sums)
    used = [
        [record.buffer.name for record in item.operands if record.buffer.region is MemoryRegion.register]
        for item in instructions(executed, "activation")
    ]
    assert used == [["scalar_accumulator"], [], ["scalar_accumulator"]]


# --------------------------------------------------------------------------------------------------------- limits


def call(op=nl.exp, **more):
    def body(x):
        nisa.activation(like(x), op, x, **more)

    return body


def test_activation_constant_bias_needs_neuroncore_v3(run, reject):
    values = random(np.float32)

    def body(x):
        result = like(x)
        nisa.activation(result, nl.copy, x, bias=1.0)
        return result

    same(run(body, values, target="trn2").outputs[0], values + np.float32(1))
    reject(
        GenerationError,
        body,
        values,
        at="activation",
        found="a constant bias",
        allowed="a constant bias only",
        target="trn1",
    )

    def vector(x):
        ones, result = column(x), like(x)
        nisa.memset(ones, 1.0)
        nisa.activation(result, nl.copy, x, bias=ones)
        nisa.activation(result, nl.copy, result)  # no bias at all is fine everywhere
        return result

    same(run(vector, values, target="trn1").outputs[0], values + np.float32(1))


def test_activation_reciprocal_has_no_bias_on_neuroncore_v2(run, reject):
    values = np.abs(random(np.float32)) + 1

    def body(x):
        zeros, result = column(x), like(x)
        nisa.memset(zeros, 0.0)
        nisa.activation(result, nl.reciprocal, x, bias=zeros)
        return result

    same(run(body, values, target="trn2").outputs[0], np.float32(1) / values)
    reject(ArgumentError, body, values, at="activation.bias", found="reciprocal", allowed="without bias", target="trn1")


def test_activation_limits(reject):
    values = random(np.float32)
    reject(ArgumentError, call(nl.add), values, at="activation.op", found="add", allowed="copy, square, sigmoid")
    reject(ArgumentError, call(np.exp), values, at="activation.op", found="exp", allowed="nl.add", everywhere=True)
    reject(ArgumentError, call(None), values, at="activation.op", found="None", everywhere=True)
    reject(
        ArgumentError,
        call(reduce_cmd=reduce_cmd.load_reduce),
        values,
        at="activation.reduce_cmd",
        found="load_reduce",
        allowed="idle, reset, reduce, reset_reduce",
    )
    for command in ("reduce", "reset_reduce"):
        reject(
            ArgumentError,
            call(reduce_cmd=reduce_cmd[command]),
            values,
            at="activation.reduce_op",
            found="None",
            allowed="add",
        )
    reject(
        ArgumentError,
        call(reduce_op=nl.maximum, reduce_cmd=reduce_cmd.reduce),
        values,
        at="activation.reduce_op",
        found="maximum",
        allowed="add",
    )

    def packed(x):
        nisa.activation(like(x), nl.copy, x.view(nl.float8_e5m2_x4))

    reject(DtypeError, packed, values, at="activation.data", found="x4", allowed="float32")

    def from_hbm(x):
        nisa.activation(like(x), nl.copy, like(x, buffer=nl.shared_hbm))

    reject(BufferError, from_hbm, values, at="activation.data", found="shared_hbm", allowed="psum, sbuf")

    def shorter(x):
        nisa.activation(like(x, shape=(P, F - 1)), nl.copy, x)

    reject(ShapeError, shorter, values, at="activation.dst", found="free size 23", allowed="free size 24")


def test_activation_operand_limits(reject):
    values, half = random(np.float32), random(ml_dtypes.bfloat16, (P, 1))

    def low_precision_scale(x, y):
        nisa.activation(like(x), nl.exp, x, scale=y)

    reject(DtypeError, low_precision_scale, values, half, at="activation.scale", found="bfloat16", allowed="float32")

    def tfloat_bias(x, y):
        nisa.activation(like(x), nl.exp, x, bias=x[:, 0:1].view(dtypes.tfloat32))

    reject(DtypeError, tfloat_bias, values, half, at="activation.bias", found="tfloat32", allowed="bfloat16")

    def wide_bias(x, y):
        nisa.activation(like(x), nl.exp, x, bias=x)

    reject(ShapeError, wide_bias, values, half, at="activation.bias", found="24 elements", allowed="(P, 1)")

    def short_bias(x, y):
        nisa.activation(like(x), nl.exp, x, bias=y[:32])

    reject(ShapeError, short_bias, values, half, at="activation.bias", found="count 32", allowed="count 64")

    def no_scale(x, y):
        nisa.activation(like(x), nl.exp, x, scale=None)

    reject(ArgumentError, no_scale, values, half, at="activation.scale", found="None", everywhere=True)


def test_activation_reduce_limits(reject):
    values = random(np.float32)

    def with_op(reduce_op):
        def body(x):
            nisa.activation_reduce(like(x), nl.exp, x, reduce_op, column(x))

        return body

    reject(ArgumentError, with_op(nl.maximum), values, at="activation_reduce.reduce_op", found="maximum", allowed="add")
    reject(ArgumentError, with_op(None), values, at="activation_reduce.reduce_op", found="None", allowed="add")

    def wide(x):
        nisa.activation_reduce(like(x), nl.exp, x, nl.add, like(x))

    reject(ShapeError, wide, values, at="activation_reduce.reduce_res", found="24 elements", allowed="(P, 1)")
