"""The event simulation: engines, DMA queues and DMA engines play a plan in time order. Deterministic.

Engines issue one instruction at a time: of the `window` instructions at the head of their queue the oldest that is
ready. A window of 1 is strict program order. Matmuls on different tiles of the array run side by side, and so do, where
the hardware can, a transpose and whatever else the Tensor Engine does. An instruction that needs a memory port which
another engine holds waits at the head of its engine. Loops are played until their state returns and then copied, to the
same picosecond (`skipping`).
"""

from __future__ import annotations

from dataclasses import dataclass
from heapq import heappop, heappush
from typing import NamedTuple

import numpy as np

from trnlab.emulator.program import IndexArray
from trnlab.emulator.timing.dma_plan import picoseconds
from trnlab.emulator.timing.dma_service import DmaEngines, queues_of
from trnlab.emulator.timing.ports import FIRST_BANK
from trnlab.emulator.timing.schedule_plan import DMA_ENGINE, TENSOR_ENGINE, Plan, Wait
from trnlab.emulator.timing.skipping import Round, Watch, copied
from trnlab.emulator.timing.stations import Station, Throttle
from trnlab.emulator.timing.steady import find_period

__all__ = ["Played", "Simulation", "Spans", "Wait"]


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


class Simulation:
    """One run of a plan; `play` returns what happened."""

    def __init__(self, plan: Plan, window: int, skip: bool = True) -> None:
        count, nodes = len(plan), len(plan.producers)
        self.plan = plan
        self.count = count
        self.duration = plan.duration.tolist()
        self.engine = plan.engine.tolist()
        self.pending = list(plan.producers)
        self.ready = [0] * nodes
        self.start, self.end = [0] * count, [0] * nodes
        self.wait, self.cause = [0] * nodes, [-1] * nodes
        self.place = [0] * count
        self.issued_at, self.high = [-1] * count, -1
        self.events: list[tuple[int, int]] = []
        self.table_load = picoseconds(plan.target.activation_table_load_seconds)
        ports = FIRST_BANK + plan.target.psum_banks
        self.port_free, self.port_last = [0] * ports, [-1] * ports
        self.throttle = Throttle(plan.target, plan.lane_count[TENSOR_ENGINE])
        self.dma = DmaEngines(plan.target)
        self._line_up(window)
        period = find_period(plan) if skip else None
        self.watch = None if period is None else Watch(self, period)

    def _line_up(self, window: int) -> None:
        """Give every engine and queue its steps in program order."""
        orders: list[list[int]] = [[] for _ in self.plan.lane_count]
        self.queues = queues_of(self.plan.transfers)
        for step, engine in enumerate(self.engine):
            order = self.queues[self.plan.transfers[step].queue].order if engine == DMA_ENGINE else orders[engine]
            self.place[step] = len(order)
            order.append(step)
        # One lane more than the plan counts: the background of the Tensor Engine.
        self.stations = [Station(o, n + 1, window) for o, n in zip(orders, self.plan.lane_count, strict=True)]

    def play(self) -> Played:
        """Run until every step has ended."""
        for node, pending in enumerate(self.pending):
            if not pending:
                self._offer(node)
        while self.events:
            now, actor = heappop(self.events)
            if actor < DMA_ENGINE:
                self._issue(now, actor)
            else:
                self._dispatch(now, actor - DMA_ENGINE)
            if self.watch is not None and not self.watch.done:
                self.watch.advance(now)
        return self._played()

    def _played(self) -> Played:
        columns = [column[: self.count] for column in (self.start, self.end, self.wait, self.cause)]
        start, end, wait, cause = np.array(columns, np.int64).reshape(4, -1)
        rounds = [] if self.watch is None else self.watch.rounds
        return Played(
            copied(rounds, start, by_time=True),
            copied(rounds, end, by_time=True),
            copied(rounds, wait, by_time=False),
            copied(rounds, cause, by_time=False, moved=True),
            _spans(self.dma.spans, rounds, self.plan.target.dma_engines),
        )

    def _offer(self, node: int) -> None:
        """All producers of the node are known to end: queue a step for its engine at the time it becomes ready."""
        if node >= self.count:
            self.end[node] = self.ready[node]
            self._ended(node)
            return
        engine = self.engine[node]
        if engine == DMA_ENGINE:
            number = self.plan.transfers[node].queue
            if self.place[node] == self.queues[number].head:
                self._offer_transfer(node, number)
            return
        heappush(self.stations[engine].waiting, (self.ready[node], self.place[node]))
        heappush(self.events, (self.ready[node], engine))

    def _offer_transfer(self, step: int, number: int) -> None:
        when = max(self.ready[step] + self.dma.latency, self.queues[number].free)
        heappush(self.events, (when, DMA_ENGINE + number))

    def _ended(self, node: int) -> None:
        """Tell the consumers of a node when its result reaches them."""
        plan, end, ready, pending = self.plan, self.end[node], self.ready, self.pending
        # What waits for memory waits for the step that held it, not for the node in between.
        cause = node if node < self.count else self.cause[node]
        for edge in range(plan.first[node], plan.first[node + 1]):
            consumer = plan.successors[edge]
            when = end + plan.delays[edge]
            if when >= ready[consumer]:
                ready[consumer] = when
                self.wait[consumer], self.cause[consumer] = plan.waits[edge], cause
            pending[consumer] -= 1
            if not pending[consumer]:
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
            if station.free[lanes[0]] > now or (len(lanes) > 1 and any(station.free[lane] > now for lane in lanes)):
                if not plan.background[step] or station.free[-1] > now:
                    return
                lanes = (len(station.free) - 1,)
            if plan.ports[step] and not self._ports_free(now, step, engine):
                return
            station.take(place)
            self._start(now, step, station, lanes)

    def _ports_free(self, now: int, step: int, engine: int) -> bool:
        """Whether the step's ports are free; if not, the engine comes back when they are."""
        last = max(self.plan.ports[step], key=self.port_free.__getitem__)
        when = self.port_free[last]
        if when <= now:
            return True
        self.ready[step] = when
        self.wait[step], self.cause[step] = Wait.PORT, self.port_last[last]
        heappush(self.events, (when, engine))
        return False

    def _start(self, now: int, step: int, station: Station, lanes: tuple[int, ...]) -> None:
        plan, engine = self.plan, self.engine[step]
        busiest = max(lanes, key=station.free.__getitem__)
        if now > self.ready[step]:
            self.wait[step], self.cause[step] = Wait.ENGINE, station.last[busiest]
        duration = self.duration[step]
        if engine == TENSOR_ENGINE:
            duration += plan.exposed[step] if now > station.free[busiest] else 0
            duration = self.throttle.duration(now, duration, len(plan.lanes[step]))
        if plan.table[step] not in (0, station.table):
            duration += self.table_load
            station.table = plan.table[step]
        end = now + duration
        for lane in lanes:
            station.free[lane], station.last[lane] = end, step
        for port in plan.ports[step]:
            self.port_free[port], self.port_last[port] = end, step
        self.start[step], self.end[step] = now, end
        self._issued(now, step)
        heappush(self.events, (end, engine))
        self._ended(step)

    def _issued(self, now: int, step: int) -> None:
        self.issued_at[step] = now
        self.high = max(self.high, step)

    def _dispatch(self, now: int, number: int) -> None:
        """Hand the queue's oldest transfer to the DMA engines, and offer its next one."""
        queue, dma = self.queues[number], self.dma
        step = queue.next
        transfer = self.plan.transfers[step]
        if transfer.generators:
            when = dma.generator_ready(transfer)
            if when > now:
                heappush(self.events, (when, DMA_ENGINE + number))
                return
        if now > self.ready[step] + dma.latency:
            self.wait[step], self.cause[step] = Wait.DMA, queue.last
        carried = dma.carry(now, step, transfer)
        if carried.cause >= 0:
            self.wait[step], self.cause[step] = carried.wait, carried.cause
        self.start[step], self.end[step] = carried.start, carried.end
        self._issued(now, step)
        queue.head += 1
        queue.free, queue.last = carried.start + transfer.interval, step
        following = queue.next
        if following >= 0 and not self.pending[following]:
            self._offer_transfer(following, number)
        self._ended(step)


def _spans(rows: list[tuple[int, int, int, int]], rounds: list[Round], engines: int) -> Spans:
    """The recorded pieces as columns; what all engines carried at once is one row for each of them."""
    table = np.array(rows, np.int64).reshape(-1, 4)
    for item in reversed(rounds):
        mine = table[item.spans[0] : item.spans[1]]
        step = np.array([item.by_steps, 0, item.by_time, item.by_time], np.int64)
        copies = mine[None] + np.arange(1, item.copies + 1)[:, None, None] * step
        table = np.concatenate([table[: item.spans[1]], copies.reshape(-1, 4), table[item.spans[1] :]])
    counts = np.where(table[:, 1] < 0, engines, 1)
    spread = np.repeat(table, counts, axis=0)
    within = np.arange(len(spread)) - np.repeat(np.cumsum(counts) - counts, counts)
    spread[:, 1] = np.where(spread[:, 1] < 0, within, spread[:, 1])
    return Spans(*spread.T)
