"""What repeats in a flat sequence of instructions, and with which periods: the arrays behind `fold_search`.

Every instruction has a key (what must agree from one iteration to the next) and rows of integers (what may advance).
Periods are guessed from how far back the same few keys stood before; for a period p, instruction i continues a loop
when its key is that of i + p and i + 2p and its rows advance by the same steps twice. A *linear* hash of the rows turns
that into comparisons of whole arrays. Guesses need not be right: what is chosen is compared exactly.

Time is linear: a bounded number of periods is tried, and sorting is by 16-bit codes (a radix sort).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from trnlab.emulator.repeats import Integers

Hashes = np.ndarray[Any, np.dtype[np.uint64]]
Mask = np.ndarray[Any, np.dtype[np.bool_]]

_WINDOWS = 7  # lengths 1, 2, 4 .. 64
_SEEDS = 4  # most frequent distances, and as many that cover most
_PERIODS = 24
_RARE = 64  # a period that fewer than one in so many instructions repeat with leads to no further ones
_SHUFFLE = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio, odd: Knuth's multiplicative hashing


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


class RollingHash:
    """Hashes of any stretch of a sequence; equal ones stand for equal stretches, with collisions."""

    def __init__(self, keys: Integers) -> None:
        powers = np.cumprod(np.full(len(keys), _SHUFFLE), dtype=np.uint64)
        terms = (keys.astype(np.uint64) + _SHUFFLE) * powers
        self.sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(terms, dtype=np.uint64)])
        inverse = np.uint64(pow(int(_SHUFFLE), -1, 1 << 64))
        self.scales = np.concatenate([np.ones(1, np.uint64), np.cumprod(np.full(len(keys), inverse), dtype=np.uint64)])

    def of(self, begins: Integers, ends: Integers) -> Hashes:
        """The hashes of the stretches begins .. ends."""
        result: Hashes = (self.sums[ends] - self.sums[begins]) * self.scales[begins]
        return result


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


def common_distances(keys: Integers, positions: Integers) -> list[int]:
    """How far apart in position those keys often are that stand where the same few keys stood before."""
    found = []
    for period in _seeds(keys):
        apart = (positions[period:] - positions[:-period])[keys[period:] == keys[:-period]]
        values, counts = np.unique(apart, return_counts=True)
        found += values[np.argsort(-counts, kind="stable")[:1]].tolist()
    return list(dict.fromkeys(found))


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


def stretches(mask: Mask, shortest: int) -> Integers:
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


def periodic(keys: Integers, hashes: Hashes, period: int) -> tuple[Mask, Hashes, Mask]:
    """Whether keys agree one period on, the hashed step to there, and whether keys and steps agree two periods on."""
    match = keys[:-period] == keys[period:]
    step = hashes[period:] - hashes[:-period]
    return match, step, match[:-period] & match[period:] & (step[:-period] == step[period:])


def repeating_runs(keys: Integers, hashes: Hashes, periods: Sequence[int] = ()) -> Integers:
    """Rows (start, length, period, affine) of everything that repeats with one of the periods or another promising one.

    affine: 1 for a run with constant steps, 0 for one in which only the keys repeat
    """
    queue = list(dict.fromkeys([*periods, *_seeds(keys)]))
    found = []
    for number in range(_PERIODS + len(periods)):
        if number >= len(queue):
            break
        period = queue[number]
        match, step, affine = periodic(keys, hashes, period)
        for mask, overlap, constant in ((affine, 2 * period, 1), (match, period, 0)):
            part = stretches(mask, period)
            part[:, 1] += overlap
            found.append(np.concatenate([part, np.broadcast_to([period, constant], part.shape)], axis=1))
        if found[-1][:, 1].sum() * _RARE >= len(keys):
            queue += [other for other in _outer_periods(keys, step, period) if other not in queue]
    return np.concatenate(found) if found else np.zeros((0, 4), np.int64)
