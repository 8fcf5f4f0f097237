"""Vector Engine instructions that choose between two values for each element, some with a running maximum."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import jax
import jax.numpy as jnp
from jax import Array, lax

from trnlab.emulator import dtypes as formats
from trnlab.emulator.dtypes import DType
from trnlab.emulator.isa.accumulator import ACCUMULATOR, ASSUMPTIONS, FLOAT32, with_accumulator
from trnlab.emulator.isa.bits import from_words, to_words
from trnlab.emulator.isa.copy_fill import fill_math
from trnlab.emulator.isa.limits import AttributeIn, NotAllIn, SameDtype, SameFree, SamePartitions
from trnlab.emulator.isa.operators import COMPARISONS, REFERENCE, apply, from_pattern
from trnlab.emulator.isa.registry import (
    ANY_DTYPE,
    FLOAT_DTYPES,
    UNPACKED_DTYPES,
    Math,
    Narrow,
    instruction,
    reads,
    updates,
    writes,
)
from trnlab.emulator.memory import MemoryRegion
from trnlab.emulator.target import Engine, Feature, Generation

FP32_MIN: Final = -formats.float32.format.max
"""The only value that range_select can write where the comparison fails."""

INDEX_MAX: Final = 2**24
"""range_select compares indices in float32, which holds every integer up to here."""


@instruction(
    engines=(Engine.VECTOR,),
    since=Generation.V3,
    feature=Feature.RANGE_SELECT,
    operands=(
        writes("dst"),
        reads("on_true_tile", dtypes=FLOAT_DTYPES),
        reads("bound0", dtypes=FLOAT32, per_partition=True),
        reads("bound1", dtypes=FLOAT32, per_partition=True),
        writes("reduce_res", optional=True, per_partition=True),
        ACCUMULATOR,
    ),
    attributes=("comp_op0", "comp_op1", "reduce_cmd", "reduce_op"),
    immediates=("range_start",),
    limits=(
        AttributeIn("comp_op0", COMPARISONS, source=REFERENCE + "range_select"),
        AttributeIn("comp_op1", COMPARISONS, source=REFERENCE + "range_select"),
        AttributeIn("reduce_op", ("maximum",), source=REFERENCE + "range_select"),
        AttributeIn("reduce_cmd", ("idle", "reset", "reduce", "reset_reduce")),
        SamePartitions("on_true_tile", "dst", "bound0", "bound1", "reduce_res"),
        SameFree("on_true_tile", "dst"),
    ),
    source=REFERENCE + "range_select",
    assumptions=(*ASSUMPTIONS, "load_reduce is refused: the instruction has no operand to load the registers from"),
)
def range_select(
    on_true_tile: Array,
    bound0: Array,
    bound1: Array,
    reduce_res: jax.ShapeDtypeStruct | None,
    accumulator: Array | None,
    range_start: Array,
    comp_op0: str,
    comp_op1: str,
    reduce_cmd: str,
    reduce_op: str,
) -> tuple[Array, ...]:
    """dst = on_true_tile where range_start + i <comp_op0> bound0 and <comp_op1> bound1, else FP32_MIN; max of a row."""
    index = range_start + lax.broadcasted_iota(jnp.int32, on_true_tile.shape, 1).astype(jnp.float32)
    is_inside = (apply(comp_op0, index, bound0) != 0) & (apply(comp_op1, index, bound1) != 0)
    result = jnp.where(is_inside, on_true_tile, jnp.float32(FP32_MIN))
    return with_accumulator(result, reduce_res, accumulator, reduce_op, reduce_cmd)


_PREDICATES: Final = frozenset({formats.int8, formats.uint8, formats.int16, formats.uint16, formats.bool_})
_ON_TRUE: Final = UNPACKED_DTYPES - {formats.tfloat32, formats.int32, formats.uint32}


@instruction(
    engines=(Engine.VECTOR,),
    operands=(
        writes("dst"),
        reads("predicate", dtypes=_PREDICATES),
        reads("on_true", dtypes=_ON_TRUE),
        reads("on_false", immediate=True, per_partition=True),
        writes("reduce_res", dtypes=FLOAT_DTYPES, optional=True, per_partition=True),
        ACCUMULATOR,
    ),
    attributes=("reduce_cmd", "reduce_op", "reverse_pred"),
    limits=(
        AttributeIn("reduce_op", ("maximum",), source=REFERENCE + "select_reduce"),
        AttributeIn("reduce_cmd", ("idle", "reduce", "reset_reduce")),
        SamePartitions("on_true", "dst", "predicate", "on_false", "reduce_res"),
        SameFree("on_true", "dst", "predicate"),
        NotAllIn(MemoryRegion.psum, ("on_true", "predicate"), source=REFERENCE + "select_reduce"),
    ),
    source=REFERENCE + "select_reduce",
    assumptions=(*ASSUMPTIONS, "a predicate of dtype bool, which is stored as uint8, is taken as uint8"),
)
def select_reduce(
    predicate: Array,
    on_true: Array,
    on_false: Array,
    reduce_res: jax.ShapeDtypeStruct | None,
    accumulator: Array | None,
    reduce_cmd: str,
    reduce_op: str,
    reverse_pred: bool,
) -> tuple[Array, ...]:
    """dst = on_true where predicate is not zero (is zero, when reversed), else on_false; the maximum of each row."""
    is_true = (predicate == 0) if reverse_pred else (predicate != 0)
    result = jnp.where(is_true, on_true, on_false)
    return with_accumulator(result, reduce_res, accumulator, reduce_op, reduce_cmd)


_FLAGS: Final = frozenset({formats.uint8, formats.uint16, formats.uint32, formats.bool_})


@instruction(
    engines=(Engine.VECTOR,),
    operands=(
        updates("dst", dtypes=ANY_DTYPE, raw=True),
        reads("src", dtypes=ANY_DTYPE, immediate=True, raw=True),
        reads("predicate", dtypes=_FLAGS, raw=True),
    ),
    attributes=("reverse_pred",),
    limits=(
        SamePartitions("src", "dst", "predicate"),
        SameFree("src", "dst", "predicate"),
        SameDtype("dst", "src", source=REFERENCE + "tensor_copy_predicated"),
        NotAllIn(MemoryRegion.psum, ("src", "predicate"), source=REFERENCE + "tensor_copy_predicated"),
    ),
    math=fill_math,
    source=REFERENCE + "tensor_copy_predicated",
    assumptions=(
        "elements are copied bit for bit; a number is rounded once to the destination's dtype",
        "a predicate of dtype bool, which is stored as uint8, is taken as uint8; every value but 0 is true",
    ),
)
def tensor_copy_predicated(
    dst: Array,
    src: Array,
    predicate: Array,
    reverse_pred: bool,
    dtypes: Mapping[str, DType],
    math: Math,
    narrow: Narrow,
) -> Array:
    """dst = src where predicate is not zero (is zero, when reversed), else dst, bit for bit."""
    if "src" not in dtypes:
        # Broadcast first: each element is rounded by itself, which can be at random.
        raw = math == "raw"
        src = from_pattern(src, dst.dtype) if raw else narrow(jnp.broadcast_to(src, dst.shape), dtypes["dst"])
    is_true = (predicate == 0) if reverse_pred else (predicate != 0)
    return from_words(jnp.where(is_true, to_words(src), to_words(dst)), dst.dtype)
