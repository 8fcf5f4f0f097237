"""The Vector Engine instructions of nki.isa that fold the free dimensions, as published."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from trnlab.emulator.errors import ArgumentError
from trnlab.emulator.isa import reduce
from trnlab.emulator.isa.accumulator import uses_registers
from trnlab.emulator.nki.isa import enums
from trnlab.emulator.nki.isa.convert import flag, integer, mode_name
from trnlab.emulator.nki.isa.operands import as_number, operator, reduction, registers, scalar_operand
from trnlab.emulator.source import fail
from trnlab.emulator.tensor import NkiTensor
from trnlab.emulator.trace import NkiInstruction, current


def _axes(subject: str, data: Any, axis: int | Sequence[int]) -> tuple[int, ...]:
    """The axes in ascending order, negative ones counted from the end; which axes are legal is the instruction's."""
    given = axis if isinstance(axis, (tuple, list)) else (axis,)
    axes = sorted(integer(subject, "axis", item) for item in given)
    if not isinstance(data, NkiTensor):
        return tuple(axes)  # the instruction's own rules say what is wrong with data
    rank = len(data.shape)
    if any(not -rank <= item < rank for item in axes):
        fail(ArgumentError, subject, operand="axis", found=repr(axis), allowed=f"{-rank} to {rank - 1}")
    return tuple(sorted(item % rank for item in axes))


def tensor_reduce(
    dst: NkiTensor,
    op: Any,
    data: NkiTensor,
    axis: int | Sequence[int],
    negate: bool = False,
    keepdims: bool = False,
    name: str | None = None,
) -> NkiInstruction:
    """dst = fold of <op> over the last free dimensions of data, times -1 where negate is set.

    data:     a tensor in SBUF or PSUM; arithmetic in float32, bitvec operators on integers
    dst:      a tensor in SBUF or PSUM with one element for each one kept
    op:       add, subtract, multiply, maximum, minimum, logical_and, logical_or, logical_xor, or a bitwise operator
    axis:     the last dimension, or several up to the last one; never the partition dimension
    negate:   only with arithmetic operators
    keepdims: dst keeps the axes with size 1; both forms of dst are taken, since only its elements count

    Raises:
        ArgumentError, ShapeError, DtypeError, BufferError: see the instruction's limits (`trnlab isa`).
    """
    subject = "nisa.tensor_reduce"
    attributes = (operator(subject, "op", op), _axes(subject, data, axis), flag(subject, "negate", negate))
    return current(subject).emit(reduce.tensor_reduce, (dst, data), attributes, name=name)


def tensor_scalar_reduce(
    dst: NkiTensor,
    data: NkiTensor,
    op0: Any,
    operand0: float | NkiTensor,
    reduce_op: Any,
    reduce_res: NkiTensor | None = None,
    reverse0: bool = False,
    reduce_cmd: enums.reduce_cmd = enums.reduce_cmd.reset_reduce,
    reduce_init: float | NkiTensor | None = None,
    reduce_res_negate: bool = False,
    name: str | None = None,
) -> NkiInstruction:
    """dst = data <op0> operand0; reduce_res = fold of <reduce_op> over each partition's results.

    dst, data:  tensors in SBUF or PSUM of equal partition count and elements per partition
    op0:        an arithmetic operator, with operand0 as in tensor_scalar
    reduce_op:  add, multiply, maximum or minimum
    reduce_res: a (P, 1) tensor that receives the Vector Engine's accumulator registers, or None to leave them there
    reverse0:   not supported by NKI
    reduce_cmd: reset_reduce, reduce or load_reduce
    reduce_init: a number or a (P, 1) float32 tensor, with load_reduce and only then
    reduce_res_negate: write the registers times -1; the registers keep their sign

    Raises:
        GenerationError: square, relu, abs_max or abs_min before NeuronCore-v4.
        ArgumentError, ShapeError, DtypeError, BufferError: see the instruction's limits (`trnlab isa`).
    """
    subject = "nisa.tensor_scalar_reduce"
    first = operator(subject, "op0", op0)
    attributes = (
        first,
        flag(subject, "reverse0", reverse0),
        reduction(subject, "reduce_op", reduce_op),
        mode_name(subject, "reduce_cmd", reduce_cmd, enums.reduce_cmd),
        flag(subject, "reduce_res_negate", reduce_res_negate),
    )
    trace = current(subject)
    accumulator = registers(trace, "vector", data, True)
    scalar = scalar_operand(subject, "operand0", first, operand0)
    operands = (dst, data, scalar, reduce_init, reduce_res, accumulator)
    return trace.emit(reduce.tensor_scalar_reduce, operands, attributes, name=name)


def exponential(
    dst: NkiTensor,
    src: NkiTensor,
    max_value: float | NkiTensor = 0.0,
    reduce_res: NkiTensor | None = None,
    reduce_cmd: enums.reduce_cmd = enums.reduce_cmd.idle,
    reduce_init: float | NkiTensor = 0.0,
    name: str | None = None,
) -> NkiInstruction:
    """dst = exp(src - max_value) on the Vector Engine; reduce_res = sum of each partition's results. NeuronCore-v4 on.

    dst, src:   tensors in SBUF or PSUM of equal partition count and elements per partition, at most 4-D
    max_value:  a number, or a (P, 1) float32 tensor
    reduce_res: a (P, 1) float tensor that receives the accumulator registers, or None to leave them there
    reduce_cmd: idle, reset_reduce, reduce or load_reduce
    reduce_init: a number or a (P, 1) float32 tensor for load_reduce; else 0.0

    Raises:
        GenerationError: before NeuronCore-v4.
        ArgumentError, ShapeError, DtypeError, BufferError: see the instruction's limits (`trnlab isa`).
    """
    subject = "nisa.exponential"
    command = mode_name(subject, "reduce_cmd", reduce_cmd, enums.reduce_cmd)
    is_unset = reduce_init is None or as_number(reduce_init) == 0
    initial = None if command != "load_reduce" and is_unset else reduce_init
    trace = current(subject)
    accumulator = registers(trace, "vector", src, uses_registers(command, reduce_res))
    operands = (dst, src, max_value, initial, reduce_res, accumulator)
    return trace.emit(reduce.exponential, operands, (command,), name=name)
