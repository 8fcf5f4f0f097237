"""Elementwise functions of nki.language against NumPy in float64, through kernels."""

from __future__ import annotations

import math

import ml_dtypes
import numpy as np
import pytest

import trnlab.emulator.nki.language as nl
from tests.emulator.reference import run
from trnlab.emulator import DtypeError, GenerationError, KernelError, ShapeError, trace
from trnlab.emulator.numerics.activations import ACTIVATIONS
from trnlab.emulator.numerics.elementwise import ALU_OPS

SHAPES = ((128, 3), (32, 2, 3))


def normal(seed, shape, scale=3.0):
    return (np.random.default_rng(seed).standard_normal(shape) * scale).astype(np.float32)


def abs_max(x, y):
    return np.where(np.abs(x) > np.abs(y), x, y)


def abs_min(x, y):
    return np.where(np.abs(x) < np.abs(y), x, y)


# Float64 is wide enough that rounding its result once to float32 is the correctly rounded result of these.
EXACT_BINARY = {
    "add": np.add,
    "subtract": np.subtract,
    "multiply": np.multiply,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "abs_max": abs_max,
    "abs_min": abs_min,
    "equal": np.equal,
    "not_equal": np.not_equal,
    "less": np.less,
    "less_equal": np.less_equal,
    "greater": np.greater,
    "greater_equal": np.greater_equal,
    "logical_and": np.logical_and,
    "logical_or": np.logical_or,
    "logical_xor": np.logical_xor,
}


def correctly_rounded(function, *operands):
    return function(*[np.asarray(o, np.float64) for o in operands]).astype(np.float32)


@pytest.mark.parametrize("name", EXACT_BINARY)
@pytest.mark.parametrize("shape", SHAPES)
def test_two_tiles(on_chip, name, shape):
    x, y = normal(1, shape), normal(2, shape)
    y.flat[::3] = x.flat[::3]  # ties, so that comparisons have both outcomes
    x.flat[::4] = 0
    result = on_chip(getattr(nl, name), x, y)
    np.testing.assert_array_equal(result, correctly_rounded(EXACT_BINARY[name], x, y))


@pytest.mark.parametrize("name", EXACT_BINARY)
def test_tile_and_number_in_either_order(on_chip, name):
    x = normal(3, (8, 6))
    x[:, 0] = 1.5
    function, oracle = getattr(nl, name), EXACT_BINARY[name]
    np.testing.assert_array_equal(on_chip(lambda t: function(t, 1.5), x), correctly_rounded(oracle, x, 1.5))
    np.testing.assert_array_equal(on_chip(lambda t: function(1.5, t), x), correctly_rounded(oracle, 1.5, x))


@pytest.mark.parametrize("name", ["subtract", "greater", "abs_max"])
@pytest.mark.parametrize("dtype", [np.float32, ml_dtypes.bfloat16])
@pytest.mark.parametrize(("left", "right"), [((16, 6), (16, 1)), ((16, 1), (16, 6)), ((16, 2, 3), (16, 2, 1))])
def test_free_dimensions_of_size_one_repeat(on_chip, name, dtype, left, right):
    x, y = normal(4, left).astype(dtype), normal(5, right).astype(dtype)
    expected = correctly_rounded(EXACT_BINARY[name], x.astype(np.float32), y.astype(np.float32)).astype(dtype)
    result = on_chip(getattr(nl, name), x, y)
    assert result.dtype == dtype
    np.testing.assert_array_equal(result.astype(np.float32), expected.astype(np.float32))


