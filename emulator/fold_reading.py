"""A sequence of instructions as a word with one symbol per instruction and per loop, and what the word stands for.

A loop is the same symbol whatever its trip count, so that iterations of a loop around it look alike. Where an alignment
of such iterations is put in their place (see `fold_align`), the word gets shorter by an irregular loop; how that looks
instruction by instruction is only worked out for the word that is kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from trnlab.emulator.fold_align import Alignment, Symbols, is_condition, presences
from trnlab.emulator.fold_cutting import cut_alike
from trnlab.emulator.fold_tree import (
    Item,
    Leaves,
    Node,
    Placed,
    Ragged,
    cells_of,
    leaves_of,
    moved,
    placed,
    simplified,
    stacked,
    with_axis,
)
from trnlab.emulator.fold_words import Body, Stretch
from trnlab.emulator.repeats import Integers

_PADDING, _SMALL = 4, 4096  # iterations of the longest trip counts for one that is executed, at most, unless few


class _Step(NamedTuple):
    """An alignment, where the symbols of the word that it aligns start, and their trips."""

    found: Alignment
    starts: Integers
    trips: Integers


@dataclass(frozen=True, eq=False)
class Reading:
    """A word, and what its symbols stand for: instructions by their keys, then loop bodies, then common bodies.

    starts:  the first instruction of each symbol; trips: of those that are loops; end: behind the last instruction
    weights: how many instructions a symbol stands for
    bodies:  of the loops to begin with
    steps:   the alignments so far, with a common body each
    groups:  the iterations that an irregular loop takes of its alignment, by symbol and start
    """

    word: Integers
    starts: Integers
    trips: Integers
    end: int
    weights: Integers
    bodies: Sequence[Body]
    steps: tuple[_Step, ...]
    groups: Mapping[tuple[int, int], tuple[int, int]]

    @cached_property
    def cost(self) -> int:
        """How many instructions the word stands for, and conditions on them."""
        return int(self.weights[self.word].sum())

    @property
    def conditions(self) -> int:
        """How many conditions there are in the common bodies."""
        return sum(step.found.conditions for step in self.steps)

    @property
    def symbols(self) -> Symbols:
        """The word as it is aligned."""
        return Symbols(self.word, self.weights, self.loops)

    @property
    def loops(self) -> int:
        """The first symbol that is not an instruction."""
        return len(self.weights) - len(self.steps) - len(self.bodies)

    def replaced(self, found: Alignment) -> Reading:
        """The word with irregular loops in the place of their iterations."""
        cuts = np.flatnonzero(found.begins[1:] != found.ends[:-1]) + 1
        symbol = len(self.weights)
        kept = np.ones(len(self.word), bool)
        word, groups = self.word.copy(), dict(self.groups)
        for first, last in zip([0, *cuts.tolist()], [*cuts.tolist(), len(found.begins)], strict=True):
            begin = int(found.begins[first])
            groups[symbol, int(self.starts[begin])] = (first, last)
            kept[begin + 1 : found.ends[last - 1]] = False
            word[begin] = symbol
        return Reading(
            word[kept],
            self.starts[kept],
            self.trips[kept],
            self.end,
            np.append(self.weights, found.body_cost),
            self.bodies,
            (*self.steps, _Step(found, self.starts, self.trips)),
            groups,
        )

    # -- from an alignment to a loop ---------------------------------------------------------------------------------

    def _ragged(self, symbol: int, start: int) -> Ragged | None:
        """The irregular loop of that common body which begins there; None if it were mostly padding."""
        found, starts, trips = self.steps[symbol - self.loops - len(self.bodies)]
        first, last = self.groups[symbol, start]
        places = found.places[found.kind[first:last]]
        at = found.begins[first:last, None] + np.maximum(places, 0)
        here = places >= 0
        items: list[Placed] = []
        for part in presences(found.places >= 0):
            inside = self._inside(
                found.common[part.start : part.stop], starts[at[:, part]], trips[at[:, part]] * here[:, part]
            )
            if inside is None:
                return None
            if is_condition(part, found.common, found.places >= 0, self.loops):
                holds = here[:, part.start].astype(np.int64)
                inside = [Ragged(1, holds, tuple(with_axis(item, 1) for item in inside))]
            items += inside
        return Ragged(last - first, None, tuple(items))

    def _inside(self, common: Integers, starts: Integers, trips: Integers) -> list[Placed] | None:
        """A stretch of the common body as items, which start and make trips as given for [iteration, symbol]."""
        items: list[Placed] = []
        kinds = (common >= self.loops).tolist()
        place = 0
        while place < len(common):
            if kinds[place]:
                loop = self._loop(int(common[place]), starts[:, place], trips[:, place])
                if loop is None:
                    return None
                items.append(loop)
                place += 1
                continue
            end = kinds.index(True, place) if True in kinds[place:] else len(common)
            items.append(Leaves(starts[:, place, None] + np.arange(end - place)))
            place = end
        return items

    def _loop(self, symbol: int, starts: Integers, trips: Integers) -> Ragged | None:
        """A loop that starts and makes trips as given for every iteration; 0 trips where there is none."""
        body = symbol - self.loops
        if body >= len(self.bodies):
            here = [self._ragged(symbol, start) for start in starts[trips > 0].tolist()]
            if any(loop is None for loop in here):
                return None
            found = iter(here)
            return stacked([next(found) if made else None for made in trips.tolist()], _PADDING, _SMALL)
        keys, items, _ = self.bodies[body]
        longest = max(int(trips.max()), 1)
        if len(trips) * longest > max(_PADDING * int(trips.sum()), _SMALL):
            return None
        at = starts[:, None] + len(keys) * np.arange(longest)
        return Ragged(longest, trips, tuple(placed(item, at) for item in items))

    # -- from the word to items --------------------------------------------------------------------------------------

    def items(self) -> tuple[Item, ...] | None:
        """What the word stands for; None where an irregular loop were mostly padding."""
        loops = self.word >= self.loops
        begins = np.ones(len(loops), bool)
        begins[1:] = loops[1:] | loops[:-1] | (np.diff(self.starts) != 1)
        firsts = np.flatnonzero(begins)
        items: list[Item] = []
        for first, last in zip(firsts.tolist(), [*firsts[1:].tolist(), len(loops)], strict=True):
            start = int(self.starts[first])
            if not loops[first]:
                items.append(range(start, start + last - first))
                continue
            stop = int(self.starts[last]) if last < len(self.starts) else self.end
            found = self._loop_items(int(self.word[first]), range(start, stop), int(self.trips[first]))
            if found is None:
                return None
            items += found
        return tuple(items)

    def _loop_items(self, symbol: int, numbers: range, trips: int) -> Sequence[Item] | None:
        body = symbol - self.loops
        if body >= len(self.bodies):
            loop = self._ragged(symbol, numbers.start)
            if loop is None or cells_of(loop) > max(_PADDING * len(numbers), _SMALL):
                return None
            return list(simplified(loop, np.ones((), bool)))
        keys, items, _ = self.bodies[body]
        inside = tuple(moved(item, numbers.start) for item in items)
        return inside if trips == 1 else (Node(numbers.start, len(keys), trips, inside),)


def first_reading(stretch: Stretch, nodes: Sequence[Node]) -> Reading:
    """The instructions and these loops."""
    bodies, loops = cut_alike(stretch, nodes)
    names, symbols = np.unique(stretch.keys, return_inverse=True)
    weights = np.asarray([leaves_of(body.items) for body in bodies], np.int64)
    free = np.ones(len(symbols), bool)
    trips = np.ones(len(symbols), np.int64)
    for loop in loops:
        free[loop.start + 1 : loop.end] = False
        symbols[loop.start] = len(names) + loop.body
        trips[loop.start] = loop.trips
    kept = np.flatnonzero(free)
    weights = np.concatenate([np.ones(len(names), np.int64), weights])
    return Reading(
        symbols[kept], stretch.begin + kept, trips[kept], stretch.begin + len(stretch.keys), weights, bodies, (), {}
    )
