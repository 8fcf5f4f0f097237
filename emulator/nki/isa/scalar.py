"""The Scalar Engine instructions of nki.isa, as published."""

from __future__ import annotations

from typing import Any

from trnlab.emulator.isa import scalar
from trnlab.emulator.isa.accumulator import uses_registers
from trnlab.emulator.isa.registry import InstructionSpec
from trnlab.emulator.nki.isa import enums
from trnlab.emulator.nki.isa.convert import mode_name, op_name
from trnlab.emulator.nki.isa.operands import operator, registers
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
