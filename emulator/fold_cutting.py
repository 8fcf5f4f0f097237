"""Cutting loops alike: loops over the same body begin at the same place of it and take all copies beside them.

What the search for constant steps finds differs from place to place: a first iteration whose rows advance otherwise is
left out, a loop that is executed once is not seen as one. To see that inner loops are the same in all iterations of an
outer one, whatever their trip counts, copies of a body that stand beside a loop of it join the loop, and a lone copy
elsewhere is a loop of one trip.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np

from trnlab.emulator.fold_periods import Hashes, Mask, RollingHash
from trnlab.emulator.fold_tree import Node, moved
from trnlab.emulator.fold_words import Body, Copies, Stretch, families_of, rotation
from trnlab.emulator.repeats import Integers

_BODIES = 32  # whose lone copies are looked for, at most
_EFFORT = 1 << 22  # keys that looking for lone copies reads, at most
_FEW, _RARE = 1024, 256  # lone copies that are taken: a few, and one in so many instructions
_REACH = 2  # copies beside a loop that join it, at most, on either side


def cut_alike(stretch: Stretch, nodes: Sequence[Node]) -> tuple[list[Body], list[Copies]]:
    """The bodies of the loops, and the loops in order, as positions in the stretch."""
    cutter = _Cutter(stretch, nodes)
    for family in families_of(stretch, nodes):
        cutter.join(family)
    longest_first = sorted(range(len(cutter.bodies)), key=lambda number: -len(cutter.bodies[number].keys))
    for number in longest_first[: min(_BODIES, _EFFORT // max(len(stretch.keys), 1))]:
        cutter.add_lone_copies(number)
    return cutter.bodies, [cutter.loops[start] for start in cutter.starts]


class _Cutter:
    """Loops that are cut, and those that are not yet, by where they start.

    inside: positions between a loop's first one and its end: where no other loop may begin or end
    copies: how many lone copies were met
    """

    def __init__(self, stretch: Stretch, nodes: Sequence[Node]) -> None:
        self.stretch = stretch
        self.rolling = RollingHash(stretch.keys)
        self.bodies: list[Body] = []
        self.loops: dict[int, Copies] = {}
        self.starts: list[int] = []
        self.uncut = {node.start - stretch.begin: node for node in nodes}
        self.uncut_starts = sorted(self.uncut)
        self.inside = np.zeros(len(stretch.keys) + 1, bool)
        for start, node in self.uncut.items():
            self.inside[start + 1 : start + node.period * node.trips] = True
        self.copies = 0

    # -- loops that are there ----------------------------------------------------------------------------------------

    def join(self, family: list[Node]) -> None:
        """Cut the loops of a family alike, where copies of the body beside them belong to them too."""
        family = [node for node in family if self.uncut.get(node.start - self.stretch.begin) is node]
        if not family:
            return
        spans = [self._take(node) for node in family]
        touching = any(before.stop == after.start for before, after in pairwise(spans))
        limits = pairwise([0, *(place for span in spans for place in (span.start, span.stop)), len(self.stretch.keys)])
        gaps = list(limits)[::2]  # before, between and behind the loops
        runs = [
            self._run(span, node.period, range(before[0], after[1]), touching)
            for span, node, (before, after) in zip(spans, family, pairwise(gaps), strict=True)
        ]
        keys = [self._keys(span.start, node.period) for span, node in zip(spans, family, strict=True)]
        model = self._best_phase(spans, keys, runs)
        number = self._add_body(family[model])
        free = 0
        for node, span, body, run in zip(family, spans, keys, runs, strict=True):
            begin = max(run.start, free)
            shift = _shift(body, keys[model])
            start = begin + (span.start + shift - begin) % node.period
            loop = Copies(start, node.period, (run.stop - start) // node.period, number)
            if loop.trips < 1 or not self._fits(loop):
                body_number = number if shift == 0 else self._add_body(node)
                loop = Copies(span.start, node.period, node.trips, body_number)
            for part in self._parts(loop) if touching else (loop,):
                self._put(part)
            free = loop.end

    def _parts(self, loop: Copies) -> Iterator[Copies]:
        """The loop, cut where its rows do not advance as those of the body do elsewhere."""
        hashes = self.stretch.hashes[loop.start : loop.end].reshape(loop.trips, loop.period)
        apart = np.flatnonzero((np.diff(hashes, axis=0) != self.bodies[loop.body].step).any(axis=1)) + 1
        for first, last in zip([0, *apart.tolist()], [*apart.tolist(), loop.trips], strict=True):
            yield loop._replace(start=loop.start + first * loop.period, trips=last - first)

    def _take(self, node: Node) -> range:
        """The positions of a loop, which is no longer among those that are not cut."""
        start = node.start - self.stretch.begin
        span = range(start, start + node.period * node.trips)
        del self.uncut[start]
        self.uncut_starts.pop(bisect_left(self.uncut_starts, start))
        self.inside[start + 1 : span.stop] = False
        return span

    def _keys(self, start: int, count: int) -> Integers:
        return self.stretch.keys[start : start + count]

    def _run(self, span: range, period: int, limits: range, by_steps: bool) -> range:
        """The positions around a loop that repeat with its period, at most a few copies on either side.

        limits:   what lies between the neighbours of the same family
        by_steps: only copies whose rows advance as in the loop: another loop of the same body stands beside this one
        """
        keys, hashes, start, end = self.stretch.keys, self.stretch.hashes, span.start, span.stop
        low, high = max(limits.start, start - _REACH * period), min(limits.stop, end + _REACH * period)
        before = keys[low:start] == keys[low + period : start + period]
        after = keys[end:high] == keys[end - period : high - period]
        if by_steps:
            step = hashes[start + period : start + 2 * period] - hashes[start : start + period]
            moved_before = hashes[low + period : start + period] - hashes[low:start]
            moved_after = hashes[end:high] - hashes[end - period : high - period]
            before &= moved_before == np.resize(step[::-1], len(before))[::-1]
            after &= moved_after == np.resize(step, len(after))
        return range(start - _leading(before[::-1]), end + _leading(after))

    def _best_phase(self, spans: Sequence[range], keys: Sequence[Integers], runs: Sequence[range]) -> int:
        """Which loop begins where most trips fit into the runs of all: the longest of those that begin there."""
        votes: dict[bytes, list[int]] = {}
        for number, body in enumerate(keys):
            votes.setdefault(body.tobytes(), []).append(number)

        def trips(phase: int) -> int:
            total = 0
            for span, body, run in zip(spans, keys, runs, strict=True):
                first = run.start + (span.start + _shift(body, keys[phase]) - run.start) % len(body)
                total += (run.stop - first) // len(body)
            return total

        best = max(votes.values(), key=lambda same: (trips(same[0]) if len(votes) > 1 else 0, len(same)))
        return max(best, key=lambda number: len(spans[number]))

    def _add_body(self, node: Node) -> int:
        start, period = node.start - self.stretch.begin, node.period
        hashes = self.stretch.hashes[start : start + 2 * period]
        items = tuple(moved(item, -node.start) for item in node.items)
        self.bodies.append(Body(self._keys(start, period), items, hashes[period:] - hashes[:period]))
        return len(self.bodies) - 1

    def _fits(self, loop: Copies) -> bool:
        """Whether the loop cuts no other one, and takes only such as have shorter bodies."""
        if self.inside[loop.start] or self.inside[loop.end]:
            return False
        within = self.uncut_starts[
            bisect_left(self.uncut_starts, loop.start) : bisect_left(self.uncut_starts, loop.end)
        ]
        first = bisect_left(self.starts, loop.start)
        done = first < len(self.starts) and self.starts[first] < loop.end
        return not done and all(self.uncut[start].period < loop.period for start in within)

    def _put(self, loop: Copies) -> None:
        first, last = bisect_left(self.uncut_starts, loop.start), bisect_left(self.uncut_starts, loop.end)
        for start in self.uncut_starts[first:last]:
            del self.uncut[start]
        del self.uncut_starts[first:last]
        self.inside[loop.start + 1 : loop.end] = True
        insort(self.starts, loop.start)
        self.loops[loop.start] = loop

    # -- lone copies -------------------------------------------------------------------------------------------------

    def add_lone_copies(self, number: int) -> None:
        """Copies of a body that are in no loop become loops; neighbours become one, if their rows advance alike."""
        body = self.bodies[number]
        period = len(body.keys)
        copies = self._copies(body.keys)
        self.copies += len(copies)
        if self.copies > _FEW + len(self.stretch.keys) // _RARE:
            return
        loop: Copies | None = None
        for start in copies:
            copy = Copies(start, period, 1, number)
            if (loop is not None and start < loop.end) or not self._free(copy):
                continue
            if loop is not None and start == loop.end and self._advances_alike(start, body.step):
                loop = self.loops[loop.start] = loop._replace(trips=loop.trips + 1)
                self.inside[start : loop.end] = True
            else:
                loop = copy
                self._put(copy)

    def _copies(self, body: Integers) -> list[int]:
        """Where the body's keys stand in a row outside of all loops."""
        keys, period = self.stretch.keys, len(body)
        if period == 1:
            places = np.flatnonzero(keys == body[0])
        else:
            begins = np.arange(len(keys) - period + 1)
            wanted = RollingHash(body).of(np.zeros(1, np.int64), np.full(1, period))
            places = np.flatnonzero(self.rolling.of(begins, begins + period) == wanted)
        places = places[~(self.inside[places] | self.inside[places + period])]
        exact = np.ones(len(places), bool)
        for offset in range(period) if len(places) < period else ():
            exact &= keys[places + offset] == body[offset]
        if len(places) >= period:
            for part in np.array_split(np.arange(len(places)), max(1, len(places) * period >> 20)):
                exact[part] = (keys[places[part, None] + np.arange(period)] == body).all(axis=1)
        result: list[int] = places[exact].tolist()
        return result

    def _free(self, copy: Copies) -> bool:
        """Whether no loop of a body as long lies inside; shorter ones are dropped."""
        first = bisect_left(self.starts, copy.start)
        within = self.starts[first : bisect_left(self.starts, copy.end)]
        if any(self.loops[start].period >= copy.period for start in within):
            return False
        for start in within:
            del self.loops[start]
        del self.starts[first : first + len(within)]
        return True

    def _advances_alike(self, start: int, step: Hashes) -> bool:
        hashes, period = self.stretch.hashes, len(step)
        here, before = hashes[start : start + period], hashes[start - period : start]
        return bool((here - before == step).all())


def _shift(body: Integers, phase: Integers) -> int:
    """How far the body must be rotated to be the phase, which is one of its rotations."""
    shift = rotation(np.tile(body, 2).tobytes(), phase.tobytes(), body.itemsize)
    assert shift is not None
    return shift


def _leading(mask: Mask) -> int:
    """How many entries are True before the first that is not."""
    return len(mask) if mask.all() else int(mask.argmin())
