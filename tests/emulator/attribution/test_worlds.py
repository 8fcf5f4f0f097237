"""The identity that attribution rests on: a world in which every line errs as it did is the program itself.

Random kernels with loops, gathers, scatters, reinterpreted memory and run-time bounds are the programs.
"""

from __future__ import annotations

from random import Random

import numpy as np
import pytest

from tests.emulator.backends.random_kernels import ALL_KINDS, arguments, kernel_of
from tests.emulator.backends.random_recipes import random_recipe
from tests.emulator.reference import run
from trnlab.emulator.attribution.memory import words_of
from trnlab.emulator.attribution.replay import _outputs
from trnlab.emulator.attribution.twin import Executed, Twin
from trnlab.emulator.attribution.worlds import World
from trnlab.emulator.errors import BoundsError
from trnlab.emulator.testing import decode


def check(seed: int) -> bool:
    """Whether the kernel ran; the identities hold where it did."""
    kernel, args = kernel_of(random_recipe(Random(seed), 60, ALL_KINDS)), arguments(seed)
    try:
        result = run(kernel, *args, target="trn3")
    except BoundsError:
        return False
    inputs = [np.ascontiguousarray(argument.as_numpy()) for argument in result.replay.inputs]
    twin = Twin(result.program, result.target, inputs, [World(lambda line: False), World(lambda line: True)])
    seen: list[Executed] = []
    twin.run(seen.append)
    executed: dict[int, int] = {}
    for one in seen:
        executed[one.number] = executed.get(one.number, 0) + 1
        for found in one.results.values():
            assert found.true.shape == found.wide.shape == found.twin.shape
    assert executed.keys() == set(range(len(result.program.flat)))
    for output, array in zip(_outputs(result.program, result.replay), result.outputs, strict=True):
        words = words_of(twin.memory, output.window)
        # The walk executes what the reference executes, bit for bit.
        assert words.tobytes() == np.asarray(array).tobytes()
        true, again = decode(words, output.window.dtype), twin.worlds[1].value(twin.memory, output.window)
        finite = np.isfinite(true)
        assert np.array_equal(np.isnan(true), np.isnan(again))
        assert np.allclose(again[finite], true[finite], rtol=1e-9, atol=1e-9 * np.abs(true[finite]).max(initial=1e-30))
    return True


@pytest.mark.parametrize("first", [4, 10])
def test_a_world_in_which_every_line_errs_is_the_program(first: int) -> None:
    assert sum(map(check, range(first, first + 3))) > 0


@pytest.mark.slow
@pytest.mark.parametrize("first", range(100, 140, 10))
def test_more_worlds(first: int) -> None:
    assert sum(map(check, range(first, first + 10))) > 0
