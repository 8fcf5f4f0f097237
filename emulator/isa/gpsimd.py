"""GpSimd Engine instructions that generate affine patterns: iota, and the selection by one (causal masks).

Both evaluate, on partition c and for the element at indices i of a pattern [[step, num], ...] of up to four dimensions,

    value = offset + c * channel_multiplier + sum(i_d * step_d)

in 32-bit integer arithmetic, which wraps around (assumed).
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from trnlab.emulator import dtypes as formats
from trnlab.emulator.dtypes import DType
from trnlab.emulator.errors import ArgumentError
from trnlab.emulator.isa.bits import from_words, to_words
from trnlab.emulator.isa.limits import AttributeIn, Rule, SameFree, SamePartitions
from trnlab.emulator.isa.registry import SBUF, UNPACKED_DTYPES, Call, Narrow, instruction, reads, writes
from trnlab.emulator.numerics.casts import widen
from trnlab.emulator.numerics.elementwise import ALU_OPS
from trnlab.emulator.target import Engine

Pattern = tuple[tuple[int, int], ...]

COMPARISONS = tuple(name for name, op in ALU_OPS.items() if op.kind == "comparison")
_MAX_PATTERN_DIMS = 4


def _malformed(call: Call) -> str | None:
    pattern = call.attributes["pattern"]
    good = 1 <= len(pattern) <= _MAX_PATTERN_DIMS and all(count >= 1 for _, count in pattern)
    return None if good else f"{[list(pair) for pair in pattern]}"


def _count(call: Call) -> int:
    return prod(count for _, count in call.attributes["pattern"])


def _wrong_count(call: Call) -> str | None:
    free = call["dst"].free_elements
    return None if _count(call) == free else f"{_count(call)} values for dst {call['dst']}"


_PATTERN = (
    Rule(_malformed, "one to four pairs [step, num], every num at least 1", operand="pattern", error=ArgumentError),
    Rule(
        _wrong_count,
        lambda call: f"{call['dst'].free_elements} values, one for each element of a partition",
        operand="pattern",
        words="as many values as dst has elements per partition: the product of the nums",
    ),
)


def affine(partitions: int, pattern: Pattern, offset: jax.Array, channel_multiplier: int) -> jax.Array:
    """`offset + c * channel_multiplier + sum(i_d * step_d)` as int32 [partitions, product of nums], wrapping around.

    offset: the 32 bits as uint32, traced
    """
    free = np.zeros((), np.int64)
    for step, count in pattern:
        free = free[..., None] + np.arange(count, dtype=np.int64) * step
    channels = np.arange(partitions, dtype=np.int64) * channel_multiplier
    # The traced offset joins the row first, so that no constant of the whole tile is compiled in.
    row = jnp.asarray(free.reshape(-1).astype(np.uint32)) + offset
    return lax.bitcast_convert_type(row + jnp.asarray(channels.astype(np.uint32))[:, None], jnp.int32)


def cast_int32(values: jax.Array, dtype: DType, narrow: Narrow) -> jax.Array:
    """int32 as `dtype`: integers saturate, bool is "not zero", floats are rounded by `narrow` from the nearest float32.

    The saturation is that of the documented float conversions (assumed for integers).
    """
    if dtype == formats.bool_:
        return (values != 0).astype(dtype.storage)
    if not dtype.is_integer:
        return narrow(values.astype(jnp.float32), dtype)
    bounds, held = np.iinfo(dtype.storage), np.iinfo(np.int32)
    return jnp.clip(values, max(bounds.min, held.min), min(bounds.max, held.max)).astype(dtype.storage)


@instruction(
    engines=(Engine.GPSIMD,),
    operands=(writes("dst", regions=SBUF, dtypes=UNPACKED_DTYPES),),
    attributes=("pattern", "channel_multiplier"),
    immediates=("offset",),
    limits=_PATTERN,
    math="raw",
    source="NKI reference, nisa.iota",
    assumptions=("32-bit arithmetic wraps around", "integers beyond the range of an integer dst saturate"),
)
def iota(
    dst: jax.ShapeDtypeStruct,
    *,
    pattern: Pattern,
    channel_multiplier: int,
    offset: jax.Array,
    dtypes: Mapping[str, DType],
    narrow: Narrow,
) -> jax.Array:
    """dst[c, i] = offset + c * channel_multiplier + sum(i_d * step_d), cast from int32."""
    return cast_int32(affine(dst.shape[0], pattern, offset, channel_multiplier), dtypes["dst"], narrow)


@instruction(
    engines=(Engine.GPSIMD,),
    operands=(
        writes("dst", regions=SBUF, dtypes=UNPACKED_DTYPES),
        reads("on_true_tile", regions=SBUF, dtypes=UNPACKED_DTYPES),
    ),
    attributes=("pattern", "channel_multiplier", "cmp_op", "on_false_value"),
    immediates=("offset",),
    limits=(
        SamePartitions("dst", "on_true_tile"),
        SameFree("dst", "on_true_tile"),
        *_PATTERN,
        AttributeIn("cmp_op", COMPARISONS),
    ),
    math="raw",
    source="NKI reference, nisa.affine_select",
    assumptions=("32-bit arithmetic wraps around",),
)
def affine_select(
    dst: jax.ShapeDtypeStruct,
    on_true_tile: jax.Array,
    *,
    pattern: Pattern,
    channel_multiplier: int,
    cmp_op: str,
    on_false_value: float,
    offset: jax.Array,
    dtypes: Mapping[str, DType],
    narrow: Narrow,
) -> jax.Array:
    """dst = on_true_tile where cmp_op(offset + c * channel_multiplier + sum(i_d * step_d), 0), else on_false_value."""
    values = affine(dst.shape[0], pattern, offset, channel_multiplier)
    target, source = dtypes["dst"], dtypes["on_true_tile"]
    chosen = on_true_tile if source == target else narrow(widen(on_true_tile, source), target)
    otherwise = narrow(jnp.full(dst.shape, on_false_value, jnp.float32), target)
    holds = ALU_OPS[cmp_op].function(values, jnp.int32(0)) != 0
    return from_words(jnp.where(holds, to_words(chosen), to_words(otherwise)), target.storage)
