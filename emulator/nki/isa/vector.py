"""The Vector Engine instructions of nki.isa, as published; those that fold, select or quantise have their own files."""

from __future__ import annotations

from typing import Any

from trnlab.emulator.isa import copy_fill, tensor_scalar as scalars, vector
from trnlab.emulator.nki.isa import enums
from trnlab.emulator.nki.isa.convert import engine_of, flag, op_name
from trnlab.emulator.nki.isa.operands import fill_value, operator, scalar_operand
from trnlab.emulator.nki.isa.quantize import quantize_mx
from trnlab.emulator.nki.isa.reduce import exponential, tensor_reduce, tensor_scalar_reduce
from trnlab.emulator.tensor import NkiTensor
from trnlab.emulator.trace import NkiInstruction, current

__all__ = [
    "exponential",
    "memset",
    "quantize_mx",
    "reciprocal",
    "scalar_tensor_tensor",
    "tensor_copy",
    "tensor_reduce",
    "tensor_scalar",
    "tensor_scalar_reduce",
    "tensor_tensor",
]


def tensor_copy(
    dst: NkiTensor, src: NkiTensor, engine: enums.engine = enums.engine.unknown, name: str | None = None
) -> NkiInstruction:
    """dst = src: bit for bit where the dtypes are equal, else cast through float32.

    dst, src: tensors in SBUF or PSUM with the same partition count and elements per partition, any dtype; packed x4
              dtypes only unchanged
    engine:   vector, scalar (from NeuronCore-v3 on) or gpsimd (SBUF only); unknown takes vector

    Raises:
        ShapeError, DtypeError, BufferError, EngineError: see the instruction's limits (`trnlab isa`).
    """
    subject = "nisa.tensor_copy"
    return current(subject).emit(copy_fill.tensor_copy, (dst, src), engine=engine_of(subject, engine), name=name)


def memset(
    dst: NkiTensor, value: float, engine: enums.engine = enums.engine.unknown, name: str | None = None
) -> NkiInstruction:
    """dst = value, everywhere.

    dst:    a tensor in SBUF or PSUM of any dtype
    value:  a compile-time number; an integer for integer dtypes, 0 for packed ones
    engine: vector or gpsimd (SBUF only); unknown takes vector

    Raises:
        ArgumentError: a value that the dtype does not take.  BufferError, EngineError: see `trnlab isa`.
    """
    subject = "nisa.memset"
    number = fill_value(subject, dst, value)
    trace = current(subject)
    return trace.emit(copy_fill.memset, (dst,), immediates=(number,), engine=engine_of(subject, engine), name=name)


def tensor_tensor(
    dst: NkiTensor,
    data1: NkiTensor,
    data2: NkiTensor,
    op: Any,
    engine: enums.engine = enums.engine.unknown,
    name: str | None = None,
) -> NkiInstruction:
    """dst = data1 <op> data2, element by element.

    dst, data1, data2: tensors in SBUF or PSUM of equal partition count and elements per partition; data1 and data2 not
                       both in PSUM; integers for bitvec operators
    op:      a binary operator; power runs on GpSimd
    engine:  vector or gpsimd. Unknown takes GpSimd for power, and for int32 and uint32 with nothing in PSUM, where it
             computes in native integers that wrap around; else Vector, which computes in float32.

    Raises:
        ArgumentError: another operator.  GenerationError: abs_max or abs_min before NeuronCore-v4.
        ShapeError, DtypeError, BufferError, EngineError: see the instruction's limits (`trnlab isa`).
    """
    subject = "nisa.tensor_tensor"
    attributes = (operator(subject, "op", op),)
    where = engine_of(subject, engine)
    return current(subject).emit(vector.tensor_tensor, (dst, data1, data2), attributes, engine=where, name=name)


def tensor_scalar(
    dst: NkiTensor,
    data: NkiTensor,
    op0: Any,
    operand0: float | NkiTensor,
    reverse0: bool = False,
    op1: Any = None,
    operand1: float | NkiTensor | None = None,
    reverse1: bool = False,
    engine: enums.engine = enums.engine.unknown,
    name: str | None = None,
) -> NkiInstruction:
    """dst = (data <op0> operand0) <op1> operand1, the operands broadcast along the free dimensions.

    dst, data: tensors in SBUF or PSUM of equal partition count and elements per partition
    op0, op1:  operators of one class: both arithmetic (in float32) or both bitvec (on integers)
    operand0, operand1: a number, or a (P, 1) tensor: float32 for arithmetic operators, integers for bitvec ones; None
               or 0 for a unary operator
    reverse0, reverse1: the operand is the left-hand side
    engine:    vector; scalar for multiply and add, multiply, or add, and from NeuronCore-v4 on for every arithmetic
               operator; gpsimd for rsqrt. Unknown takes gpsimd for rsqrt, else vector.

    Raises:
        ArgumentError: another operator, or an operand that does not suit it.
        GenerationError: square, relu, abs_max or abs_min before NeuronCore-v4.
        ShapeError, DtypeError, BufferError, EngineError: see the instruction's limits (`trnlab isa`).
    """
    subject = "nisa.tensor_scalar"
    first, second = op_name(subject, "op0", op0), op_name(subject, "op1", op1)
    operands = (
        dst,
        data,
        scalar_operand(subject, "operand0", first, operand0),
        scalar_operand(subject, "operand1", second, operand1),
    )
    attributes = (first, second, flag(subject, "reverse0", reverse0), flag(subject, "reverse1", reverse1))
    where = engine_of(subject, engine)
    return current(subject).emit(scalars.tensor_scalar, operands, attributes, engine=where, name=name)


def scalar_tensor_tensor(
    dst: NkiTensor,
    data: NkiTensor,
    op0: Any,
    operand0: float | NkiTensor,
    op1: Any,
    operand1: NkiTensor,
    reverse0: bool = False,
    reverse1: bool = False,
    name: str | None = None,
) -> NkiInstruction:
    """dst = (data <op0> operand0) <op1> operand1 on the Vector Engine, in float32.

    dst, data, operand1: tensors in SBUF or PSUM of equal partition count and elements per partition; data and operand1
               not both in PSUM
    operand0:  a number, or a (P, 1) tensor broadcast along the free dimensions
    op0, op1:  arithmetic operators, op1 a binary one
    reverse0, reverse1: the operand is the left-hand side

    Raises:
        GenerationError: square, relu, abs_max or abs_min before NeuronCore-v4.
        ArgumentError, ShapeError, DtypeError, BufferError: see the instruction's limits (`trnlab isa`).
    """
    subject = "nisa.scalar_tensor_tensor"
    first, second = operator(subject, "op0", op0), operator(subject, "op1", op1)
    operands = (dst, data, scalar_operand(subject, "operand0", first, operand0), operand1)
    attributes = (first, second, flag(subject, "reverse0", reverse0), flag(subject, "reverse1", reverse1))
    return current(subject).emit(scalars.scalar_tensor_tensor, operands, attributes, name=name)


def reciprocal(dst: NkiTensor, data: NkiTensor, name: str | None = None) -> NkiInstruction:
    """dst = 1 / data on the Vector Engine, in float32.

    dst, data: tensors in SBUF or PSUM of equal partition count and elements per partition, any dtype

    Raises:
        ShapeError, DtypeError, BufferError: see the instruction's limits (`trnlab isa`).
    """
    return current("nisa.reciprocal").emit(vector.reciprocal, (dst, data), name=name)
