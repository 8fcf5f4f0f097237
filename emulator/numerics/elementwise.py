"""The operators that instructions take as `op`: their meaning on f32, on raw bits and on native integers, as data.

Arithmetic operators receive f32 (the engine has widened the operands) and return f32; comparisons and logical
operators return 1.0 or 0.0. Bitvec operators receive integers and work on their bits. `integer_function` is the
native 32-bit arithmetic of GpSimd, which wraps around.

NaN: maximum, minimum and their reductions return NaN when an operand is NaN; comparisons with NaN are false except
not_equal; NaN counts as true for the logical operators. AWS documents none of this (assumed, as in NumPy).
Zeros: maximum(-0.0, 0.0) is 0.0 and minimum(-0.0, 0.0) is -0.0. Subnormal f32 operands and results count as zero,
which is XLA's arithmetic on the CPU; what the engines do is not public.

Source of the tables: NKI reference, ISA API common fields, "Supported math operators"; NKI language reference.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final, Literal

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from trnlab.emulator.numerics import reductions
from trnlab.emulator.numerics.reductions import Reduction
from trnlab.emulator.numerics.sealing import sealed_beside

AluKind = Literal["arithmetic", "bitvec", "comparison", "logical"]
Function = Callable[..., Array]


@dataclass(frozen=True, slots=True, kw_only=True)
class AluOp:
    """One operator.

    name:                the published name, `nki.language.<name>`
    kind:                bitvec works on raw integers; the other three on f32
    arity:               1 or 2
    function:            arrays that broadcast against each other to the result
    commutative:         whether operands may be swapped without changing a bit (NaN and signs of zero included)
    reduction:           the fold over the last axis, where one has a meaning
    is_legal_reduction:  whether the published table allows it as a reduction operator
    identity:            the value an accumulator is reset to; None when there is no reduction
    integer_function:    native int32/uint32 arithmetic, or None
    """

    name: str
    kind: AluKind
    arity: int
    function: Function
    source: str
    commutative: bool = False
    reduction: Reduction | None = None
    is_legal_reduction: bool = False
    identity: float | int | None = None
    integer_function: Function | None = None
    first_generation: int = 2


# ------------------------------------------------------------------------------------------------ arithmetic


def _divide(a: Array, b: Array) -> Array:
    """`a / b`; the sealed divisor keeps XLA from multiplying by the reciprocal of a broadcast or constant one."""
    dividend, divisor = jnp.broadcast_arrays(a, b)
    return lax.div(dividend, sealed_beside(divisor, dividend))


def _power(a: Array, b: Array) -> Array:
    """`a ** b`; the sealed exponent keeps XLA from turning constant exponents into products or roots."""
    base, exponent = jnp.broadcast_arrays(a, b)
    return lax.pow(base, sealed_beside(exponent, base))


def _reciprocal(x: Array) -> Array:
    return lax.div(jnp.ones_like(x), x)


def _abs_max(a: Array, b: Array) -> Array:
    """The operand of larger magnitude with its sign; `b` on a tie or when a comparison meets a NaN."""
    return jnp.where(jnp.abs(a) > jnp.abs(b), a, b)


def _abs_min(a: Array, b: Array) -> Array:
    """The operand of smaller magnitude with its sign; `b` on a tie or when a comparison meets a NaN."""
    return jnp.where(jnp.abs(a) < jnp.abs(b), a, b)


def _relu(x: Array) -> Array:
    return jnp.maximum(x, 0)


def _bypass(x: Array) -> Array:
    return x


def _as_numbers(predicate: Callable[..., Array]) -> Function:
    """The predicate with its result as 1 or 0 in the first operand's dtype."""

    def compare(a: Array, *rest: Array) -> Array:
        return predicate(a, *rest).astype(a.dtype)

    return compare


def _logical_and(a: Array, b: Array) -> Array:
    return (a != 0) & (b != 0)


def _logical_or(a: Array, b: Array) -> Array:
    return (a != 0) | (b != 0)


def _logical_xor(a: Array, b: Array) -> Array:
    return (a != 0) ^ (b != 0)


def _is_zero(x: Array) -> Array:
    return x == 0


# -------------------------------------------------------------------------------------------------- bit vectors


def _shift(x: Array, amount: Array, shift: Callable[[Array, Array], Array]) -> Array:
    """Logical shift of the bits; amounts are unsigned, and one of the width or more leaves zero (assumed)."""
    x, amount = jnp.broadcast_arrays(x, amount)
    width = x.dtype.itemsize * 8
    bits = lax.bitcast_convert_type(x, f"uint{width}")
    unsigned = lax.bitcast_convert_type(amount, f"uint{amount.dtype.itemsize * 8}")
    is_inside = unsigned < width
    shifted = shift(bits, jnp.where(is_inside, unsigned, 0).astype(bits.dtype))
    return lax.bitcast_convert_type(jnp.where(is_inside, shifted, 0), x.dtype)


def _left_shift(x: Array, amount: Array) -> Array:
    return _shift(x, amount, lax.shift_left)


def _right_shift(x: Array, amount: Array) -> Array:
    return _shift(x, amount, lax.shift_right_logical)


