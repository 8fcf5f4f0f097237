"""The activation functions of the Scalar engine, f32 to f32, with their documented valid input ranges.

Each is the mathematical function, not the engine's piecewise polynomial, whose coefficients are not public; `sin`
beyond [-pi, pi] is the exception. Every step whose product feeds an addition is sealed, so that the bits of a result
do not depend on what is compiled around it (see `trnlab.emulator.numerics.seal`).

At infinite inputs, which the table calls valid, the functions return their limits. Subnormals count as zero.

Source: NKI reference, ISA API common fields, "Supported activation functions".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from numpy.polynomial import Chebyshev, Polynomial

from trnlab.emulator.numerics.sealing import seal


@dataclass(frozen=True, slots=True, kw_only=True)
class Activation:
    """One function of the table.

    name:              the published name, `nki.language.<name>`
    function:          f32 to f32; with `takes_parameter` it has a second argument, `relu_param`, 0.0 by default
    valid_low, valid_high: the documented input range, both ends included
    range_of_magnitude: the range holds for |x| (the table's plus-minus sign)
    """

    name: str
    function: Callable[..., Array]
    source: str
    valid_low: float = -math.inf
    valid_high: float = math.inf
    range_of_magnitude: bool = False
    takes_parameter: bool = False

    def is_valid_input(self, x: Array) -> Array:
        """Elementwise: whether x lies in the documented range. NaN does not."""
        value = jnp.abs(x) if self.range_of_magnitude else x
        return (value >= self.valid_low) & (value <= self.valid_high)


def _weighted(x: Array, weight: Array) -> Array:
    """`x * weight`, and zero instead of NaN where an infinite x meets a zero weight: the function's limit there."""
    is_limit = (weight == 0) & jnp.isinf(x)
    return jnp.where(is_limit, jnp.copysign(jnp.float32(0), x), x * weight)


def _copy(x: Array) -> Array:
    return x


def _relu(x: Array) -> Array:
    return jnp.maximum(x, 0)


def _prelu(x: Array, relu_param: Array | float = 0.0) -> Array:
    """`x` where x > 0, else `relu_param * x`."""
    slope = jnp.broadcast_to(jnp.asarray(relu_param, jnp.float32), x.shape)
    return jnp.where(x > 0, x, _weighted(x, slope))


def _reciprocal(x: Array) -> Array:
    return lax.div(jnp.ones_like(x), x)


# -------------------------------------------------------------------------------------------- sigmoid and friends


def _sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x))."""
    return _reciprocal(seal(1 + seal(jnp.exp(-x))))


def _silu(x: Array) -> Array:
    """`x * sigmoid(x)`."""
    return _weighted(x, seal(_sigmoid(x)))


def _silu_dx(x: Array) -> Array:
    """`s + x * s * (1 - s)` with s = sigmoid(x), and sigmoid(-x) for 1 - s, which would cancel."""
    s = seal(_sigmoid(x))
    return s + seal(_weighted(x, seal(s * seal(_sigmoid(-x)))))


def _softplus(x: Array) -> Array:
    """log(1 + exp(x)), as max(x, 0) + log1p(exp(-|x|)), which does not overflow."""
    return jnp.maximum(x, 0) + seal(jnp.log1p(seal(jnp.exp(-jnp.abs(x)))))


def _mish(x: Array) -> Array:
    """`x * tanh(softplus(x))`."""
    return _weighted(x, seal(jnp.tanh(seal(_softplus(x)))))


# ------------------------------------------------------------------------------------------------------- erf

_NEAR: Final = 1.0
"""Below it erf(x) is x + x * p(x * x), above it 1 - exp(q(|x| - _MIDDLE))."""
_FAR: Final = 4.0
"""From here on erf rounds to 1: erfc(4) is 1.5e-8, a quarter of an ulp."""
_MIDDLE: Final = (_NEAR + _FAR) / 2


def _interpolate(function: Callable[[float], float], low: float, high: float, degree: int) -> tuple[np.float32, ...]:
    """Coefficients, constant first, of the polynomial through the Chebyshev points of [low, high]; f64 until here."""
    values = np.vectorize(function, otypes=[np.float64])
    series = Chebyshev.interpolate(values, degree, domain=[low, high])
    return tuple(np.float32(c) for c in series.convert(kind=Polynomial).coef)


def _erf_ratio(z: float) -> float:
    root = math.sqrt(z)
    return math.erf(root) / root - 1


_P: Final = _interpolate(_erf_ratio, 0.0, _NEAR**2, 6)
_Q: Final = _interpolate(lambda u: math.log(math.erfc(u + _MIDDLE)), _NEAR - _MIDDLE, _FAR - _MIDDLE, 8)


def _horner(coefficients: tuple[np.float32, ...], x: Array) -> Array:
    """The polynomial at x, every product rounded before its addition."""
    value = jnp.full_like(x, coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        value = seal(seal(value * x) + coefficient)
    return value


def _erf(x: Array) -> Array:
    """erf(x), written out: XLA's own contracts its polynomial differently from one program to the next.

    The interpolation errs by less than 0.03 u of erf (u = 2**-24), the rounding by up to 3 u.
    """
    x = seal(x)
    size = jnp.minimum(jnp.abs(x), _FAR)
    near = x + seal(x * _horner(_P, seal(x * x)))
    far = jnp.copysign(1 - seal(jnp.exp(_horner(_Q, seal(size - np.float32(_MIDDLE))))), x)
    return jnp.where(size < _NEAR, near, far)


def _erf_dx(x: Array) -> Array:
    """2 / sqrt(pi) * exp(-x * x)."""
    return seal(jnp.exp(-seal(x * x))) * np.float32(2 / math.sqrt(math.pi))


# -------------------------------------------------------------------------------------------------------- gelu


def _normal_cdf(x: Array) -> Array:
    return seal(0.5 * seal(1 + seal(_erf(seal(x * np.float32(math.sqrt(0.5)))))))


def _gelu(x: Array) -> Array:
    """`x * Phi(x)` with Phi(x) = (1 + erf(x / sqrt(2))) / 2."""
    return _weighted(x, _normal_cdf(x))


def _gelu_dx(x: Array) -> Array:
    """Phi(x) + x * phi(x) with phi(x) = exp(-x * x / 2) / sqrt(2 pi)."""
    density = seal(seal(jnp.exp(-0.5 * seal(x * x))) * np.float32(1 / math.sqrt(2 * math.pi)))
    return _normal_cdf(x) + seal(_weighted(x, density))


def _gelu_apprx_tanh(x: Array) -> Array:
    """`x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x**3))) / 2`."""
    cubic = seal(x + seal(np.float32(0.044715) * seal(seal(x * x) * x)))
    squashed = seal(jnp.tanh(seal(np.float32(math.sqrt(2 / math.pi)) * cubic)))
    return _weighted(x, seal(0.5 * seal(1 + squashed)))


_SIGMOID_SLOPE: Final = np.float32(1.702)


def _gelu_apprx_sigmoid(x: Array) -> Array:
    """`x * sigmoid(1.702 * x)`."""
    return _weighted(x, seal(_sigmoid(seal(_SIGMOID_SLOPE * x))))


def _gelu_apprx_sigmoid_dx(x: Array) -> Array:
    """`s + 1.702 * x * s * (1 - s)` with s = sigmoid(1.702 * x): silu's derivative at 1.702 * x."""
    return _silu_dx(seal(_SIGMOID_SLOPE * x))


