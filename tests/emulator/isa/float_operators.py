"""The arithmetic operators in NumPy, as the reference tables describe them: an oracle that shares no code with trnlab.

float32 in and out; subnormal operands and results count as zero of the same sign, and every NaN is the canonical one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
_SMALLEST = np.finfo(np.float32).smallest_normal


def flushed(x: Any) -> Array:
    """float32 without subnormals and with one NaN."""
    value = np.asarray(x, np.float32)
    value = np.where(np.abs(value) < _SMALLEST, np.copysign(np.float32(0), value), value)
    return np.where(np.isnan(value), np.float32(np.nan), value)


def _maximum(a: Array, b: Array) -> Array:
    """NaN where one is NaN; of two zeros the positive one."""
    larger = np.where(a == b, np.where(np.signbit(a), b, a), np.where(a > b, a, b))
    return np.where(np.isnan(a) | np.isnan(b), np.float32(np.nan), larger)


def _minimum(a: Array, b: Array) -> Array:
    return -_maximum(-a, -b)


def _abs_max(a: Array, b: Array) -> Array:
    return np.where(np.abs(a) > np.abs(b), a, b)


def _abs_min(a: Array, b: Array) -> Array:
    return np.where(np.abs(a) < np.abs(b), a, b)


def _truth(function: Callable[..., Array]) -> Callable[..., Array]:
    return lambda *operands: function(*operands).astype(np.float32)


_BINARY: dict[str, Callable[..., Array]] = {
    "add": np.add,
    "subtract": np.subtract,
    "multiply": np.multiply,
    "maximum": _maximum,
    "minimum": _minimum,
    "abs_max": _abs_max,
    "abs_min": _abs_min,
    "equal": _truth(np.equal),
    "not_equal": _truth(np.not_equal),
    "greater": _truth(np.greater),
    "greater_equal": _truth(np.greater_equal),
    "less": _truth(np.less),
    "less_equal": _truth(np.less_equal),
    "logical_and": _truth(np.logical_and),
    "logical_or": _truth(np.logical_or),
    "logical_xor": _truth(np.logical_xor),
}


def _flushing(function: Callable[..., Array]) -> Callable[..., Array]:
    def operator(*operands: Array) -> Array:
        with np.errstate(all="ignore"):
            return flushed(function(*map(flushed, operands)))

    return operator


BINARY: dict[str, Callable[..., Array]] = {name: _flushing(function) for name, function in _BINARY.items()}
"""Every binary arithmetic operator whose result is exactly rounded, which is all of them but power."""

UNARY: dict[str, Callable[..., Array]] = {
    "abs": _flushing(np.abs),
    "square": _flushing(np.square),
    "relu": _flushing(lambda x: _maximum(x, np.float32(0) * x)),
}