def test_power_divide_and_remainders(on_chip):
    x, y = np.abs(normal(6, (16, 9))) + 0.1, normal(7, (16, 9))
    np.testing.assert_allclose(on_chip(nl.power, x, y), np.power(x.astype(np.float64), y), rtol=2e-6)
    np.testing.assert_allclose(on_chip(lambda t: nl.power(t, 3.0), x), x.astype(np.float64) ** 3, rtol=2e-6)
    # Two roundings, each of half a unit in the last place: 2 * 2**-24 relative, and the bound of 1.5 units stated.
    np.testing.assert_allclose(on_chip(nl.divide, y, x), y.astype(np.float64) / x, rtol=1.5 * 2**-23)
    np.testing.assert_allclose(on_chip(lambda t: nl.divide(2.0, t), x), 2 / x.astype(np.float64), rtol=1.5 * 2**-23)
    np.testing.assert_allclose(on_chip(lambda t: nl.divide(t, 3.0), x), x.astype(np.float64) / 3, rtol=1.5 * 2**-23)


@pytest.mark.parametrize(("name", "oracle"), [("mod", np.mod), ("fmod", np.fmod)])
def test_remainders(on_chip, name, oracle):
    rng = np.random.default_rng(8)
    function = getattr(nl, name)
    x = rng.integers(-(2**23), 2**23, (32, 64)).astype(np.float32)
    y = rng.integers(1, 3000, (32, 64)).astype(np.float32) * rng.choice([-1, 1], (32, 64)).astype(np.float32)
    # Integers below 2**24: exact.
    np.testing.assert_array_equal(on_chip(function, x, y), oracle(x.astype(np.float64), y))
    np.testing.assert_array_equal(on_chip(lambda t: function(t, 7.0), x), oracle(x.astype(np.float64), 7.0))
    np.testing.assert_array_equal(on_chip(lambda t: function(1e6, t), y), oracle(1e6, y.astype(np.float64)))
    # Other numbers: within 2**-23 |x| of the remainder, which is a circle of circumference y.
    fractional = normal(9, (32, 64), 100.0)
    found = on_chip(lambda t: function(t, 2.7), fractional).astype(np.float64)
    distance = np.abs(found - oracle(fractional.astype(np.float64), np.float32(2.7)))
    circumference = float(np.float32(2.7))
    distance = np.minimum(distance, np.abs(circumference - distance))
    assert (distance <= 2**-23 * np.abs(fractional) + 2**-23).all()


# ------------------------------------------------------------------------------------------------ bits and integers


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.uint32])
@pytest.mark.parametrize("name", ["bitwise_and", "bitwise_or", "bitwise_xor"])
def test_bits_of_two_integer_tiles(on_chip, name, dtype):
    info = np.iinfo(dtype)
    x, y = np.random.default_rng(10).integers(info.min, info.max, (2, 16, 12), dtype=dtype)
    np.testing.assert_array_equal(on_chip(getattr(nl, name), x, y), getattr(np, name)(x, y))
    np.testing.assert_array_equal(on_chip(lambda t: getattr(nl, name)(t, 5), x), getattr(np, name)(x, dtype(5)))


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.uint32])
def test_shifts_and_inversion(on_chip, dtype):
    width = 8 * np.dtype(dtype).itemsize
    info = np.iinfo(dtype)
    rng = np.random.default_rng(11)
    x = rng.integers(info.min, info.max, (16, 12), dtype=dtype)
    amount = rng.integers(0, width, (16, 12)).astype(dtype)
    unsigned = x.view(f"u{width // 8}")
    right = (unsigned >> amount.view(unsigned.dtype)).view(dtype)
    np.testing.assert_array_equal(on_chip(nl.left_shift, x, amount), np.left_shift(x, amount))
    np.testing.assert_array_equal(on_chip(nl.right_shift, x, amount), right)
    np.testing.assert_array_equal(on_chip(nl.invert, x), np.invert(x))


def test_two_int32_tiles_are_exact_beyond_float32(on_chip):
    x = np.array([[2**24 + 1, -(2**30), 123456789]], np.int32)
    y = np.array([[1, -(2**30) + 3, 987654321]], np.int32)
    np.testing.assert_array_equal(on_chip(nl.add, x, y), x + y)
    np.testing.assert_array_equal(on_chip(nl.multiply, x[:, :1], y[:, :1]), x[:, :1] * y[:, :1])


