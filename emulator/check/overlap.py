"""Instructions that write elements which they also read, at another place of the same stream.

An engine streams elements: an instruction whose source and destination are the same elements in the same order is
ordinary, one that is shifted or transposed against itself gives what its order of reads and writes makes of it. The
executors read everything before they write anything; no document of NKI promises that of the hardware.

Left out, so that every finding is certain: run-time addresses, sources of another length than the destination (scalars
and initial values, which are fetched first), and views of more than `MAX_ELEMENTS` elements.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import gcd
from typing import Any, Final, NamedTuple

import numpy as np

from trnlab.emulator.check.finding import Finding, line_of
from trnlab.emulator.program import IndexArray, OperandSignature, Program, Signature
from trnlab.emulator.view_algebra import reach

MAX_ELEMENTS: Final = 1 << 20
"""Elements of a view up to which overlaps are searched for: a list of them has to be held in memory."""

Elements = np.ndarray[Any, np.dtype[np.int64]]


def overlapping_operands(program: Program) -> tuple[Finding, ...]:
    """One warning per signature and pair of operands that overlap without being the same elements in the same order."""
    program = program.flat
    return tuple(
        finding
        for number, signature in enumerate(program.signatures)
        for pair in _pairs(signature)
        for finding in _findings(program, number, pair)
    )


class _Pair(NamedTuple):
    """Positions of a source and a destination of one signature that may overlap."""

    read: int
    write: int


def _pairs(signature: Signature) -> Iterator[_Pair]:
    operands = signature.operands
    for write, destination in enumerate(operands):
        for read, source in enumerate(operands):
            if read != write and destination.writes and source.access == "read" and _may_overlap(source, destination):
                yield _Pair(read, write)


def _may_overlap(source: OperandSignature, destination: OperandSignature) -> bool:
    size = int(np.prod(source.shape))
    return (
        source.indirection is None
        and destination.indirection is None
        and source.buffer_shape == destination.buffer_shape
        and 1 < size <= MAX_ELEMENTS
        and size == int(np.prod(destination.shape))
    )


def _findings(program: Program, number: int, pair: _Pair) -> Iterator[Finding]:
    where = np.flatnonzero(program.signature_ids == number)
    reads, writes = (program.operands[program.operand_starts[where] + position] for position in pair)
    where = where[reads[:, 0] == writes[:, 0]]
    if not len(where):
        return
    signature = program.signatures[number]
    offsets = np.stack([program.operands[program.operand_starts[where] + position, 1] for position in pair], axis=1)
    shared = np.zeros(len(where), np.int64)
    distances = _distances(signature, pair, offsets)
    for distance in np.unique(distances).tolist():
        same = distances == distance
        shared[same] = _shared(signature.operands[pair.read], signature.operands[pair.write], distance)
    hit = where[shared > 0]
    if len(hit):
        yield _finding(program, signature, pair, hit, int(shared[shared > 0][0]))


def _distances(signature: Signature, pair: _Pair, offsets: IndexArray) -> IndexArray:
    """Bytes from the start of the source to that of the destination."""
    read, write = (signature.operands[position].dtype.itemsize for position in pair)
    distances: IndexArray = offsets[:, 1] * write - offsets[:, 0] * read
    return distances


def _shared(source: OperandSignature, destination: OperandSignature, distance: int) -> int:
    """How many bytes both reach, when the destination starts `distance` bytes later; 0 for the same stream."""
    unit = gcd(source.dtype.itemsize, destination.dtype.itemsize, distance)
    low, high = _span(source)
    other_low, other_high = _span(destination)
    if other_low + distance > high or low > other_high + distance:
        return 0
    read, written = _units(source, unit), _units(destination, unit) + distance // unit
    if np.array_equal(read, written):
        return 0
    return int(np.count_nonzero(np.isin(written, read))) * unit


def _span(operand: OperandSignature) -> tuple[int, int]:
    """The lowest and the highest byte, counted from the operand's start."""
    low, high = reach(operand.shape, operand.strides, 0)
    return low * operand.dtype.itemsize, (high + 1) * operand.dtype.itemsize - 1


def _units(operand: OperandSignature, unit: int) -> Elements:
    """The units of `unit` bytes that the operand reaches, in its order, counted from its start."""
    per_element = operand.dtype.itemsize // unit
    places = np.zeros(1, np.int64)
    for count, stride in zip(
        (*operand.shape, per_element), (*(s * per_element for s in operand.strides), 1), strict=True
    ):
        places = np.add.outer(places, np.arange(count, dtype=np.int64) * stride).reshape(-1)
    return places


def _finding(program: Program, signature: Signature, pair: _Pair, where: IndexArray, shared: int) -> Finding:
    first = int(where[0])
    source, destination = signature.operands[pair.read], signature.operands[pair.write]
    buffer = program.buffers[int(program.row(first)[pair.read, 0])]
    return Finding(
        check="overlap",
        severity="warning",
        instruction=first,
        count=len(where),
        opcode=f"nisa.{signature.opcode}",
        operand=source.name,
        found=f"{shared} bytes of {buffer.name} that {destination.name} writes too, in another place of its order",
        allowed="a source that is apart from the destination, or the same elements in the same order",
        location=line_of(program, first),
        source="assumed: no document says in which order an instruction reads and writes",
    )
