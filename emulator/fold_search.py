"""Finding the loops of a flat sequence of instructions, outermost first, on arrays.

Of everything that repeats (see `fold_periods`) the loops that explain most instructions are taken first, then what fits
beside them; then one copy of each body is searched for inner loops, whose instructions must also agree in how the outer
loop advances them. A loop is only made of iterations that were compared exactly, so that no hash decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from trnlab.emulator.fold_periods import Hashes, Mask, common_distances, intern, repeating_runs
from trnlab.emulator.fold_runs import Run, is_accident, ranked, rotated, shortened, spans_of, still_free, trimmed
from trnlab.emulator.fold_tree import Item, Node
from trnlab.emulator.repeats import Integers

_ROUNDS = 3
_ATTEMPTS = 4
_COVERED = 4  # loops around others are looked for where loops cover at least one in so many instructions


class Columns(NamedTuple):
    """The sequence: rows of instruction i are rows[starts[i] : starts[i + 1]].

    hashes:   a linear hash of each instruction's rows
    crossing: for each gap before an instruction, how many buffers are in use on both sides
    """

    starts: Integers
    rows: Integers
    hashes: Hashes
    crossing: Integers

    def iterations(self, start: int, period: int, trips: int) -> Integers:
        """[trips, rows of the body, 2]"""
        rows = self.rows[self.starts[start] : self.starts[start + period * trips]]
        return rows.reshape(trips, -1, 2)


def _advances(values: Integers) -> tuple[Integers, Mask]:
    """Steps [rows, 2] of values [trips, rows, 2], and where they are not constant."""
    steps = values[1] - values[0]
    varies = (np.diff(values, axis=0) != steps).any(axis=0)
    return steps, varies


class _Loop(NamedTuple):
    """A loop that was found, its body not searched yet: instructions start .. start + trips * period."""

    start: int
    period: int
    trips: int


class _Choice(NamedTuple):
    """Loops without their inner ones, the same as runs, and which of the positions they take."""

    nodes: list[_Loop]
    runs: list[Run]
    covered: Mask


def _choose(columns: Columns, positions: Integers, keys: Integers, periods: Sequence[int]) -> _Choice:
    """The loops that explain most, and those that fit beside them; `periods` are tried besides those found here.

    positions: where the keys stand in the flat sequence: neighbours, except around keys that nothing equals
    """
    choice = _Choice([], [], np.zeros(len(keys), bool))
    covered = choice.covered
    crossing, hashes = columns.crossing[positions], columns.hashes[positions]
    runs = repeating_runs(keys, hashes, periods)
    tried = np.unique(runs[:, 2]).tolist()
    spans = spans_of(runs, len(keys))
    for candidate in still_free(ranked(runs), covered):
        run = trimmed(shortened(candidate, keys, hashes), covered)
        if run is None:
            continue
        run = rotated(run, crossing, spans)
        start, trips = int(positions[run.start]), run.length // run.period
        same = keys[run.start : run.start + run.length].reshape(trips, -1)
        if (same != same[0]).any():
            continue
        steps, varies = _advances(columns.iterations(start, run.period, trips))
        if run.affine and varies.any():
            continue
        if trips == 2 and is_accident(run, steps, keys, hashes, tried, spans):
            continue
        choice.nodes.append(_Loop(start, run.period, trips))
        choice.runs.append(run)
        covered[run.start : run.start + run.length] = True
    return choice


def _settle(columns: Columns, positions: Integers, keys: Integers) -> _Choice:
    """The choice that stays when loops around the chosen ones are looked for too."""
    periods: list[int] = []
    for _ in range(_ATTEMPTS):
        choice = _choose(columns, positions, keys, periods)
        more = [period for period in _periods_around(choice, keys) if period not in periods]
        if not more:
            break
        periods += more
    return choice


def _periods_around(choice: _Choice, keys: Integers) -> list[int]:
    """Periods of loops around the chosen ones: how far apart equal ones stand when each counts as one instruction."""
    if len(choice.runs) < 2 or np.count_nonzero(choice.covered) * _COVERED < len(keys):
        return []
    names: dict[tuple[int, bytes], int] = {}
    base = int(keys.max()) + 1
    shortened = keys.copy()
    kept = ~choice.covered
    for run in choice.runs:
        body = keys[run.start : run.start + run.period]
        shortened[run.start] = base + names.setdefault((run.length, body.tobytes()), len(names))
        kept[run.start] = True
    positions = np.flatnonzero(kept)
    taken = {run.period for run in choice.runs}
    return [period for period in common_distances(shortened[positions], positions) if period not in taken]


def _uncovered(positions: Integers, keys: Integers, covered: Mask) -> tuple[Integers, Integers]:
    """What is left, with one key that nothing equals in place of every stretch that was taken."""
    first = covered & ~np.concatenate([np.zeros(1, bool), covered[:-1]])
    kept = ~covered | first
    names = keys.copy()
    names[first] = -1 - np.arange(np.count_nonzero(first)) + min(0, int(keys.min()))
    return positions[kept], names[kept]


def _separated(begin: int, keys: Integers, breaks: Sequence[int]) -> tuple[Integers, Integers]:
    """Positions and keys with a key that nothing equals at every break, so that no run reaches across."""
    positions = np.arange(begin, begin + len(keys))
    at = np.asarray(breaks, np.int64) - begin
    lonely = -1 - np.arange(len(at)) + min(0, int(keys.min(initial=0)))
    return np.insert(positions, at, 0), np.insert(keys, at, lonely)


def find_loops(columns: Columns, begin: int, keys: Integers, breaks: Sequence[int] = ()) -> tuple[Item, ...]:
    """Instructions begin .. begin + len(keys) as runs of instructions and loops, in order.

    breaks: positions that no loop may reach across
    """
    nodes: list[_Loop] = []
    if _repeats_something(keys):
        rest = _separated(begin, keys, breaks)
        for _ in range(_ROUNDS):
            choice = _settle(columns, *rest)
            nodes += choice.nodes
            if not choice.nodes or choice.covered.all():
                break
            rest = _uncovered(*rest, choice.covered)
    items: list[Item] = []
    position = begin
    for node in sorted(nodes, key=lambda node: node.start):
        items += [range(position, node.start)] if position < node.start else []
        items.append(_with_body(columns, node, keys[node.start - begin :][: node.period]))
        position = node.start + node.period * node.trips
    end = begin + len(keys)
    return (*items, range(position, end)) if position < end else tuple(items)


def _repeats_something(keys: Integers) -> bool:
    """Whether there can be an inner loop: cheap, because most bodies are short and have none."""
    return len(keys) > 2 and (len(set(keys.tolist())) if len(keys) < 64 else len(np.unique(keys))) < len(keys)


def _with_body(columns: Columns, loop: _Loop, keys: Integers) -> Node:
    """The loop with its first iteration searched for loops; their instructions must agree in the outer steps too."""
    if not _repeats_something(keys):
        return Node(*loop, (range(loop.start, loop.start + loop.period),))
    starts = columns.starts[loop.start : loop.start + loop.period + 1]
    values = columns.iterations(*loop)
    steps, varies = _advances(values)
    if varies.any():
        names = np.zeros_like(steps)
        names[varies] = 1 + np.unique(values[:, varies] - values[0, varies], axis=1, return_inverse=True)[1].reshape(-1)
        steps = np.concatenate([np.where(varies, 0, steps), names], axis=1)
    return Node(*loop, find_loops(columns, loop.start, intern(keys, starts - starts[0], steps)))
