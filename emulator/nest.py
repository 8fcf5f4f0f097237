"""The loop nest of a program, and the instructions over which each of its buffers is live.

A buffer's content must survive from its first use to its last. A structured loop widens that: what an iteration leaves
behind is there in the next one, so a buffer used in a loop is live over all of it, unless it is *local* to the
iteration, because every iteration overwrites it whole before anything reads it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, NamedTuple

import numpy as np

from trnlab.emulator.program import IndexArray, Loop, OperandSignature, Program
from trnlab.emulator.repeats import Repeat
from trnlab.emulator.view_algebra import reaches_twice

TOP = -1
"""Stands for "in no loop" where a loop's position in `program.loops` is asked for."""


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """The body of a loop or repeat (None: the whole program): runs of instructions and nested blocks, in order."""

    loop: Loop | Repeat | None
    begin: int
    end: int
    items: tuple[range | Block, ...]


def nest(program: Program) -> Block:
    """The program as nested blocks, its repeats kept. Loops without instructions do nothing and are left out."""
    # Recorded when they close, so of two over the same instructions the later one is the outer; no loop is in a repeat.
    found: list[Loop | Repeat] = [*program.repeats, *program.loops]
    order = sorted(range(len(found)), key=lambda n: (found[n].begin, -found[n].end, -n))
    return _block(None, 0, len(program), [found[n] for n in order if found[n].begin < found[n].end])


def _block(loop: Loop | Repeat | None, begin: int, end: int, inside: list[Loop | Repeat]) -> Block:
    """Consumes from the front of `inside` those that lie inside begin..end."""
    items: list[range | Block] = []
    position = begin
    while inside and inside[0].begin < end:
        inner = inside.pop(0)
        if position < inner.begin:
            items.append(range(position, inner.begin))
        items.append(_block(inner, inner.begin, inner.end, inside))
        position = inner.end
    if position < end:
        items.append(range(position, end))
    return Block(loop, begin, end, tuple(items))


def innermost_loops(program: Program) -> IndexArray:
    """For every instruction the position in `program.loops` of the innermost loop around it, or `TOP`."""
    program = program.flat
    inner = np.full(len(program), TOP, np.int64)
    for number in reversed(range(len(program.loops))):  # outer loops are recorded after inner ones
        loop = program.loops[number]
        inner[loop.begin : loop.end] = number
    return inner


def covers(operand: OperandSignature) -> bool:
    """Whether writing through the operand replaces every byte of its buffer, whatever the offset."""
    nbytes = prod(operand.shape) * operand.dtype.itemsize
    whole = prod(operand.buffer_shape) * operand.buffer_dtype.itemsize
    return operand.indirection is None and nbytes == whole and not reaches_twice(operand.shape, operand.strides)


class Uses(NamedTuple):
    """Every use of a buffer by an operand, or as a register of a loop (row -1), in program order."""

    buffer: IndexArray
    instruction: IndexArray
    covering: np.ndarray[Any, np.dtype[np.bool_]]
    row: IndexArray


def uses(program: Program) -> Uses:
    """One entry per operand of every instruction, and one per register that bounds a loop."""
    program = program.flat
    operands = [signature.operands for signature in program.signatures]
    widths = np.asarray([len(group) for group in operands], np.int64)
    first = np.concatenate([np.zeros(1, np.int64), np.cumsum(widths)])
    flat = [operand for group in operands for operand in group]
    ids = program.signature_ids
    counts = widths[ids] if len(ids) else np.zeros(0, np.int64)
    instruction = np.repeat(np.arange(len(program)), counts)
    within = np.arange(len(instruction)) - program.operand_starts[:-1][instruction]
    which = first[ids[instruction]] + within
    # An instruction that skips bad indices leaves parts of what it writes as they were.
    keeps = [signature.attribute("oob_mode") == "skip" for signature in program.signatures for _ in signature.operands]
    covering = np.asarray([operand.access == "write" and covers(operand) for operand in flat], bool)
    covering &= ~np.asarray(keeps, bool)
    write = np.asarray([operand.writes for operand in flat], bool)
    # A covering write is a first use only where the same instruction does not read the buffer as well.
    order = np.lexsort((write[which], instruction)) if len(which) else which
    registers = _loop_registers(program)  # before the operands: a loop reads its registers before its body runs
    none = np.zeros(len(registers), bool)
    at = np.concatenate([registers[:, 1], instruction[order]])
    sort = np.argsort(at, kind="stable")
    return Uses(
        np.concatenate([registers[:, 0], program.operands[order, 0]])[sort],
        at[sort],
        np.concatenate([none, covering[which][order]])[sort],
        np.concatenate([np.full(len(registers), -1, np.int64), order])[sort],
    )


def _loop_registers(program: Program) -> IndexArray:
    """(register, instruction) for the first and last instruction of every loop that a register steers."""
    rows: list[tuple[int, int]] = []
    for loop in program.loops:
        bounds = (loop.lower_register, loop.upper_register)
        rows += [(number, loop.begin) for number in bounds if number is not None]
        rows += [(loop.register, at) for at in {loop.begin, loop.end - 1} if loop.begin < loop.end]
    return np.asarray(rows, np.int64).reshape(-1, 2)


@dataclass(frozen=True, eq=False)
class LiveRanges:
    """first[b] and last[b]: the instructions from and to which buffer b is live, both inclusive; -1 if never used.

    local[b]: whether no iteration, of the loop around b's uses, reads what an earlier one left in b.
    """

    first: IndexArray
    last: IndexArray
    local: np.ndarray[Any, np.dtype[np.bool_]]

    def inside(self, buffer: int, begin: int, end: int) -> bool:
        """Whether nothing of the buffer enters or leaves an iteration of the loop over begin..end."""
        return bool(self.local[buffer] and begin <= self.first[buffer] and self.last[buffer] < end)


def live_ranges(program: Program) -> LiveRanges:
    """The live range of every buffer of `program.flat`; time is linear in instructions, plus operands times depth."""
    program = program.flat
    use = uses(program)
    count = len(program.buffers)
    first, last = np.full(count, -1, np.int64), np.full(count, -1, np.int64)
    last[use.buffer] = use.instruction  # in order: the last assignment stays
    first[use.buffer[::-1]] = use.instruction[::-1]
    starts_whole = np.zeros(count, bool)
    starts_whole[use.buffer[::-1]] = use.covering[::-1]
    inner = innermost_loops(program)
    home = np.full(count, TOP, np.int64)
    used = first >= 0
    home[used] = inner[first[used]]
    contained = _within(program.loops, home, first, last)
    local = starts_whole & contained & used
    ranges = LiveRanges(first.copy(), last.copy(), local)
    for loop in program.loops:
        low, high = np.searchsorted(use.instruction, [loop.begin, loop.end])
        members = np.unique(use.buffer[low:high])
        inside = (first[members] >= loop.begin) & (last[members] < loop.end)
        widened = members[~(local[members] & inside)]
        ranges.first[widened] = np.minimum(ranges.first[widened], loop.begin)
        ranges.last[widened] = np.maximum(ranges.last[widened], loop.end - 1)
    return ranges


def _within(loops: Sequence[Loop], home: IndexArray, first: IndexArray, last: IndexArray) -> Any:
    """Whether first..last lies inside the loop `home`; everything lies inside `TOP`."""
    begins = np.asarray([*(loop.begin for loop in loops), 0], np.int64)  # index -1 is TOP
    ends = np.asarray([*(loop.end for loop in loops), np.iinfo(np.int64).max], np.int64)
    return (first >= begins[home]) & (last < ends[home])
