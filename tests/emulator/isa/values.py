"""Random tiles and exact comparisons for the tests of the elementwise instructions."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.emulator.isa.harness import words
from trnlab.emulator import launch
from trnlab.emulator.nki import language as nl
from trnlab.emulator.program import Instruction
from trnlab.emulator.tensor import NkiTensor

Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(7)
P, F = 64, 24
UNIT = 2.0**-24
"""Half a unit in the last place of 1.0 in float32: the largest relative error of one rounding."""


def random(dtype: Any, shape: tuple[int, ...] = (P, F), scale: float = 4.0) -> Array:
    """Every bit pattern for integers, normal deviates for floats."""
    storage = np.dtype(dtype)
    if storage.kind in "iu":
        limits = np.iinfo(storage)
        return RNG.integers(limits.min, limits.max, shape, dtype=storage, endpoint=True)
    return (RNG.standard_normal(shape) * scale).astype(np.float32).astype(storage)


def f32(array: Any) -> Array:
    """The values as float32."""
    return np.asarray(array).astype(np.float32)


def f64(array: Any) -> Array:
    """The values as float64."""
    return f32(array).astype(np.float64)


def same(found: Any, expected: Any) -> None:
    """Check equality bit for bit: dtype, NaNs and signs of zero included."""
    assert np.asarray(found).dtype == np.asarray(expected).dtype
    np.testing.assert_array_equal(words(np.asarray(found)), words(np.asarray(expected)))


def within_rounding(found: Any, exact: Array, magnitude: Array, count: int) -> None:
    """Check |found - exact| <= count * u * sum|x|, which bounds every order of count - 1 additions, and one cast."""
    bound = count * UNIT * magnitude + 2.0**-126
    assert (np.abs(f64(found) - exact) <= bound).all()


def operator(name: str) -> Any:
    """The operator of nki.language with that name."""
    return getattr(nl, name)


def like(tile: NkiTensor, dtype: Any = None, shape: tuple[int, ...] | None = None, buffer: Any = nl.sbuf) -> NkiTensor:
    """A fresh tile of the same shape and dtype, unless told otherwise."""
    return nl.ndarray(shape or tile.shape, dtype=dtype or tile.dtype, buffer=buffer)


def column(tile: NkiTensor, dtype: Any = nl.float32, buffer: Any = nl.sbuf) -> NkiTensor:
    """A fresh (P, 1) tile."""
    return nl.ndarray((tile.shape[0], 1), dtype=dtype, buffer=buffer)


def instructions(run: launch.Run, opcode: str) -> list[Instruction]:
    """The instructions of that opcode in the program that ran."""
    return [instruction for instruction in run.program if instruction.opcode == opcode]
