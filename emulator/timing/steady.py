"""Where a plan repeats itself: the stretch over which every step has a twin one period later.

Two steps are twins when everything about them that the simulation sees is equal, their edges included, counted from
themselves. A period is one iteration of a loop, or a few where tiles rotate. A folded program knows its loops; those
of a flat one show in the gaps between equal steps. Every candidate is verified in full: every column and every edge of
the stretch is compared with its twin's.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from trnlab.emulator.program import IndexArray
from trnlab.emulator.timing.schedule_plan import Plan

_ITERATIONS: Final = 16  # of a loop that are tried as a period: rotating tiles and queues repeat after a few
_CANDIDATES: Final = 24  # gaps that are tried
_LEAST_PERIODS: Final = 6
_LEAST_SHARE: Final = 0.8  # of the longest stretch, for a shorter period to be preferred

Flags = np.ndarray[Any, np.dtype[np.bool_]]


@dataclass(frozen=True, eq=False)
class Period:
    """Steps begin <= i < end - steps have a twin at i + steps; likewise each node `nodes` later.

    reach:  the furthest that a step's edges lead ahead, in steps, through nodes or not
    anchor: for each node the first step that waits for it
    """

    steps: int
    nodes: int
    begin: int
    end: int
    reach: int
    anchor: IndexArray


def find_period(plan: Plan) -> Period | None:
    """The period of a plan's longest repeating stretch; None where nothing repeats often enough to be of use."""
    count = len(plan)
    if count < 4 * _LEAST_PERIODS:
        return None
    graph = _Graph(plan)
    columns = np.stack([*_columns(plan), graph.shape[:count]])
    codes = _mixed(columns)
    best: tuple[int, int, int] | None = None
    for period in sorted(_multiples(plan.loops, count) if plan.loops else _gaps(codes)):
        begin, end = _longest_run(codes[:-period] == codes[period:])
        useful = end - begin >= _LEAST_PERIODS * period
        if useful and (best is None or (end - begin) * _LEAST_SHARE > best[2] - best[1]):
            best = (period, begin, end)
    return None if best is None else graph.verified(columns, *best)


def _columns(plan: Plan) -> Iterable[IndexArray]:
    """What the simulation sees of each step apart from its edges, as numbers."""
    count = len(plan)
    transfers = [0] * count
    known: dict[Hashable, int] = {}
    for step, transfer in plan.transfers.items():
        transfers[step] = known.setdefault(transfer, len(known) + 1)
    yield from (plan.engine, plan.duration, plan.settle)
    for values in (plan.exposed, plan.table, plan.background, plan.producers[:count], transfers):
        yield np.array(values, np.int64)
    for tuples in (plan.lanes, plan.ports):
        numbers: dict[Hashable, int] = {}
        yield np.array([numbers.setdefault(item, len(numbers)) for item in tuples], np.int64)


def _mixed(columns: IndexArray) -> IndexArray:
    """One number for each step, equal for equal columns; unequal ones may rarely share it."""
    result = np.zeros(columns.shape[1], np.uint64)
    for column in columns:
        result = (result ^ column.astype(np.uint64)) * np.uint64(0x9E3779B97F4A7C15)
        result ^= result >> np.uint64(29)
    return result.view(np.int64)


def _multiples(loops: Iterable[int], count: int) -> list[int]:
    """A few iterations of each loop, as far as they leave room for several periods."""
    found = {steps * times for steps in loops for times in range(1, _ITERATIONS + 1)}
    return [period for period in found if period * _LEAST_PERIODS <= count]


