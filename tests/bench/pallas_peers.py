"""The bench's kernels in Pallas, tile for tile, for its two interpreters.

`interpret` is True (the generic interpreter) or `pltpu.InterpretParams()` (the one that mimics a TPU's memories).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

Array = jax.Array
ROWS, KEYS = 128, 512  # rows of a tile everywhere; keys, or columns of a matmul's result


def matmul(interpret: Any, m: int, k: int, n: int) -> Callable[[Array, Array], Array]:
    """lhs @ rhs in tiles of 128 x 128 x 512 with a float32 accumulator; returns the dtype of the operands: bfloat16."""

    def body(lhs: Any, rhs: Any, out: Any, total: Any) -> None:
        @pl.when(pl.program_id(2) == 0)
        def _() -> None:
            total[...] = jnp.zeros_like(total)

        total[...] += jnp.dot(lhs[...], rhs[...], preferred_element_type=jnp.float32)

        @pl.when(pl.program_id(2) == pl.num_programs(2) - 1)
        def _() -> None:
            out[...] = total[...].astype(out.dtype)

    return jax.jit(
        pl.pallas_call(
            body,
            grid=(m // ROWS, n // KEYS, k // ROWS),
            in_specs=[
                pl.BlockSpec((ROWS, ROWS), lambda i, j, step: (i, step)),
                pl.BlockSpec((ROWS, KEYS), lambda i, j, step: (step, j)),
            ],
            out_specs=pl.BlockSpec((ROWS, KEYS), lambda i, j, step: (i, j)),
            out_shape=jax.ShapeDtypeStruct((m, n), jnp.bfloat16),
            scratch_shapes=[pltpu.VMEM((ROWS, KEYS), jnp.float32)],
            interpret=interpret,
        )
    )


def softmax(interpret: Any, rows: int, columns: int) -> Callable[[Array], Array]:
    """Softmax of float32 rows, 128 at a time; what the last tile has beyond the array is dropped."""

    def body(x: Any, out: Any) -> None:
        weights = jnp.exp(x[...] - jnp.max(x[...], axis=1, keepdims=True))
        out[...] = weights / jnp.sum(weights, axis=1, keepdims=True)

    tile = pl.BlockSpec((ROWS, columns), lambda i: (i, 0))
    shape = jax.ShapeDtypeStruct((rows, columns), jnp.float32)
    call = pl.pallas_call(
        body, grid=(pl.cdiv(rows, ROWS),), in_specs=[tile], out_specs=tile, out_shape=shape, interpret=interpret
    )
    return jax.jit(call)


def attention(interpret: Any, length: int, width: int) -> Callable[[Array, Array, Array], Array]:
    """Flash attention, not causal, of bfloat16 [length, width]: 128 queries by 512 keys, the online softmax."""

    def body(q: Any, k: Any, v: Any, out: Any, total: Any, row_max: Any, row_sum: Any) -> None:
        @pl.when(pl.program_id(1) == 0)
        def _() -> None:
            total[...] = jnp.zeros_like(total)
            row_max[...] = jnp.full_like(row_max, -jnp.inf)
            row_sum[...] = jnp.zeros_like(row_sum)

        scores = width**-0.5 * jnp.dot(q[...], k[...].T, preferred_element_type=jnp.float32)
        largest = jnp.maximum(row_max[...], jnp.max(scores, axis=1, keepdims=True))
        weights = jnp.exp(scores - largest)
        decay = jnp.exp(row_max[...] - largest)
        row_sum[...] = decay * row_sum[...] + jnp.sum(weights, axis=1, keepdims=True)
        product = jnp.dot(weights.astype(v.dtype), v[...], preferred_element_type=jnp.float32)
        total[...] = decay * total[...] + product
        row_max[...] = largest

        @pl.when(pl.program_id(1) == pl.num_programs(1) - 1)
        def _() -> None:
            out[...] = (total[...] / row_sum[...]).astype(out.dtype)

    queries = pl.BlockSpec((ROWS, width), lambda i, j: (i, 0))
    keys = pl.BlockSpec((KEYS, width), lambda i, j: (j, 0))
    column = pltpu.VMEM((ROWS, 1), jnp.float32)
    return jax.jit(
        pl.pallas_call(
            body,
            grid=(length // ROWS, length // KEYS),
            in_specs=[queries, keys, keys],
            out_specs=queries,
            out_shape=jax.ShapeDtypeStruct((length, width), jnp.bfloat16),
            scratch_shapes=[pltpu.VMEM((ROWS, width), jnp.float32), column, column],
            interpret=interpret,
        )
    )
