"""The Vector Engine instructions of nki.isa that search each partition, as published."""

from __future__ import annotations

from trnlab.emulator.errors import ArgumentError
from trnlab.emulator.isa import search
from trnlab.emulator.nki.isa.operands import as_number
from trnlab.emulator.source import fail
from trnlab.emulator.tensor import NkiTensor
from trnlab.emulator.trace import NkiInstruction, current


def max8(dst: NkiTensor, src: NkiTensor, name: str | None = None) -> NkiInstruction:
    """dst = the 8 largest elements of each partition of src, in descending order; equal ones as often as they occur.

    src: a tensor in SBUF or PSUM of at most 3 dimensions with 8 to 16384 elements per partition; compared as float32,
         NaNs above infinity
    dst: (P, 8) in SBUF or PSUM, any dtype; values are cast from float32

    Raises:
        ShapeError, DtypeError, BufferError: see the instruction's limits (`trnlab isa`).
    """
    return current("nisa.max8").emit(search.max8, (dst, src), name=name)


def nc_find_index8(dst: NkiTensor, data: NkiTensor, vals: NkiTensor, name: str | None = None) -> NkiInstruction:
    """dst[p, k] = the index in data[p] of vals[p, k]; of equal values the n-th one finds the n-th occurrence.

    An index counts from 0 along the flattened free dimensions. It is all ones (0xFFFFFFFF or 0xFFFF) where the value
    does not occur, or not often enough.

    data: a tensor in SBUF or PSUM of at most 3 dimensions with 8 to 16384 elements per partition
    vals: 8 elements per partition, at most 3 dimensions; compared with data as float32
    dst:  (P, 8) of uint16 or uint32

    Raises:
        ShapeError, DtypeError, BufferError: see the instruction's limits (`trnlab isa`).
    """
    return current("nisa.nc_find_index8").emit(search.nc_find_index8, (dst, data, vals), name=name)


def nc_match_replace8(
    dst: NkiTensor,
    data: NkiTensor,
    vals: NkiTensor,
    imm: float,
    dst_idx: NkiTensor | None = None,
    name: str | None = None,
) -> NkiInstruction:
    """dst = data with one occurrence of each of vals replaced by imm; dst_idx = the indices of these occurrences.

    Values are taken from vals[p, 7] to vals[p, 0], each with the first equal element that is left: of equal values the
    last one gets the first occurrence, the opposite of `nc_find_index8`.

    data:    a tensor in SBUF or PSUM with up to 16384 elements per partition
    vals:    8 elements per partition, at most 3 dimensions; compared with data as float32
    imm:     a number, as float32
    dst:     as data, which it may be; values are cast from float32
    dst_idx: None, or 8 elements per partition of uint16 or uint32, all ones where a value finds nothing

    Raises:
        ArgumentError: imm is no number.
        ShapeError, DtypeError, BufferError: see the instruction's limits (`trnlab isa`).
    """
    subject = "nisa.nc_match_replace8"
    number = as_number(imm)
    if number is None:
        fail(ArgumentError, subject, operand="imm", found=repr(imm), allowed="a compile-time number")
    operands = (dst, data, vals, dst_idx)
    return current(subject).emit(search.nc_match_replace8, operands, immediates=(float(number),), name=name)
