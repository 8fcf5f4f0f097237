"""GpSimd Engine instructions that find positions: of the largest elements, of those not zero, of segments.

Each of the engine's eight cores serves 16 neighbouring partitions. topk takes such a group as one sequence, a *snake*:
element i lies in partition i % 16 and column i // 16. nonzero_with_count uses the first partition of each group only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from trnlab.emulator import dtypes as formats
from trnlab.emulator.dtypes import DType
from trnlab.emulator.errors import ArgumentError
from trnlab.emulator.isa.limits import MaxPartitions, PartitionsMultipleOf, Rule, SameFree, SamePartitions
from trnlab.emulator.isa.operators import REFERENCE
from trnlab.emulator.isa.registry import SBUF, Call, instruction, reads, updates, writes
from trnlab.emulator.numerics.casts import widen
from trnlab.emulator.numerics.ordering import order_key
from trnlab.emulator.program import Signature
from trnlab.emulator.target import Engine, Generation

GROUP: Final = 16
"""Partitions that one core of the engine reaches."""

_BFLOAT16: Final = frozenset({formats.bfloat16})
_UINT32: Final = frozenset({formats.uint32})
_INT32: Final = frozenset({formats.int32})
_FLOAT32_OR_INT32: Final = frozenset({formats.float32, formats.int32})

# ----------------------------------------------------------------------------------------------------------- topk


def _bad_count(call: Call) -> str | None:
    n = call.attributes["n"]
    return None if 8 <= n < 65536 else str(n)


def _bad_k(call: Call) -> str | None:
    n, k = call.attributes["n"], call["val_dst"].free_elements
    return None if k <= n and k < 32768 else f"{call['val_dst']}, K = {k} of n = {n}"


def _short_source(call: Call) -> str | None:
    columns = -(-call.attributes["n"] // GROUP)
    src = call["src"]
    return None if src.free_elements >= columns else f"{src}, free size {src.free_elements}"


def from_snake(tile: Array) -> Array:
    """[16 G, X] as the sequences [G, 16 X] of its groups."""
    groups = tile.reshape(-1, GROUP, tile.shape[1])
    return groups.swapaxes(1, 2).reshape(groups.shape[0], -1)


def _written(old: Array, results: Array) -> Array:
    """The tile `old` [16 G, K] with the results [G, K] of each group laid down as a snake; the rest is kept."""
    count, k = results.shape
    columns, rest = divmod(k, GROUP)
    groups = old.reshape(count, GROUP, k)
    parts = [results[:, : k - rest].reshape(count, columns, GROUP).swapaxes(1, 2)]
    if rest:
        parts.append(jnp.concatenate([results[:, k - rest :], groups[:, rest:, columns]], axis=1)[:, :, None])
    return jnp.concatenate([*parts, groups[:, :, columns + bool(rest) :]], axis=2).reshape(old.shape)


@instruction(
    engines=(Engine.GPSIMD,),
    operands=(
        updates("val_dst", regions=SBUF, dtypes=_BFLOAT16),
        updates("idx_dst", regions=SBUF, dtypes=_UINT32),
        reads("src", regions=SBUF, dtypes=_BFLOAT16),
    ),
    attributes=("n",),
    limits=(
        PartitionsMultipleOf("src", GROUP, source=REFERENCE + "topk"),
        SamePartitions("src", "val_dst", "idx_dst"),
        SameFree("val_dst", "idx_dst"),
        Rule(_bad_count, "8 <= n < 65536", operand="n", error=ArgumentError, source=REFERENCE + "topk"),
        Rule(_bad_k, "1 <= K < 32768 and K <= n", operand="val_dst", source=REFERENCE + "topk"),
        Rule(
            _short_source,
            lambda call: f"free size at least ceil(n / 16) = {-(-call.attributes['n'] // GROUP)}",
            operand="src",
            source=REFERENCE + "topk",
            words="free size at least ceil(n / 16)",
        ),
    ),
    math="raw",
    source=REFERENCE + "topk; NKI Library 2.32, sparse attention indexer: layout of the results",
    assumptions=(
        "results are a snake too: result j of a group lies in its partition j % 16 and column j // 16",
        "the rest of val_dst and idx_dst keeps its content",
        "of equal values the first one ranks highest; NaNs rank above infinity, and 0.0 above -0.0",
    ),
)
def topk(val_dst: Array, idx_dst: Array, src: Array, *, n: int, dtypes: Mapping[str, DType]) -> tuple[Array, Array]:
    """val_dst = the K largest of the first n elements of each group's snake, ascending; idx_dst = their indices."""
    words = from_snake(lax.bitcast_convert_type(src, jnp.uint16))[:, :n]
    keys = from_snake(order_key(widen(src, dtypes["src"])))[:, :n]
    # A bfloat16's key has its low 16 bits free: they hold the position, so that sorting has no ties to break.
    from_end = 0xFFFF - jnp.arange(n, dtype=jnp.int32)
    ranked = lax.sort(keys & np.int32(-0x10000) | from_end, dimension=1)[:, n - val_dst.shape[1] :]
    indices = 0xFFFF - (ranked & 0xFFFF)
    values = jnp.take_along_axis(words, indices, axis=1, mode="promise_in_bounds")
    old = lax.bitcast_convert_type(val_dst, jnp.uint16)
    result = lax.bitcast_convert_type(_written(old, values), val_dst.dtype)
    return result, _written(idx_dst, indices.astype(jnp.uint32))