# ------------------------------------------------------------------------------------------------------- the table

_TABLE: Final = "NKI reference, ISA API common fields, supported math operators"
_LANGUAGE: Final = "NKI reference, nki.language"


def _plain(name: str, arity: int, function: Function, source: str = _TABLE, kind: AluKind = "arithmetic") -> AluOp:
    return AluOp(name=name, kind=kind, arity=arity, function=function, source=source)


def _native(op: AluOp, commutative: bool) -> AluOp:
    """The operator, with the same function for native integers."""
    return replace(op, integer_function=op.function, commutative=commutative)


def _folds(op: AluOp, reduction: Reduction, identity: float) -> AluOp:
    return replace(op, reduction=reduction, identity=identity, is_legal_reduction=True)


def _arithmetic(name: str, function: Function, fold: Reduction, identity: float, commutative: bool = True) -> AluOp:
    return _folds(_native(_plain(name, 2, function), commutative), fold, identity)


def _compare(name: str, predicate: Callable[..., Array], commutative: bool) -> AluOp:
    return _native(_plain(name, 2, _as_numbers(predicate), kind="comparison"), commutative)


def _logical(name: str, predicate: Callable[..., Array], fold: Reduction, identity: float) -> AluOp:
    op = _plain(name, 2, _as_numbers(predicate), kind="logical")
    return _folds(_native(op, commutative=True), fold, identity)


def _bitwise(name: str, operator: Callable[[Array, Array], Array], identity: int) -> AluOp:
    op = replace(_plain(name, 2, operator, kind="bitvec"), commutative=True)
    return _folds(op, reductions.bits(operator, identity), identity)


def _by_magnitude(name: str, function: Function, reduction: Reduction, identity: float) -> AluOp:
    """abs_max and abs_min: the table allows no reduction, but activate2 reduces with them (its reduce_op)."""
    op = _plain(name, 2, function, f"{_TABLE}; {_LANGUAGE}.{name}; nki.isa.activate2")
    return replace(op, reduction=reduction, identity=identity, first_generation=4)


_OPERATORS: Final = (
    _arithmetic("add", jnp.add, reductions.total, 0.0),
    # Identity 0: nki.isa.tensor_scalar_cumulative resets its register to 0 for add and subtract.
    _arithmetic("subtract", jnp.subtract, reductions.difference, 0.0, commutative=False),
    _arithmetic("multiply", jnp.multiply, reductions.product, 1.0),
    _arithmetic("maximum", jnp.maximum, reductions.maximum, -np.inf),
    _arithmetic("minimum", jnp.minimum, reductions.minimum, np.inf),
    _by_magnitude("abs_max", _abs_max, reductions.abs_max, 0.0),
    _by_magnitude("abs_min", _abs_min, reductions.abs_min, np.inf),
    _compare("equal", jnp.equal, commutative=True),
    _compare("not_equal", jnp.not_equal, commutative=True),
    _compare("greater_equal", jnp.greater_equal, commutative=False),
    _compare("greater", jnp.greater, commutative=False),
    _compare("less_equal", jnp.less_equal, commutative=False),
    _compare("less", jnp.less, commutative=False),
    _logical("logical_and", _logical_and, reductions.every, 1.0),
    _logical("logical_or", _logical_or, reductions.some, 0.0),
    _logical("logical_xor", _logical_xor, reductions.parity, 0.0),
    _plain("logical_not", 1, _as_numbers(_is_zero), f"{_LANGUAGE}.logical_not", "logical"),
    _plain("power", 2, _power),
    _plain("divide", 2, _divide, f"{_LANGUAGE}.divide"),
    _plain("mod", 2, jnp.mod, f"{_LANGUAGE}.mod: the sign of the divisor"),
    _plain("fmod", 2, lax.rem, f"{_LANGUAGE}.fmod: the sign of the dividend"),
    _plain("abs", 1, jnp.abs),
    _plain("square", 1, jnp.square),
    _plain("relu", 1, _relu),
    _plain("rsqrt", 1, lax.rsqrt),
    _plain("reciprocal", 1, _reciprocal),
    _plain("bypass", 1, _bypass, f"{_LANGUAGE}.bypass"),
    _plain("invert", 1, jnp.invert, kind="bitvec"),
    _bitwise("bitwise_and", lax.bitwise_and, -1),
    _bitwise("bitwise_or", lax.bitwise_or, 0),
    _bitwise("bitwise_xor", lax.bitwise_xor, 0),
    _plain("left_shift", 2, _left_shift, kind="bitvec"),
    _plain("right_shift", 2, _right_shift, kind="bitvec"),
)

ALU_OPS: Final[Mapping[str, AluOp]] = MappingProxyType({op.name: op for op in _OPERATORS})
"""Every operator by its published name."""

REDUCTIONS: Final[Mapping[str, Reduction]] = MappingProxyType(
    {op.name: op.reduction for op in _OPERATORS if op.reduction is not None} | {"average": reductions.mean}
)
"""Folds over the last axis; `average` exists only here (nki.isa.tensor_partition_reduce)."""
