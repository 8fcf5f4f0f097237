"""decode_attention against the float64 softmax over each sequence's own keys, and what must not matter to it."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from trnlab.emulator import run
from trnlab.kernels import oracles
from trnlab.kernels.attention import flash_attention
from trnlab.kernels.attention_decode import decode_attention

Array = np.ndarray[Any, Any]
BFLOAT16 = ml_dtypes.bfloat16


def inputs(
    sequences: int, heads: int, kv_heads: int, keys: int, head_dim: int, dtype: Any, seed: int = 0
) -> list[Array]:
    """q, k and v of a cache."""
    rng = np.random.default_rng(seed)
    shapes = [
        (sequences, heads, head_dim),
        (sequences, kv_heads, head_dim, keys),
        (sequences, kv_heads, keys, head_dim),
    ]
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


def expected(q: Array, k: Array, v: Array, lengths: list[int]) -> Array:
    """The float64 softmax of each sequence over its first keys."""
    rows = [
        oracles.attention(q[n][:, None], k[n].swapaxes(1, 2)[:, :size], v[n][:, :size], causal=False, xp=np)[:, 0]
        for n, size in enumerate(lengths)
    ]
    return np.stack(rows)


def tolerance(v: Array) -> float:
    """Weights sum to 1: two roundings (weights, output) of max |v|, and a tenth for scores, exp and sums in float32."""
    unit = 2.0**-8 if v.dtype == BFLOAT16 else 2.0**-20
    return 2.1 * unit * float(np.abs(v.astype(np.float64)).max())


CASES = [
    (2, 16, 2, 300, 64, BFLOAT16),
    (1, 1, 1, 1, 16, BFLOAT16),
    (1, 8, 8, 77, 32, np.float32),
    (1, 128, 1, 256, 128, BFLOAT16),
]


@pytest.mark.parametrize(("sequences", "heads", "kv_heads", "keys", "head_dim", "dtype"), CASES)
def test_every_query_attends_to_its_whole_cache(
    sequences: int, heads: int, kv_heads: int, keys: int, head_dim: int, dtype: Any
) -> None:
    q, k, v = inputs(sequences, heads, kv_heads, keys, head_dim, dtype)
    found = run(decode_attention, q, k, v).outputs
    assert found.dtype == dtype
    error = np.abs(found.astype(np.float64) - expected(q, k, v, [keys] * sequences))
    assert error.max() <= tolerance(v)


@settings(max_examples=10)
@given(st.lists(st.integers(1, 300), min_size=3, max_size=3), st.integers(0, 2**32 - 1))
def test_keys_past_a_sequences_length_do_not_exist(lengths: list[int], seed: int) -> None:
    q, k, v = inputs(3, 4, 2, 300, 16, np.float32, seed)
    given_lengths = np.array(lengths, np.float32)[:, None]
    found = run(decode_attention, q, k, v, given_lengths, block=128).outputs
    assert np.abs(found - expected(q, k, v, lengths)).max() <= tolerance(v)
    for sequence, size in enumerate(lengths):
        k[sequence, :, :, size:], v[sequence, :, size:] = 1e4, -1e4
    again = run(decode_attention, q, k, v, given_lengths, block=128).outputs
    np.testing.assert_array_equal(again.view(np.uint32), found.view(np.uint32))


def test_the_block_size_only_orders_additions() -> None:
    q, k, v = inputs(1, 4, 1, 700, 32, np.float32)
    one, other = (run(decode_attention, q, k, v, block=block).outputs for block in (128, 512))
    np.testing.assert_allclose(one, other, rtol=0, atol=2.0**-20 * np.abs(v).max())


def test_it_agrees_with_flash_attention_of_one_query() -> None:
    q, k, v = inputs(1, 4, 2, 200, 32, np.float32)
    whole = run(flash_attention, q[0][:, None], k[0].swapaxes(1, 2), v[0], causal=False).outputs[:, 0]
    np.testing.assert_allclose(run(decode_attention, q, k, v).outputs[0], whole, rtol=0, atol=tolerance(v))


def test_large_scores_do_not_overflow() -> None:
    q, k, v = inputs(1, 2, 1, 200, 16, np.float32)
    found = run(decode_attention, 300 * q, k, v, scale=1.0).outputs
    # Scores reach thousands, far beyond exp's range; the winner takes all.
    scores = np.einsum("hd,dk->hk", 300.0 * q[0], k[0, 0])
    assert np.abs(scores).max() > 1000
    np.testing.assert_allclose(found[0], v[0, 0][scores.argmax(1)], rtol=0, atol=tolerance(v))


@pytest.mark.parametrize(
    ("heads", "kv_heads", "head_dim", "options", "message"),
    [
        (3, 2, 16, {}, "3 query heads cannot share 2"),
        (1, 1, 160, {}, "head_dim is 160"),
        (130, 1, 16, {}, "130 query heads, at most 128"),
        (1, 1, 16, {"block": 100}, "block is 100, at least 128"),
        (1, 1, 16, {"scale": -1.0}, "scale is -1.0"),
    ],
)
def test_wrong_arguments_are_named(heads: int, kv_heads: int, head_dim: int, options: Any, message: str) -> None:
    q, k, v = inputs(1, heads, kv_heads, 8, head_dim, np.float32)
    with pytest.raises(AssertionError, match=message):
        run(decode_attention, q, k, v, **options)