# --------------------------------------------------------------------------------------------- nonzero_with_count


def _not_one_more(call: Call) -> str | None:
    dst, src = call["dst"], call["src"]
    return None if dst.free_elements == src.free_elements + 1 else f"{dst}, free size {dst.free_elements}"


def _leaders(signature: Signature) -> Sequence[int]:
    """The first partition of each group."""
    partitions = next(operand.shape[0] for operand in signature.operands if operand.name == "src")
    return range(0, partitions, GROUP)


@instruction(
    engines=(Engine.GPSIMD,),
    since=Generation.V3,
    operands=(
        updates("dst", regions=SBUF, dtypes=_INT32),
        reads("src", regions=SBUF, dtypes=_FLOAT32_OR_INT32, partitions_read=_leaders),
    ),
    immediates=("index_offset", "padding_val"),
    limits=(
        SamePartitions("src", "dst", source=REFERENCE + "nonzero_with_count"),
        Rule(
            _not_one_more,
            lambda call: f"free size {call['src'].free_elements + 1}, one more than src has",
            operand="dst",
            words="free size that of src plus 1",
            source=REFERENCE + "nonzero_with_count",
        ),
    ),
    math="raw",
    source=REFERENCE + "nonzero_with_count",
    assumptions=("-0.0 is zero, NaNs and subnormals are not", "index_offset is added in int32, which wraps around"),
)
def nonzero_with_count(dst: Array, src: Array, *, index_offset: Array, padding_val: Array) -> Array:
    """dst = index_offset + the indices of what is not zero in src, then padding_val, and last their number.

    Only partitions 0, 16, 32, ... are read and written.
    """
    count = src.shape[1]
    is_nonzero = _is_nonzero(src[::GROUP])
    columns = lax.broadcasted_iota(jnp.int32, is_nonzero.shape, 1)
    found = lax.sort(jnp.where(is_nonzero, columns, count), dimension=1)
    shifted = found.astype(jnp.uint32) + index_offset
    listed = jnp.where(found < count, shifted, padding_val)
    total = is_nonzero.sum(axis=1, keepdims=True, dtype=jnp.uint32)
    rows = lax.bitcast_convert_type(jnp.concatenate([listed, total], axis=1), jnp.int32)
    return dst.at[::GROUP].set(rows)


def _is_nonzero(src: Array) -> Array:
    bits = lax.bitcast_convert_type(src, jnp.uint32)
    return (bits & 0x7FFFFFFF if src.dtype == jnp.float32 else bits) != 0


# ------------------------------------------------------------------------------------------------ sequence_bounds


def _not_two_each(call: Call) -> str | None:
    dst, ids = call["dst"], call["segment_ids"]
    return None if dst.free_elements == 2 * ids.free_elements else f"{dst}, free size {dst.free_elements}"


@instruction(
    engines=(Engine.GPSIMD,),
    operands=(
        writes("dst", regions=SBUF, dtypes=_FLOAT32_OR_INT32),
        reads("segment_ids", regions=SBUF, dtypes=_FLOAT32_OR_INT32),
    ),
    limits=(
        MaxPartitions("segment_ids", 1, source=REFERENCE + "sequence_bounds"),
        MaxPartitions("dst", 1, source=REFERENCE + "sequence_bounds"),
        Rule(
            _not_two_each,
            lambda call: f"free size {2 * call['segment_ids'].free_elements}: a start and an end for each segment ID",
            operand="dst",
            words="free size twice that of segment_ids: a start and an end for each segment ID",
            source=REFERENCE + "sequence_bounds",
        ),
    ),
    math="raw",
    source=REFERENCE + "sequence_bounds",
    assumptions=("a segment is a run of neighbouring equal IDs", "the two dtypes need not be the same"),
)
def sequence_bounds(dst: jax.ShapeDtypeStruct, segment_ids: Array) -> Array:
    """dst = where the segment of each element starts, and then one past where each ends; n and -1 for ID 0."""
    n = segment_ids.shape[1]
    columns = jnp.arange(n, dtype=jnp.int32)[None]
    changes = segment_ids[:, 1:] != segment_ids[:, :-1]
    edge = jnp.ones((1, 1), bool)
    begins = jnp.concatenate([edge, changes], axis=1)
    ends = jnp.concatenate([changes, edge], axis=1)
    start = lax.cummax(jnp.where(begins, columns, 0), axis=1)
    end = lax.cummin(jnp.where(ends, columns + 1, n), axis=1, reverse=True)
    is_padding = segment_ids == 0
    bounds = jnp.concatenate([jnp.where(is_padding, n, start), jnp.where(is_padding, -1, end)], axis=1)
    return bounds.astype(dst.dtype)
