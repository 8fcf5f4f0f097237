"""Choosing loops that stand beside each other: those that explain most instructions first, then what fits beside them.

A loop is only made of iterations that were compared exactly, so that no hash decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from trnlab.emulator.fold_columns import Columns, Effort, Loop, advances
from trnlab.emulator.fold_periods import Mask, common_distances, repeating_runs
from trnlab.emulator.fold_runs import (
    Run,
    is_accident,
    is_nest,
    ranked,
    rotated,
    shortened,
    spans_of,
    still_free,
    trimmed,
)
from trnlab.emulator.repeats import Integers

_ROUNDS = 3
_ATTEMPTS = 4
_AGAIN = 5 / 4  # what another attempt may cost, for what the last one did
_COVERED = 4  # loops around others are looked for where loops cover at least one in so many instructions


class Rest(NamedTuple):
    """Instructions that are in no loop yet, and where they stand in the flat sequence.

    Neighbours are neighbours there too, except around keys that nothing equals.
    """

    columns: Columns
    positions: Integers
    keys: Integers


def separated(columns: Columns, begin: int, keys: Integers, breaks: Sequence[int]) -> Rest:
    """Instructions begin .. begin + len(keys), with a key that nothing equals at every break: no run reaches across."""
    positions = np.arange(begin, begin + len(keys))
    at = np.asarray(breaks, np.int64) - begin
    lonely = -1 - np.arange(len(at)) + min(0, int(keys.min(initial=0)))
    return Rest(columns, np.insert(positions, at, 0), np.insert(keys, at, lonely))


def loops_beside(rest: Rest) -> list[Loop]:
    """Loops in order."""
    loops: list[Loop] = []
    for _ in range(_ROUNDS):
        choice = _settled(rest)
        loops += choice.loops
        if not choice.loops or choice.covered.all() or not rest.columns.searching.left:
            break
        rest = _uncovered(rest, choice.covered)
    return sorted(loops)


class _Choice(NamedTuple):
    """Loops, the same as runs, and which of the positions they take."""

    loops: list[Loop]
    runs: list[Run]
    covered: Mask


def _settled(rest: Rest) -> _Choice:
    """The choice that stays when loops around the chosen ones are looked for too."""
    periods: list[int] = []
    effort = rest.columns.searching
    for _ in range(_ATTEMPTS):
        before = effort.left
        choice = _chosen(rest, periods)
        more = [period for period in _periods_around(choice, rest.keys) if period not in periods]
        if not more or effort.left < _AGAIN * (before - effort.left):
            break
        periods += more
    return choice


def _chosen(rest: Rest, periods: Sequence[int]) -> _Choice:
    """The loops that explain most, and those that fit beside them; `periods` are tried besides those found here."""
    effort = rest.columns.searching
    choice = _Choice([], [], np.zeros(len(rest.keys), bool))
    judge = _Judge(rest, periods)
    effort.spend(Effort.SEARCH + Effort.RUNS * len(rest.keys))
    loops, looks = effort.share(Effort.LOOP), effort.share(Effort.CANDIDATE)
    for candidate in still_free(ranked(judge.runs), choice.covered):
        if len(choice.loops) >= loops or looks <= 0:
            break
        looks -= 1
        effort.spend(Effort.CANDIDATE)
        run = trimmed(shortened(candidate, rest.keys, judge.hashes), choice.covered)
        run = run and rotated(run, judge.crossing, judge.spans)
        if run and judge.accepts(run):
            effort.spend(Effort.LOOP)
            choice.loops.append(Loop(int(rest.positions[run.start]), run.period, run.length // run.period))
            choice.runs.append(run)
            choice.covered[run.start : run.start + run.length] = True
    return choice


class _Judge:
    """What repeats, and whether it is a loop.

    nested: positions in runs that are rather loops of loops
    """

    def __init__(self, rest: Rest, periods: Sequence[int]) -> None:
        self.rest = rest
        self.hashes = rest.columns.hashes[rest.positions]
        self.runs = repeating_runs(rest.keys, self.hashes, periods)
        self.periods: list[int] = np.unique(self.runs[:, 2]).tolist()
        self.crossing = rest.columns.crossing[rest.positions]
        self.spans = spans_of(self.runs, len(rest.keys))
        self.nested = np.zeros(len(rest.keys), bool)

    def accepts(self, run: Run) -> bool:
        """Whether all iterations agree, with constant steps if the run claims that, and they are no accident."""
        columns, keys = self.rest.columns, self.rest.keys
        columns.searching.spend(Effort.JUDGE)
        part, trips = slice(run.start, run.start + run.length), run.length // run.period
        if not run.affine:
            self.nested[part] |= self.nested[part].any() or is_nest(run, self.hashes)
            if self.nested[run.start]:
                return False
        same = keys[part].reshape(trips, -1)
        if (same != same[0]).any():
            return False
        steps, varies = advances(columns.iterations(int(self.rest.positions[run.start]), run.period, trips))
        if run.affine and varies.any():
            return False
        return trips > 2 or not is_accident(run, steps, keys, self.hashes, self.periods, self.spans)


def _periods_around(choice: _Choice, keys: Integers) -> list[int]:
    """Periods of loops around the chosen ones: how far apart equal ones stand when each counts as one instruction."""
    if len(choice.runs) < 2 or np.count_nonzero(choice.covered) * _COVERED < len(keys):
        return []
    names: dict[tuple[int, bytes], int] = {}
    base = int(keys.max()) + 1
    shorter = keys.copy()
    kept = ~choice.covered
    for run in choice.runs:
        body = keys[run.start : run.start + run.period]
        shorter[run.start] = base + names.setdefault((run.length, body.tobytes()), len(names))
        kept[run.start] = True
    positions = np.flatnonzero(kept)
    taken = {run.period for run in choice.runs}
    return [period for period in common_distances(shorter[positions], positions) if period not in taken]


def _uncovered(rest: Rest, covered: Mask) -> Rest:
    """What is left, with one key that nothing equals in place of every stretch that was taken."""
    first = covered & ~np.concatenate([np.zeros(1, bool), covered[:-1]])
    kept = ~covered | first
    names = rest.keys.copy()
    names[first] = -1 - np.arange(np.count_nonzero(first)) + min(0, int(rest.keys.min()))
    return Rest(rest.columns, rest.positions[kept], names[kept])
