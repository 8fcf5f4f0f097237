"""Exact powers of two and the f32 dot, against NumPy in float64."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from numpy.typing import NDArray

from tests.emulator.numerics.patterns import bits, canonical, structured
from trnlab.emulator.numerics.arithmetic import ldexp_f32, matmul_f32
from trnlab.emulator.numerics.sealing import seal

UNIT_ROUNDOFF = 2.0**-24
compiled_ldexp = jax.jit(ldexp_f32)


def ldexp_oracle(x: NDArray[np.float32], exponent: NDArray[np.int32]) -> NDArray[np.float32]:
    """float64 holds x * 2**exponent exactly for |exponent| <= 400; NumPy's cast then rounds once."""
    with np.errstate(all="ignore"):
        return np.ldexp(x.astype(np.float64), exponent).astype(np.float32)


def test_ldexp_rounds_once_everywhere() -> None:
    x = canonical(structured())
    exponent = np.random.default_rng(1).integers(-400, 400, x.size, dtype=np.int32)
    exponent[::2] = np.random.default_rng(2).integers(-30, 30, exponent[::2].size)
    np.testing.assert_array_equal(bits(compiled_ldexp(x, exponent)), bits(ldexp_oracle(x, exponent)))


@settings(deadline=None)  # the first example compiles
@given(st.floats(width=32, allow_nan=False), st.integers(-320, 320))
def test_ldexp_of_any_float(value: float, power: int) -> None:
    x, exponent = np.array([value], np.float32), np.array([power], np.int32)
    np.testing.assert_array_equal(bits(compiled_ldexp(x, exponent)), bits(ldexp_oracle(x, exponent)))


@pytest.mark.parametrize(("k", "m", "n"), [(128, 128, 512), (128, 1, 1), (77, 1, 33), (3, 5, 2), (1, 1, 1)])
def test_matmul_keeps_its_bits_inside_a_larger_program_and_its_bound(k: int, m: int, n: int) -> None:
    generator = np.random.default_rng(k + m + n)
    a = generator.standard_normal((k, m), np.float32)
    b = generator.standard_normal((k, n), np.float32)
    alone = np.asarray(jax.jit(matmul_f32)(a, b))

    def larger(a: jax.Array, b: jax.Array) -> tuple[jax.Array, jax.Array]:
        def step(index: jax.Array, state: jax.Array) -> jax.Array:
            return jnp.maximum(state, seal(matmul_f32(seal(a * 2), seal(b + index * 0))))

        looped = jax.lax.fori_loop(0, 2, step, jnp.full((m, n), -jnp.inf))
        return seal(jnp.exp(-jnp.abs(seal(matmul_f32(a, b))))), looped

    _, looped = jax.jit(larger)(a, b)
    np.testing.assert_array_equal(np.asarray(looped), 2 * alone)  # doubling one operand doubles every rounding
    exact = a.T.astype(np.float64) @ b.astype(np.float64)
    magnitude = np.abs(a.T).astype(np.float64) @ np.abs(b).astype(np.float64)
    gamma = k * UNIT_ROUNDOFF / (1 - k * UNIT_ROUNDOFF)
    assert alone.shape == (m, n)
    assert (np.abs(alone - exact) <= gamma * magnitude).all()
