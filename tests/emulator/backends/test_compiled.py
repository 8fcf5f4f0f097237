"""Compiled programs as JAX functions: composition, the cache, the inputs they take. Values: test_compiled_*."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import trnlab.emulator.nki as nki
import trnlab.emulator.nki.isa as nisa
import trnlab.emulator.nki.language as nl
from tests.emulator.backends.harness import load, normal, store
from trnlab.emulator import errors, launch
from trnlab.emulator.backends.compiled import compile_program
from trnlab.emulator.target import get_target

TRN3 = get_target("trn3")


@nki.jit
def scaled(x, factor):
    tile = load(x)
    nisa.tensor_scalar(tile, tile, nl.multiply, 2.5)
    nisa.tensor_tensor(tile, tile, load(factor), nl.add)
    return store(tile)


def test_kernels_compose_with_jit_vmap_and_eval_shape() -> None:
    x, y = normal(0, 4, 128, 8), normal(1, 4, 128, 8)
    expected = np.stack([launch.run(scaled, a, b).outputs for a, b in zip(x, y, strict=True)])
    jitted = jax.jit(lambda a, b: jnp.sin(scaled(a, b)))
    np.testing.assert_array_equal(jitted(x[0], y[0]), jax.jit(jnp.sin)(expected[0]))
    np.testing.assert_array_equal(jax.vmap(scaled)(x, y), expected)
    np.testing.assert_array_equal(jax.jit(jax.vmap(scaled, in_axes=(0, None)))(x, y[0])[0], expected[0])
    shape = jax.eval_shape(scaled, x[0], y[0])
    assert (shape.shape, shape.dtype) == ((128, 8), np.float32)


@nki.jit
def counted(x, bound):
    """sum over i < bound of x[i] * 1.5 + i, with a prefix sum stored along the way."""
    total = nl.ndarray((128, 8), dtype=nl.float32)
    nisa.memset(total, 0.0)
    sums = nl.ndarray(x.shape, dtype=nl.float32, buffer=nl.shared_hbm)
    nisa.dma_copy(sums, x)
    register = nisa.register_alloc(load(bound))

    def body(i):
        tile = nl.ndarray((128, 8), dtype=nl.float32)
        nisa.dma_copy(tile, x[i])
        nisa.tensor_scalar(tile, tile, nl.multiply, 1.5)
        nisa.tensor_tensor(total, total, tile, nl.add)
        nisa.dma_copy(sums[i], total)

    nl.fori_loop(0, register, body)
    return sums, store(total)


def test_a_loop_under_vmap() -> None:
    x, bounds = normal(0, 3, 5, 128, 8), np.array([2, 5, 0], np.int32).reshape(3, 1, 1)
    sums, totals = jax.vmap(counted)(x, bounds)
    for i in range(3):
        one_sums, one_total = launch.run(counted, x[i], bounds[i]).outputs
        np.testing.assert_array_equal(sums[i], one_sums)
        np.testing.assert_array_equal(totals[i], one_total)


def test_kernels_have_no_derivative() -> None:
    with pytest.raises(errors.BackendError, match="kernel scaled has no derivative"):
        jax.grad(lambda a: scaled(a, a).sum())(jnp.ones((128, 8)))


@pytest.fixture
def program() -> Any:
    return launch.trace(scaled, np.zeros((128, 8), np.float32), np.zeros((128, 8), np.float32))


def test_equal_programs_share_one_compilation(program: Any) -> None:
    again = type(program).from_json(program.to_json())
    first = compile_program(program, TRN3, print)
    assert compile_program(again, TRN3, launch.print_to_stdout) is first  # nothing prints, so nobody listens
    assert compile_program(program, get_target("trn2"), print) is not first


@pytest.mark.parametrize(
    "inputs",
    [
        [np.zeros((128, 8), np.float32)],
        [np.zeros((128, 9), np.float32), np.zeros((128, 8), np.float32)],
        [np.zeros((128, 8), np.float16), np.zeros((128, 8), np.float32)],
    ],
)
def test_other_inputs_than_traced_are_refused(program: Any, inputs: list[np.ndarray]) -> None:
    wanted = r"scaled was traced for \(float32\[128, 8\], float32\[128, 8\]\), called with"
    with pytest.raises(errors.BackendError, match=wanted):
        compile_program(program, TRN3, print)(inputs)


def test_the_caller_may_change_numpy_inputs_at_once() -> None:
    @nki.jit
    def square(x):
        tile = load(x)
        for _ in range(8):
            nisa.tensor_tensor(tile, tile, tile, nl.multiply)
        return store(tile)

    x = np.ones((128, 8192), np.float32)
    result = launch.run(square, x, mode="compiled").outputs
    x[...] = 0
    assert (np.asarray(result) == 1).all()
