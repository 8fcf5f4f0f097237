"""The bench's kernels compute what they should: a bench of wrong kernels would be worthless."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

from tests.bench import kernels, stress_kernels
from tests.bench.stress_kernels import RANDOM_COLUMNS, RANDOM_NUMBER, RANDOM_TILES, SMALL_COLUMNS, random_steps
from tests.kernels.bounds import UNIT_FLOAT32, assert_within, matmul_bound
from trnlab.emulator import dtypes, run, trace
from trnlab.emulator.fold import fold
from trnlab.kernels import oracles
from trnlab.kernels.packing import pack_weights, unpack_weights

Array = np.ndarray[Any, Any]
MODES = pytest.mark.parametrize("mode", ["reference", "compiled"])
TARGET = "trn3"

pytestmark = pytest.mark.slow  # the bench itself refuses kernels whose results differ from their peer's


def normal(*shape: int, seed: int = 0, dtype: Any = ml_dtypes.bfloat16) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def outputs(kernel: Any, *args: Any, mode: Any, **options: Any) -> Array:
    arrays = [jnp.asarray(item) if isinstance(item, np.ndarray) else item for item in args]
    return np.asarray(run(kernel, *arrays, mode=mode, target=TARGET, **options).outputs)


@MODES
@pytest.mark.parametrize("style", ["matmul_naive", "matmul_hoisted", "matmul_blocked"])
def test_matmuls_stay_within_the_bound_of_float32_accumulation(style: str, mode: str) -> None:
    lhs, rhs = normal(2048, 256), normal(2048, 1024, seed=1)
    found = outputs(getattr(kernels, style), lhs, rhs, mode=mode)
    assert_within(found, oracles.matmul(lhs, rhs, xp=np), matmul_bound(lhs, rhs, "bfloat16"))


@pytest.mark.parametrize(
    ("style", "instructions"),
    [
        ("matmul_naive", 2 * 2 * (16 * 3 + 2)),  # a result tile: 16 times two loads and a product, then copy and store
        ("matmul_hoisted", 2 * (16 + 2 * (16 + 16 + 2))),
        # fills; two blocks of K of 8 + 8 loads and 2 x 2 sums of 8 products and an addition; copies and stores
        ("matmul_blocked", 2 + 2 * (16 + 2 * 2 * 9) + 2 * 2),
    ],
)
def test_matmul_styles_load_where_they_say(style: str, instructions: int) -> None:
    program = trace(getattr(kernels, style), normal(2048, 256), normal(2048, 1024), target=TARGET)
    assert len(program) == instructions


@MODES
def test_packed_mx_matmul_loses_nothing_beyond_accumulation(mode: str) -> None:
    left, right = normal(1024, 34, dtype=np.float32), normal(1024, 48, seed=1, dtype=np.float32)
    packed = [pack_weights(matrix, dtypes.float8_e4m3fn_x4) for matrix in (left, right)]
    # Exact in bfloat16: FP8 elements times powers of two.
    lhs, rhs = (unpack_weights(*pair, dtypes.float8_e4m3fn_x4, rows=1024).astype(ml_dtypes.bfloat16) for pair in packed)
    found = outputs(kernels.matmul_mx_packed, *packed[0], *packed[1], mode=mode)
    assert_within(found, oracles.matmul(lhs, rhs, xp=np), matmul_bound(lhs, rhs, "bfloat16"))


@MODES
def test_softmax_with_a_ragged_last_tile(mode: str) -> None:
    x = normal(160, 300, dtype=np.float32)
    weights = np.exp(x.astype(np.float64) - x.max(1, keepdims=True))
    expected = weights / weights.sum(1, keepdims=True)
    found = outputs(kernels.softmax, x, mode=mode)
    # One rounding each: x - max (an error of u |x - max| passes through exp), exp, 1 / sum, product; 300 additions.
    terms = 300 + 8 + np.abs(x - x.max(1, keepdims=True))
    assert_within(found, expected, terms * UNIT_FLOAT32 * expected)


@MODES
def test_small_tiles_are_as_many_instructions_as_asked_for(mode: str) -> None:
    x = normal(128, SMALL_COLUMNS, dtype=np.float32)
    expected = x
    for _ in range(38):
        expected = expected * np.float32(0.5) + np.float32(1)
    np.testing.assert_array_equal(outputs(stress_kernels.small_tiles, x, mode=mode, count=40), expected)
    assert len(trace(stress_kernels.small_tiles, x, count=40, target=TARGET)) == 40


NUMPY: dict[str, Callable[..., Array]] = {
    "add": np.add,
    "subtract": np.subtract,
    "maximum": np.maximum,
    "minimum": np.minimum,
}


@MODES
def test_random_instructions_in_numpy(mode: str) -> None:
    x = normal(RANDOM_TILES, 128, RANDOM_COLUMNS, dtype=np.float32)
    expected = x.copy()
    for (dst, data1, data2), width, before, combine in random_steps(76, seed=5):
        first, second = (expected[tile][:, start : start + width] for tile, start in (data1, data2))
        if before is not None:
            first = NUMPY[before](first, np.float32(RANDOM_NUMBER))
        expected[dst[0]][:, dst[1] : dst[1] + width] = NUMPY[combine](first, second)
    np.testing.assert_array_equal(outputs(stress_kernels.unfoldable, x, mode=mode, count=100, seed=5), expected)


def test_random_instructions_do_not_fold() -> None:
    program = trace(stress_kernels.unfoldable, normal(RANDOM_TILES, 128, RANDOM_COLUMNS, dtype=np.float32), 2000, 0)
    assert len(program) == 2000
    # The twelve loads and the twelve stores are loops; of the rest a few neighbours happen to be alike.
    assert len(fold(program)) > 1800
