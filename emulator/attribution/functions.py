"""The activation functions in float64, from their definitions (see `numerics.activations` for the same in float32)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Function = Callable[..., Floats]

_erf_one: Final = np.frompyfunc(math.erf, 1, 1)
_erfc_one: Final = np.frompyfunc(math.erfc, 1, 1)


def _erf(x: Floats) -> Floats:
    return np.asarray(_erf_one(x), np.float64)


def _weighted(x: Floats, weight: Any) -> Floats:
    """`x * weight`, and zero where an infinite x meets a zero weight: the function's limit there."""
    return np.where((weight == 0) & np.isinf(x), np.copysign(0.0, x), x * weight)


def _prelu(x: Floats, slope: Any = 0.0) -> Floats:
    return np.where(x > 0, x, _weighted(x, slope))


def _sigmoid(x: Floats) -> Floats:
    return 1 / (1 + np.exp(-x))


def _silu(x: Floats) -> Floats:
    return _weighted(x, _sigmoid(x))


def _silu_dx(x: Floats) -> Floats:
    return _sigmoid(x) + _weighted(x, _sigmoid(x) * _sigmoid(-x))


def _softplus(x: Floats) -> Floats:
    return np.logaddexp(0.0, x)


def _mish(x: Floats) -> Floats:
    return _weighted(x, np.tanh(_softplus(x)))


def _erf_dx(x: Floats) -> Floats:
    return 2 / math.sqrt(math.pi) * np.exp(-x * x)


def _normal_cdf(x: Floats) -> Floats:
    return np.asarray(_erfc_one(-x / math.sqrt(2)), np.float64) / 2


def _gelu(x: Floats) -> Floats:
    return _weighted(x, _normal_cdf(x))


def _gelu_dx(x: Floats) -> Floats:
    return _normal_cdf(x) + _weighted(x, np.exp(-x * x / 2) / math.sqrt(2 * math.pi))


def _gelu_apprx_tanh(x: Floats) -> Floats:
    return _weighted(x, (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2)


def _gelu_apprx_sigmoid(x: Floats) -> Floats:
    return _weighted(x, _sigmoid(1.702 * x))


def _gelu_apprx_sigmoid_dx(x: Floats) -> Floats:
    return _silu_dx(1.702 * x)


def _sin(x: Floats) -> Floats:
    """sin(x) on [-pi, pi]; beyond, the cubic that the engine extrapolates (the function it has, not an error of it)."""
    beyond = np.abs(x) - math.pi
    return np.where(beyond <= 0, np.sin(x), np.copysign(1.0, x) * (beyond**3 / 6 - beyond))


def _copy(x: Floats) -> Floats:
    return x


def _relu(x: Floats) -> Floats:
    return np.maximum(x, 0.0)


def _rsqrt(x: Floats) -> Floats:
    return 1 / np.sqrt(x)


FUNCTIONS: Final[Mapping[str, Function]] = MappingProxyType(
    {
        "copy": _copy,
        "square": np.square,
        "sigmoid": _sigmoid,
        "relu": _relu,
        "prelu": _prelu,
        "gelu": _gelu,
        "gelu_dx": _gelu_dx,
        "gelu_apprx_tanh": _gelu_apprx_tanh,
        "gelu_apprx_sigmoid": _gelu_apprx_sigmoid,
        "gelu_apprx_sigmoid_dx": _gelu_apprx_sigmoid_dx,
        "silu": _silu,
        "silu_dx": _silu_dx,
        "tanh": np.tanh,
        "softplus": _softplus,
        "mish": _mish,
        "erf": _erf,
        "erf_dx": _erf_dx,
        "exp": np.exp,
        "log": np.log,
        "sin": _sin,
        "arctan": np.arctan,
        "sqrt": np.sqrt,
        "rsqrt": _rsqrt,
        "reciprocal": np.reciprocal,
        "sign": np.sign,
        "abs": np.abs,
    }
)
"""Every activation function by its published name."""
