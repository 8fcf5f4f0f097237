"""The Scalar Engine instructions of nki.isa, as published."""

from __future__ import annotations

from typing import Any

from trnlab.emulator.isa import activate2 as pipeline, scalar
from trnlab.emulator.isa.accumulator import uses_registers
from trnlab.emulator.isa.registry import InstructionSpec
from trnlab.emulator.nki.isa import enums
from trnlab.emulator.nki.isa.convert import flag, mode_name, op_name
from trnlab.emulator.nki.isa.operands import operator, reduction, registers
from trnlab.emulator.tensor import NkiTensor
from trnlab.emulator.trace import NkiInstruction, current


def _emit(
    spec: InstructionSpec,
    dst: NkiTensor,
    op: Any,
    data: NkiTensor,
    bias: float | NkiTensor | None,
    scale: float | NkiTensor,
    reduce_op: Any,
    reduce_res: NkiTensor | None,
    reduce_cmd: enums.reduce_cmd,
    name: str | None,
) -> NkiInstruction:
    subject = f"nisa.{spec.name}"
    command = mode_name(subject, "reduce_cmd", reduce_cmd, enums.reduce_cmd)
    attributes = (operator(subject, "op", op), op_name(subject, "reduce_op", reduce_op), command)
    trace = current(subject)
    accumulator = registers(trace, "scalar", data, uses_registers(command, reduce_res))
    return trace.emit(spec, (dst, data, bias, scale, reduce_res, accumulator), attributes, name=name)


def activation(
    dst: NkiTensor,
    op: Any,
    data: NkiTensor,
    bias: float | NkiTensor | None = None,
    scale: float | NkiTensor = 1.0,
    reduce_op: Any = None,
    reduce_res: NkiTensor | None = None,
    reduce_cmd: enums.reduce_cmd = enums.reduce_cmd.idle,
    name: str | None = None,
) -> NkiInstruction:
    """dst = op(data * scale + bias) in float32; the registers gather the sum of each partition's results.

    dst, data:  tensors in SBUF or PSUM of equal partition count and elements per partition, any dtype but packed ones
    op:         an activation function, as nl.exp; outside its documented range the exact function is returned
    bias:       a (P, 1) tensor, or from NeuronCore-v3 on a number; None adds nothing
    scale:      a number or a (P, 1) float32 tensor
    reduce_op:  nl.add, needed with reduce_cmd reduce and reset_reduce
    reduce_res: a (P, 1) tensor that receives the Scalar Engine's accumulator registers, or None to leave them there
    reduce_cmd: idle, reset, reduce or reset_reduce

    Raises:
        GenerationError: a constant bias on NeuronCore-v2.
        ArgumentError, ShapeError, DtypeError, BufferError: see the instruction's limits (`trnlab isa`).
    """
    return _emit(scalar.activation, dst, op, data, bias, scale, reduce_op, reduce_res, reduce_cmd, name)


def activation_reduce(
    dst: NkiTensor,
    op: Any,
    data: NkiTensor,
    reduce_op: Any,
    reduce_res: NkiTensor | None,
    bias: float | NkiTensor | None = None,
    scale: float | NkiTensor = 1.0,
    name: str | None = None,
) -> NkiInstruction:
    """dst = op(data * scale + bias); reduce_res = sum of each partition's results: activation with reset_reduce.

    Arguments and errors as in `activation`; reduce_op is nl.add, and reduce_res may be None to leave the sum in the
    registers.
    """
    reset_reduce = enums.reduce_cmd.reset_reduce
    return _emit(scalar.activation_reduce, dst, op, data, bias, scale, reduce_op, reduce_res, reset_reduce, name)


def activate2(
    dst: NkiTensor,
    op: Any,
    data: NkiTensor,
    imm0: float | NkiTensor,
    imm1: float | NkiTensor,
    op0: Any,
    op1: Any,
    relu_param: float | NkiTensor = 0.0,
    reverse0: bool = False,
    reverse1: bool = False,
    reduce_op: Any = None,
    reduce_res: NkiTensor | None = None,
    reduce_cmd: enums.reduce_cmd = enums.reduce_cmd.idle,
    name: str | None = None,
) -> NkiInstruction:
    """dst = op((data <op0> imm0) <op1> imm1) in float32, and a fold of the results. NeuronCore-v4 on.

    dst, data:  tensors in SBUF or PSUM of equal partition count and elements per partition, any dtype but packed ones
    op:         an activation function, as nl.gelu; outside its documented range the exact function is returned
    op0, op1:   nl.multiply with nl.add, nl.subtract or nl.bypass; nl.add, nl.subtract or nl.bypass with nl.bypass
    imm0, imm1: a number or a (P, 1) tensor, of one dtype where both are tensors; not read where the stage is bypassed
    relu_param: the slope of nl.prelu, a number or a (P, 1) tensor; not read by other functions
    reverse0:   imm0 <op0> data instead; reverse1: imm1 <op1> (...) instead; each with an operator only
    reduce_op:  add, maximum, minimum, abs_max or abs_min, needed unless reduce_cmd is idle
    reduce_res: a (P, 1) tensor that receives the Scalar Engine's accumulator registers, or None to leave them there
    reduce_cmd: idle, reset, reduce or reset_reduce

    Raises:
        GenerationError: before NeuronCore-v4.
        ArgumentError, ShapeError, DtypeError, BufferError: see the instruction's limits (`trnlab isa`).
    """
    subject = "nisa.activate2"
    function, command = operator(subject, "op", op), mode_name(subject, "reduce_cmd", reduce_cmd, enums.reduce_cmd)
    first, second = operator(subject, "op0", op0), operator(subject, "op1", op1)
    fold = None if reduce_op is None else reduction(subject, "reduce_op", reduce_op)
    attributes = (
        function,
        first,
        second,
        flag(subject, "reverse0", reverse0),
        flag(subject, "reverse1", reverse1),
        fold,
        command,
    )
    trace = current(subject)
    operands = (
        dst,
        data,
        None if first == "bypass" else imm0,
        None if second == "bypass" else imm1,
        relu_param if pipeline.takes_parameter(function) else None,
        reduce_res,
        registers(trace, "scalar", data, uses_registers(command, reduce_res)),
    )
    return trace.emit(pipeline.activate2, operands, attributes, name=name)