# --------------------------------------------------------------------------------------------------------- sin

_PI: Final = np.float32(math.pi)


def _sin(x: Array) -> Array:
    """sin(x) on [-pi, pi]; beyond, the cubic Taylor polynomial at the nearer end: +-(d**3 / 6 - d), d = |x| - pi.

    The engine reduces no arguments: it extrapolates a cubic, and sin(9.0) is published as about 27.65. The polynomial
    is derived from that figure: of the cubic Taylor polynomials of sin about the points of [0, 2 pi], only those about
    pi +- 0.022 give 27.65 at 9 (27.652 about pi itself). The odd continuation below -pi is assumed.
    """
    beyond = seal(jnp.abs(x) - _PI)
    cubic = beyond * seal(seal(seal(beyond * beyond) * np.float32(1 / 6)) - 1)
    return jnp.where(jnp.abs(x) <= _PI, jnp.sin(x), jnp.copysign(jnp.float32(1), x) * cubic)


# ---------------------------------------------------------------------------------------------------- arctan

_NARROW: Final = math.tan(math.pi / 8)
"""Below it arctan(x) is x + x * p(x * x), and every larger x is brought there by a quotient."""
_WIDE: Final = 1 / _NARROW


def _arctan_ratio(z: float) -> float:
    root = math.sqrt(z)
    return math.atan(root) / root - 1


