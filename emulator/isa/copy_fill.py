"""tensor_copy and memset, which the Vector Engine shares with the Scalar and the GpSimd Engine."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array

from trnlab.emulator import dtypes
from trnlab.emulator.errors import DtypeError
from trnlab.emulator.isa.limits import Rule, SameFree, SamePartitions
from trnlab.emulator.isa.operators import REFERENCE, VECTOR_FIRST, EngineSet, RunsHere, from_pattern
from trnlab.emulator.isa.registry import ANY_DTYPE, Call, Math, instruction, reads, writes
from trnlab.emulator.target import Engine, Feature, Target


def _copies_bits(call: Call) -> Math:
    """Equal dtypes are copied bit by bit; different ones are cast through float32."""
    return "raw" if call["dst"].dtype == call["src"].dtype else "float32"


def _copy_casts_packed(call: Call) -> str | None:
    source, target = call["src"].dtype, call["dst"].dtype
    return f"{source} to {target}" if source != target and (source.is_packed or target.is_packed) else None


def _copy_engines(target: Target) -> EngineSet:
    if target.has(Feature.SCALAR_TENSOR_COPY):
        return (Engine.VECTOR, Engine.SCALAR, Engine.GPSIMD), ""
    return (Engine.VECTOR, Engine.GPSIMD), "(the Scalar Engine copies with nisa.activation(op=nl.copy))"


@instruction(
    engines=(Engine.VECTOR, Engine.SCALAR, Engine.GPSIMD),
    operands=(writes("dst", dtypes=ANY_DTYPE), reads("src", dtypes=ANY_DTYPE)),
    limits=(
        RunsHere(_copy_engines, REFERENCE + "tensor_copy, NeuronCore-v2"),
        SamePartitions("src", "dst"),
        SameFree("src", "dst"),
        Rule(
            _copy_casts_packed,
            "equal dtypes: packed x4 elements are not cast (assumed)",
            operand="src",
            error=DtypeError,
        ),
    ),
    math=_copies_bits,
    moves=True,
    source=REFERENCE + "tensor_copy",
    assumptions=(VECTOR_FIRST,),
)
def tensor_copy(src: Array) -> Array:
    """dst = src, element order kept: bit for bit where the dtypes are equal, else cast through float32."""
    return src


def fill_math(call: Call) -> Math:
    """A number that fills dst arrives as its bits where dst holds integers, as float32 where it holds floats."""
    dtype = call["dst"].dtype
    return "raw" if dtype.format.kind in ("int", "uint", "packed") else "float32"


@instruction(
    engines=(Engine.VECTOR, Engine.GPSIMD),
    operands=(writes("dst", dtypes=ANY_DTYPE),),
    immediates=("value",),
    math=fill_math,
    source=REFERENCE + "memset",
    assumptions=(VECTOR_FIRST, "float8_e8m0fnu has no zero: memset(0) writes its zero bits, which stand for 2**-127"),
)
def memset(dst: jax.ShapeDtypeStruct, value: Array, math: Math) -> Array:
    """dst = value, everywhere: integers exactly, floats rounded once from float32."""
    if math == "raw":
        return jnp.broadcast_to(from_pattern(value, dst.dtype), dst.shape)
    if dst.dtype == dtypes.float8_e8m0fnu.storage:
        value = jnp.where(value == 0, jnp.float32(2.0**-127), value)
    return jnp.broadcast_to(value, dst.shape)
