"""One body in every way that it may be executed: both back ends, and eagerly, jitted and vectorised by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tests.emulator.isa.harness import load, store, words
from trnlab.emulator import launch

Array = np.ndarray[Any, Any]


def _kernel(body: Callable[..., Any]) -> Callable[..., Any]:
    def kernel(*inputs: Any) -> Any:
        results = body(*map(load, inputs))
        return tuple(map(store, results if isinstance(results, tuple) else (results,)))

    return kernel


def in_reference(body: Callable[..., Any], *arrays: Array, target: str = "trn3") -> tuple[Array, ...]:
    """The tiles that `body` returns for one SBUF tile per array, from the reference back end."""
    outputs = launch.run(_kernel(body), *arrays, target=target, mode="reference").outputs
    return tuple(map(np.asarray, outputs))


def in_both_modes(body: Callable[..., Any], *arrays: Array, target: str = "trn3") -> tuple[Array, ...]:
    """The tiles that `body` returns for one SBUF tile per array: the same bits from both back ends."""
    reference = in_reference(body, *arrays, target=target)
    compiled = launch.run(_kernel(body), *arrays, target=target, mode="compiled").outputs
    for expected, found in zip(reference, compiled, strict=True):
        assert expected.dtype == found.dtype
        np.testing.assert_array_equal(words(np.asarray(found)), words(expected))
    return reference


def in_every_transformation(function: Callable[..., Any], *stacks: Array) -> None:
    """Check that a body gives the same bits eagerly, under jit and under vmap; each stack holds one input per call."""
    count = len(stacks[0])
    eager = [function(*(jnp.asarray(stack[i]) for stack in stacks)) for i in range(count)]
    jitted = [jax.jit(function)(*(stack[i] for stack in stacks)) for i in range(count)]
    mapped = jax.jit(jax.vmap(function))(*stacks)
    for i in range(count):
        for leaf, other, rows in zip(*map(jax.tree.leaves, (eager[i], jitted[i], mapped)), strict=True):
            expected = words(np.asarray(leaf))
            np.testing.assert_array_equal(words(np.asarray(other)), expected)
            np.testing.assert_array_equal(words(np.asarray(rows)[i]), expected)
