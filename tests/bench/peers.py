"""What the emulated kernels are measured against: plain jitted JAX, as a user would write it without a kernel."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp


@jax.jit
def dot(lhs: Any, rhs: Any) -> Any:
    """lhs @ rhs of the operands' dtype: [M, K] @ [K, N]; XLA sums bfloat16 products in float32."""
    return jnp.dot(lhs, rhs)


@partial(jax.jit, static_argnames="causal")
def attention(q: Any, k: Any, v: Any, *, causal: bool) -> Any:
    """softmax(q @ k.T / sqrt(d)) @ v for [length, d], scores and weights whole in memory, softmax in float32."""
    scores = q.shape[1] ** -0.5 * jnp.dot(q, k.T, preferred_element_type=jnp.float32)
    if causal:
        scores = jnp.where(jnp.tri(*scores.shape, dtype=bool), scores, -jnp.inf)
    weights = jax.nn.softmax(scores, axis=-1).astype(v.dtype)
    return jnp.dot(weights, v)


@jax.jit
def softmax(x: Any) -> Any:
    """jax.nn.softmax along the rows."""
    return jax.nn.softmax(x, axis=-1)
