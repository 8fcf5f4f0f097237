"""Elementwise functions, each one instruction; the function object is also the operator that nki.isa takes as `op`.

    nl.add(x, y)                                        # a new tile in SBUF
    nisa.tensor_tensor(dst, x, y, op=nl.add)            # the operator

Results are new tiles in SBUF. Their dtype is `dtype=`, else that of the input tile, else (two tiles of different
dtypes) what `tiles.promote` says. Arithmetic is float32 inside the engines: integers beyond 2**24 are exact only where
the instruction has native integer arithmetic (`nisa.tensor_tensor` on int32 and uint32 in SBUF).

Two tiles may differ in free dimensions of size 1, which are repeated. AWS documents that for abs_max and abs_min alone
and lists it among the known issues of the other functions (NKI 0.3.0 release notes): give equal shapes to be portable.

Source: NKI reference, nki.language; supported math operators and activation functions of the ISA common fields.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import trnlab.emulator.nki.isa as nisa
from trnlab.emulator.dtypes import float32
from trnlab.emulator.nki.language.tiles import common_shape, given, is_number, new_tile, promote, require_tile, spread
from trnlab.emulator.tensor import NkiTensor

Operator: TypeAlias = Callable[..., NkiTensor]
"""A function of nki.language that carries `op_name`, the name by which instructions know it."""


@dataclass(frozen=True, slots=True)
class OperatorValue:
    """An operator that is only a value of `op`: there is no function of that name."""

    op_name: str

    def __repr__(self) -> str:
        return f"nl.{self.op_name}"


def as_operator(name: str, function: Operator, formula: str = "") -> Operator:
    """Give a function its operator name, and its public name and docstring where a factory made it."""
    function.__dict__["op_name"] = name
    if formula:
        function.__name__ = function.__qualname__ = name
        function.__doc__ = formula
    return function


# ------------------------------------------------------------------------------------------------- two operands


def combine(subject: str, op: Operator, x: Any, y: Any, dtype: Any) -> NkiTensor:
    """x <op> y in a new tile: tensor_scalar for a number or a float32 column of one tile, else tensor_tensor."""
    if is_number(y):
        tile = require_tile(subject, "x", x)
        return _with_scalar(subject, op, tile, y, dtype, swapped=False)
    tile = require_tile(subject, "y", y)
    if is_number(x):
        return _with_scalar(subject, op, tile, x, dtype, swapped=True)
    return _with_tile(subject, op, require_tile(subject, "x", x), tile, dtype)


def _with_scalar(subject: str, op: Operator, tile: NkiTensor, scalar: Any, dtype: Any, *, swapped: bool) -> NkiTensor:
    result = new_tile(subject, tile.shape, given(dtype, tile.dtype))
    nisa.tensor_scalar(result, tile, op, scalar, reverse0=swapped)
    return result


def _is_column(tile: NkiTensor, shape: tuple[int, ...]) -> bool:
    """Whether the tile is one float32 a partition, beside a wider shape: what tensor_scalar takes as an operand."""
    return tile.size == shape[0] and tile.shape != shape and tile.dtype == float32


def _with_tile(subject: str, op: Operator, x: NkiTensor, y: NkiTensor, dtype: Any) -> NkiTensor:
    shape = common_shape(subject, x, y)
    result = new_tile(subject, shape, given(dtype, promote(subject, x.dtype, y.dtype)))
    if _is_column(y, shape) and x.shape == shape:
        nisa.tensor_scalar(result, x, op, y.reshape((shape[0], 1)))
    elif _is_column(x, shape) and y.shape == shape:
        nisa.tensor_scalar(result, y, op, x.reshape((shape[0], 1)), reverse0=True)
    else:
        nisa.tensor_tensor(result, spread(x, shape), spread(y, shape), op)
    return result


def _binary(name: str, formula: str) -> Operator:
    def operator(x: Any, y: Any, dtype: Any = None) -> NkiTensor:
        return combine(f"nl.{name}", operator, x, y, dtype)

    return as_operator(name, operator, f"{formula}, element by element; x, y: tiles or numbers, not both numbers.")


add = _binary("add", "x + y")
subtract = _binary("subtract", "x - y")
multiply = _binary("multiply", "x * y")
maximum = _binary("maximum", "max(x, y)")
minimum = _binary("minimum", "min(x, y)")
abs_max = _binary("abs_max", "x where |x| > |y|, else y (NeuronCore-v4 on)")
abs_min = _binary("abs_min", "x where |x| < |y|, else y (NeuronCore-v4 on)")
power = _binary("power", "x ** y")
equal = _binary("equal", "1 where x == y, else 0")
not_equal = _binary("not_equal", "1 where x != y, else 0")
less = _binary("less", "1 where x < y, else 0")
less_equal = _binary("less_equal", "1 where x <= y, else 0")
greater = _binary("greater", "1 where x > y, else 0")
greater_equal = _binary("greater_equal", "1 where x >= y, else 0")
bitwise_and = _binary("bitwise_and", "x & y on the bits of integers")
bitwise_or = _binary("bitwise_or", "x | y on the bits of integers")
bitwise_xor = _binary("bitwise_xor", "x ^ y on the bits of integers")
left_shift = _binary("left_shift", "x << y on the bits of integers")
right_shift = _binary("right_shift", "x >> y on the bits of integers, zeros shifted in")
logical_and = _binary("logical_and", "1 where x and y are both nonzero, else 0")
logical_or = _binary("logical_or", "1 where x or y is nonzero, else 0")
logical_xor = _binary("logical_xor", "1 where just one of x and y is nonzero, else 0")


# ------------------------------------------------------------------------------- one operand, arithmetic operators


def scale_shift(
    subject: str, tile: NkiTensor, op0: Operator, operand0: Any, op1: Operator, operand1: Any, *, reverse1: bool = False
) -> NkiTensor:
    """(tile <op0> operand0) <op1> operand1 in a new float32 tile; reverse1 swaps the operands of op1."""
    result = new_tile(subject, tile.shape, float32)
    nisa.tensor_scalar(result, tile, op0, operand0, op1=op1, operand1=operand1, reverse1=reverse1)
    return result


def _scalar_unary(name: str, formula: str) -> Operator:
    def operator(x: Any, dtype: Any = None) -> NkiTensor:
        tile = require_tile(f"nl.{name}", "x", x)
        return _with_scalar(f"nl.{name}", operator, tile, 0.0, dtype, swapped=False)

    return as_operator(name, operator, f"{formula}, element by element, by nisa.tensor_scalar.")


abs = _scalar_unary("abs", "|x|")
rsqrt = _scalar_unary("rsqrt", "1 / sqrt(x) on the GpSimd Engine, which cannot read PSUM")


def reciprocal(x: Any, dtype: Any = None) -> NkiTensor:
    """1 / x, element by element, by nisa.reciprocal on the Vector Engine."""
    tile = require_tile("nl.reciprocal", "x", x)
    result = new_tile("nl.reciprocal", tile.shape, given(dtype, tile.dtype))
    nisa.reciprocal(result, tile)
    return result


as_operator("reciprocal", reciprocal)


def negative(x: Any, dtype: Any = None) -> NkiTensor:
    """-x, element by element: x * -1 in float32."""
    return combine("nl.negative", multiply, require_tile("nl.negative", "x", x), -1.0, dtype)


def invert(x: Any, dtype: Any = None) -> NkiTensor:
    """~x on the bits of integers: x ^ all ones, which is how the reference describes it."""
    return combine("nl.invert", bitwise_xor, require_tile("nl.invert", "x", x), -1, dtype)


def logical_not(x: Any, dtype: Any = None) -> NkiTensor:
    """1 where x is zero, else 0: x xor 1 as truth values."""
    return combine("nl.logical_not", logical_xor, require_tile("nl.logical_not", "x", x), 1, dtype)


as_operator("invert", invert)
as_operator("logical_not", logical_not)


# -------------------------------------------------------------------------------- one operand, activation functions


def activate(subject: str, op: Operator, tile: NkiTensor, dtype: Any) -> NkiTensor:
    """op(tile) in a new tile, by nisa.activation on the Scalar Engine."""
    result = new_tile(subject, tile.shape, given(dtype, tile.dtype))
    nisa.activation(result, op, tile)
    return result


def _activation(name: str, formula: str) -> Operator:
    def operator(x: Any, dtype: Any = None) -> NkiTensor:
        return activate(f"nl.{name}", operator, require_tile(f"nl.{name}", "x", x), dtype)

    return as_operator(name, operator, f"{formula}, element by element, by nisa.activation.")


exp = _activation("exp", "e ** x")
log = _activation("log", "Natural logarithm of x, valid on [2**-64, 2**64]")
sqrt = _activation("sqrt", "Square root of x, valid on [2**-116, 2**118]")
tanh = _activation("tanh", "tanh(x)")
sigmoid = _activation("sigmoid", "1 / (1 + exp(-x))")
gelu = _activation("gelu", "x * Phi(x), Phi the normal distribution function")
gelu_dx = _activation("gelu_dx", "Derivative of gelu")
gelu_apprx_tanh = _activation("gelu_apprx_tanh", "x/2 * (1 + tanh(sqrt(2/pi) * (x + 0.044715 x**3)))")
gelu_apprx_sigmoid = _activation("gelu_apprx_sigmoid", "x * sigmoid(1.702 x)")
gelu_apprx_sigmoid_dx = _activation("gelu_apprx_sigmoid_dx", "Derivative of gelu_apprx_sigmoid")
silu = _activation("silu", "x * sigmoid(x)")
silu_dx = _activation("silu_dx", "Derivative of silu")
softplus = _activation("softplus", "log(1 + exp(x))")
mish = _activation("mish", "x * tanh(softplus(x))")
erf = _activation("erf", "Error function of x")
erf_dx = _activation("erf_dx", "2/sqrt(pi) * exp(-x**2), the derivative of erf")
sign = _activation("sign", "-1, 0 or 1, the sign of x")
square = _activation("square", "x * x")
relu = _activation("relu", "max(x, 0)")

# ------------------------------------------------------------------------------------------------------ values only

prelu = OperatorValue("prelu")
"""Parametric ReLU, an activation function whose slope is `relu_param`."""

bypass = OperatorValue("bypass")
"""No operation: passes data through unchanged."""

average = OperatorValue("average")
"""Mean, a reduction of nisa.tensor_partition_reduce."""
