"""tensor_scalar and scalar_tensor_tensor: two operators in a row, with scalars or one value per partition."""

from __future__ import annotations

from typing import Final

import jax
from jax import Array

from trnlab.emulator.errors import ArgumentError
from trnlab.emulator.isa.accumulator import FLOAT32
from trnlab.emulator.isa.limits import AttributeIn, NotAllIn, Rule, SameFree, SamePartitions
from trnlab.emulator.isa.operators import (
    ALU_SOURCE,
    ARITHMETIC,
    BINARY_ARITHMETIC,
    BITVEC,
    REFERENCE,
    VECTOR_FIRST,
    DtypesWhen,
    EngineSet,
    OperandSuitsOperator,
    OperatorExists,
    RunsOn,
    apply,
    chosen,
    from_pattern,
    is_bitvec,
    pattern_of,
    uses_arithmetic,
    uses_bitvec,
)
from trnlab.emulator.isa.registry import INTEGER_DTYPES, Call, instruction, reads, writes
from trnlab.emulator.memory import MemoryRegion
from trnlab.emulator.numerics.sealing import seal
from trnlab.emulator.target import Engine, Generation, Target

_SCALAR_ENGINE_PAIRS: Final = (("multiply", "add"), ("multiply", None), ("add", None))


def _tensor_scalar_engines(call: Call) -> EngineSet:
    ops = chosen(call, "op0", "op1")
    if any(map(is_bitvec, ops)):
        return (Engine.VECTOR,), "for bitvec operators"
    if "rsqrt" in ops:
        return (Engine.GPSIMD,), "for rsqrt"
    pair = call.attributes["op0"], call.attributes["op1"]
    if call.target.generation >= Generation.V4 or pair in _SCALAR_ENGINE_PAIRS:
        return (Engine.VECTOR, Engine.SCALAR), "(gpsimd is for rsqrt)"
    return (Engine.VECTOR,), "(scalar is for multiply and add, multiply alone, or add alone; gpsimd is for rsqrt)"


def _engines_in_words(target: Target) -> str:
    scalar = "" if target.generation >= Generation.V4 else " for multiply and add, multiply alone, or add alone"
    return f"vector, or scalar{scalar}; vector alone for bitvec operators, gpsimd alone for rsqrt"


def _tensor_scalar_engine(call: Call) -> Engine:
    return _tensor_scalar_engines(call)[0][0]


def _mixes_classes(call: Call) -> str | None:
    ops = chosen(call, "op0", "op1")
    return f"{' and '.join(ops)}" if len({is_bitvec(op) for op in ops}) > 1 else None


def _has_no_operator(call: Call) -> str | None:
    return None if chosen(call, "op0", "op1") else "None and None"


@instruction(
    engines=(Engine.VECTOR, Engine.SCALAR, Engine.GPSIMD),
    operands=(
        writes("dst"),
        reads("data"),
        reads("operand0", immediate=True, optional=True, per_partition=True),
        reads("operand1", immediate=True, optional=True, per_partition=True),
    ),
    attributes=("op0", "op1", "reverse0", "reverse1"),
    limits=(
        AttributeIn("op0", ARITHMETIC + BITVEC, source=ALU_SOURCE),
        AttributeIn("op1", ARITHMETIC + BITVEC, source=ALU_SOURCE),
        Rule(_has_no_operator, "an operator as op0, op1 or both", operand="op0", error=ArgumentError),
        Rule(_mixes_classes, "op0 and op1 both bitvec or both arithmetic", operand="op1", error=ArgumentError),
        OperatorExists(("op0", "op1")),
        RunsOn(_tensor_scalar_engines, REFERENCE + "tensor_scalar", _engines_in_words),
        OperandSuitsOperator("op0", "operand0"),
        OperandSuitsOperator("op1", "operand1"),
        DtypesWhen(
            uses_bitvec("op0", "op1"),
            ("dst", "data", "operand0", "operand1"),
            INTEGER_DTYPES,
            "for bitvec operators",
        ),
        DtypesWhen(
            uses_arithmetic("op0", "op1"),
            ("operand0", "operand1"),
            FLOAT32,
            "for arithmetic operators",
            REFERENCE + "tensor_scalar",
        ),
        SamePartitions("data", "dst", "operand0", "operand1"),
        SameFree("data", "dst"),
    ),
    math=lambda call: "raw" if uses_bitvec("op0", "op1")(call) else "float32",
    choose_engine=_tensor_scalar_engine,
    source=REFERENCE + "tensor_scalar",
    assumptions=(
        VECTOR_FIRST,
        "rsqrt runs on GpSimd alone (NKI reference, engine selection; NKI 0.5.0 migration, nl.rsqrt); power on Vector",
        "the Scalar Engine's three operator pairs, documented for trn2, hold on trn1; from NeuronCore-v4 on it takes "
        "every arithmetic operator (NeuronCore-v4 guide: tensor_scalar natively, the same as VectorE)",
        "op0=None skips the first stage, as AWS's nki-library calls it",
        "bitvec operators see zero-extended 32-bit patterns; dst keeps the low-order bits",
    ),
)
def tensor_scalar(
    dst: jax.ShapeDtypeStruct,
    data: Array,
    operand0: Array | None,
    operand1: Array | None,
    op0: str | None,
    op1: str | None,
    reverse0: bool,
    reverse1: bool,
) -> Array:
    """dst = (data <op0> operand0) <op1> operand1, scalars broadcast along the free dimensions."""
    stages = ((op0, operand0, reverse0), (op1, operand1, reverse1))
    if any(is_bitvec(op) for op, _, _ in stages if op):
        value = pattern_of(data)
        for op, operand, reverse in stages:
            value = apply(op, value, None if operand is None else pattern_of(operand), reverse) if op else value
        return from_pattern(value, dst.dtype)
    value = data
    for op, operand, reverse in stages:
        value = seal(apply(op, value, operand, reverse)) if op else value
    return value


@instruction(
    engines=(Engine.VECTOR,),
    operands=(
        writes("dst"),
        reads("data"),
        reads("operand0", immediate=True, optional=True, per_partition=True),
        reads("operand1"),
    ),
    attributes=("op0", "op1", "reverse0", "reverse1"),
    limits=(
        AttributeIn("op0", ARITHMETIC, source=ALU_SOURCE),
        AttributeIn("op1", BINARY_ARITHMETIC, source=ALU_SOURCE),
        OperatorExists(("op0", "op1")),
        OperandSuitsOperator("op0", "operand0"),
        SamePartitions("data", "dst", "operand0", "operand1"),
        SameFree("data", "dst", "operand1"),
        NotAllIn(MemoryRegion.psum, ("data", "operand1"), source=REFERENCE + "scalar_tensor_tensor"),
    ),
    source=REFERENCE + "scalar_tensor_tensor",
)
def scalar_tensor_tensor(
    data: Array, operand0: Array | None, operand1: Array, op0: str, op1: str, reverse0: bool, reverse1: bool
) -> Array:
    """dst = (data <op0> operand0) <op1> operand1 with operand0 a scalar per partition and operand1 a tensor."""
    return apply(op1, seal(apply(op0, data, operand0, reverse0)), operand1, reverse1)
