"""Vector Engine instructions that fold the free dimensions, alone or together with arithmetic and the accumulators."""

from __future__ import annotations

from math import prod
from typing import Final

import jax
import jax.numpy as jnp
from jax import Array

from trnlab.emulator import dtypes
from trnlab.emulator.errors import ArgumentError, ShapeError
from trnlab.emulator.isa.accumulator import ACCUMULATOR, ASSUMPTIONS, FLOAT32, initial_only_loads, with_accumulator
from trnlab.emulator.isa.limits import AttributeIn, MaxDims, Rule, SameFree, SamePartitions
from trnlab.emulator.isa.operators import (
    ALU_SOURCE,
    ARITHMETIC,
    REDUCIBLE,
    REFERENCE,
    DtypesWhen,
    OperandSuitsOperator,
    OperatorExists,
    apply,
    fold,
    from_pattern,
    is_bitvec,
    pattern_of,
    uses_bitvec,
)
from trnlab.emulator.isa.registry import INTEGER_DTYPES, Call, instruction, reads, writes
from trnlab.emulator.numerics.sealing import seal
from trnlab.emulator.target import Engine, Feature, Generation


def _wrong_axes(call: Call) -> str | None:
    """The axes are the last ones, in a row, and leave the partition dimension out."""
    axes, rank = call.attributes["axis"], len(call["data"].shape)
    trailing = tuple(range(rank - len(axes), rank))
    return None if axes and axes == trailing and axes[0] > 0 else f"axis {axes} of a tensor of {rank} dimensions"


def _wrong_size(call: Call) -> str | None:
    if _wrong_axes(call):
        return None  # which elements such axes keep is not defined
    kept = prod(call["data"].shape[1 : call.attributes["axis"][0]])
    found = call["dst"]
    if found.free_elements == kept:
        return None
    return f"{found}, {found.free_elements} elements per partition, where axis leaves {kept}"


def _negates_bits(call: Call) -> str | None:
    op = call.attributes["op"]
    return f"negate=True with {op}" if call.attributes["negate"] and is_bitvec(op) else None


@instruction(
    engines=(Engine.VECTOR,),
    operands=(writes("dst"), reads("data")),
    attributes=("op", "axis", "negate"),
    limits=(
        AttributeIn("op", REDUCIBLE, source=ALU_SOURCE),
        Rule(
            _wrong_axes,
            "the last dimension, or several up to the last one, never dimension 0",
            operand="axis",
            error=ArgumentError,
        ),
        Rule(_negates_bits, "negate with arithmetic operators", operand="negate", error=ArgumentError),
        DtypesWhen(uses_bitvec("op"), ("dst", "data"), INTEGER_DTYPES, "for a bitvec operator"),
        SamePartitions("data", "dst"),
        Rule(_wrong_size, "one element for each one that the reduction keeps", operand="dst", error=ShapeError),
    ),
    math=lambda call: "raw" if is_bitvec(call.attributes["op"]) else "float32",
    layout="view",
    source=REFERENCE + "tensor_reduce",
    assumptions=("bitvec operators see zero-extended 32-bit patterns; dst keeps the low-order bits",),
)
def tensor_reduce(dst: jax.ShapeDtypeStruct, data: Array, op: str, axis: tuple[int, ...], negate: bool) -> Array:
    """dst = fold of <op> over the axes of data, times -1 where negate is set."""
    rows = data.reshape(*data.shape[: axis[0]], -1)
    if is_bitvec(op):
        return from_pattern(fold(op, pattern_of(rows)), dst.dtype).reshape(dst.shape)
    folded = seal(fold(op, rows))
    return (-folded if negate else folded).reshape(dst.shape)


