"""Iterations of different length laid side by side: what marks them in a word, and the body into which they all fit.

An outer loop shows in symbols that occur once in each of its iterations, always in the same order: a *cycle*. It cuts
the word into iterations; their *common body* is a word of which every iteration is a subsequence. What an iteration
leaves out of it is a loop of no trips, or a condition that does not hold.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from trnlab.emulator.fold_periods import Mask, RollingHash
from trnlab.emulator.repeats import Integers

_FEWEST = 3  # iterations that make an irregular loop
_CYCLES, _LONE_CYCLES, _INTERLEAVED = 4, 2, 4  # cycles tried: the best ones; of one symbol; of equal counts
_KINDS, _LONGEST, _PAIRS = 64, 1024, 1 << 14  # different iterations, their length, symbol pairs compared
CONDITIONAL = 3 / 4  # what may be left with conditions, of what may be left without
_FILLED = 1 / 3  # how much of the common body iterations have on average, at least


class Symbols(NamedTuple):
    """A word, and how many instructions every symbol stands for. Symbols from `loops` on are loops."""

    word: Integers
    weights: Integers
    loops: int


class Alignment(NamedTuple):
    """Iterations begins[i] .. ends[i] of the word, and how they fit into the common body.

    kind:   for every iteration a row of `places`
    places: [kind, symbol of the common body], how far from the iteration's begin that symbol stands; -1 for absent
    cost:   instructions that are left, and conditions, when nothing outside the iterations stands there twice;
            body_cost: those in the common body; conditions: in it
    """

    begins: Integers
    ends: Integers
    common: Integers
    kind: Integers
    places: Integers
    cost: int
    body_cost: int
    conditions: int


def best_alignments(symbols: Symbols, limit: float) -> list[Alignment]:
    """The alignments of least cost below the limit: of iterations that all follow each other, and of any."""
    rolling = RollingHash(symbols.word)
    best: dict[bool, Alignment] = {}
    for cycle in _cycles(symbols):
        for begins, ends in _iterations(symbols, cycle, rolling):
            breaks = np.count_nonzero(begins[1:] != ends[:-1])
            kinds = _kinds(symbols.word, begins, ends, rolling) if len(begins) - breaks >= _FEWEST else None
            if kinds is not None:
                least = best[bool(breaks)].cost if bool(breaks) in best else limit
                found = _aligned(symbols, begins, ends, kinds, least, limit * CONDITIONAL)
                best.update({bool(breaks): found} if found else {})
    if len(best) == 2 and best[False].cost <= best[True].cost:
        del best[True]  # its cost is a lower bound: what lies between its iterations may not fold
    return [best[key] for key in sorted(best)]


def _cycles(symbols: Symbols) -> list[Integers]:
    """Positions [symbol, iteration] of symbols that take turns; those that stand for most instructions."""
    counts = np.bincount(symbols.word)
    order = np.argsort(symbols.word, kind="stable")
    ends = np.cumsum(counts)
    frequent = np.flatnonzero(counts >= _FEWEST)
    frequent = frequent[np.argsort(counts[frequent], kind="stable")]
    found: list[tuple[int, Integers]] = []
    for same in np.split(frequent, np.flatnonzero(np.diff(counts[frequent])) + 1) if len(frequent) else ():
        count = int(counts[same[0]])
        places = order[(ends[same] - count)[:, None] + np.arange(count)]
        places = places[np.argsort(places[:, 0])]
        for _ in range(_INTERLEAVED):
            turns = (places >= places[0]).all(axis=1) & (places[:, :-1] < places[0, 1:]).all(axis=1)
            weight = count * int(symbols.weights[symbols.word[places[turns, 0]]].sum())
            found.append((weight, places[turns]))
            places = places[~turns]
            if not len(places):
                break
    found.sort(key=lambda item: -item[0])
    cycles = [cycle for _, cycle in found]
    lone = [cycle for cycle in cycles if len(cycle) == 1]
    return [cycle for cycle in cycles if len(cycle) > 1][:_CYCLES] + lone[:_LONE_CYCLES]


def _iterations(symbols: Symbols, cycle: Integers, rolling: RollingHash) -> Iterator[tuple[Integers, Integers]]:
    """Where iterations begin and end: with all that follows the cycle's last symbol, or without what seldom follows."""
    begins, heads = cycle[0], cycle[-1] + 1
    ends = np.append(begins[1:], heads[-1])
    _, kinds = np.unique(rolling.of(heads[:-1], ends[:-1]), return_index=True)
    if len(kinds) > _KINDS or (ends - heads).max() > _LONGEST:
        return
    tails = [symbols.word[heads[kind] : ends[kind]] for kind in kinds.tolist()]
    rest = symbols.word[heads[-1] : heads[-1] + _LONGEST]
    ends[-1] += max((_agreement(tail, rest) for tail in tails), default=0)
    yield begins, ends
    seldom = _seldom(symbols, heads, ends)
    if len(seldom):
        inside = np.isin(symbols.word, seldom)
        first = np.append(np.flatnonzero(inside), len(inside))
        cut = np.minimum(ends, first[np.searchsorted(first, heads)])
        yield begins, cut


def _agreement(first: Integers, second: Integers) -> int:
    """How many symbols two words have in common from their beginnings on."""
    size = min(len(first), len(second))
    differ = np.flatnonzero(first[:size] != second[:size])
    return int(differ[0]) if len(differ) else size


