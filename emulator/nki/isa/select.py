"""The Vector Engine instructions of nki.isa that select between values, as published."""

from __future__ import annotations

from typing import Any

import numpy as np

from trnlab.emulator.errors import ArgumentError
from trnlab.emulator.isa import select
from trnlab.emulator.isa.accumulator import uses_registers
from trnlab.emulator.nki.isa import enums
from trnlab.emulator.nki.isa.convert import flag, integer, mode_name
from trnlab.emulator.nki.isa.operands import MAXIMUM, as_number, fill_value, operator, reduction, registers
from trnlab.emulator.source import fail
from trnlab.emulator.tensor import NkiTensor
from trnlab.emulator.trace import NkiInstruction, current


def _range_start(subject: str, tile: NkiTensor, value: Any) -> float:
    """The index of the first element; every index must be exact in float32."""
    start = integer(subject, "range_start", value)
    count = tile.size // tile.shape[0] if isinstance(tile, NkiTensor) else 1
    if max(abs(start), abs(start + count - 1)) > select.INDEX_MAX:
        fail(
            ArgumentError,
            subject,
            operand="range_start",
            found=f"{start}, indices {start} to {start + count - 1}",
            allowed=f"indices within {select.INDEX_MAX} (2**24), which float32 holds exactly",
            source="NKI reference, nisa.range_select",
        )
    return float(start)


def range_select(
    dst: NkiTensor,
    on_true_tile: NkiTensor,
    comp_op0: Any,
    comp_op1: Any,
    bound0: NkiTensor,
    bound1: NkiTensor,
    reduce_cmd: enums.reduce_cmd = enums.reduce_cmd.reset_reduce,
    reduce_res: NkiTensor | None = None,
    reduce_op: Any = MAXIMUM,
    range_start: int = 0,
    on_false_value: float = select.FP32_MIN,
    name: str | None = None,
) -> NkiInstruction:
    """dst = on_true_tile where index <comp_op0> bound0 and index <comp_op1> bound1, else FP32_MIN. NeuronCore-v3 on.

    index = range_start + position of the element in its partition, compared in float32.

    dst, on_true_tile: tensors in SBUF or PSUM of equal partition count and elements per partition; on_true_tile float
    comp_op0, comp_op1: equal, less, less_equal, greater or greater_equal
    bound0, bound1: (P, 1) float32 tensors
    reduce_res: a (P, 1) tensor that receives the accumulator registers (the maximum), or None to leave them there
    reduce_cmd: idle, reset, reduce or reset_reduce
    on_false_value: FP32_MIN, -3.4028235e+38

    Raises:
        GenerationError: before NeuronCore-v3.
        ArgumentError, ShapeError, DtypeError, BufferError: see the instruction's limits (`trnlab isa`).
    """
    subject = "nisa.range_select"
    fill = as_number(on_false_value)
    if fill is None or np.float32(fill) != np.float32(select.FP32_MIN):
        found, allowed = repr(on_false_value), f"FP32_MIN, {np.float32(select.FP32_MIN)!s}"
        source = "NKI reference, nisa.range_select"
        fail(ArgumentError, subject, operand="on_false_value", found=found, allowed=allowed, source=source)
    command = mode_name(subject, "reduce_cmd", reduce_cmd, enums.reduce_cmd)
    attributes = (
        operator(subject, "comp_op0", comp_op0),
        operator(subject, "comp_op1", comp_op1),
        command,
        reduction(subject, "reduce_op", reduce_op),
    )
    trace = current(subject)
    accumulator = registers(trace, "vector", on_true_tile, uses_registers(command, reduce_res))
    operands = (dst, on_true_tile, bound0, bound1, reduce_res, accumulator)
    start = _range_start(subject, on_true_tile, range_start)
    return trace.emit(select.range_select, operands, attributes, immediates=(start,), name=name)


def select_reduce(
    dst: NkiTensor,
    predicate: NkiTensor,
    on_true: NkiTensor,
    on_false: float | NkiTensor,
    reduce_res: NkiTensor | None = None,
    reduce_cmd: enums.reduce_cmd = enums.reduce_cmd.idle,
    reduce_op: Any = MAXIMUM,
    reverse_pred: bool = False,
    name: str | None = None,
) -> NkiInstruction:
    """dst = on_true where predicate is not zero, else on_false; reduce_res = maximum of each partition's results.

    dst, on_true, predicate: tensors in SBUF or PSUM of equal partition count and elements per partition
    on_true:   any dtype but tfloat32 and 32-bit integers; not in PSUM together with the predicate
    predicate: an 8-bit or 16-bit integer
    on_false:  a number, or a (P, 1) tensor
    reduce_res: a (P, 1) float tensor that receives the accumulator registers, or None to leave them there
    reduce_cmd: idle, reduce or reset_reduce
    reverse_pred: on_true where predicate is zero

    Raises:
        ArgumentError, ShapeError, DtypeError, BufferError: see the instruction's limits (`trnlab isa`).
    """
    subject = "nisa.select_reduce"
    command = mode_name(subject, "reduce_cmd", reduce_cmd, enums.reduce_cmd)
    attributes = (command, reduction(subject, "reduce_op", reduce_op), flag(subject, "reverse_pred", reverse_pred))
    trace = current(subject)
    accumulator = registers(trace, "vector", on_true, uses_registers(command, reduce_res))
    operands = (dst, predicate, on_true, on_false, reduce_res, accumulator)
    return trace.emit(select.select_reduce, operands, attributes, name=name)


def tensor_copy_predicated(
    dst: NkiTensor,
    src: float | NkiTensor,
    predicate: NkiTensor,
    reverse_pred: bool = False,
    name: str | None = None,
) -> NkiInstruction:
    """dst = src where predicate is not zero; the other elements of dst stay as they are. Bits are copied.

    dst, predicate: tensors in SBUF or PSUM of equal partition count and elements per partition
    src:       a tensor of the same sizes and of dst's dtype, or a number; not in PSUM together with the predicate
    predicate: uint8, uint16, uint32 or bool
    reverse_pred: copy where predicate is zero instead

    Raises:
        ArgumentError: a number that dst's dtype cannot take: a fraction, or out of range, for an integer one.
        ArgumentError, ShapeError, DtypeError, BufferError: see the instruction's limits (`trnlab isa`).
    """
    subject = "nisa.tensor_copy_predicated"
    source = src if as_number(src) is None else fill_value(subject, dst, src, "src")
    operands = (dst, source, predicate)
    return current(subject).emit(
        select.tensor_copy_predicated, operands, (flag(subject, "reverse_pred", reverse_pred),), name=name
    )