def test_floats_have_no_bits(on_chip):
    with pytest.raises(DtypeError, match="bitvec"):
        on_chip(nl.bitwise_and, normal(12, (4, 4)), normal(13, (4, 4)))


# ------------------------------------------------------------------------------------------------------ one operand


def gelu(x):
    return x * 0.5 * (1 + erf(x / math.sqrt(2)))


erf = np.vectorize(math.erf)
normal_density = lambda x: np.exp(-x * x / 2) / math.sqrt(2 * math.pi)  # noqa: E731
sigmoid = lambda x: 1 / (1 + np.exp(-x))  # noqa: E731
silu_dx = lambda x: sigmoid(x) * (1 + x * (1 - sigmoid(x)))  # noqa: E731

UNARY = {
    "exp": np.exp,
    "log": np.log,
    "sqrt": np.sqrt,
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "reciprocal": lambda x: 1 / x,
    "abs": np.abs,
    "square": np.square,
    "relu": lambda x: np.maximum(x, 0),
    "negative": np.negative,
    "sign": np.sign,
    "tanh": np.tanh,
    "sigmoid": sigmoid,
    "silu": lambda x: x * sigmoid(x),
    "silu_dx": silu_dx,
    "gelu": gelu,
    "gelu_dx": lambda x: 0.5 * (1 + erf(x / math.sqrt(2))) + x * normal_density(x),
    "gelu_apprx_tanh": lambda x: x / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    "gelu_apprx_sigmoid": lambda x: x * sigmoid(1.702 * x),
    "gelu_apprx_sigmoid_dx": lambda x: silu_dx(1.702 * x),
    "softplus": lambda x: np.log1p(np.exp(x)),
    "mish": lambda x: x * np.tanh(np.log1p(np.exp(x))),
    "erf": erf,
    "erf_dx": lambda x: 2 / math.sqrt(math.pi) * np.exp(-x * x),
    "logical_not": lambda x: x == 0,
    "copy": lambda x: x,
}
POSITIVE = {"log", "sqrt", "rsqrt"}


@pytest.mark.parametrize("name", UNARY)
def test_one_tile(on_chip, name):
    x = normal(14, (32, 2, 3))
    x = np.abs(x) + 0.01 if name in POSITIVE else x
    expected = UNARY[name](x.astype(np.float64))
    # A few units in the last place of float32; the smooth functions lose an absolute 1e-6 where terms cancel.
    np.testing.assert_allclose(on_chip(getattr(nl, name), x), expected, rtol=3e-6, atol=1e-6)


def test_logical_not_of_zeros_and_ones(on_chip):
    x = np.array([[0.0, 1.0, 1.0, 0.0]], np.float32)
    np.testing.assert_array_equal(on_chip(nl.logical_not, x), 1 - x)


@pytest.mark.parametrize("target", ["trn1", "trn2", "trn3"])
@pytest.mark.parametrize("name", ["relu", "square", "abs", "rsqrt", "floor", "sin"])
def test_every_generation_has_the_ordinary_functions(on_chip, name, target):
    x = np.full((4, 4), 2.25, np.float32)
    oracle = {"rsqrt": lambda v: 1 / np.sqrt(v), "relu": lambda v: v}.get(name) or getattr(np, name)
    np.testing.assert_allclose(on_chip(getattr(nl, name), x, target=target), oracle(x.astype(np.float64)), rtol=1e-6)


def test_abs_max_needs_the_fourth_generation(on_chip):
    with pytest.raises(GenerationError, match="abs_max"):
        on_chip(nl.abs_max, normal(15, (4, 4)), normal(16, (4, 4)), target="trn2")


# ------------------------------------------------------------------------------------------------------ result dtype


