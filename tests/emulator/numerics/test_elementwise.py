"""The operator table against NumPy: published names, arithmetic bits, NaN and zeros, raw bits, reductions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.typing import NDArray

from trnlab.emulator.numerics.elementwise import ALU_OPS, REDUCTIONS
from trnlab.emulator.numerics.sealing import seal

# NKI reference, ISA API common fields, supported math operators: operator, and whether it may reduce.
PUBLISHED = {
    "invert": False, "bitwise_and": True, "bitwise_or": True, "bitwise_xor": True, "left_shift": False,
    "right_shift": False, "add": True, "subtract": True, "multiply": True, "maximum": True, "minimum": True,
    "equal": False, "not_equal": False, "greater_equal": False, "greater": False, "less_equal": False, "less": False,
    "logical_and": True, "logical_or": True, "logical_xor": True, "power": False, "abs_max": False, "abs_min": False,
    "abs": False, "square": False, "relu": False, "rsqrt": False, "reciprocal": False,
}  # fmt: skip
LANGUAGE_ONLY = {"logical_not", "divide", "mod", "fmod", "bypass"}
BITVEC = {"invert", "bitwise_and", "bitwise_or", "bitwise_xor", "left_shift", "right_shift"}
UNARY = {"invert", "abs", "square", "relu", "rsqrt", "reciprocal", "logical_not", "bypass"}
INF, NAN = np.inf, np.nan
SPECIAL = np.array([0.0, -0.0, 1.0, -1.0, 2.5, -2.5, 1e30, -1e-30, INF, -INF, NAN], np.float32)


@pytest.fixture(autouse=True)
def _quiet_numpy() -> Iterator[None]:
    with np.errstate(all="ignore"):
        yield


def f32(*values: float) -> NDArray[np.float32]:
    return np.array(values, np.float32)


def bits(x: Any) -> NDArray[np.uint32]:
    """f32 patterns with every NaN canonical."""
    array = np.asarray(x, np.float32)
    return np.where(np.isnan(array), np.float32(np.nan), array).view(np.uint32)


def operands(seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """2**16 normal f32 pairs whose sums, products and quotients are normal, and all pairs of special values."""
    generator = np.random.default_rng(seed)
    a, b = np.ldexp(generator.standard_normal((2, 2**16)), generator.integers(-30, 30, (2, 2**16)))
    left, right = np.meshgrid(SPECIAL, SPECIAL)
    return np.concatenate([a, left.ravel()]).astype(np.float32), np.concatenate([b, right.ravel()]).astype(np.float32)


def test_the_table_is_the_published_one() -> None:
    assert set(ALU_OPS) == set(PUBLISHED) | LANGUAGE_ONLY
    for name, op in ALU_OPS.items():
        assert op.name == name
        assert op.is_legal_reduction == PUBLISHED.get(name, False), name
        assert (op.kind == "bitvec") == (name in BITVEC), name
        assert op.arity == (1 if name in UNARY else 2), name
        assert (op.reduction is None) == (op.identity is None), name
        assert op.is_legal_reduction <= (op.reduction is not None), name
        assert op.source
    v4 = {name for name, op in ALU_OPS.items() if op.first_generation == 4}
    assert v4 == {"abs_max", "abs_min"}
    assert set(REDUCTIONS) == {name for name, op in ALU_OPS.items() if op.reduction} | {"average"}


Oracle = Callable[..., Any]


def ieee_maximum(a: Any, b: Any) -> Any:
    """NumPy leaves the sign of max(-0, 0) open; here it is IEEE 754-2019 maximum."""
    return np.where((a == 0) & (b == 0), np.where(np.signbit(a) & np.signbit(b), a, np.float32(0)), np.maximum(a, b))


def ieee_minimum(a: Any, b: Any) -> Any:
    return -ieee_maximum(-a, -b)


EXACT: dict[str, Oracle] = {
    "add": np.add,
    "subtract": np.subtract,
    "multiply": np.multiply,
    "divide": np.divide,
    "maximum": ieee_maximum,
    "minimum": ieee_minimum,
    "equal": np.equal,
    "not_equal": np.not_equal,
    "greater_equal": np.greater_equal,
    "greater": np.greater,
    "less_equal": np.less_equal,
    "less": np.less,
    "logical_and": np.logical_and,
    "logical_or": np.logical_or,
    "logical_xor": np.logical_xor,
    "logical_not": np.logical_not,
    "abs": np.abs,
    "square": np.square,
    "relu": lambda x: ieee_maximum(x, np.float32(0)),
    "reciprocal": np.reciprocal,
    "bypass": lambda x: x,
    "abs_max": lambda a, b: np.where(np.abs(a) > np.abs(b), a, b),
    "abs_min": lambda a, b: np.where(np.abs(a) < np.abs(b), a, b),
}


@pytest.mark.parametrize("name", EXACT)
def test_bits_of_numpy_in_f32(name: str) -> None:
    op = ALU_OPS[name]
    inputs = operands()[: op.arity]
    expected = bits(EXACT[name](*inputs))
    np.testing.assert_array_equal(bits(jax.jit(op.function)(*inputs)), expected)
    np.testing.assert_array_equal(bits(op.function(*map(jnp.asarray, inputs))), expected)


@pytest.mark.parametrize("name", [name for name, op in ALU_OPS.items() if op.kind != "bitvec"])
def test_a_sealed_result_has_the_same_bits_in_a_larger_program(name: str) -> None:
    function, inputs = ALU_OPS[name].function, operands(1)[: ALU_OPS[name].arity]
    y, z = np.random.default_rng(2).standard_normal((2, inputs[0].size), np.float32)

    def larger(y: jax.Array, z: jax.Array, *inputs: jax.Array) -> tuple[jax.Array, jax.Array]:
        result = seal(function(*(seal(x) for x in inputs)))
        return result, seal(result * y) + jnp.exp(result) / z

    alone = jax.jit(lambda *inputs: seal(function(*inputs)))(*inputs)
    np.testing.assert_array_equal(bits(jax.jit(larger)(y, z, *inputs)[0]), bits(alone))


def test_commutative_operators_commute_bitwise() -> None:
    a, b = operands(3)
    integers = np.random.default_rng(4).integers(0, 31, (2, 1000)).astype(np.int32)
    for name, op in ALU_OPS.items():
        if op.arity == 2:
            left, right = integers if op.kind == "bitvec" else (a, b)
            forward, backward = jax.jit(op.function)(left, right), jax.jit(op.function)(right, left)
            if op.kind != "bitvec":
                forward, backward = bits(forward), bits(backward)
            assert np.array_equal(forward, backward) == op.commutative, name


@pytest.mark.parametrize("shape", [(128, 1), (1, 1)])
def test_division_by_a_broadcast_operand_is_a_division(shape: tuple[int, int]) -> None:
    generator = np.random.default_rng(5)
    a, b = generator.standard_normal((128, 512), np.float32), generator.standard_normal(shape, np.float32)
    np.testing.assert_array_equal(bits(jax.jit(ALU_OPS["divide"].function)(a, b)), bits(a / b))
    constant = np.float32(3.1)
    np.testing.assert_array_equal(
        bits(jax.jit(lambda a: ALU_OPS["divide"].function(a, constant))(a)), bits(a / constant)
    )


@pytest.mark.parametrize("name", ["divide", "power"])
def test_a_scalar_operand_means_the_same_under_vmap(name: str) -> None:
    """The second operand stays unmapped: XLA would divide by a broadcast scalar by multiplying."""
    a = np.exp(np.random.default_rng(8).standard_normal((3, 64, 17), np.float32))
    function = ALU_OPS[name].function
    for scalar in map(np.float32, (7, 3, 0.3)):
        mapped = jax.jit(jax.vmap(function, in_axes=(0, None)))(a, scalar)
        for item, alone in zip(mapped, a, strict=True):
            np.testing.assert_array_equal(bits(item), bits(jax.jit(function)(alone, scalar)))


def test_power_of_constant_exponents_is_within_an_ulp() -> None:
    x = np.exp(np.random.default_rng(6).uniform(-20, 20, 2**14)).astype(np.float32)
    for exponent in (2.0, 0.5, -1.0, 3.0, -0.5, 2.7, 0.0, 1.0):
        constant = np.float32(exponent)
        found = np.asarray(jax.jit(lambda x, e=constant: ALU_OPS["power"].function(x, e))(x))
        exact = x.astype(np.float64) ** float(constant)
        assert (np.abs(found - exact) <= np.spacing(exact.astype(np.float32))).all(), exponent
    special = ALU_OPS["power"].function(f32(-2, -8, 0, NAN), f32(3, 0.5, -1, 0))
    np.testing.assert_array_equal(np.asarray(special), f32(-8, NAN, INF, 1))


def test_rsqrt_is_within_two_ulp() -> None:
    x = np.exp(np.random.default_rng(7).uniform(-60, 60, 2**16)).astype(np.float32)
    exact = 1 / np.sqrt(x.astype(np.float64))
    found = np.asarray(jax.jit(ALU_OPS["rsqrt"].function)(x))
    assert (np.abs(found - exact) <= 2 * np.spacing(exact.astype(np.float32))).all()


def test_remainders_take_the_sign_of_divisor_or_dividend() -> None:
    a, b = f32(7, -7, 7, -7, 5.5, 1), f32(3, 3, -3, -3, 0.75, 0)
    np.testing.assert_array_equal(np.asarray(ALU_OPS["mod"].function(a, b)), f32(1, 2, -2, -1, 0.25, NAN))
    np.testing.assert_array_equal(np.asarray(ALU_OPS["fmod"].function(a, b)), f32(1, -1, 1, -1, 0.25, NAN))
    generator = np.random.default_rng(8)
    a, b = generator.uniform(-100, 100, (2, 2**14)).astype(np.float32)
    np.testing.assert_array_equal(np.asarray(jax.jit(ALU_OPS["mod"].function)(a, b)), np.mod(a, b))
    np.testing.assert_array_equal(np.asarray(jax.jit(ALU_OPS["fmod"].function)(a, b)), np.fmod(a, b))


def test_abs_max_and_abs_min_return_the_signed_operand() -> None:
    """The published examples: abs_max(-5, 3) is -5, abs_min(5, -3) is -3, ties return the second operand."""
    a, b = f32(-5, 5, 1, 1), f32(3, -3, -1, -1)
    np.testing.assert_array_equal(np.asarray(ALU_OPS["abs_max"].function(a, b)), f32(-5, 5, -1, -1))
    np.testing.assert_array_equal(np.asarray(ALU_OPS["abs_min"].function(a, b)), f32(3, -3, -1, -1))


# ---------------------------------------------------------------------------------------- bits and native integers


@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
def test_bitvec_on_every_pair_of_bytes(dtype: Any) -> None:
    a, b = (x.ravel() for x in np.meshgrid(*[np.arange(256, dtype=np.uint8).view(dtype)] * 2))
    for name, oracle in (
        ("bitwise_and", np.bitwise_and),
        ("bitwise_or", np.bitwise_or),
        ("bitwise_xor", np.bitwise_xor),
    ):
        np.testing.assert_array_equal(np.asarray(ALU_OPS[name].function(a, b)), oracle(a, b))
    np.testing.assert_array_equal(np.asarray(ALU_OPS["invert"].function(a)), np.invert(a))
    # Logical shifts of the byte as an unsigned number; amounts of 8 and more, and negative ones, leave zero.
    value, amount = a.view(np.uint8).astype(np.uint64), b.view(np.uint8).astype(np.uint64)
    left, right = (value << np.minimum(amount, 8)) & 0xFF, value >> np.minimum(amount, 8)
    for name, expected in (("left_shift", left), ("right_shift", right)):
        found = np.asarray(jax.jit(ALU_OPS[name].function)(a, b))
        assert found.dtype == dtype
        np.testing.assert_array_equal(found.view(np.uint8), expected.astype(np.uint8))


@pytest.mark.parametrize("dtype", [np.int32, np.uint32, np.int16])
def test_shifts_of_wider_integers(dtype: Any) -> None:
    width = np.dtype(dtype).itemsize * 8
    generator = np.random.default_rng(9)
    x = generator.integers(0, 2**width, 4096, dtype=np.uint64).astype(f"uint{width}").view(dtype)
    amount = generator.integers(0, width + 3, 4096).astype(dtype)
    value, steps = x.view(f"uint{width}").astype(object), amount.astype(object)
    left = [(int(v) << int(s)) % 2**width for v, s in zip(value, steps, strict=True)]
    right = [int(v) >> int(s) for v, s in zip(value, steps, strict=True)]
    for name, expected in (("left_shift", left), ("right_shift", right)):
        found = np.asarray(jax.jit(ALU_OPS[name].function)(x, amount)).view(f"uint{width}")
        np.testing.assert_array_equal(found, np.array(expected, f"uint{width}"))


@pytest.mark.parametrize("dtype", [np.int32, np.uint32])
def test_native_integers_wrap_around(dtype: Any) -> None:
    limits, generator = np.iinfo(dtype), np.random.default_rng(10)
    edges = np.array([limits.min, limits.min + 1, 0, 1, limits.max - 1, limits.max], dtype)
    a, b = (np.concatenate([x.ravel(), generator.integers(limits.min, limits.max, 4096, dtype)])
            for x in np.meshgrid(edges, edges))  # fmt: skip
    native = {name: op.integer_function for name, op in ALU_OPS.items() if op.integer_function is not None}
    assert {"add", "subtract", "multiply", "maximum", "minimum", "equal", "less", "logical_and"} <= set(native)
    for name, function in native.items():
        found = np.asarray(jax.jit(function)(a, b))
        assert found.dtype == dtype, name
        np.testing.assert_array_equal(found, getattr(np, name)(a, b).astype(dtype), err_msg=name)


def test_identities_change_nothing() -> None:
    x = np.arange(-3, 4, dtype=np.float32)
    for name, op in ALU_OPS.items():
        if op.kind == "arithmetic" and op.identity is not None:
            accumulated = np.asarray(op.function(jnp.full_like(x, op.identity), jnp.asarray(x)))
            np.testing.assert_array_equal(accumulated, -x if name == "subtract" else x, err_msg=name)
