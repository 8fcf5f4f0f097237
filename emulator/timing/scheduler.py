"""The event simulation: engines, DMA queues and DMA engines play a plan in time order. Deterministic.

Engines issue one instruction at a time: of the `window` instructions at the head of their queue the oldest that is
ready. A window of 1 is strict program order. Matmuls on different tiles of the array run side by side.

Each DMA queue offers its oldest transfer, once it is ready and the queue's interval has passed; the DMA engines take
transfers in the order of these times, never in program order, and work through their part of each. The sum of all
transfers never outruns this core's share of HBM.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from heapq import heappop, heappush
from typing import NamedTuple

import numpy as np

from trnlab.emulator.program import IndexArray
from trnlab.emulator.timing.dma_plan import picoseconds
from trnlab.emulator.timing.schedule_plan import DMA_ENGINE, Plan


class Wait(IntEnum):
    """What an instruction waited for last before it ran.

    START: nothing. DATA: a producer. ENGINE: its engine. DMA: its queue, or a DMA engine. HBM: memory bandwidth.
    """

    START = 0
    DATA = 1
    ENGINE = 2
    DMA = 3
    HBM = 4


class Spans(NamedTuple):
    """One row per piece of a transfer: its step, the DMA engine that carried it, and when."""

    step: IndexArray
    engine: IndexArray
    start_ps: IndexArray
    end_ps: IndexArray


@dataclass(frozen=True, eq=False)
class Played:
    """One row per step: when it ran, what it waited for last (`Wait`), and the step that it waited for, or -1."""

    start_ps: IndexArray
    end_ps: IndexArray
    wait: IndexArray
    cause: IndexArray
    spans: Spans


class _Station:
    """One engine: its steps in program order, those ready or about to be, and what its lanes do."""

    __slots__ = ("free", "head", "issued", "last", "order", "ready", "table", "waiting", "window")

    def __init__(self, order: list[int], lanes: int, window: int) -> None:
        self.order = order
        self.window = window
        self.head = 0
        self.issued = bytearray(len(order) + 1)
        self.waiting: list[tuple[int, int]] = []
        self.ready: list[int] = []
        self.free = [0] * lanes
        self.last = [-1] * lanes
        self.table = 0

    def candidate(self, now: int) -> int:
        """Place in the queue of the oldest instruction that is ready now, -1 when none is inside the window."""
        while self.waiting and self.waiting[0][0] <= now:
            heappush(self.ready, heappop(self.waiting)[1])
        return self.ready[0] if self.ready and self.ready[0] < self.head + self.window else -1

    def take(self, place: int) -> None:
        """Remove the candidate from the queue."""
        heappop(self.ready)
        self.issued[place] = 1
        while self.issued[self.head]:
            self.head += 1


class _Queue:
    """One DMA queue: its transfers in program order, and when the next may start."""

    __slots__ = ("free", "head", "last", "order")

    def __init__(self) -> None:
        self.order: list[int] = []
        self.head = 0
        self.free = 0
        self.last = -1


class _Critical(NamedTuple):
    end: int
    wait: Wait
    cause: int


class Simulation:
    """One run of a plan; `play` returns what happened."""

    def __init__(self, plan: Plan, window: int) -> None:
        count = len(plan)
        self.plan = plan
        self.duration = plan.duration.tolist()
        self.engine = plan.engine.tolist()
        self.pending = list(plan.producers)
        self.ready = [0] * count
        self.start, self.end = [0] * count, [0] * count
        self.wait, self.cause = [0] * count, [-1] * count
        self.place = [0] * count
        self.events: list[tuple[int, int]] = []
        self.latency = picoseconds(plan.target.dma_start_latency_ns * 1e-9)
        self.table_load = picoseconds(plan.target.activation_table_load_seconds)
        self._line_up(window)
        engines = plan.target.dma_engines
        self.dma_free, self.dma_last = [0] * engines, [-1] * engines
        self.hbm_free, self.hbm_last = 0, -1
        self.spans: list[tuple[int, int, int, int]] = []

    def _line_up(self, window: int) -> None:
        """Give every engine and queue its steps in program order."""
        orders: list[list[int]] = [[] for _ in self.plan.lane_count]
        self.queues = [_Queue() for _ in range(1 + max((t.queue for t in self.plan.transfers.values()), default=0))]
        for step, engine in enumerate(self.engine):
            order = self.queues[self.plan.transfers[step].queue].order if engine == DMA_ENGINE else orders[engine]
            self.place[step] = len(order)
            order.append(step)
        self.stations = [_Station(o, n, window) for o, n in zip(orders, self.plan.lane_count, strict=True)]

    def play(self) -> Played:
        """Run until every step has ended."""
        for step, pending in enumerate(self.pending):
            if not pending:
                self._offer(step)
        events = self.events
        while events:
            now, actor = heappop(events)
            if actor < DMA_ENGINE:
                self._issue(now, actor)
            else:
                self._dispatch(now, actor - DMA_ENGINE)
        spans = np.array(self.spans, np.int64).reshape(-1, 4)
        start, end, wait, cause = np.array([self.start, self.end, self.wait, self.cause], np.int64)
        return Played(start, end, wait, cause, Spans(*spans.T))

    def _offer(self, step: int) -> None:
        """All producers of the step are known to end: queue it for its engine at the time it becomes ready."""
        engine = self.engine[step]
        if engine == DMA_ENGINE:
            queue = self.plan.transfers[step].queue
            if self.place[step] == self.queues[queue].head:
                self._offer_transfer(step, queue)
            return
        heappush(self.stations[engine].waiting, (self.ready[step], self.place[step]))
        heappush(self.events, (self.ready[step], engine))

    def _offer_transfer(self, step: int, queue: int) -> None:
        heappush(self.events, (max(self.ready[step] + self.latency, self.queues[queue].free), DMA_ENGINE + queue))

    def _ended(self, step: int) -> None:
        """Tell the consumers of a step when its result reaches them."""
        plan, end = self.plan, self.end[step]
        for edge in range(plan.first[step], plan.first[step + 1]):
            consumer = plan.successors[edge]
            ready = end + plan.delays[edge]
            if ready >= self.ready[consumer]:
                self.ready[consumer] = ready
                self.wait[consumer], self.cause[consumer] = Wait.DATA, step
            self.pending[consumer] -= 1
            if not self.pending[consumer]:
                self._offer(consumer)

    def _issue(self, now: int, engine: int) -> None:
        """Start what the engine can start now."""
        station, plan = self.stations[engine], self.plan
        while True:
            place = station.candidate(now)
            if place < 0:
                return
            step = station.order[place]
            lanes = plan.lanes[step]
            if any(station.free[lane] > now for lane in lanes):
                return
            station.take(place)
            if now > self.ready[step]:
                busiest = max(lanes, key=station.free.__getitem__)
                self.wait[step], self.cause[step] = Wait.ENGINE, station.last[busiest]
            end = now + self.duration[step]
            if plan.table[step] not in (0, station.table):
                end += self.table_load
                station.table = plan.table[step]
            for lane in lanes:
                station.free[lane], station.last[lane] = end, step
            self.start[step], self.end[step] = now, end
            heappush(self.events, (end, engine))
            self._ended(step)

    def _dispatch(self, now: int, number: int) -> None:
        """Hand the queue's oldest transfer to the DMA engines, and offer its next one."""
        queue = self.queues[number]
        step = queue.order[queue.head]
        transfer = self.plan.transfers[step]
        if now > self.ready[step] + self.latency:
            self.wait[step], self.cause[step] = Wait.DMA, queue.last
        start, critical = self._carry(now, step)
        self.hbm_free = max(self.hbm_free, start) + transfer.hbm
        if self.hbm_free > critical.end:
            critical = _Critical(self.hbm_free, Wait.HBM, self.hbm_last)
        if critical.cause >= 0:
            self.wait[step], self.cause[step] = critical.wait, critical.cause
        self.hbm_last = step if transfer.hbm else self.hbm_last
        self.start[step], self.end[step] = start, critical.end
        queue.head += 1
        queue.free, queue.last = start + transfer.interval, step
        if queue.head < len(queue.order) and not self.pending[queue.order[queue.head]]:
            self._offer_transfer(queue.order[queue.head], number)
        self._ended(step)

    def _carry(self, now: int, step: int) -> tuple[int, _Critical]:
        """Occupy the DMA engines; the transfer's first start, and what its last end waited for beyond the queue."""
        begin, critical = -1, _Critical(now, Wait.DMA, -1)
        for engine, time in self.plan.transfers[step].loads:
            free = self.dma_free[engine]
            start = max(free, now)
            end = start + time
            if end > critical.end:
                critical = _Critical(end, Wait.DMA, self.dma_last[engine] if free > now else -1)
            begin = start if begin < 0 else min(begin, start)
            self.dma_free[engine], self.dma_last[engine] = end, step
            self.spans.append((step, engine, start, end))
        return begin, critical
