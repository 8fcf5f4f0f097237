"""Finding the loops of a flat sequence of instructions, outermost first, on arrays.

Every instruction has a key (what must agree from one iteration to the next) and rows of integers (what may advance).
Periods are guessed from how far back the same few keys stood before; for a period p, instruction i continues a loop
when its key is that of i + p and i + 2p and its rows advance by the same steps twice. A *linear* hash of the rows turns
that into comparisons of whole arrays. What wins is compared exactly before it becomes a loop: no hash decides.

Time is linear in the number of instructions: a bounded number of periods is tried on each level, sorting is by 16-bit
codes (a radix sort), and only one copy of a loop's body is searched further.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from trnlab.emulator.repeats import Integers, StepTable

Hashes = np.ndarray[Any, np.dtype[np.uint64]]
Mask = np.ndarray[Any, np.dtype[np.bool_]]

_WINDOWS = 7  # lengths 1, 2, 4 .. 64
_SEEDS = 4  # most frequent distances, and as many that cover most
_PERIODS = 24
_ROUNDS = 3
_RARE = 64  # a period that fewer than one in so many instructions repeat with leads to no further ones
_SHORT = 8  # instructions; any few can be called two trips, or trips with a table
_ENOUGH_TRIPS_TO_LOSE_ONE = 8
_PRIMES = (2, 3, 5, 7)
_IRREGULAR = 16
_SHUFFLE = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio, odd: Knuth's multiplicative hashing
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


# -- keys ------------------------------------------------------------------------------------------------------------


def row_hashes(starts: Integers, columns: Integers) -> Hashes:
    """A hash of each instruction's rows, linear: that of a difference is the difference of the hashes, mod 2^64."""
    widths = np.diff(starts)
    within = np.arange(len(columns)) - np.repeat(starts[:-1] - starts[0], widths)
    weights = np.random.default_rng(0x5EED).integers(
        2**64, size=(int(widths.max(initial=0)), columns.shape[1]), dtype=np.uint64
    )
    terms = np.zeros(len(columns), np.uint64)
    for column in range(columns.shape[1]):
        terms += columns[:, column].astype(np.uint64) * weights[within, column]
    sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(terms, dtype=np.uint64)])
    part: Hashes = sums[starts[1:] - starts[0]] - sums[starts[:-1] - starts[0]]
    return part


def intern(keys: Integers, starts: Integers, columns: Integers) -> Integers:
    """Numbers that are equal exactly where the keys and all rows of the columns are; equal keys have equally many rows.

    Instructions whose hashes collide get numbers of their own, so that nothing else equals them.
    """
    mixed = keys.astype(np.uint64) * _SHUFFLE ^ row_hashes(starts, columns)
    _, first, inverse = np.unique(mixed, return_index=True, return_inverse=True)
    model = first[inverse]
    wrong = keys != keys[model]
    model[wrong] = np.flatnonzero(wrong)
    widths = np.diff(starts)
    differ = (columns != columns[np.arange(len(columns)) + np.repeat(starts[model] - starts[:-1], widths)]).any(axis=1)
    wrong[np.repeat(np.arange(len(keys)), widths)[differ]] = True
    names: Integers = inverse.astype(np.int64)
    names[wrong] = len(keys) + np.arange(np.count_nonzero(wrong))
    return names


# -- periods ---------------------------------------------------------------------------------------------------------


def _distances(codes: Hashes, count: int) -> Integers:
    """How often each distance stands between an instruction and the one before it with the same code."""
    short = (codes >> np.uint64(48)).astype(np.uint16)
    order = np.argsort(short, kind="stable")
    sorted_ = short[order]
    apart = np.diff(order)[sorted_[1:] == sorted_[:-1]]
    counts: Integers = np.bincount(apart, minlength=count)
    return counts


def _best(counts: Integers, how_many: int) -> list[int]:
    """The most frequent distances, and those that explain most instructions, alternating."""
    found = np.flatnonzero(counts)
    by_count = found[_largest(counts[found], how_many)]
    by_cover = found[_largest(counts[found] * found, how_many)]
    return list(dict.fromkeys(np.stack([by_count, by_cover], axis=1).reshape(-1).tolist()))