def _gaps(codes: IndexArray) -> list[int]:
    """The commonest distances between equal codes, of the rarest codes first."""
    order = np.argsort(codes, kind="stable")
    same = np.diff(codes[order]) == 0
    gaps = np.diff(order)[same]
    kinds = codes[order][1:][same]
    values, counts = np.unique(gaps, return_counts=True)
    wanted = dict.fromkeys(values[np.argsort(-counts, kind="stable")][: _CANDIDATES // 2].tolist())
    names, uses = np.unique(kinds, return_counts=True)
    for name in names[np.argsort(uses, kind="stable")][uses[np.argsort(uses, kind="stable")] >= _LEAST_PERIODS]:
        if len(wanted) >= _CANDIDATES:
            break
        mine, often = np.unique(gaps[kinds == name], return_counts=True)
        wanted[int(mine[often.argmax()])] = None
    return [gap for gap in wanted if gap * _LEAST_PERIODS <= len(codes)]


def _longest_run(flags: Flags) -> tuple[int, int]:
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    if not len(edges):
        return 0, 0
    begins, ends = edges[::2], edges[1::2]
    longest = int((ends - begins).argmax())
    return int(begins[longest]), int(ends[longest])


class _Graph:
    """The edges of a plan as arrays."""

    def __init__(self, plan: Plan) -> None:
        self.count = len(plan)
        self.first = np.array(plan.first, np.int64)
        self.successors = np.array(plan.successors, np.int64)
        self.delays = np.array(plan.delays, np.int64)
        self.waits = np.array(plan.waits, np.int64)
        self.producers = np.array(plan.producers, np.int64)
        self.sources = np.repeat(np.arange(len(self.first) - 1), np.diff(self.first))
        self.shape = self._shape()

    def _shape(self) -> IndexArray:
        """For each step or node a number that says where its edges lead, relative to it; nodes are all alike."""
        ahead = np.where(self.successors < self.count, self.successors - self.sources, -1)
        mixed = _mixed(np.stack([ahead, self.delays, self.waits])).view(np.uint64)
        total = np.concatenate([np.zeros(1, np.uint64), np.cumsum(mixed, dtype=np.uint64)])
        result: IndexArray = (total[self.first[1:]] - total[self.first[:-1]]).view(np.int64)
        return result

    def verified(self, columns: IndexArray, steps: int, begin: int, end: int) -> Period | None:
        """The period, when the whole stretch is exactly periodic, nodes included; else None."""
        end += steps
        anchor, far = self._nodes()
        if len(anchor) and (np.diff(anchor) < 0).any():
            return None
        inside = np.searchsorted(anchor, [begin, end])
        nodes = self._nodes_each(anchor, steps, begin, end)
        same = np.array_equal(columns[:, begin : end - steps], columns[:, begin + steps : end])
        if nodes is None or not same or not self._same(begin, end - steps, steps, nodes):
            return None
        low, high = (self.count + inside).tolist()
        if nodes and not self._same(low, high - nodes, steps, nodes):
            return None
        mine = slice(int(self.first[begin]), int(self.first[end]))
        furthest = np.concatenate([np.arange(self.count), far])[self.successors[mine]]
        reach = int((furthest - self.sources[mine]).max(initial=0))
        return Period(steps, nodes, begin, end, reach, anchor)

    def _nodes(self) -> tuple[IndexArray, IndexArray]:
        """For each node the first and the last step that waits for it; nodes may lead to later nodes."""
        number = len(self.first) - 1 - self.count
        anchor, far = np.full(number, np.iinfo(np.int64).max), np.full(number, -1, np.int64)
        mine = self.sources >= self.count
        source, successor = self.sources[mine] - self.count, self.successors[mine]
        to_step = successor < self.count
        np.minimum.at(anchor, source[to_step], successor[to_step])
        np.maximum.at(far, source[to_step], successor[to_step])
        inner, outer = source[~to_step], successor[~to_step] - self.count
        np.minimum.at(anchor, inner, anchor[outer].copy())
        np.maximum.at(far, inner, far[outer].copy())
        return anchor, far

    def _nodes_each(self, anchor: IndexArray, steps: int, begin: int, end: int) -> int | None:
        """How many nodes a period has; None when periods differ."""
        bounds = np.arange(begin, end - steps + 1, steps)
        counts = np.diff(np.searchsorted(anchor, [*bounds.tolist(), int(bounds[-1]) + steps]))
        return int(counts[0]) if len(set(counts.tolist())) == 1 else None

    def _same(self, begin: int, end: int, steps: int, nodes: int) -> bool:
        """Whether begin..end (steps, or nodes) and their twins have the same edges, shifted."""
        by = steps if begin < self.count else nodes
        low, high = int(self.first[begin]), int(self.first[end])
        twin_low, twin_high = int(self.first[begin + by]), int(self.first[end + by])
        if high - low != twin_high - twin_low:
            return False
        mine, twin = slice(low, high), slice(twin_low, twin_high)
        shift = np.where(self.successors[mine] < self.count, steps, nodes)
        return (
            np.array_equal(self.first[begin:end] - low, self.first[begin + by : end + by] - twin_low)
            and np.array_equal(self.successors[mine] + shift, self.successors[twin])
            and np.array_equal(self.delays[mine], self.delays[twin])
            and np.array_equal(self.waits[mine], self.waits[twin])
            and np.array_equal(self.producers[begin:end], self.producers[begin + by : end + by])
        )
