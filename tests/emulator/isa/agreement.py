"""Checks that an instruction's bits do not depend on how it is executed: back ends, and forms of the same function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from tests.emulator.isa.conftest import run_tiles
from tests.emulator.isa.harness import words
from trnlab.emulator import launch
from trnlab.emulator.backends.semantics import evaluator, immediate, jitted, meaning_of
from trnlab.emulator.program import Signature
from trnlab.emulator.target import get_target

Array = np.ndarray[Any, Any]
_BATCH = 3


def run_both(body: Callable[..., Any], *arrays: Array, target: str = "trn3") -> launch.Run:
    """The reference's run of `body`, whose outputs the compiled back end gives bit for bit as well."""
    reference = run_tiles(body, *arrays, target=target, mode="reference")
    compiled = run_tiles(body, *arrays, target=target, mode="compiled")
    for expected, found in zip(reference.outputs, compiled.outputs, strict=True):
        _equal(found, expected)
    return reference


def same_in_every_form(run: launch.Run, opcode: str, seed: int = 0) -> None:
    """Check that each instruction of that opcode has the same bits alone, op by op, and mapped over a batch.

    Inputs are normal deviates, or any pattern for integers.
    """
    target, rng = get_target(run.program.target_name), np.random.default_rng(seed)
    signatures = [signature for signature in run.program.signatures if signature.opcode == opcode]
    assert signatures
    for signature in signatures:
        _same_forms(signature, target, rng)


def _same_forms(signature: Signature, target: Any, rng: np.random.Generator) -> None:
    meaning = meaning_of(signature, target)
    reads = [(dtype.storage, shape) for _, access, dtype, shape in meaning.operands if access != "write"]
    batches = [_draw(rng, np.dtype(storage), (_BATCH, *shape)) for storage, shape in reads]
    scalars = [immediate(2.0, meaning.math == "raw") for _ in meaning.immediates]
    mapped = jax.jit(jax.vmap(evaluator(meaning), in_axes=(0, None)))(batches, scalars)
    for item in range(_BATCH):
        arrays = [batch[item] for batch in batches]
        alone = jitted(meaning)(arrays, scalars)
        eager = evaluator(meaning)(arrays, scalars)
        for expected, stepwise, batch in zip(alone, eager, mapped, strict=True):
            _equal(stepwise, expected)
            _equal(batch[item], expected)


def _draw(rng: np.random.Generator, storage: np.dtype[Any], shape: tuple[int, ...]) -> Array:
    if storage.kind in "iu":
        limits = np.iinfo(storage)
        return rng.integers(limits.min, limits.max, shape, dtype=storage, endpoint=True)
    return rng.standard_normal(shape).astype(np.float32).astype(storage)


def _equal(found: Any, expected: Any) -> None:
    left, right = np.asarray(found), np.asarray(expected)
    assert left.dtype == right.dtype
    np.testing.assert_array_equal(words(left), words(right))
