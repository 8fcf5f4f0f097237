"""What the kernels should compute, in a few plain array operations.

Every oracle takes the array namespace `xp`: `jax.numpy` by default, or NumPy for float64 truth.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp


def matmul(lhsT: Any, rhs: Any, xp: Any = jnp) -> Any:
    """lhsT.T @ rhs in the widest float the namespace has: float64 in NumPy, float32 in JAX."""
    wide = _wide(xp)
    return xp.asarray(lhsT).astype(wide).T @ xp.asarray(rhs).astype(wide)


def attention(q: Any, k: Any, v: Any, *, causal: bool = True, scale: float | None = None, xp: Any = jnp) -> Any:
    """softmax(scale * q @ k.T) @ v per head; query heads share key/value heads in order.

    q: [heads, queries, head_dim]; k, v: [kv_heads, keys, head_dim]. Causal aligns the last query with the last key.
    """
    wide = _wide(xp)
    q, k, v = (xp.asarray(x).astype(wide) for x in (q, k, v))
    group = q.shape[0] // k.shape[0]
    k, v = xp.repeat(k, group, axis=0), xp.repeat(v, group, axis=0)
    scores = (q.shape[-1] ** -0.5 if scale is None else scale) * xp.einsum("hqd,hkd->hqk", q, k)
    if causal:
        visible = xp.tril(xp.ones(scores.shape[1:], bool), scores.shape[2] - scores.shape[1])
        scores = xp.where(visible, scores, -xp.inf)
    weights = xp.exp(scores - scores.max(-1, keepdims=True))
    return xp.einsum("hqk,hkd->hqd", weights / weights.sum(-1, keepdims=True), v)


def _wide(xp: Any) -> Any:
    return xp.float32 if xp is jnp else xp.float64
