"""Finding the loops of a flat sequence of instructions, outermost first, on arrays.

Of everything that repeats (see `fold_periods`) the loops that explain most instructions are taken first, then what fits
beside them; then one copy of each body is searched for inner loops, whose instructions must also agree in how the outer
loop advances them. A loop is only made of iterations that were compared exactly, so that no hash decides.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from trnlab.emulator.fold_periods import Hashes, Mask, common_distances, intern, periodic, repeating_runs, stretches
from trnlab.emulator.repeats import Integers, StepTable

_ROUNDS = 3
_ATTEMPTS = 4
_COVERED = 4  # loops around others are looked for where loops cover at least one in so many instructions
_SHORT = 8  # instructions; any few can be called two trips, or trips with a table
_ENOUGH_TRIPS_TO_LOSE_ONE = 8
_PRIMES = (2, 3, 5, 7)
_IRREGULAR = 16
_TWO_TRIPS, _TABLES = 0.5, 0.4  # weights: any two trips have constant steps, and tables fit anything


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


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """A loop over instructions start .. start + trips * period of the flat sequence.

    steps, tables: how the rows of the first iteration advance; table rows count from the body's first row
    items:         the first iteration, as runs of instructions and inner loops
    """

    start: int
    period: int
    trips: int
    steps: Integers
    tables: tuple[StepTable, ...]
    items: tuple[range | Node, ...]


class _Run(NamedTuple):
    """A stretch of a sequence that repeats with a period; `affine` when with constant steps."""

    start: int
    length: int
    period: int
    affine: bool


# -- choosing among the runs -----------------------------------------------------------------------------------------


def _ranked(runs: Integers) -> Integers:
    """The runs worth a loop in the order in which they are taken: first what explains most, then shorter bodies."""
    length, period, affine = runs[:, 1], runs[:, 2], runs[:, 3] == 1
    trips = length // period
    worth = affine | (trips * period >= _SHORT)
    weight = np.where(affine, 1.0, np.where(trips == 2, _TWO_TRIPS, _TABLES)) * trips * period
    order = np.lexsort((runs[:, 0], period, ~affine, -trips * period, -weight))
    ranked: Integers = runs[order[worth[order]]]
    return ranked


def _still_free(runs: Integers, covered: Mask) -> Iterator[_Run]:
    """The runs in order, without those that are covered by then; looked at in batches that double."""
    batch = 1
    while len(runs):
        for start, length, period, affine in runs[:batch].tolist():
            yield _Run(start, length, period, bool(affine))
        taken = np.concatenate([np.zeros(1, np.int64), np.cumsum(covered)])
        runs = runs[batch:]
        runs = runs[taken[runs[:, 0] + runs[:, 1]] - taken[runs[:, 0]] < runs[:, 1]]
        batch *= 2


def _shortened(run: _Run, keys: Integers, hashes: Hashes) -> _Run:
    """The run with the shortest period that divides its own, grown to all that repeats with that one."""
    for prime in _PRIMES if run.affine else ():
        while run.period % prime == 0:
            period = run.period // prime
            head = keys[run.start : run.start + 2 * period]
            if (head[:period] != head[period:]).any():
                break
            low, high = max(0, run.start - run.period), run.start + run.length + run.period
            around = stretches(periodic(keys[low:high], hashes[low:high], period)[2], period)
            holds = (around[:, 0] <= run.start - low) & (
                around.sum(axis=1) >= run.start - low + run.length - 2 * period
            )
            if not holds.any():
                break
            start, length = around[holds][0].tolist()
            run = _Run(low + start, length + 2 * period, period, True)
    return run


def _trimmed(run: _Run, covered: Mask) -> _Run | None:
    """The longest part of the run that no loop has taken yet, if it is still worth a loop."""
    taken = covered[run.start : run.start + run.length]
    if taken.any():
        free = stretches(~taken, 2 * run.period)
        if not len(free):
            return None
        start, length = free[np.argmax(free[:, 1])].tolist()
        run = run._replace(start=run.start + start, length=length)
    trips = run.length // run.period
    return run if (run.affine and trips > 2) or trips * run.period >= _SHORT else None


def _rotated(run: _Run, crossing: Integers, spans: Integers) -> _Run:
    """The run from the start at which fewest buffers are in use across iterations, so that they can stay inside.

    Of several such starts the one that cuts through fewest other runs, which may be inner loops.
    """
    trips, slack = divmod(run.length, run.period)
    gaps = slice(run.start + run.period, run.start + 2 * run.period)
    order = np.lexsort((spans[gaps], crossing[gaps]))
    best = int(order[order <= slack][0])
    if trips >= _ENOUGH_TRIPS_TO_LOSE_ONE and crossing[gaps][order[0]] < crossing[gaps][best]:
        best = int(order[0])
    return run._replace(start=run.start + best, length=(run.length - best) // run.period * run.period)


def _spans(runs: Integers, count: int) -> Integers:
    """For the gap before each of the positions, how many runs with constant steps reach across it."""
    affine = runs[runs[:, 3] == 1]
    opened = np.bincount(affine[:, 0] + 1, minlength=count + 1)
    closed = np.bincount(affine[:, 0] + affine[:, 1], minlength=count + 1)
    spans: Integers = np.cumsum(opened[: count + 1] - closed[: count + 1])
    return spans


def _advance(values: Integers) -> tuple[Integers, tuple[StepTable, ...]]:
    """Steps [rows, 2] of values [trips, rows, 2], and tables where steps are not constant."""
    steps = values[1] - values[0]
    varies = (np.diff(values, axis=0) != steps).any(axis=0)
    steps[varies] = 0
    tables = tuple(
        StepTable(row, column, values[:, row, column] - values[0, row, column])
        for row, column in np.argwhere(varies).tolist()
    )
    return steps, tables


def _is_regular(steps: Integers) -> bool:
    """Whether few steps are different; the steps between two unrelated stretches are, two trips or not."""
    return len(steps) <= _IRREGULAR or len(np.unique(steps, axis=0)) <= _IRREGULAR + len(steps) // 8


def _is_permutation(run: _Run, keys: Integers, hashes: Hashes, periods: Sequence[int]) -> bool:
    """Whether shorter bodies repeat all through the run, but hardly ever with constant steps: a table says it better."""
    part = slice(run.start, run.start + run.length)
    for period in periods:
        if period < run.period and (keys[part][:-period] == keys[part][period:]).all():
            return bool(periodic(keys[part], hashes[part], period)[2].mean() < 1 / 2)
    return False


class _Choice(NamedTuple):
    """Loops without their inner ones, the same as runs, and which of the positions they take."""

    nodes: list[Node]
    runs: list[_Run]
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
    spans = _spans(runs, len(keys))
    for candidate in _still_free(_ranked(runs), covered):
        run = _trimmed(_shortened(candidate, keys, hashes), covered)
        if run is None:
            continue
        run = _rotated(run, crossing, spans)
        start, trips = int(positions[run.start]), run.length // run.period
        same = keys[run.start : run.start + run.length].reshape(trips, -1)
        if (same != same[0]).any():
            continue
        steps, tables = _advance(columns.iterations(start, run.period, trips))
        if tables and run.affine:
            continue
        if trips == 2 and (not _is_regular(steps) or _is_permutation(run, keys, hashes, tried)):
            continue
        choice.nodes.append(Node(start, run.period, trips, steps, tables, ()))
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


def find_loops(columns: Columns, begin: int, keys: Integers, breaks: Sequence[int] = ()) -> tuple[range | Node, ...]:
    """Instructions begin .. begin + len(keys) as runs of instructions and loops, in order.

    breaks: positions that no loop may reach across
    """
    nodes: list[Node] = []
    if _repeats_something(keys):
        rest = _separated(begin, keys, breaks)
        for _ in range(_ROUNDS):
            choice = _settle(columns, *rest)
            nodes += choice.nodes
            if not choice.nodes or choice.covered.all():
                break
            rest = _uncovered(*rest, choice.covered)
    items: list[range | Node] = []
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


def _with_body(columns: Columns, node: Node, keys: Integers) -> Node:
    """The node with its first iteration searched for loops; their instructions must agree in the outer steps too."""
    if not _repeats_something(keys):
        return replace(node, items=(range(node.start, node.start + node.period),))
    starts = columns.starts[node.start : node.start + node.period + 1]
    advances = node.steps
    if node.tables:
        names: dict[bytes, int] = {}
        tables = np.zeros_like(node.steps)
        for table in node.tables:
            tables[table.row, table.column] = 1 + names.setdefault(table.values.tobytes(), len(names))
        advances = np.concatenate([advances, tables], axis=1)
    return replace(node, items=find_loops(columns, node.start, intern(keys, starts - starts[0], advances)))