@instruction(
    engines=(Engine.VECTOR,),
    operands=(
        writes("dst"),
        reads("data"),
        reads("operand0", dtypes=FLOAT32, immediate=True, optional=True, per_partition=True),
        reads("reduce_init", dtypes=FLOAT32, immediate=True, optional=True, per_partition=True),
        writes("reduce_res", optional=True, per_partition=True),
        ACCUMULATOR,
    ),
    attributes=("op0", "reverse0", "reduce_op", "reduce_cmd", "reduce_res_negate"),
    limits=(
        AttributeIn("op0", ARITHMETIC, source=ALU_SOURCE),
        AttributeIn("reduce_op", ("add", "multiply", "maximum", "minimum"), source=REFERENCE + "tensor_scalar_reduce"),
        AttributeIn("reduce_cmd", ("reset_reduce", "reduce", "load_reduce")),
        AttributeIn("reverse0", (False,), source=REFERENCE + "tensor_scalar_reduce: reverse0 is not supported yet"),
        OperatorExists(("op0",)),
        OperandSuitsOperator("op0", "operand0"),
        initial_only_loads(REFERENCE + "tensor_scalar_reduce"),
        SamePartitions("data", "dst", "operand0", "reduce_init", "reduce_res"),
        SameFree("data", "dst"),
    ),
    source=REFERENCE + "tensor_scalar_reduce",
    assumptions=ASSUMPTIONS,
)
def tensor_scalar_reduce(
    data: Array,
    operand0: Array | None,
    reduce_init: Array | None,
    reduce_res: jax.ShapeDtypeStruct | None,
    accumulator: Array | None,
    op0: str,
    reduce_op: str,
    reduce_cmd: str,
    reduce_res_negate: bool,
) -> tuple[Array, ...]:
    """dst = data <op0> operand0; reduce_res = fold of <reduce_op> over each partition's result."""
    result = apply(op0, data, operand0)
    return with_accumulator(result, reduce_res, accumulator, reduce_op, reduce_cmd, reduce_init, reduce_res_negate)


_EXPONENTIAL_RESULT: Final = frozenset(
    {dtypes.float8_e4m3, dtypes.float8_e5m2, dtypes.float16, dtypes.bfloat16, dtypes.float32, dtypes.tfloat32}
)
_EXPONENTIAL_INTEGERS: Final = frozenset({dtypes.int8, dtypes.int16, dtypes.int32, dtypes.uint8, dtypes.uint16})
_EXPONENTIAL_SOURCE: Final = (
    (_EXPONENTIAL_RESULT - {dtypes.tfloat32}) | _EXPONENTIAL_INTEGERS | frozenset({dtypes.uint32})
)


@instruction(
    engines=(Engine.VECTOR,),
    since=Generation.V4,
    feature=Feature.VECTOR_EXPONENTIAL,
    operands=(
        writes("dst", dtypes=_EXPONENTIAL_RESULT | _EXPONENTIAL_INTEGERS),
        reads("src", dtypes=_EXPONENTIAL_SOURCE),
        reads("max_value", dtypes=FLOAT32, immediate=True, per_partition=True),
        reads("reduce_init", dtypes=FLOAT32, immediate=True, optional=True, per_partition=True),
        writes("reduce_res", dtypes=_EXPONENTIAL_RESULT, optional=True, per_partition=True),
        ACCUMULATOR,
    ),
    attributes=("reduce_cmd",),
    limits=(
        AttributeIn("reduce_cmd", ("idle", "reset_reduce", "reduce", "load_reduce")),
        MaxDims("src", 4, source=REFERENCE + "exponential"),
        MaxDims("dst", 4, source=REFERENCE + "exponential"),
        initial_only_loads(REFERENCE + "exponential"),
        SamePartitions("src", "dst", "max_value", "reduce_init", "reduce_res"),
        SameFree("src", "dst"),
    ),
    source=REFERENCE + "exponential",
    assumptions=ASSUMPTIONS,
)
def exponential(
    src: Array,
    max_value: Array,
    reduce_init: Array | None,
    reduce_res: jax.ShapeDtypeStruct | None,
    accumulator: Array | None,
    reduce_cmd: str,
) -> tuple[Array, ...]:
    """dst = exp(src - max_value); reduce_res = sum of each partition's results."""
    result = jnp.exp(seal(src - max_value))
    return with_accumulator(result, reduce_res, accumulator, "add", reduce_cmd, reduce_init)
