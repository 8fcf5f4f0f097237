"""Seals against plain NumPy arithmetic, one operation at a time."""

from __future__ import annotations

import jax
import numpy as np

from tests.emulator.numerics.patterns import bits, canonical, structured
from trnlab.emulator.numerics.sealing import seal


def test_a_sealed_product_is_rounded_before_the_addition() -> None:
    generator = np.random.default_rng(0)
    a, b, c = generator.standard_normal((3, 2**16), np.float32)
    found = jax.jit(lambda a, b, c: seal(a * b) + c)(a, b, c)
    np.testing.assert_array_equal(bits(found), bits(a * b + c))


def test_seal_makes_nan_canonical_and_keeps_every_other_bit() -> None:
    x = structured()
    np.testing.assert_array_equal(bits(jax.jit(seal)(x)), bits(canonical(x)))
