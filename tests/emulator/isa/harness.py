"""What the tests of instructions share: tiles inside a kernel, and the violation of a call that is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from trnlab.emulator import launch
from trnlab.emulator.errors import KernelError, Violation
from trnlab.emulator.nki import isa as nisa, language as nl
from trnlab.emulator.program import Program
from trnlab.emulator.target import get_target
from trnlab.emulator.tensor import NkiTensor

Build = Callable[[], Any]


def sbuf(shape: tuple[int, ...], dtype: Any = nl.float32) -> NkiTensor:
    """A fresh tile in SBUF."""
    return nl.ndarray(shape, dtype=dtype, buffer=nl.sbuf)


def psum(shape: tuple[int, ...], dtype: Any = nl.float32) -> NkiTensor:
    """A fresh tile in PSUM."""
    return nl.ndarray(shape, dtype=dtype, buffer=nl.psum)


def hbm(shape: tuple[int, ...], dtype: Any = nl.float32) -> NkiTensor:
    """A fresh tensor in HBM."""
    return nl.ndarray(shape, dtype=dtype, buffer=nl.shared_hbm)


def load(source: NkiTensor) -> NkiTensor:
    """A tile in SBUF with the content of a tensor in HBM."""
    tile = sbuf(source.shape, source.dtype)
    nisa.dma_copy(tile, source)
    return tile


def store(tile: NkiTensor) -> NkiTensor:
    """A tensor in HBM with the content of a tile in SBUF or PSUM."""
    kept = tile
    if tile.buffer == nl.psum:
        kept = sbuf(tile.shape, tile.dtype)
        nisa.tensor_copy(kept, tile)
    result = hbm(tile.shape, tile.dtype)
    nisa.dma_copy(result, kept)
    return result


def run(kernel: Callable[..., Any], *arguments: Any, target: str = "trn3") -> Any:
    """The kernel's results on the reference executor."""
    return launch.run(kernel, *arguments, target=target, mode="reference").outputs


def run_both(kernel: Callable[..., Any], *arguments: Any, target: str = "trn3") -> Any:
    """The kernel's results on the reference executor, which the compiled program has to repeat bit for bit."""
    expected, found = (
        launch.run(kernel, *arguments, target=target, mode=mode).outputs for mode in ("reference", "compiled")
    )
    pairs = zip(expected, found, strict=True) if isinstance(expected, tuple) else [(expected, found)]
    for one, other in pairs:
        np.testing.assert_array_equal(words(np.asarray(one)), words(np.asarray(other)))
    return expected


def accepted(build: Build, target: str = "trn3") -> Program:
    """The program of a kernel around `build`, whose calls keep every rule."""

    def kernel() -> Any:
        build()
        return store(sbuf((1, 1), nl.int32))

    return launch.trace(kernel, target=target)


def rejected(
    error: type[KernelError],
    build: Build,
    *,
    instruction: str,
    operand: str,
    found: str,
    allowed: str,
    target: str = "trn3",
) -> Violation:
    """The violation of a call that breaks a rule; `found` and `allowed` are parts of its texts."""
    with pytest.raises(error) as caught:
        accepted(build, target)
    violation = caught.value.violation
    assert violation.subject == f"nisa.{instruction}"
    assert violation.operand == operand
    assert found in violation.found
    assert allowed in violation.allowed
    assert violation.generation == get_target(target).generation.label
    assert violation.location is not None
    assert violation.location.file.endswith(".py")
    assert "site-packages" not in violation.location.file
    assert f"nisa.{instruction}(" in violation.location.text
    assert str(violation) == str(caught.value)
    return violation


def words(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The array's bits, so that NaN equals NaN and -0 differs from 0."""
    return np.ascontiguousarray(array).view(f"u{array.dtype.itemsize}")


def wide(array: np.ndarray[Any, Any]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The array's values as float64."""
    return array.astype(np.float32).astype(np.float64)


def random_bits(shape: tuple[int, ...], dtype: Any, seed: int = 0) -> np.ndarray[Any, Any]:
    """Random elements: every NaN payload, infinity, subnormal and signed zero may be among them."""
    size = np.dtype(dtype).itemsize
    bits = np.random.default_rng(seed).integers(0, 2 ** (8 * size), shape, dtype=np.uint64)
    return bits.astype(f"u{size}").view(dtype)