def _seldom(symbols: Symbols, heads: Integers, ends: Integers) -> Integers:
    """Symbols that follow the cycle's last one in at most half of the iterations."""
    sizes = ends - heads
    iteration = np.repeat(np.arange(len(heads)), sizes)
    places = np.arange(sizes.sum()) + np.repeat(heads - np.cumsum(sizes) + sizes, sizes)
    pairs = np.unique(symbols.word[places] * len(heads) + iteration)
    found, counts = np.unique(pairs // len(heads), return_counts=True)
    result: Integers = found[2 * counts <= len(heads)]
    return result


class _Kinds(NamedTuple):
    """The different iterations as words, how many there are of each, and of which kind every iteration is."""

    words: list[list[int]]
    counts: Integers
    kind: Integers


def _kinds(word: Integers, begins: Integers, ends: Integers, rolling: RollingHash) -> _Kinds | None:
    """The kinds of iterations; None where these are too different or too long to be worth it."""
    if (ends - begins).max() > _LONGEST:
        return None
    _, models, kind, counts = np.unique(
        rolling.of(begins, ends), return_index=True, return_inverse=True, return_counts=True
    )
    if len(models) > _KINDS or not _equal_to_models(word, begins, ends, models[kind]):
        return None
    return _Kinds([word[begins[number] : ends[number]].tolist() for number in models.tolist()], counts, kind)


def _aligned(
    symbols: Symbols, begins: Integers, ends: Integers, kinds: _Kinds, limit: float, conditional_limit: float
) -> Alignment | None:
    """The alignment of these iterations, if it costs less than the limit; with conditions, than both limits."""
    rest = _weight_outside(symbols, begins, ends)
    least: Counter[int] = Counter()
    for word in kinds.words:
        least |= Counter(word)
    if rest + sum(count * int(symbols.weights[symbol]) for symbol, count in least.items()) >= limit:
        return None
    common, places = _common_body(kinds.words, symbols.weights)
    present = places >= 0
    if kinds.counts @ np.count_nonzero(present, axis=1) < _FILLED * len(begins) * len(common):
        return None
    conditions = sum(is_condition(stretch, common, present, symbols.loops) for stretch in presences(present))
    inside = int(symbols.weights[common].sum()) + conditions
    if rest + inside >= (min(limit, conditional_limit) if conditions else limit):
        return None
    return Alignment(begins, ends, common, kinds.kind, places, rest + inside, inside, conditions)


def _equal_to_models(word: Integers, begins: Integers, ends: Integers, models: Integers) -> bool:
    """Whether every iteration has the same symbols as its model: hashes do not decide."""
    sizes = ends - begins
    if (sizes != sizes[models]).any():
        return False
    within = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return bool((word[np.repeat(begins, sizes) + within] == word[np.repeat(begins[models], sizes) + within]).all())


def _weight_outside(symbols: Symbols, begins: Integers, ends: Integers) -> int:
    """The weight of what stands outside of the iterations, of equal symbols once."""
    inside = np.zeros(len(symbols.word) + 1, np.int64)
    np.add.at(inside, begins, 1)
    np.add.at(inside, ends, -1)
    return int(symbols.weights[np.unique(symbols.word[np.cumsum(inside[:-1]) == 0])].sum())


def _common_body(words: Sequence[list[int]], weights: Integers) -> tuple[Integers, Integers]:
    """A word that has all of the words as subsequences, and for each of them where it has the symbols; -1 for absent.

    Words with so little order that comparing them would take long are not compared.
    """
    common: list[tuple[int, int]] = []  # symbols with a number of their own
    numbers: list[list[int]] = [[] for _ in words]
    for which in sorted(range(len(words)), key=lambda number: -int(weights[words[number]].sum())):
        word, body = words[which], [symbol for symbol, _ in common]
        count = Counter(body)
        steps = [("replace", 0, len(body), 0, len(word))]
        if sum(count[symbol] for symbol in word) <= _PAIRS:
            steps = list(SequenceMatcher(None, body, word, autojunk=False).get_opcodes())
        longer: list[tuple[int, int]] = []
        total = len(common)
        for tag, first, last, begin, end in steps:
            longer += common[first:last]
            if tag == "equal":
                numbers[which] += [number for _, number in common[first:last]]
            else:
                new = list(range(total, total + end - begin))
                total += len(new)
                longer += zip(word[begin:end], new, strict=True)
                numbers[which] += new
        common = longer
    index = np.empty(len(common), np.int64)
    index[[number for _, number in common]] = np.arange(len(common))
    places = np.full((len(words), len(common)), -1, np.int64)
    for which, found in enumerate(numbers):
        places[which, index[found]] = np.arange(len(found))
    return np.asarray([symbol for symbol, _ in common], np.int64), places


def presences(present: Mask) -> list[range]:
    """Stretches of the common body that iterations have as a whole or not at all.

    present: [kind of iteration, symbol]
    """
    cuts = np.flatnonzero((present[:, 1:] != present[:, :-1]).any(axis=0)) + 1
    bounds = [0, *cuts.tolist(), present.shape[1]]
    return [range(first, last) for first, last in pairwise(bounds)]


def is_condition(stretch: range, common: Integers, present: Mask, loops: int) -> bool:
    """Whether a stretch needs a condition; a loop has none, it makes no trips instead."""
    if present[:, stretch.start].all():
        return False
    return len(stretch) > 1 or bool(common[stretch.start] < loops)
