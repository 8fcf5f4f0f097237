"""Vector Engine arithmetic on tensors, element by element: tensor_tensor and reciprocal.

The engine computes in float32 whatever the dtypes; bitvec operators work on integers' bit patterns instead, and the
GpSimd Engine, which shares tensor_tensor, has native 32-bit integers.
"""

from __future__ import annotations

from typing import Final

import jax
import jax.numpy as jnp
from jax import Array, lax

from trnlab.emulator import dtypes
from trnlab.emulator.isa.limits import AttributeIn, NotAllIn, SameFree, SamePartitions
from trnlab.emulator.isa.operators import (
    ALU_SOURCE,
    BINARY_ARITHMETIC,
    BINARY_BITVEC,
    REFERENCE,
    VECTOR_FIRST,
    DtypesWhen,
    EngineSet,
    OperatorExists,
    RunsOn,
    apply,
    from_pattern,
    is_bitvec,
    pattern_of,
    uses_bitvec,
)
from trnlab.emulator.isa.registry import INTEGER_DTYPES, Call, Math, instruction, reads, writes
from trnlab.emulator.memory import MemoryRegion
from trnlab.emulator.numerics.elementwise import ALU_OPS
from trnlab.emulator.target import Engine

_NATIVE: Final = frozenset({dtypes.int32, dtypes.uint32})


def _is_native(call: Call) -> bool:
    """Whether GpSimd's 32-bit integers can run the call: every tensor is int32 or uint32."""
    op = ALU_OPS.get(call.attributes["op"])
    views = call.present("dst", "data1", "data2")
    return op is not None and op.integer_function is not None and all(view.dtype in _NATIVE for view in views)


def _tensor_tensor_engine(call: Call) -> Engine:
    in_psum = any(view.region is MemoryRegion.psum for view in call.operands.values())
    if call.attributes["op"] == "power" or (_is_native(call) and not in_psum):
        return Engine.GPSIMD
    return Engine.VECTOR


def _tensor_tensor_engines(call: Call) -> EngineSet:
    op = call.attributes["op"]
    if op == "power":
        return (Engine.GPSIMD,), "for op=power"
    if is_bitvec(op):
        return (Engine.VECTOR,), "for a bitvec operator"
    return (Engine.VECTOR, Engine.GPSIMD), ""


def _tensor_tensor_math(call: Call) -> Math:
    native = call.engine is Engine.GPSIMD and _is_native(call)
    return "raw" if native or is_bitvec(call.attributes["op"]) else "float32"


@instruction(
    engines=(Engine.VECTOR, Engine.GPSIMD),
    operands=(writes("dst"), reads("data1"), reads("data2")),
    attributes=("op",),
    limits=(
        AttributeIn("op", BINARY_ARITHMETIC + BINARY_BITVEC, source=ALU_SOURCE),
        OperatorExists(("op",)),
        RunsOn(
            _tensor_tensor_engines,
            REFERENCE + "tensor_tensor",
            "vector or gpsimd; gpsimd alone for op=power, vector alone for a bitvec operator",
        ),
        DtypesWhen(uses_bitvec("op"), ("dst", "data1", "data2"), INTEGER_DTYPES, "for a bitvec operator"),
        SamePartitions("data1", "data2", "dst"),
        SameFree("data1", "data2", "dst"),
        NotAllIn(MemoryRegion.psum, ("data1", "data2"), source=REFERENCE + "tensor_tensor"),
    ),
    math=_tensor_tensor_math,
    choose_engine=_tensor_tensor_engine,
    source=REFERENCE + "tensor_tensor",
    assumptions=(
        VECTOR_FIRST,
        "bitvec operators run on Vector alone; tensors of several widths meet as zero-extended 32-bit patterns",
        "native integers of mixed sign meet as uint32, as in C",
    ),
)
def tensor_tensor(dst: jax.ShapeDtypeStruct, data1: Array, data2: Array, op: str, math: Math) -> Array:
    """dst = data1 <op> data2, element by element: in float32, on bit patterns, or in native 32-bit integers."""
    if is_bitvec(op):
        return from_pattern(apply(op, pattern_of(data1), pattern_of(data2)), dst.dtype)
    return _native_integers(dst, data1, data2, op) if math == "raw" else apply(op, data1, data2)


def _native_integers(dst: jax.ShapeDtypeStruct, data1: Array, data2: Array, op: str) -> Array:
    """32-bit arithmetic that wraps around."""
    common = jnp.int32 if data1.dtype == data2.dtype == jnp.int32 else jnp.uint32
    function = ALU_OPS[op].integer_function
    assert function is not None
    result = function(lax.bitcast_convert_type(data1, common), lax.bitcast_convert_type(data2, common))
    return lax.bitcast_convert_type(result, dst.dtype)


@instruction(
    engines=(Engine.VECTOR,),
    operands=(writes("dst"), reads("data")),
    limits=(SamePartitions("data", "dst"), SameFree("data", "dst")),
    source=REFERENCE + "reciprocal",
)
def reciprocal(data: Array) -> Array:
    """dst = 1 / data in float32."""
    return ALU_OPS["reciprocal"].function(data)
