"""The operators and folds of the engines in float64: what `op` would give in arithmetic wide enough not to matter.

Same conventions as `numerics.elementwise`: NaN wins over numbers in maximum and minimum, comparisons give 1 or 0,
a tie of magnitudes gives the second operand.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Operator = Callable[..., Floats]
Fold = Callable[[Floats], Floats]


def _abs_max(a: Floats, b: Floats) -> Floats:
    return np.where(np.abs(a) > np.abs(b), a, b)


def _abs_min(a: Floats, b: Floats) -> Floats:
    return np.where(np.abs(a) < np.abs(b), a, b)


def _numbers(predicate: Callable[..., Any]) -> Operator:
    return lambda *operands: np.asarray(predicate(*operands), np.float64)


def _rsqrt(x: Floats) -> Floats:
    return 1 / np.sqrt(x)


def _relu(x: Floats) -> Floats:
    return np.maximum(x, 0.0)


def _bypass(x: Floats, *_: Floats) -> Floats:
    return x


OPERATORS: Final[Mapping[str, Operator]] = MappingProxyType(
    {
        "add": np.add,
        "subtract": np.subtract,
        "multiply": np.multiply,
        "maximum": np.maximum,
        "minimum": np.minimum,
        "abs_max": _abs_max,
        "abs_min": _abs_min,
        "equal": _numbers(np.equal),
        "not_equal": _numbers(np.not_equal),
        "greater_equal": _numbers(np.greater_equal),
        "greater": _numbers(np.greater),
        "less_equal": _numbers(np.less_equal),
        "less": _numbers(np.less),
        "logical_and": _numbers(np.logical_and),
        "logical_or": _numbers(np.logical_or),
        "logical_xor": _numbers(np.logical_xor),
        "logical_not": _numbers(np.logical_not),
        "power": np.power,
        "divide": np.divide,
        "mod": np.mod,
        "fmod": np.fmod,
        "abs": np.abs,
        "square": np.square,
        "relu": _relu,
        "rsqrt": _rsqrt,
        "reciprocal": np.reciprocal,
        "bypass": _bypass,
    }
)
"""The arithmetic operators by published name; bitvec operators are no arithmetic and are not here."""

UNARY: Final = frozenset({"logical_not", "abs", "square", "relu", "rsqrt", "reciprocal", "bypass"})


def apply(name: str, data: Floats, operand: Any = None, reverse: bool = False) -> Floats:
    """`data <name> operand`, or `operand <name> data` when reversed; a unary operator takes the data alone."""
    if name in UNARY:
        return OPERATORS[name](data)
    return OPERATORS[name](operand, data) if reverse else OPERATORS[name](data, operand)


# ---------------------------------------------------------------------------------------------------------- folds


def _difference(x: Floats) -> Floats:
    """`x[0] - x[1] - x[2] ...`, as the emulator assumes."""
    found: Floats = 2 * x[..., 0] - x.sum(axis=-1)
    return found


def _extreme(position: Callable[..., Any]) -> Fold:
    def fold(x: Floats) -> Floats:
        backwards = x[..., ::-1]
        index = position(np.abs(backwards), axis=-1)[..., None]
        found: Floats = np.take_along_axis(backwards, index, axis=-1)[..., 0]
        return found

    return fold


def _over_rows(function: Callable[..., Any]) -> Fold:
    return lambda x: np.asarray(function(x, axis=-1), np.float64)


def _parity(x: Floats) -> Floats:
    return np.asarray(np.count_nonzero(x, axis=-1) % 2, np.float64)


FOLDS: Final[Mapping[str, Fold]] = MappingProxyType(
    {
        "add": _over_rows(np.sum),
        "subtract": _difference,
        "multiply": _over_rows(np.prod),
        "maximum": _over_rows(np.max),
        "minimum": _over_rows(np.min),
        "abs_max": _extreme(np.argmax),
        "abs_min": _extreme(np.argmin),
        "logical_and": _over_rows(np.all),
        "logical_or": _over_rows(np.any),
        "logical_xor": _parity,
        "average": _over_rows(np.mean),
    }
)
"""Folds over the last axis by published operator name."""

IDENTITIES: Final[Mapping[str, float]] = MappingProxyType(
    {
        "add": 0.0,
        "subtract": 0.0,
        "multiply": 1.0,
        "maximum": -np.inf,
        "minimum": np.inf,
        "abs_max": 0.0,
        "abs_min": np.inf,
    }
)
"""What an accumulator register is reset to."""
