"""Kernels around the instructions under test: tiles come in from HBM, the body computes, tiles go out again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.emulator.isa.harness import load, store
from tests.emulator.isa.values import RNG
from trnlab.emulator import launch
from trnlab.emulator.errors import KernelError, Violation
from trnlab.emulator.target import get_target

Body = Callable[..., Any]
Array = np.ndarray[Any, Any]


def _kernel(body: Body) -> Body:
    """A kernel that calls `body` with one SBUF tile for each input and returns the tiles that it returns."""

    def kernel(*inputs: Any) -> Any:
        results = body(*map(load, inputs))
        return tuple(map(store, results if isinstance(results, tuple) else (results,)))

    return kernel


def run_tiles(body: Body, *arrays: Array, target: str = "trn3", **options: Any) -> launch.Run:
    """Run `body` on one SBUF tile for each array; the tile or tiles that it returns are the tuple `.outputs`."""
    return launch.run(_kernel(body), *arrays, target=target, **{"mode": "reference", **options})


def reject_tiles(
    error: type[KernelError],
    body: Body,
    *arrays: Array,
    at: str,
    found: str = "",
    allowed: str = "",
    target: str = "trn3",
    everywhere: bool = False,
) -> Violation:
    """Check that `body` is refused with `error`, and every part of its message.

    at:           "instruction.operand"; the source line that the message points at holds a call of the instruction
    found, allowed: parts of what the message says
    everywhere:   the rule holds on every generation, so that the message names none
    """
    with pytest.raises(error) as caught:
        launch.trace(_kernel(body), *arrays, target=target)
    violation = caught.value.violation
    instruction, _, operand = at.partition(".")
    assert violation.subject == f"nisa.{instruction}"
    assert violation.operand == operand
    assert found in violation.found
    assert allowed in violation.allowed
    assert violation.generation == ("" if everywhere else get_target(target).generation.label)
    assert violation.location is not None
    assert f"nisa.{instruction}(" in violation.location.text
    assert str(violation).startswith(f"nisa.{instruction}: {operand}")
    return violation


@pytest.fixture(autouse=True)
def _same_draws() -> None:
    """Every test draws the same values, whatever ran before it."""
    RNG.bit_generator.state = np.random.default_rng(7).bit_generator.state


@pytest.fixture
def run() -> Callable[..., launch.Run]:
    return run_tiles


@pytest.fixture
def reject() -> Callable[..., Violation]:
    return reject_tiles
