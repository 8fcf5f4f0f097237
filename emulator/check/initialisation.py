"""Reads of memory that no earlier instruction wrote, and results that no instruction wrote as a whole.

Every finding is certain as long as the body of each structured loop runs at least once. Where a run-time index decides
what is accessed, the benefit of the doubt is the kernel's: an indirect write counts as writing its whole buffer, an
indirect read is reported only when nothing of the buffer was written.

Kept in memory: one flag per element (of the narrowest view) of buffers that are read and were written in part. A buffer
that was written whole needs none.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from math import prod
from typing import Any, NamedTuple

import numpy as np

from trnlab.emulator.check.finding import Finding, allocation_line, line_of
from trnlab.emulator.isa.catalogue import CATALOGUE
from trnlab.emulator.isa.registry import Operand
from trnlab.emulator.memory import Buffer, MemoryRegion
from trnlab.emulator.nest import covers
from trnlab.emulator.program import OperandSignature, Program, Signature
from trnlab.emulator.view_algebra import reaches_twice

Flags = np.ndarray[Any, np.dtype[np.bool_]]


def uninitialised_reads(program: Program) -> tuple[Finding, ...]:
    """One warning per signature and operand that reads elements nothing wrote, in order of first instruction.

    Judged are on-chip buffers and HBM buffers that the kernel allocates; arguments, constants and registers are not.
    """
    program = program.flat
    found: dict[tuple[int, int], Finding] = {}
    for number, position, missing in _missing_elements(program):
        key = int(program.signature_ids[number]), position
        if key in found:
            found[key] = replace(found[key], count=found[key].count + 1)
        else:
            found[key] = _finding(program, number, position, missing)
    return tuple(found.values())


def unwritten_outputs(program: Program, whole: Collection[int] | None = None) -> tuple[Finding, ...]:
    """One warning per HBM buffer that the kernel allocates and returns, and that it wrote in part only.

    whole: the buffers to judge: those of which the kernel returns every element (default: all that it returns from)
    """
    program = program.flat
    contents = {
        number: _Content(program.buffers[number], _narrowest_write(program, number))
        for number in dict.fromkeys(program.outputs)
        if program.buffers[number].kind == "local" and (whole is None or number in whole)
    }
    last = dict.fromkeys(contents, 0)
    for number, signature in enumerate(program.signatures):
        where = np.flatnonzero(program.signature_ids == number)
        for judged in _judged(signature, writes=True):
            rows = program.operands[program.operand_starts[where] + judged.position]
            for buffer in contents.keys() & set(rows[:, 0].tolist()):
                last[buffer] = max(last[buffer], int(where[rows[:, 0] == buffer].max()))
                for offset in np.unique(rows[rows[:, 0] == buffer, 1]).tolist():
                    contents[buffer].write(judged, offset)
    return tuple(
        _unwritten(program, program.buffers[number], last[number], content)
        for number, content in contents.items()
        if content.written < content.size
    )


def _narrowest_write(program: Program, buffer: int) -> int:
    """The smallest item size among the views through which the buffer is written, and its own."""
    itemsize = program.buffers[buffer].dtype.itemsize
    for number, signature in enumerate(program.signatures):
        first = program.operand_starts[:-1][program.signature_ids == number]
        for position, operand in enumerate(signature.operands):
            if operand.writes and operand.dtype.itemsize < itemsize and buffer in program.operands[first + position, 0]:
                itemsize = operand.dtype.itemsize
    return itemsize


def _unwritten(program: Program, buffer: Buffer, last: int, content: _Content) -> Finding:
    missing = -(-(content.size - content.written) * content.item // buffer.dtype.itemsize)
    return Finding(
        check="initialisation",
        severity="warning",
        instruction=last,
        opcode=f"kernel {program.kernel}",
        operand="return value",
        found=f"{missing} of {prod(buffer.shape)} elements of {buffer.name} in {buffer.region.value} never written",
        allowed="a result that instructions wrote as a whole",
        location=allocation_line(program, buffer.number),
    )


def _finding(program: Program, number: int, position: int, missing: int) -> Finding:
    signature = program.signature_of(number)
    operand = signature.operands[position]
    buffer = program.buffers[int(program.row(number)[position, 0])]
    return Finding(
        check="initialisation",
        severity="warning",
        instruction=number,
        opcode=f"nisa.{signature.opcode}",
        operand=operand.name,
        found=f"{missing} of {prod(operand.shape)} elements of {buffer.name} in {buffer.region.value} never written",
        allowed="elements that an earlier instruction wrote",
        location=line_of(program, number),
    )


class _Judged(NamedTuple):
    """An operand of a signature that is to be looked at; `partitions` are those of its view that are read."""

    position: int
    operand: OperandSignature
    covers: bool
    partitions: Sequence[int]


def _missing_elements(program: Program) -> Iterator[tuple[int, int, int]]:
    """(instruction, operand position, elements read that nothing wrote) wherever there are any."""
    buffers = _tracked(program)
    reads = [_judged(signature, writes=False) for signature in program.signatures]
    writes = [_judged(signature, writes=True) for signature in program.signatures]
    rows, starts = program.operands.tolist(), program.operand_starts.tolist()
    for number, which in enumerate(program.signature_ids.tolist()):
        for judged in reads[which]:
            buffer, offset = rows[starts[number] + judged.position]
            if buffer in buffers and (missing := buffers[buffer].missing(judged, offset)):
                yield number, judged.position, missing
        for judged in writes[which]:
            buffer, offset = rows[starts[number] + judged.position]
            if buffer in buffers:
                buffers[buffer].write(judged, offset)


def _judged(signature: Signature, *, writes: bool) -> tuple[_Judged, ...]:
    return tuple(
        _Judged(position, operand, writes and covers(operand), _partitions_read(signature, operand))
        for position, operand in enumerate(signature.operands)
        if (operand.writes if writes else operand.reads and not _only_keeps(signature, operand))
    )


def _only_keeps(signature: Signature, operand: OperandSignature) -> bool:
    """Whether the instruction reads the operand only to leave the part it does not write as it was."""
    facts = _facts(signature, operand)
    return facts is not None and (facts.access == "update" or facts.keeps)


def _partitions_read(signature: Signature, operand: OperandSignature) -> Sequence[int]:
    facts = _facts(signature, operand)
    if facts is None or facts.partitions_read is None:
        return range(operand.shape[0])
    return facts.partitions_read(signature)


def _facts(signature: Signature, operand: OperandSignature) -> Operand | None:
    """The facts of an operand; None for the index of a run-time address."""
    return next((facts for facts in CATALOGUE[signature.opcode].operands if facts.name == operand.name), None)


def _tracked(program: Program) -> dict[int, _Content]:
    """Fresh content for every buffer that the kernel allocates in memory and reads, with its narrowest item size."""
    items: dict[int, int] = {}
    read: set[int] = set()
    for number, signature in enumerate(program.signatures):
        first = program.operand_starts[:-1][program.signature_ids == number]
        for position, operand in enumerate(signature.operands):
            for buffer in np.unique(program.operands[first + position, 0]).tolist():
                items[buffer] = min(items.get(buffer, operand.dtype.itemsize), operand.dtype.itemsize)
                if operand.reads:
                    read.add(buffer)
    judged = (program.buffers[number] for number in sorted(read))
    return {
        buffer.number: _Content(buffer, min(items[buffer.number], buffer.dtype.itemsize))
        for buffer in judged
        if buffer.kind == "local" and buffer.region is not MemoryRegion.register
    }


class _Content:
    """Which items of a buffer were written: none of them, all of them, or those whose flag is set."""

    def __init__(self, buffer: Buffer, item: int) -> None:
        self.item = item
        self.size = buffer.nbytes // item
        self.written = 0
        self.flags: Flags | None = None

    def missing(self, judged: _Judged, offset: int) -> int:
        """How many of the elements read were not written, in whole or in part."""
        operand = judged.operand
        if self.written == self.size:
            return 0
        if self.written == 0:
            return len(judged.partitions) * prod(operand.shape[1:])
        if operand.indirection is not None:
            return 0
        is_written: Flags = np.all(self._window(operand, offset), axis=-1)
        return int(np.count_nonzero(~is_written[list(judged.partitions)]))

    def write(self, judged: _Judged, offset: int) -> None:
        """Note a write."""
        if judged.covers or judged.operand.indirection is not None:
            self.written, self.flags = self.size, None
        if self.written == self.size:
            return
        window = self._window(judged.operand, offset)
        fresh = window.size - int(np.count_nonzero(window))
        window[...] = True
        assert self.flags is not None
        repeats = reaches_twice(judged.operand.shape, judged.operand.strides)
        self.written = int(np.count_nonzero(self.flags)) if repeats else self.written + fresh
        if self.written == self.size:
            self.flags = None

    def _window(self, operand: OperandSignature, offset: int) -> Flags:
        """The flags of the view's elements; the last dimension holds the items of one element."""
        if self.flags is None:
            self.flags = np.zeros(self.size, bool)
        items = operand.dtype.itemsize // self.item
        strides = (*(stride * items for stride in operand.strides), 1)
        return np.ndarray((*operand.shape, items), np.bool_, self.flags, offset * items, strides)