# NKI 2.26 reference, "NKI Type Promotion": every example of its three rules.
PROMOTIONS = [
    ("int32", "float16", "float16"),
    ("uint16", "tfloat32", "tfloat32"),
    ("float32", "tfloat32", "float32"),
    ("float32", "bfloat16", "float32"),
    ("float16", "bfloat16", "float32"),
    ("float8_e4m3", "float16", "float16"),
    ("float8_e4m3", "bfloat16", "bfloat16"),
    ("float8_e4m3", "float8_e5m2", "bfloat16"),
    ("int16", "int32", "int32"),
    ("uint8", "uint16", "uint16"),
    ("uint16", "int32", "int32"),
    ("int8", "uint8", "int16"),
    ("int8", "uint16", "int32"),
    ("int32", "uint32", "float32"),
]


@pytest.mark.parametrize(("left", "right", "expected"), PROMOTIONS)
def test_tiles_of_two_dtypes_promote(left, right, expected):
    def kernel():
        x = nl.full((4, 4), 2, getattr(nl, left))
        y = nl.full((4, 4), 3, getattr(nl, right))
        assert nl.add(x, y).dtype == nl.add(y, x).dtype == getattr(nl, expected)
        assert nl.where(x, y, x).dtype == nl.mod(x, y).dtype == getattr(nl, expected)
        return nl.zeros((1, 1), nl.float32, buffer=nl.shared_hbm)

    trace(kernel)


def test_tiles_of_two_dtypes_are_computed_in_float32(on_chip):
    x, y = normal(21, (8, 4)).astype(np.float16), normal(22, (8, 4)).astype(ml_dtypes.bfloat16)
    found = on_chip(nl.add, x, y)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, x.astype(np.float32) + y.astype(np.float32))


def test_scales_do_not_promote():
    def kernel():
        nl.add(nl.full((4, 4), 2, nl.float8_e8m0fnu), nl.full((4, 4), 3, nl.float32))

    with pytest.raises(DtypeError, match="float8_e8m0fnu with float32"):
        run(kernel)


@pytest.mark.parametrize("dtype", [ml_dtypes.bfloat16, np.float16])
def test_dtype_of_one_tile_stays_and_dtype_argument_wins(on_chip, dtype):
    x = normal(17, (8, 8)).astype(dtype)
    stays = on_chip(lambda t: nl.multiply(t, 1.1), x)
    assert stays.dtype == dtype
    exact = np.float32(1.1) * x.astype(np.float32)
    np.testing.assert_array_equal(stays.astype(np.float32), exact.astype(dtype).astype(np.float32))
    wide = on_chip(lambda t: nl.multiply(t, 1.1, dtype=nl.float32), x)
    np.testing.assert_array_equal(wide, exact)


# ------------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda t: nl.add(1, 2), "nl.add: x: found int"),
        (lambda t: nl.add(t, "y"), "nl.add: y: found str"),
        (lambda t: nl.add(t, nl.zeros((1, 6), nl.float32)), "nl.broadcast_to"),
        (lambda t: nl.add(t, nl.zeros((4, 2, 3), nl.float32)), "equal ranks"),
        (lambda t: nl.exp(nl.ndarray((4, 6), nl.float32, buffer=nl.shared_hbm)), "nl.load"),
    ],
)
def test_what_does_not_fit_says_so(on_chip, function, message):
    with pytest.raises(KernelError, match=message):
        on_chip(function, normal(18, (4, 6)))


def test_shapes_that_do_not_broadcast_are_shape_errors(on_chip):
    with pytest.raises(ShapeError):
        on_chip(nl.add, normal(19, (4, 6)), normal(20, (4, 3)))


# --------------------------------------------------------------------------------------------------- operator values


@pytest.mark.parametrize("name", sorted(ALU_OPS.keys() | ACTIVATIONS.keys()))
def test_every_operator_of_the_tables_is_a_value_of_nki_language(name):
    assert getattr(nl, name).op_name == name
