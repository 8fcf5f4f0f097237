"""Renaming: every time a buffer is overwritten whole, what follows is a buffer of its own.

A tile that a kernel allocates once and reuses ties iterations together that have nothing to do with each other. What
is written whole forgets what was there, so a new name changes no value; and buffers named anew in every iteration are
what folding, ownership and merging handle best.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from trnlab.emulator.nest import Uses, innermost_loops, uses
from trnlab.emulator.program import IndexArray, Program

Mask = np.ndarray[Any, np.dtype[np.bool_]]


@dataclass(frozen=True, eq=False)
class Renamed:
    """The program with new buffers, numbered by first use; `number_of[b]` is what buffer b is called at first."""

    program: Program
    number_of: IndexArray


def rename(program: Program) -> Renamed:
    """The same values under more names. Buffers that cross the program's ends or a structured loop keep theirs."""
    flat = program.flat
    use = uses(flat)
    starts = _new_lives(flat, use)
    if not starts.any():
        return Renamed(flat, np.arange(len(flat.buffers)))
    by_buffer = np.lexsort((np.arange(len(use.buffer)), use.buffer))
    lives = np.cumsum(_first_of_group(use.buffer[by_buffer]) | starts[by_buffer]) - 1
    life_of_use = np.empty(len(lives), np.int64)
    life_of_use[by_buffer] = lives
    return _renumbered(flat, use, life_of_use, int(lives.max()) + 1)


def _new_lives(program: Program, use: Uses) -> Mask:
    """The uses that overwrite all of a buffer that may be renamed; not where the instruction read it as well."""
    movable = np.asarray([buffer.kind in {"local", "state"} for buffer in program.buffers], bool)
    movable[[*program.inputs, *program.outputs]] = False
    for loop in program.loops:
        movable[[n for n in (loop.register, loop.lower_register, loop.upper_register) if n is not None]] = False
    if program.loops:
        movable[use.buffer[innermost_loops(program)[use.instruction] >= 0]] = False
    key = use.buffer * (len(program) + 1) + use.instruction
    _, which, counts = np.unique(key, return_inverse=True, return_counts=True)
    found: Mask = use.covering & movable[use.buffer] & (counts[which] == 1)
    return found


def _first_of_group(values: IndexArray) -> Mask:
    first: Mask = np.diff(values, prepend=-1) != 0
    return first


def _renumbered(program: Program, use: Uses, life_of_use: IndexArray, count: int) -> Renamed:
    """Number lives by first use; buffers that nothing uses come last."""
    first = np.full(count, len(use.buffer))
    np.minimum.at(first, life_of_use, np.arange(len(use.buffer)))
    rank = np.empty(count, np.int64)
    rank[np.argsort(first)] = np.arange(count)
    buffer_of = np.empty(count, np.int64)
    buffer_of[rank[life_of_use]] = use.buffer
    unused = np.setdiff1d(np.arange(len(program.buffers)), buffer_of)
    buffer_of = np.concatenate([buffer_of, unused])
    number_of = np.full(len(program.buffers), -1, np.int64)
    number_of[buffer_of[::-1]] = np.arange(len(buffer_of))[::-1]  # the first life stays
    operands = program.operands.copy()
    operands[:, 0] = _numbers_of_rows(program, use, rank[life_of_use])
    moved = number_of.tolist()
    return Renamed(
        program.replace(
            buffers=tuple(replace(program.buffers[old], number=new) for new, old in enumerate(buffer_of.tolist())),
            operands=operands,
            inputs=tuple(moved[n] for n in program.inputs),
            outputs=tuple(moved[n] for n in program.outputs),
            constants={moved[n]: data for n, data in program.constants.items()},
            loops=tuple(
                replace(
                    loop,
                    register=moved[loop.register],
                    lower_register=None if loop.lower_register is None else moved[loop.lower_register],
                    upper_register=None if loop.upper_register is None else moved[loop.upper_register],
                )
                for loop in program.loops
            ),
        ),
        number_of,
    )


def _numbers_of_rows(program: Program, use: Uses, life_of_use: IndexArray) -> IndexArray:
    """The life that every operand row uses; uses that are no operand's (loop registers) are in none."""
    rows = np.empty(len(program.operands), np.int64)
    is_operand = use.row >= 0
    rows[use.row[is_operand]] = life_of_use[is_operand]
    return rows
