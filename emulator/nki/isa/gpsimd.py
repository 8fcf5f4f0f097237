"""The GpSimd Engine instructions of nki.isa, as published."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from trnlab.emulator.errors import ArgumentError
from trnlab.emulator.isa import gpsimd, partition_reduce
from trnlab.emulator.nki.isa.convert import int32
from trnlab.emulator.nki.isa.operands import DefaultOperator, as_number, operator, reduction
from trnlab.emulator.source import fail
from trnlab.emulator.tensor import NkiTensor
from trnlab.emulator.trace import NkiInstruction, current

EQUAL: Final = DefaultOperator("equal")
"""The published default `nl.equal`."""


def iota(
    dst: NkiTensor,
    pattern: Sequence[Sequence[int]],
    offset: int = 0,
    channel_multiplier: int = 0,
    name: str | None = None,
) -> NkiInstruction:
    """dst[c, i] = offset + c * channel_multiplier + sum(i_d * step_d) in int32, cast to dst.

    dst:      in SBUF, any unpacked dtype; integers saturate, floats round to nearest even
    pattern:  up to four pairs [step, num], outermost first; the nums multiply to dst's elements per partition
    offset, channel_multiplier: int32; c counts the partitions of dst from 0

    Raises:
        ShapeError, DtypeError, BufferError, PartitionError: see the instruction's limits.
        ArgumentError: a pattern of another form, or numbers that are not int32.
    """
    subject = "nisa.iota"
    attributes = (_pattern(subject, pattern), int32(subject, "channel_multiplier", channel_multiplier))
    return current(subject).emit(gpsimd.iota, (dst,), attributes, (int32(subject, "offset", offset),), name=name)


def affine_select(
    dst: NkiTensor,
    pattern: Sequence[Sequence[int]],
    channel_multiplier: int,
    on_true_tile: NkiTensor,
    on_false_value: float,
    cmp_op: Any = EQUAL,
    offset: int = 0,
    name: str | None = None,
) -> NkiInstruction:
    """dst = on_true_tile where cmp_op(offset + c * channel_multiplier + sum(i_d * step_d), 0), else on_false_value.

    dst, on_true_tile: in SBUF, the same partitions and elements per partition, any unpacked dtypes; equal dtypes keep
                    their bits, different ones go through float32
    on_false_value: a number, as float32
    cmp_op:         nl.equal, not_equal, greater, greater_equal, less or less_equal, on int32
    pattern, offset, channel_multiplier: as for `iota`

    Raises:
        ShapeError, DtypeError, BufferError, PartitionError: see the instruction's limits.
        ArgumentError: a pattern of another form, numbers that are not int32, or another operator.
    """
    subject = "nisa.affine_select"
    attributes = (
        _pattern(subject, pattern),
        int32(subject, "channel_multiplier", channel_multiplier),
        operator(subject, "cmp_op", cmp_op),
        _number(subject, "on_false_value", on_false_value),
    )
    immediates = (int32(subject, "offset", offset),)
    return current(subject).emit(gpsimd.affine_select, (dst, on_true_tile), attributes, immediates, name=name)


def _pattern(subject: str, pattern: Any) -> gpsimd.Pattern:
    allowed = "a list of [step, num] pairs of integers"
    if not isinstance(pattern, (tuple, list)):
        fail(ArgumentError, subject, operand="pattern", found=repr(pattern), allowed=allowed)
    for pair in pattern:
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            fail(ArgumentError, subject, operand="pattern", found=repr(pair), allowed=allowed)
    return tuple((int32(subject, "pattern", step), int32(subject, "pattern", num)) for step, num in pattern)


def _number(subject: str, argument: str, value: Any) -> float:
    number = as_number(value)
    if number is None:
        fail(ArgumentError, subject, operand=argument, found=repr(value), allowed="a compile-time number")
    return float(number)


def tensor_partition_reduce(dst: NkiTensor, op: Any, data: NkiTensor, name: str | None = None) -> NkiInstruction:
    """dst[0, i] = fold of <op> over data[p, i] of all partitions p.

    dst:  a tensor in SBUF of one partition and as many elements per partition as data, which is in SBUF too
    op:   add, average or maximum in float32, or bitwise_or or bitwise_and on integers

    Raises:
        ArgumentError, ShapeError, DtypeError, BufferError, EngineError: see the instruction's limits (`trnlab isa`).
    """
    subject = "nisa.tensor_partition_reduce"
    attributes = (reduction(subject, "op", op),)
    return current(subject).emit(partition_reduce.tensor_partition_reduce, (dst, data), attributes, name=name)
