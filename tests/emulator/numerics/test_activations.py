"""The activation table against SciPy and NumPy in float64, with bounds derived from the formulas.

Bounds are in units of u = 2**-24, half an ulp at 1, so that an error of n ulp is at most 2 n u |f|. XLA's elementary
functions are taken to be good to 4 ulp (E = 8 u relative), its tanh to 5 ulp. What follows from that is written beside
each bound. Values below 2**-126 flush, a weight before it meets its x, hence the absolute floor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import special  # type: ignore[import-untyped]

from trnlab.emulator.numerics.activations import ACTIVATIONS
from trnlab.emulator.numerics.sealing import seal

U = 2.0**-24
FLOOR = 2.0**-125  # times |x| where that is above 1
Values = NDArray[np.float64]
PI32 = float(np.float32(np.pi))

# NKI reference, ISA API common fields, supported activation functions.
PUBLISHED = [
    "copy", "square", "sigmoid", "relu", "prelu", "gelu", "gelu_dx", "gelu_apprx_tanh", "gelu_apprx_sigmoid",
    "gelu_apprx_sigmoid_dx", "silu", "silu_dx", "tanh", "softplus", "mish", "erf", "erf_dx", "exp", "log", "sin",
    "arctan", "sqrt", "rsqrt", "reciprocal", "sign", "abs",
]  # fmt: skip
RANGES = {
    "log": (2.0**-64, 2.0**64),
    "sin": (-np.pi, np.pi),
    "arctan": (-np.pi / 2, np.pi / 2),
    "sqrt": (2.0**-116, 2.0**118),
    "rsqrt": (2.0**-87, 2.0**97),
    "reciprocal": (2.0**-42, 2.0**42),
}


@pytest.fixture(autouse=True)
def _quiet_numpy() -> Iterator[None]:
    with np.errstate(all="ignore"):
        yield


def f32(*values: Any) -> NDArray[np.float32]:
    return np.array(values, np.float32)


def density(x: Values) -> Values:
    return np.asarray(np.exp(-x * x / 2) / np.sqrt(2 * np.pi))


def silu_dx(x: Values) -> Values:
    return np.asarray(special.expit(x) + x * special.expit(x) * special.expit(-x))


def gelu_tanh(x: Values) -> Values:
    """(1 + tanh a) / 2 = sigmoid(2 a)."""
    return np.asarray(x * special.expit(2 * np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


SLOPE = 1.702
# Each: the function in float64, and its bound in u as a function of x and |f(x)|.
ORACLES: dict[str, tuple[Callable[[Values], Any], Callable[[Values, Values], Any]]] = {
    "copy": (lambda x: x, lambda x, f: 0 * f),
    "abs": (np.abs, lambda x, f: 0 * f),
    "sign": (np.sign, lambda x, f: 0 * f),
    "relu": (lambda x: np.maximum(x, 0), lambda x, f: 0 * f),
    "prelu": (lambda x: np.maximum(x, 0), lambda x, f: 0 * f),
    "square": (np.square, lambda x, f: f),
    "exp": (np.exp, lambda x, f: 8 * f),
    "tanh": (np.tanh, lambda x, f: 10 * f),
    # Near: the sum rounds once, and p, at most 0.16, to a few u. Far: erfc, at most 0.157, to E by exp and to 10 u by
    # its exponent (1.9 at 1, where erfc is largest, and five roundings), beside erf(1) = 0.84; the difference rounds.
    "erf": (special.erf, lambda x, f: 4 * f),
    # 1 / (1 + e): E on e (its share of the sum is below 1), u each for the sum and the quotient.
    "sigmoid": (special.expit, lambda x, f: 10 * f),
    "silu": (lambda x: x * special.expit(x), lambda x, f: 11 * f),
    # s, at most 1, to 10 u, and x s (1 - s), at most 0.28, to 2 * 10 + 3 u; the sum rounds once.
    "silu_dx": (silu_dx, lambda x, f: 10 + 0.28 * 23 + f),
    # e at most 1 to 8 u, log1p to 8 u, against log1p(e) >= 0.69 e; the sum rounds once.
    "softplus": (lambda x: np.logaddexp(x, 0), lambda x, f: (8 / 0.69 + 8 + 1) * f),
    # tanh does not enlarge the relative error of softplus, and adds its own; one product.
    "mish": (lambda x: x * np.tanh(np.logaddexp(x, 0)), lambda x, f: (20.6 + 10 + 1) * f),
    # x * x to u, enlarged by exp to x * x u; E; the constant and the product.
    "erf_dx": (lambda x: 2 / np.sqrt(np.pi) * np.exp(-x * x), lambda x, f: (x * x + 8 + 2) * f),
    # Phi = (1 + erf a) / 2 with erf to 4 u, a = x / sqrt 2 to 2 u (a erf'(a) is below 0.49), the sum to 2 u.
    "gelu": (lambda x: x * special.ndtr(x), lambda x, f: (4 + 1 + 2) / 2 * np.abs(x) + f),
    # Phi as above, x phi (at most 0.25) to E + 4 u and its exponent (x**3 phi / 2 is below 0.24).
    "gelu_dx": (lambda x: special.ndtr(x) + x * density(x), lambda x, f: 3.5 + 0.25 * 12 + 0.24 + 2 * f),
    # The argument a to 5 u (a tanh'(a) is below 0.45), tanh to 10 u, the sum to 2 u, halved; one product.
    "gelu_apprx_tanh": (gelu_tanh, lambda x, f: (0.45 * 5 + 10 + 2) / 2 * np.abs(x) + f),
    # 1.702 x to 1.5 u, enlarged by the sigmoid's tail to 1.5 * 1.702 |x| u.
    "gelu_apprx_sigmoid": (lambda x: x * special.expit(SLOPE * x), lambda x, f: (11 + 1.5 * SLOPE * np.abs(x)) * f),
    # silu_dx at y = 1.702 x, y to 1.5 u, where |y silu''(y)| is below 0.6.
    "gelu_apprx_sigmoid_dx": (lambda x: silu_dx(SLOPE * x), lambda x, f: 10 + 0.28 * 23 + 0.6 * 1.5 + f),
    "arctan": (np.arctan, lambda x, f: 8 * f),
    "sin": (np.sin, lambda x, f: 8 * f),
    "log": (np.log, lambda x, f: 8 * f),
    "sqrt": (np.sqrt, lambda x, f: f),
    "rsqrt": (lambda x: 1 / np.sqrt(x), lambda x, f: 4 * f),
    "reciprocal": (np.reciprocal, lambda x, f: f),
}


def inputs(name: str) -> NDArray[np.float32]:
    """About 2**17 points of the documented range: dense near zero and logarithmic outwards, or over the range."""
    low, high = RANGES.get(name, (-np.inf, np.inf))
    if low > 0:
        positive = np.exp2(np.linspace(np.log2(low), np.log2(high), 2**16))
        return np.concatenate([positive, -positive] if name == "reciprocal" else [positive]).astype(np.float32)
    outwards = np.exp2(np.linspace(-30, 6.4, 2**15))  # up to 84: exp stays finite
    x = np.concatenate([np.linspace(-10, 10, 2**16), outwards, -outwards]).astype(np.float32)
    return x[(x >= low) & (x <= high)]


def test_the_table_is_the_published_one() -> None:
    assert list(ACTIVATIONS) == PUBLISHED
    for name, activation in ACTIVATIONS.items():
        assert activation.name == name
        assert (activation.valid_low, activation.valid_high) == RANGES.get(name, (-np.inf, np.inf))
        assert activation.range_of_magnitude == (name == "reciprocal")
        assert activation.takes_parameter == (name == "prelu")


def test_valid_inputs_include_both_ends() -> None:
    x = np.array([2.0**-43, 2.0**-42, -1.0, 2.0**42, -(2.0**43), np.nan], np.float32)
    found = np.asarray(ACTIVATIONS["reciprocal"].is_valid_input(jnp.asarray(x)))
    assert found.tolist() == [False, True, True, True, False, False]
    assert np.asarray(ACTIVATIONS["log"].is_valid_input(jnp.asarray(x))).tolist() == [
        True,
        True,
        False,
        True,
        False,
        False,
    ]
    assert np.asarray(ACTIVATIONS["exp"].is_valid_input(jnp.asarray(x))).tolist() == [True] * 5 + [False]


@pytest.mark.parametrize("name", PUBLISHED)
def test_error_against_float64(name: str) -> None:
    oracle, bound = ORACLES[name]
    x = inputs(name)
    wide = x.astype(np.float64)
    exact = np.asarray(oracle(wide))
    found = np.asarray(jax.jit(ACTIVATIONS[name].function)(x))
    assert found.dtype == np.float32
    assert (np.abs(found - exact) <= U * bound(wide, np.abs(exact)) + FLOOR * np.maximum(1, np.abs(wide))).all()


@pytest.mark.parametrize("name", PUBLISHED)
def test_bits_do_not_depend_on_the_surroundings(name: str) -> None:
    function = ACTIVATIONS[name].function
    x = np.resize(inputs(name), (128, 500))
    y = np.random.default_rng(0).standard_normal(x.shape, np.float32)

    def larger(x: jax.Array, y: jax.Array) -> tuple[jax.Array, jax.Array]:
        result = seal(function(seal(x * 1)))
        return result, seal((result * y + x).sum(axis=-1))

    alone = np.asarray(jax.jit(lambda x: seal(function(x)))(x)).view(np.uint32)
    np.testing.assert_array_equal(np.asarray(jax.jit(larger)(x, y)[0]).view(np.uint32), alone)
    np.testing.assert_array_equal(np.asarray(seal(function(jnp.asarray(x)))).view(np.uint32), alone)
    first_row = jax.jit(lambda x: seal(function(x)))(x[:1, :3])
    np.testing.assert_array_equal(np.asarray(first_row).view(np.uint32), alone[:1, :3])


LIMITS = {
    "copy": (-np.inf, np.inf), "square": (np.inf, np.inf), "sigmoid": (0, 1), "relu": (0, np.inf), "prelu": (0, np.inf),
    "gelu": (0, np.inf), "gelu_dx": (0, 1), "gelu_apprx_tanh": (0, np.inf), "gelu_apprx_sigmoid": (0, np.inf),
    "gelu_apprx_sigmoid_dx": (0, 1), "silu": (0, np.inf), "silu_dx": (0, 1), "tanh": (-1, 1), "softplus": (0, np.inf),
    "mish": (0, np.inf), "erf": (-1, 1), "erf_dx": (0, 0), "exp": (0, np.inf), "sign": (-1, 1), "abs": (np.inf, np.inf),
}  # fmt: skip


def test_infinite_inputs_give_the_limits_and_nan_stays() -> None:
    """The table calls [-inf, inf] valid for these."""
    assert set(LIMITS) == set(PUBLISHED) - set(RANGES)
    x = np.array([-np.inf, np.inf, np.nan], np.float32)
    for name, limits in LIMITS.items():
        for function in (ACTIVATIONS[name].function, jax.jit(ACTIVATIONS[name].function)):
            np.testing.assert_array_equal(np.asarray(function(x)), f32(*limits, np.nan), err_msg=name)


def test_prelu_takes_its_slope() -> None:
    x = np.array([[-2.0, 3.0], [-4.0, 0.0]], np.float32)
    prelu = ACTIVATIONS["prelu"].function
    np.testing.assert_array_equal(np.asarray(prelu(jnp.asarray(x), 0.25)), f32([-0.5, 3], [-1, 0]))
    slopes = np.array([[0.5], [-1.0]], np.float32)
    np.testing.assert_array_equal(np.asarray(prelu(jnp.asarray(x), slopes)), f32([-1, 3], [4, 0]))


# --------------------------------------------------------------------------------------------------------- sin


def taylor(center: Any, x: Any) -> Any:
    """The cubic Taylor polynomial of sin about `center`, at x."""
    d = x - center
    return np.sin(center) + np.cos(center) * d - np.sin(center) * d**2 / 2 - np.cos(center) * d**3 / 6


def test_only_the_cubic_about_pi_gives_the_published_sine_of_nine() -> None:
    centers = np.linspace(0, 2 * np.pi, 200_001)
    matching = centers[np.abs(taylor(centers, 9.0) - 27.65) < 0.005]
    assert np.abs(matching - np.pi).max() < 0.022
    found = ACTIVATIONS["sin"].function(jnp.float32([9.0, -9.0]))
    np.testing.assert_allclose(np.asarray(found), [27.65, -27.65], atol=0.005)


def test_sine_beyond_pi_is_that_cubic() -> None:
    x = np.concatenate([np.linspace(PI32, 20, 2**14)[1:], [1e3, 1e10]]).astype(np.float32)
    x = np.concatenate([x, -x])
    size = np.abs(x).astype(np.float64)
    exact = np.sign(x) * taylor(np.pi, size)
    d = size - np.pi
    # d is off by u |x| and by pi's own rounding, 8.8e-8 < 2 u; the slope is |d * d / 2 - 1|; five roundings follow.
    bound = U * ((size + 2) * np.abs(d * d / 2 - 1) + 5 * (d**3 / 6 + d))
    assert (np.abs(np.asarray(jax.jit(ACTIVATIONS["sin"].function)(x)) - exact) <= bound).all()
