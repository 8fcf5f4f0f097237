"""What folding looks at, and how much it may look: the columns of a flat program, and a budget of work."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from trnlab.emulator.fold_periods import Hashes, Mask
from trnlab.emulator.fold_tree import Item
from trnlab.emulator.repeats import Integers


class Effort:
    """Work that is left, in units of about a quarter of a microsecond (assumed: it only balances the parts).

    Any program takes time in proportion to its length; programs of loops need a part of what they may. Where it runs
    out, loops stay unfound; never does that make a result wrong.

    RUNS, SEARCH: finding what repeats, for an instruction and for a sequence; CANDIDATE, JUDGE, LOOP: looking at a run,
    comparing it, keeping it; WORD, BODY: reading an instruction and a loop as a word; SYMBOL, ALIGN: aligning a symbol
    and a word
    """

    RUNS, SEARCH, CANDIDATE, JUDGE, LOOP = 4, 4000, 100, 300, 600
    WORD, BODY, SYMBOL, ALIGN = 2, 200, 6, 8000

    def __init__(self, at_least: int, for_each: int = 0, instructions: int = 0) -> None:
        self.left = at_least + for_each * instructions

    def spend(self, amount: int) -> None:
        """Take something off."""
        self.left = max(0, self.left - amount)

    def share(self, cost: int) -> int:
        """How many things that cost so much half of what is left pays for."""
        return self.left // 2 // cost


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """A sequence of instructions; the rows of instruction i are rows[starts[i] : starts[i + 1]].

    hashes:   a linear hash of each instruction's rows
    crossing: for each gap before an instruction, how many buffers are in use on both sides
    keys:     equal where instructions may be iterations of one; negative for those that nothing equals
    bodies:   loop bodies that were searched, by what decides the result: where, and what was found
    searching, merging: work that is left for finding loops, and irregular ones in bodies
    """

    starts: Integers
    rows: Integers
    hashes: Hashes
    crossing: Integers
    keys: Integers
    bodies: dict[bytes, tuple[int, tuple[Item, ...]]]
    searching: Effort
    merging: Effort

    def iterations(self, start: int, period: int, trips: int) -> Integers:
        """[trips, rows of the body, 2]"""
        rows = self.rows[self.starts[start] : self.starts[start + period * trips]]
        return rows.reshape(trips, -1, 2)


class Loop(NamedTuple):
    """A loop that was found, its body not searched yet: instructions start .. start + trips * period."""

    start: int
    period: int
    trips: int


def advances(values: Integers) -> tuple[Integers, Mask]:
    """Steps [rows, 2] of values [trips, rows, 2], and where they are not constant."""
    steps = values[1] - values[0]
    return steps, (np.diff(values, axis=0) != steps).any(axis=0)


def named_advances(values: Integers) -> Integers:
    """[rows, 4]: steps, and numbers of tables, equal where the same table advances the values; 0 for the other."""
    steps, varies = advances(values)
    steps[varies] = 0
    tables = np.zeros_like(steps)
    names: dict[bytes, int] = {}
    for row, column in np.argwhere(varies).tolist():
        table = values[:, row, column] - values[0, row, column]
        tables[row, column] = 1 + names.setdefault(table.tobytes(), len(names))
    return np.concatenate([steps, tables], axis=1)
