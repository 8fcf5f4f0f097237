"""The peers compute the same as the kernels they are set against."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from tests.bench import peers
from tests.bench.interpreters import INTERPRETERS, Prepare
from tests.bench.rows import SkippedError
from trnlab.kernels import oracles

Array = np.ndarray[Any, Any]
# What storing in bfloat16 with its 8 significant bits may lose of a value: Triton's interpreter truncates.
BFLOAT16 = 2.0**-7


def normal(*shape: int, seed: int, dtype: Any = jnp.bfloat16) -> Any:
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape), dtype)


def float64(array: Any) -> Array:
    narrow = array.float() if hasattr(array, "float") else array  # torch's bfloat16 has no NumPy form
    return np.asarray(narrow).astype(np.float64)


def assert_close(found: Any, expected: Array, relative: float) -> None:
    assert np.abs(float64(found) - expected).max() <= relative * np.abs(expected).max()


@pytest.fixture(params=INTERPRETERS)
def interpreter(request: pytest.FixtureRequest) -> Mapping[str, Prepare]:
    try:
        return INTERPRETERS[request.param].load()
    except SkippedError as reason:
        pytest.skip(str(reason))


def attention_operands() -> tuple[Any, Any, Any]:
    q, k, v = (normal(1024, 32, seed=seed) for seed in range(3))
    return q, k, v


def expected_attention(operands: tuple[Any, ...], *, causal: bool) -> Array:
    heads = (np.asarray(operand)[None] for operand in operands)
    result: Array = oracles.attention(*heads, causal=causal, xp=np)[0]
    return result


def test_plain_dot() -> None:
    lhs, rhs = normal(256, 384, seed=0), normal(384, 512, seed=1)
    assert_close(peers.dot(lhs, rhs), float64(lhs) @ float64(rhs), BFLOAT16)


@pytest.mark.parametrize("causal", [False, True])
def test_plain_attention(causal: bool) -> None:
    operands = attention_operands()
    assert_close(peers.attention(*operands, causal=causal), expected_attention(operands, causal=causal), 2 * BFLOAT16)


def test_matmul(interpreter: Mapping[str, Prepare]) -> None:
    lhs, rhs = normal(256, 384, seed=0), normal(384, 1024, seed=1)
    assert_close(interpreter["matmul"](lhs, rhs)(), float64(lhs) @ float64(rhs), BFLOAT16)


def test_softmax_with_a_ragged_last_tile(interpreter: Mapping[str, Prepare]) -> None:
    x = normal(160, 200, seed=0, dtype=jnp.float32)
    weights = np.exp(float64(x))
    assert_close(interpreter["softmax"](x)(), weights / weights.sum(1, keepdims=True), 1e-6)


def test_attention(interpreter: Mapping[str, Prepare]) -> None:
    operands = attention_operands()
    assert_close(interpreter["attention"](*operands)(), expected_attention(operands, causal=False), 2 * BFLOAT16)
