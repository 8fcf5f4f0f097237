"""Random kernels with loops: compiled and reference agree in every bit."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings, strategies as st

from tests.emulator.backends.harness import same_bits
from tests.emulator.backends.random_kernels import Recipe, arguments, kernel_of, random_recipe, recipes


@pytest.mark.parametrize("seed", range(8))
def test_random_kernels(seed: int) -> None:
    same_bits(kernel_of(random_recipe(Random(seed))), *arguments(seed))


@pytest.mark.slow
@settings(max_examples=150)
@given(recipes(200), st.integers(0, 9))
def test_many_random_kernels(recipe: Recipe, seed: int) -> None:
    same_bits(kernel_of(recipe), *arguments(seed))
