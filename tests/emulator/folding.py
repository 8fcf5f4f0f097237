"""Shared by the tests of folding: tracing small kernels, and what every fold must fulfil."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import trnlab.emulator.nki.language as nl
from trnlab.emulator import launch
from trnlab.emulator.fold import fold
from trnlab.emulator.program import Program
from trnlab.emulator.repeats import depths, outermost_first

X = np.zeros((4096, 64), np.float32)
P = 128


def folded(program: Program) -> Program:
    """The folded program, which must flatten to the original and survive JSON."""
    result = fold(program)
    assert result.flat == program
    assert result.flat.digest == program.digest
    assert Program.from_json(result.to_json()) == result
    return result


def trips(program: Program) -> list[tuple[int, int]]:
    """(depth, trips) of the repeats in the order in which they begin."""
    repeats = outermost_first(program.repeats)
    return [(depth, repeat.trips) for depth, repeat in zip(depths(repeats), repeats, strict=True)]


def traced(kernel: Callable[..., Any], *args: Any) -> Program:
    """The folded program of a kernel."""
    return folded(launch.trace(kernel, *(args or (X,)), target="trn3"))


def tile(**options: Any) -> Any:
    """A new tile."""
    return nl.ndarray((P, 64), dtype=nl.float32, **options)


def rows(x: Any, number: int) -> Any:
    """The part of x that fits a tile."""
    return x[number * P : (number + 1) * P]
