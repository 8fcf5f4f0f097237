"""Folds over the last axis: their defined order bit for bit, NaN, and the operators that they fold."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from trnlab.emulator.numerics.elementwise import ALU_OPS, REDUCTIONS
from trnlab.emulator.numerics.sealing import seal


@pytest.fixture(autouse=True)
def _quiet_numpy() -> Iterator[None]:
    with np.errstate(all="ignore"):
        yield


def rows() -> NDArray[np.float32]:
    return np.random.default_rng(11).standard_normal((128, 300), np.float32)


def reduce(name: str, x: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(jax.jit(REDUCTIONS[name])(x))


def halves(x: NDArray[np.float32], operator: Any) -> NDArray[np.float32]:
    """The documented order, on NumPy's f32."""
    columns = list(x.T)
    while len(columns) > 1:
        half = len(columns) // 2
        pairs = [operator(a, b) for a, b in zip(columns[:half], columns[half : 2 * half], strict=True)]
        columns = pairs + columns[2 * half :]
    return np.asarray(columns[0])


@pytest.mark.parametrize(
    ("name", "count"), [*(("add", count) for count in (1, 3, 300, 777, 2048)), ("multiply", 3), ("multiply", 777)]
)
def test_the_order_of_a_reduction_is_defined(name: str, count: int) -> None:
    """Bit for bit, for one row and for many, alone and inside a larger program."""
    x: NDArray[np.float32] = np.random.default_rng(count).uniform(0.9, 1.1, (128, count)).astype(np.float32)
    expected = halves(x, getattr(np, name))
    np.testing.assert_array_equal(reduce(name, x), expected)
    np.testing.assert_array_equal(reduce(name, x[5:6]), expected[5:6])
    larger = jax.jit(lambda x: jnp.exp(seal(-seal(REDUCTIONS[name](seal(seal(x * 2) / 2))))))
    np.testing.assert_array_equal(np.asarray(larger(x)), np.asarray(jax.jit(jnp.exp)(-expected)))


@pytest.mark.parametrize("count", [3, 17, 300])
def test_the_mean_is_a_division_under_vmap_too(count: int) -> None:
    x = np.random.default_rng(count).standard_normal((3, 64, count), np.float32)
    mapped = np.asarray(jax.jit(jax.vmap(REDUCTIONS["average"]))(x))
    for item, alone in zip(mapped, x, strict=True):
        np.testing.assert_array_equal(item, halves(alone, np.add) / np.float32(count))


def test_sums_stay_within_their_bound() -> None:
    """gamma_9 sum |x| for 300 elements; the mean divides once more."""
    x = rows()
    wide = x.astype(np.float64)
    bound = 9.01 * 2.0**-24 * np.abs(wide).sum(axis=-1)
    exact = {"add": wide.sum(axis=-1), "subtract": 2 * wide[:, 0] - wide.sum(axis=-1), "average": wide.mean(axis=-1)}
    for name, expected in exact.items():
        limit = bound / 300 + np.abs(expected) * 2.0**-24 if name == "average" else bound
        found = reduce(name, x)
        assert found.shape == (128,)
        assert (np.abs(found - expected) <= limit).all(), name


@pytest.mark.parametrize("shape", [(128, 512), (128, 300), (1, 64), (3, 5)])
def test_extremes_and_nan(shape: tuple[int, int]) -> None:
    """XLA's own reductions pass the small shapes and lose the NaN in the large ones."""
    x = np.random.default_rng(13).standard_normal(shape, np.float32)
    np.testing.assert_array_equal(reduce("maximum", x), x.max(axis=-1))
    np.testing.assert_array_equal(reduce("minimum", x), x.min(axis=-1))
    for column in (0, shape[1] // 2, shape[1] - 1):
        poisoned = x.copy()
        poisoned[:, column] = np.nan
        for name in ("maximum", "minimum", "abs_max", "abs_min", "add", "multiply"):
            assert np.isnan(reduce(name, poisoned)).all(), name


FOLDED: dict[str, Any] = {
    "add": np.add,
    "subtract": np.subtract,
    "multiply": np.multiply,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "abs_max": lambda a, b: np.where(np.abs(a) > np.abs(b), a, b),
    "abs_min": lambda a, b: np.where(np.abs(a) < np.abs(b), a, b),
    "logical_and": np.logical_and,
    "logical_or": np.logical_or,
    "logical_xor": np.logical_xor,
}
small = arrays(np.float32, (3, 7), elements=st.sampled_from([0.0, 1.0, -1.0, 2.0, -2.0, 3.0, -3.0]), fill=st.nothing())


@settings(deadline=None)  # the first example compiles
@given(small)
def test_reductions_are_folds_of_their_operator(x: NDArray[np.float32]) -> None:
    """Small integers make every order exact, so a left fold of the table's function is the oracle."""
    for name, operator in FOLDED.items():
        folded = x[:, 0] if ALU_OPS[name].kind != "logical" else (x[:, 0] != 0).astype(np.float32)
        for column in x.T[1:]:
            folded = np.asarray(operator(folded, column), np.float32)
        np.testing.assert_array_equal(reduce(name, x), folded, err_msg=name)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.uint32])
@pytest.mark.parametrize("name", ["bitwise_and", "bitwise_or", "bitwise_xor"])
def test_bit_reductions(name: str, dtype: Any) -> None:
    limits = np.iinfo(dtype)
    x = np.random.default_rng(12).integers(limits.min, limits.max, (16, 5), dtype, endpoint=True)
    found = reduce(name, x)
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, getattr(np, name).reduce(x, axis=-1))
