"""The Vector Engine instructions of nki.isa whose results enter the next element's, as published."""

from __future__ import annotations

from typing import Any

from trnlab.emulator.isa import scan
from trnlab.emulator.nki.isa import enums
from trnlab.emulator.nki.isa.convert import flag, mode_name
from trnlab.emulator.nki.isa.operands import operator, reduction, registers, scalar_operand
from trnlab.emulator.tensor import NkiTensor
from trnlab.emulator.trace import NkiInstruction, current


def tensor_tensor_scan(
    dst: NkiTensor,
    data0: NkiTensor,
    data1: NkiTensor,
    initial: float | NkiTensor,
    op0: Any,
    op1: Any,
    reverse0: bool = False,
    reverse1: bool = False,
    name: str | None = None,
) -> NkiInstruction:
    """dst[i] = (data0[i] <op0> dst[i - 1]) <op1> data1[i] along each partition, with dst[-1] = initial; in float32.

    dst, data0, data1: tensors in SBUF or PSUM of equal partition count and elements per partition, any dtype but
              packed ones; data0 and data1 not both in PSUM
    initial:  a number, or a (P, 1) tensor
    op0, op1: binary arithmetic operators, as nl.multiply and nl.add
    reverse0: dst[i - 1] <op0> data0[i] instead
    reverse1: data1[i] <op1> (...) instead

    Raises:
        GenerationError: abs_max or abs_min before NeuronCore-v4.
        ArgumentError, ShapeError, DtypeError, BufferError: see the instruction's limits (`trnlab isa`).
    """
    subject = "nisa.tensor_tensor_scan"
    attributes = (
        operator(subject, "op0", op0),
        operator(subject, "op1", op1),
        flag(subject, "reverse0", reverse0),
        flag(subject, "reverse1", reverse1),
    )
    return current(subject).emit(scan.tensor_tensor_scan, (dst, data0, data1, initial), attributes, name=name)


def tensor_scalar_cumulative(
    dst: NkiTensor,
    src: NkiTensor,
    op0: Any,
    op1: Any,
    imm0: float | NkiTensor,
    imm1: float | NkiTensor | None = None,
    reduce_cmd: enums.reduce_cmd = enums.reduce_cmd.reset_reduce,
    name: str | None = None,
) -> NkiInstruction:
    """dst[i] = register = (src[i] <op0> imm0) <op1> register along each partition, in float32.

    The register is the Vector Engine's accumulator, shared with the instructions that take a reduce_cmd.

    dst, src:   tensors in SBUF or PSUM of equal partition count and elements per partition; bfloat16, float16, float32,
                FP8, or an integer of 8 or 16 bits
    op0:        an arithmetic operator, with imm0 as in tensor_scalar
    op1:        add, subtract, multiply, maximum or minimum; subtract is value - register
    imm0, imm1: a number, or a (P, 1) float32 tensor
    reduce_cmd: what the register holds before the first element: op1's identity (reset_reduce), what the previous
                instruction left there (reduce), or imm1 (load_reduce); without load_reduce imm1 is not read

    Raises:
        GenerationError: square, relu, abs_max or abs_min before NeuronCore-v4.
        ArgumentError, ShapeError, DtypeError, BufferError: see the instruction's limits (`trnlab isa`).
    """
    subject = "nisa.tensor_scalar_cumulative"
    first = operator(subject, "op0", op0)
    command = mode_name(subject, "reduce_cmd", reduce_cmd, enums.reduce_cmd)
    attributes = (first, reduction(subject, "op1", op1), command)
    trace = current(subject)
    initial = imm1 if command == "load_reduce" else None
    scalar = scalar_operand(subject, "imm0", first, imm0)
    operands = (dst, src, scalar, initial, registers(trace, "vector", src, True))
    return trace.emit(scan.tensor_scalar_cumulative, operands, attributes, name=name)
