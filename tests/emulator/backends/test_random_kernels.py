"""Random kernels with loops: compiled and reference agree in every bit."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import pytest
from hypothesis import given, settings, strategies as st

from tests.emulator.backends.harness import same_bits
from tests.emulator.backends.random_instructions import FURTHER
from tests.emulator.backends.random_kernels import ALL_KINDS, arguments, kernel_of
from tests.emulator.backends.random_recipes import Recipe, random_recipe, recipes
from tests.repetition import everyday
from trnlab.emulator.backends import compiled, merging


@pytest.mark.parametrize("seed", everyday(3, range(6)))
def test_random_kernels(seed: int) -> None:
    same_bits(kernel_of(random_recipe(Random(seed))), *arguments(seed))


@pytest.mark.parametrize("seed", everyday(2, range(4)))
def test_random_kernels_of_further_instructions(seed: int) -> None:
    same_bits(kernel_of(random_recipe(Random(seed), 40, (*FURTHER,))), *arguments(seed))


@pytest.mark.slow
@settings(max_examples=150)
@given(recipes(200), st.integers(0, 9))
def test_many_random_kernels(recipe: Recipe, seed: int) -> None:
    same_bits(kernel_of(recipe), *arguments(seed))


@pytest.fixture
def little_room(monkeypatch: pytest.MonkeyPatch, seed: int) -> Iterator[None]:
    """Loops that run together do so in rounds of a few iterations, some with a rest."""
    monkeypatch.setattr(merging.merge_counts, "__defaults__", ((200, 500, 1000, 3000)[seed % 4],))
    compiled._compiled.cache_clear()
    yield
    compiled._compiled.cache_clear()


@pytest.mark.slow
@pytest.mark.usefixtures("little_room")
@pytest.mark.parametrize("seed", range(60))
def test_many_random_kernels_in_rounds(seed: int) -> None:
    same_bits(kernel_of(random_recipe(Random(seed), 100, ALL_KINDS)), *arguments(seed))
