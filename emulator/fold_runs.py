"""Runs, stretches of a sequence that repeat with a period: ranking, fitting and judging them as loops."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from trnlab.emulator.fold_periods import Hashes, Mask, periodic, stretches
from trnlab.emulator.repeats import Integers

_SHORT = 8  # instructions; any few can be called two trips, or trips with a table
_ENOUGH_TRIPS_TO_LOSE_ONE = 8
_PRIMES = (2, 3, 5, 7, 11, 13)
_IRREGULAR = 16  # different steps that any two stretches may have
_EVEN = 2  # different amounts by which inner loops may get longer
_TWO_TRIPS, _TABLES = 0.5, 0.4  # weights: any two trips have constant steps, and tables fit anything


class Run(NamedTuple):
    """A stretch of a sequence that repeats with a period; `affine` when with constant steps."""

    start: int
    length: int
    period: int
    affine: bool


def ranked(runs: Integers) -> Integers:
    """The runs worth a loop in the order in which they are taken: first what explains most, then shorter bodies."""
    length, period, affine = runs[:, 1], runs[:, 2], runs[:, 3] == 1
    trips = length // period
    covers = trips * period
    worth = affine | (covers >= _SHORT)
    weight = np.where(affine, 1.0, np.where(trips == 2, _TWO_TRIPS, _TABLES)) * covers
    order = np.lexsort((runs[:, 0], period, ~affine, -covers, -weight))
    best: Integers = runs[order[worth[order]]]
    return best


def still_free(runs: Integers, covered: Mask) -> Iterator[Run]:
    """The runs in order, without those that are covered by then; looked at in batches that double."""
    batch = 1
    while len(runs):
        for start, length, period, affine in runs[:batch].tolist():
            yield Run(start, length, period, bool(affine))
        taken = np.concatenate([np.zeros(1, np.int64), np.cumsum(covered)])
        runs = runs[batch:]
        runs = runs[taken[runs[:, 0] + runs[:, 1]] - taken[runs[:, 0]] < runs[:, 1]]
        batch *= 2


def shortened(run: Run, keys: Integers, hashes: Hashes) -> Run:
    """The run with the shortest period that divides its own and has constant steps, grown to all that has."""
    for prime in _PRIMES:
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
            run = Run(low + start, length + 2 * period, period, True)
    return run


def trimmed(run: Run, covered: Mask) -> Run | None:
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


def rotated(run: Run, crossing: Integers, spans: Integers) -> Run:
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


def spans_of(runs: Integers, count: int) -> Integers:
    """For the gap before each of the positions, how many runs with constant steps reach across it."""
    affine = runs[runs[:, 3] == 1]
    opened = np.bincount(affine[:, 0] + 1, minlength=count + 1)
    closed = np.bincount(affine[:, 0] + affine[:, 1], minlength=count + 1)
    spans: Integers = np.cumsum(opened[: count + 1] - closed[: count + 1])
    return spans


def _is_regular(steps: Integers) -> bool:
    """Whether few steps are different; the steps between two unrelated stretches are, two trips or not."""
    return len(steps) <= _IRREGULAR or len(np.unique(steps, axis=0)) <= _IRREGULAR + len(steps) // 8


def _is_permutation(run: Run, keys: Integers, hashes: Hashes, periods: Sequence[int]) -> bool:
    """Whether shorter bodies repeat all through the run, but hardly ever with constant steps: tables suit them."""
    part = slice(run.start, run.start + run.length)
    for period in periods:
        if period < run.period and (keys[part][:-period] == keys[part][period:]).all():
            return bool(periodic(keys[part], hashes[part], period)[2].mean() < 1 / 2)
    return False


def is_nest(run: Run, hashes: Hashes) -> bool:
    """Whether the run is rather a loop of loops: constant steps, broken at distances that stay or grow evenly."""
    trips = run.length // run.period
    values = hashes[run.start : run.start + trips * run.period].reshape(trips, -1).sum(axis=1, dtype=np.uint64)
    steps = np.diff(values)
    found, counts = np.unique(steps, return_counts=True)
    breaks = np.flatnonzero(steps != found[np.argmax(counts)])
    growth = np.diff(breaks, n=2)
    return len(growth) > 1 and 2 * len(breaks) <= len(steps) and len(np.unique(growth)) <= _EVEN


def _cuts(run: Run, spans: Integers) -> bool:
    """Whether an iteration begins or ends inside another run, which may be an inner loop."""
    ends = spans[[run.start, run.start + run.period, run.start + run.length]]
    return bool((ends > spans[run.start : run.start + run.length + 1].min()).any())


def is_accident(
    run: Run, steps: Integers, keys: Integers, hashes: Hashes, periods: Sequence[int], spans: Integers
) -> bool:
    """Whether two trips are none: any two stretches with the same keys have constant steps.

    steps: of the operand rows; periods: others to look for inside
    """
    return not _is_regular(steps) or _cuts(run, spans) or _is_permutation(run, keys, hashes, periods)
