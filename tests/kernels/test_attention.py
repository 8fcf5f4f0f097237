"""flash_attention against the float64 softmax, for any length, grouped heads, causal or not."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from trnlab.emulator import run
from trnlab.kernels import oracles
from trnlab.kernels.attention import flash_attention

Array = np.ndarray[Any, Any]


def inputs(heads: int, kv_heads: int, queries: int, keys: int, head_dim: int, dtype: Any, seed: int = 0) -> list[Array]:
    rng = np.random.default_rng(seed)
    shapes = [(heads, queries, head_dim), (kv_heads, keys, head_dim), (kv_heads, keys, head_dim)]
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


def tolerance(v: Array, dtype: Any) -> float:
    """Weights are rounded to the values' dtype and sum to 1, so an output is off by at most a few units of max |v|.

    Two roundings of 2**-8 in bfloat16 (weights, output), relative to max |v|, and a tenth for scores, exp and sums in
    float32.
    """
    unit = 2.0**-8 if dtype == ml_dtypes.bfloat16 else 2.0**-20
    return 2.1 * unit * float(np.abs(v.astype(np.float64)).max())


CASES = [
    (2, 1, 128, 128, 64, True),
    (1, 1, 200, 200, 64, True),
    (2, 2, 70, 600, 32, True),
    (4, 2, 130, 515, 128, False),
    (1, 1, 1, 1, 16, True),
]


@pytest.mark.parametrize(("heads", "kv_heads", "queries", "keys", "head_dim", "causal"), CASES)
def test_attention_matches_the_float64_softmax(
    heads: int, kv_heads: int, queries: int, keys: int, head_dim: int, causal: bool
) -> None:
    q, k, v = inputs(heads, kv_heads, queries, keys, head_dim, ml_dtypes.bfloat16)
    found = run(flash_attention, q, k, v, causal=causal).outputs
    expected = oracles.attention(q, k, v, causal=causal, xp=np)
    assert found.dtype == ml_dtypes.bfloat16
    assert np.abs(found.astype(np.float64) - expected).max() <= tolerance(v, ml_dtypes.bfloat16)


@pytest.mark.parametrize("target", ["trn1", "trn2", "trn3", "trn4"])
def test_every_generation_computes_the_same_bits(target: str) -> None:
    q, k, v = inputs(1, 1, 128, 128, 64, ml_dtypes.bfloat16)
    found = run(flash_attention, q, k, v, target=target).outputs
    expected = run(flash_attention, q, k, v, target="trn3").outputs
    np.testing.assert_array_equal(found.view(np.uint16), expected.view(np.uint16))


@settings(max_examples=15)
@given(seed=st.integers(0, 2**32 - 1), shift=st.floats(-50, 50))
def test_adding_a_constant_to_every_score_changes_nothing_much(seed: int, shift: float) -> None:
    """softmax(s + c) = softmax(s): a coordinate that adds c to every score leaves the output within tolerance."""
    q, k, v = inputs(1, 1, 128, 128, 16, np.float32, seed)
    q[..., -1], k[..., -1] = 1.0, shift
    base = q.copy()
    base[..., -1] = 0.0
    moved = run(flash_attention, q, k, v, causal=False, scale=1.0).outputs
    plain = run(flash_attention, base, k, v, causal=False, scale=1.0).outputs
    assert np.abs(moved - plain).max() <= 2.0**-15 * (1 + abs(shift)) * np.abs(v).max()


@settings(max_examples=15)
@given(st.integers(0, 2**32 - 1))
def test_causal_outputs_do_not_depend_on_later_keys(seed: int) -> None:
    q, k, v = inputs(1, 1, 200, 200, 16, np.float32, seed)
    changed_k, changed_v = k.copy(), v.copy()
    changed_k[:, 150:], changed_v[:, 150:] = 7.0, -9.0
    first = run(flash_attention, q, k, v).outputs
    second = run(flash_attention, q, changed_k, changed_v).outputs
    np.testing.assert_array_equal(first[:, :128].view(np.uint32), second[:, :128].view(np.uint32))
    np.testing.assert_allclose(first[:, 128:150], second[:, 128:150], rtol=0, atol=2.0**-18 * np.abs(v).max())


def test_outputs_are_convex_combinations_of_the_values() -> None:
    q, k, v = inputs(2, 1, 130, 300, 32, np.float32, 5)
    out = run(flash_attention, q, k, v).outputs
    slack = 2.0**-16 * np.abs(v).max()
    assert (out <= v.max(1, keepdims=True) + slack).all()
    assert (out >= v.min(1, keepdims=True) - slack).all()


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (((3, 8, 16), (2, 8, 16)), "3 query heads cannot share 2"),
        (((1, 9, 16), (1, 8, 16)), "causal attention of 9 queries"),
        (((1, 8, 160), (1, 8, 160)), "head_dim is 160"),
    ],
)
def test_wrong_shapes_are_named(shapes: tuple[tuple[int, ...], ...], message: str) -> None:
    q, k = (np.zeros(shape, np.float32) for shape in shapes)
    with pytest.raises(AssertionError, match=message):
        run(flash_attention, q, k, k)