_A: Final = _interpolate(_arctan_ratio, 0.0, _NARROW**2, 6)


def _arctan(x: Array) -> Array:
    """arctan(x), written out for the same reason as erf.

    arctan x = pi/4 + arctan((x - 1) / (x + 1)) = pi/2 + arctan(-1 / x) for x > 0. The interpolation errs by less than
    0.01 u of arctan, the quotient by up to 2 u, the sums by 1 u each.
    """
    size = seal(jnp.abs(x))
    is_far, is_middle = size > _WIDE, size > _NARROW
    above = jnp.where(is_far, np.float32(-1), jnp.where(is_middle, seal(size - 1), size))
    below = jnp.where(is_far, size, jnp.where(is_middle, seal(size + 1), np.float32(1)))
    start = jnp.where(is_far, np.float32(math.pi / 2), jnp.where(is_middle, np.float32(math.pi / 4), np.float32(0)))
    reduced = seal(lax.div(seal(above), seal(below)))
    turned = seal(reduced + seal(reduced * _horner(_A, seal(reduced * reduced))))
    return jnp.copysign(seal(start + turned), x)


# ------------------------------------------------------------------------------------------------------- the table

_TABLE: Final = "NKI reference, ISA API common fields, supported activation functions"

_ACTIVATIONS: Final = (
    Activation(name="copy", function=_copy, source=_TABLE),
    Activation(name="square", function=jnp.square, source=_TABLE),
    Activation(name="sigmoid", function=_sigmoid, source=_TABLE),
    Activation(name="relu", function=_relu, source=_TABLE),
    Activation(name="prelu", function=_prelu, source=f"{_TABLE}; nki.isa.activate2, relu_param", takes_parameter=True),
    Activation(name="gelu", function=_gelu, source=_TABLE),
    Activation(name="gelu_dx", function=_gelu_dx, source=_TABLE),
    Activation(name="gelu_apprx_tanh", function=_gelu_apprx_tanh, source=_TABLE),
    Activation(name="gelu_apprx_sigmoid", function=_gelu_apprx_sigmoid, source=_TABLE),
    Activation(name="gelu_apprx_sigmoid_dx", function=_gelu_apprx_sigmoid_dx, source=_TABLE),
    Activation(name="silu", function=_silu, source=_TABLE),
    Activation(name="silu_dx", function=_silu_dx, source=_TABLE),
    Activation(name="tanh", function=jnp.tanh, source=_TABLE),
    Activation(name="softplus", function=_softplus, source=_TABLE),
    Activation(name="mish", function=_mish, source=_TABLE),
    Activation(name="erf", function=_erf, source=_TABLE),
    Activation(name="erf_dx", function=_erf_dx, source=_TABLE),
    Activation(name="exp", function=jnp.exp, source=_TABLE),
    Activation(name="log", function=jnp.log, source=_TABLE, valid_low=2.0**-64, valid_high=2.0**64),
    Activation(name="sin", function=_sin, source=_TABLE, valid_low=-math.pi, valid_high=math.pi),
    Activation(name="arctan", function=_arctan, source=_TABLE, valid_low=-math.pi / 2, valid_high=math.pi / 2),
    Activation(name="sqrt", function=jnp.sqrt, source=_TABLE, valid_low=2.0**-116, valid_high=2.0**118),
    Activation(name="rsqrt", function=lax.rsqrt, source=_TABLE, valid_low=2.0**-87, valid_high=2.0**97),
    Activation(
        name="reciprocal",
        function=_reciprocal,
        source=_TABLE,
        valid_low=2.0**-42,
        valid_high=2.0**42,
        range_of_magnitude=True,
    ),
    Activation(name="sign", function=jnp.sign, source=_TABLE),
    Activation(name="abs", function=jnp.abs, source=_TABLE),
)

ACTIVATIONS: Final[Mapping[str, Activation]] = MappingProxyType({item.name: item for item in _ACTIVATIONS})
"""Every activation function by its published name."""
