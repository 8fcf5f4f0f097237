"""What of a program breaks on another target: every signature judged again, without running or tracing anything."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from trnlab.emulator.check.capacity import measure
from trnlab.emulator.check.finding import Finding, line_of
from trnlab.emulator.isa.catalogue import CATALOGUE
from trnlab.emulator.isa.registry import Breach
from trnlab.emulator.isa.validate import breaches, call_of, start_breach
from trnlab.emulator.program import IndexArray, OperandSignature, Program, Signature
from trnlab.emulator.signing import starting_operands
from trnlab.emulator.target import Target


def what_breaks(program: Program, target: Target) -> tuple[Finding, ...]:
    """Every rule of the target that the program breaks: limits, start partitions, capacity.

    One finding per signature and rule, with the number of its instructions; in order of first instruction.
    """
    program = program.flat
    found = [*_limits(program, target), *_starts(program, target), *_capacity(program, target)]
    return tuple(sorted(found, key=lambda finding: finding.instruction))


def _limits(program: Program, target: Target) -> Iterator[Finding]:
    for number, signature in enumerate(program.signatures):
        where = np.flatnonzero(program.signature_ids == number)
        if not len(where):
            continue
        for breach in breaches(CATALOGUE[signature.opcode], call_of(signature, target)):
            yield _finding(program, signature, breach, where, target)


def _starts(program: Program, target: Target) -> Iterator[Finding]:
    """The start-partition rule does not depend on the target, but programs need not come from a trace."""
    for number, signature in enumerate(program.signatures):
        where = np.flatnonzero(program.signature_ids == number)
        for position in starting_operands(signature):
            operand = signature.operands[position]
            starts = _start_partitions(program, operand, where, position)
            for start in np.unique(starts).tolist():
                spec = CATALOGUE[signature.opcode]
                breach = start_breach(spec, signature, operand, start)
                if breach is not None:
                    yield _finding(program, signature, breach, where[starts == start], target)


def _start_partitions(program: Program, operand: OperandSignature, where: IndexArray, position: int) -> IndexArray:
    rows = program.operands[program.operand_starts[where] + position]
    elements = int(np.prod(operand.buffer_shape[1:])) * operand.buffer_dtype.itemsize // operand.dtype.itemsize
    placed = np.asarray([(buffer.address or (0, 0))[0] for buffer in program.buffers], np.int64)
    starts: IndexArray = rows[:, 1] // elements + placed[rows[:, 0]]
    return starts


def _finding(program: Program, signature: Signature, breach: Breach, where: IndexArray, target: Target) -> Finding:
    first = int(where[0])
    return Finding(
        check="limits",
        severity="error",
        instruction=first,
        opcode=f"nisa.{signature.opcode}",
        operand=breach.operand,
        found=breach.found,
        allowed=breach.allowed,
        count=len(where),
        generation=target.label,
        location=line_of(program, first),
        source=breach.source or CATALOGUE[signature.opcode].source,
    )


def _capacity(program: Program, target: Target) -> Iterator[Finding]:
    _, overflows = measure(program, target)
    for overflow in overflows:
        yield Finding(
            check="capacity",
            severity="error",
            instruction=overflow.instruction,
            opcode=program.signature_of(overflow.instruction).opcode,
            operand=overflow.about,
            found=overflow.found,
            allowed=overflow.allowed,
            generation=target.label,
            location=line_of(program, overflow.instruction),
        )