def _largest(values: Integers, how_many: int) -> Integers:
    """Where the largest values stand, in order of size."""
    how_many = min(how_many, len(values))
    chosen = np.argpartition(-values, how_many - 1)[:how_many] if how_many else np.zeros(0, np.int64)
    order: Integers = chosen[np.argsort(-values[chosen], kind="stable")]
    return order


def _seeds(keys: Integers) -> list[int]:
    """Distances after which windows of 1, 2, 4 .. keys stand again."""
    codes = keys.astype(np.uint64) * _SHUFFLE
    counts = np.zeros(len(keys), np.int64)
    for power in range(_WINDOWS):
        width = 1 << power
        counts += _distances(codes, len(keys))
        if len(codes) <= 2 * width:
            break
        codes = (codes[:-width] ^ (codes[width:] * _SHUFFLE + np.uint64(1))) * _SHUFFLE
    return _best(counts, _SEEDS)


def _stretches(mask: Mask, shortest: int) -> Integers:
    """[(start, length)] of the maximal stretches of True that are long enough."""
    padded = np.zeros(len(mask) + 2, np.int8)
    padded[1:-1] = mask
    edges: Integers = np.flatnonzero(np.diff(padded)).reshape(-1, 2)
    edges[:, 1] -= edges[:, 0]
    return edges[edges[:, 1] >= shortest]


def _outer_periods(keys: Integers, step: Hashes, period: int) -> list[int]:
    """Periods of loops around one with this period: where that one ends its steps break, once per outer iteration."""
    marks = (keys[:-period].astype(np.uint64) + step * _SHUFFLE) * _SHUFFLE
    counts = _distances(marks, len(keys))
    # Sums over a period are all the same until a break comes into sight, whatever repeats inside the body.
    sums = np.cumsum(marks, dtype=np.uint64)
    near = _distances((sums[period:] - sums[:-period]) * _SHUFFLE, len(keys))
    near[:2] = 0
    return list(dict.fromkeys(_best(near, 2) + _best(counts, 2)))


def _periodic(keys: Integers, hashes: Hashes, period: int) -> tuple[Mask, Hashes, Mask]:
    """Whether keys agree one period on, the hashed step to there, and whether keys and steps agree two periods on."""
    match = keys[:-period] == keys[period:]
    step = hashes[period:] - hashes[:-period]
    return match, step, match[:-period] & match[period:] & (step[:-period] == step[period:])


def _runs(keys: Integers, hashes: Hashes) -> Integers:
    """Rows (start, length, period, affine) of everything that repeats with a period worth trying."""
    queue = _seeds(keys)
    found = []
    for number in range(_PERIODS):
        if number >= len(queue):
            break
        period = queue[number]
        match, step, affine = _periodic(keys, hashes, period)
        for mask, overlap, constant in ((affine, 2 * period, 1), (match, period, 0)):
            part = _stretches(mask, period)
            part[:, 1] += overlap
            found.append(np.concatenate([part, np.broadcast_to([period, constant], part.shape)], axis=1))
        if found[-1][:, 1].sum() * _RARE >= len(keys):
            queue += [other for other in _outer_periods(keys, step, period) if other not in queue]
    return np.concatenate(found) if found else np.zeros((0, 4), np.int64)


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
            around = _stretches(_periodic(keys[low:high], hashes[low:high], period)[2], period)
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
        free = _stretches(~taken, 2 * run.period)
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


def _choose(columns: Columns, positions: Integers, keys: Integers) -> tuple[list[Node], Mask]:
    """Loops without their inner ones, and which of the positions they take.

    positions: where the keys stand in the flat sequence: neighbours, except around keys that nothing equals
    """
    covered = np.zeros(len(keys), bool)
    nodes = []
    crossing, hashes = columns.crossing[positions], columns.hashes[positions]
    runs = _runs(keys, hashes)
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
        if (tables and run.affine) or (trips == 2 and not _is_regular(steps)):
            continue
        nodes.append(Node(start, run.period, trips, steps, tables, ()))
        covered[run.start : run.start + run.length] = True
    return nodes, covered


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
            found, covered = _choose(columns, *rest)
            nodes += found
            if not found or covered.all():
                break
            rest = _uncovered(*rest, covered)
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
