"""Re-rolling: a traced program with its Python loops folded back into loop nests, and `flatten`, the exact inverse.

    fold(program).flat == program

Tracing unrolls every loop that is not dynamic, so a kernel of ten lines becomes thousands of instructions. Folding
finds what repeats (see `fold_search`) and keeps one iteration of it, with the steps by which its rows advance and, for
loops that run longer in some outer iterations than in others, with tables of trip counts (see `repeats`). Meaning does
not change; every fold is checked by flattening it again.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from trnlab.emulator.fold_assembly import assembled
from trnlab.emulator.fold_columns import Columns, Effort
from trnlab.emulator.fold_flatten import flatten
from trnlab.emulator.fold_periods import intern, row_hashes
from trnlab.emulator.fold_search import find_loops
from trnlab.emulator.memory import MemoryRegion
from trnlab.emulator.program import Program
from trnlab.emulator.repeats import BufferClasses, Integers, classes_of

__all__ = ["flatten", "fold"]

_KEPT = ("signature_ids", "operands", "location_ids")
# Effort at least, and for each instruction: for loops, for irregular ones in their bodies, and for such outside of all.
_SEARCHING, _MERGING_BODIES, _MERGING = (1 << 20, 6), (1 << 17, 3), (1 << 18, 8)


def fold(program: Program) -> Program:
    """The same program with what repeats stored once, `flatten(fold(program)) == program`; unfoldable ones unchanged.

    Iterations agree in signature, source line and buffer classes. Nothing folds across a structured loop's ends, nor
    across instructions that are named, explicitly ordered, or write a register that a structured loop reads.
    Time is linear in the number of instructions, whatever they are: work on what repeats irregularly is limited.

    Raises:
        AssertionError: the result does not flatten to the program: a defect of this module, never a wrong fold.
    """
    if program.repeats or not len(program):
        return program
    breaks = sorted({at for loop in program.loops for at in (loop.begin, loop.end)})
    columns = _columns(program)
    items = find_loops(columns, 0, columns.keys, Effort(*_MERGING, len(program)), breaks)
    if all(isinstance(item, range) for item in items):
        return program
    folded = assembled(program, columns.rows, items)
    _verify(folded, program)
    return folded


# -- what the search sees --------------------------------------------------------------------------------------------


def _columns(program: Program) -> Columns:
    classes = classes_of(program.buffers)
    rows = program.operands.copy()
    rows[:, 0] = classes.index_of[rows[:, 0]]
    starts = program.operand_starts
    return Columns(
        starts=starts,
        rows=rows,
        hashes=row_hashes(starts, rows),
        crossing=_crossing(program),
        keys=_keys(program, classes),
        bodies={},
        searching=Effort(*_SEARCHING, len(program)),
        merging=Effort(*_MERGING_BODIES, len(program)),
    )


def _crossing(program: Program) -> Integers:
    """For the gap before each instruction, how many buffers are used both before and after it."""
    used = program.operands[:, 0]
    at = np.repeat(np.arange(len(program)), np.diff(program.operand_starts))
    first, last = np.zeros((2, len(program.buffers)), np.int64)
    last[used] = at
    first[used[::-1]] = at[::-1]
    size = len(program) + 1
    return np.cumsum(np.bincount(first + 1, minlength=size)[:size] - np.bincount(last + 1, minlength=size)[:size])


def _keys(program: Program, classes: BufferClasses) -> Integers:
    """Equal where instructions agree in all but rows and immediates; what must stay alone has a key of its own."""
    names = program.signature_ids.astype(np.int64) * (len(program.locations) + 1) + program.location_ids
    keys = intern(names, program.operand_starts, classes.class_of[program.operands[:, :1]])
    alone = np.fromiter(_alone(program), np.int64)
    keys[alone] = -1 - np.arange(len(alone))
    return keys


def _alone(program: Program) -> Iterator[int]:
    """Instructions that may be in no repeat."""
    yield from program.names
    yield from (number for edge in program.edges for number in edge)
    read = {number for loop in program.loops for number in (loop.register, loop.lower_register, loop.upper_register)}
    for name, signature in enumerate(program.signatures):
        for position, operand in enumerate(signature.operands):
            if read and operand.writes and operand.region is MemoryRegion.register:
                where = np.flatnonzero(program.signature_ids == name)
                buffers = program.operands[program.operand_starts[where] + position, 0]
                yield from where[np.isin(buffers, [number for number in read if number is not None])].tolist()


def _verify(folded: Program, program: Program) -> None:
    """Compare all that folding touches, bit for bit."""
    again = flatten(folded)
    same = (
        all(np.array_equal(getattr(again, name), getattr(program, name)) for name in _KEPT)
        and np.array_equal(again.immediates.view(np.int64), program.immediates.view(np.int64))
        and (again.loops, again.edges) == (program.loops, program.edges)
        and dict(again.names) == dict(program.names)
    )
    if not same:
        raise AssertionError(f"folding {program.kernel} is not exact: please report it with the program's JSON")
