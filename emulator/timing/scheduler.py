"""The event simulation: engines, DMA queues and DMA engines play a plan in time order. Deterministic.

Engines issue one instruction at a time: of the `window` instructions at the head of their queue the oldest that is
ready. A window of 1 is strict program order. Matmuls on different tiles of the array run side by side, and so do, where
the hardware can, a transpose and whatever else the Tensor Engine does. An instruction that needs a memory port which
another engine holds waits at the head of its engine. A transfer whose descriptors GpSimd writes is an instruction of
GpSimd first: it takes its turn there, and the memory port, and goes to its DMA queue when the writing begins. Loops are
played until their state returns and then copied, to the same picosecond (`skipping`).
"""

from __future__ import annotations

from heapq import heappop, heappush

import numpy as np

from trnlab.emulator.timing.dma_plan import picoseconds
from trnlab.emulator.timing.dma_service import DmaEngines, Queue, queues_of
from trnlab.emulator.timing.played import Played, Writing, spans_of
from trnlab.emulator.timing.ports import FIRST_BANK
from trnlab.emulator.timing.schedule_plan import DMA_ENGINE, GPSIMD_ENGINE, TENSOR_ENGINE, Plan, Wait
from trnlab.emulator.timing.skipping import Round, Watch, copied
from trnlab.emulator.timing.stations import Station, Throttle
from trnlab.emulator.timing.steady import find_period
from trnlab.emulator.timing.turns import NEVER, Flight


class Simulation:
    """One run of a plan; `play` returns what happened."""

    def __init__(self, plan: Plan, window: int, skip: bool = True) -> None:
        count, nodes = len(plan), len(plan.producers)
        self.plan = plan
        self.count = count
        self.duration = plan.duration.tolist()
        self.engine = plan.engine.tolist()
        self.issuer = plan.engine.tolist()
        for step, transfer in plan.transfers.items():
            if transfer.written:
                self.issuer[step], self.duration[step] = GPSIMD_ENGINE, transfer.generating
        self.pending = list(plan.producers)
        self.ready = [0] * nodes
        self.start, self.end = [0] * count, [0] * nodes
        self.wait, self.cause = [0] * nodes, [-1] * nodes
        self.written, self.written_wait, self.written_cause = [-1] * count, [0] * count, [-1] * count
        self.place = [0] * count
        self.issued_at, self.high = [-1] * count, -1
        self.events: list[tuple[int, int]] = []
        self.table_load = picoseconds(plan.target.activation_table_load_seconds)
        ports = FIRST_BANK + plan.target.psum_banks
        self.port_free, self.port_last = [0] * ports, [-1] * ports
        self.throttle = Throttle(plan.target, plan.lane_count[TENSOR_ENGINE])
        self.dma = DmaEngines(plan.target)
        # Queues whose next transfer waits for one of the generators: since when, which transfer, the queue's number.
        self.waiting: dict[tuple[int, ...], list[tuple[int, int, int]]] = {}
        self.generators_due = NEVER
        self._line_up(window)
        period = find_period(plan) if skip else None
        self.watch = None if period is None else Watch(self, period)

    def _line_up(self, window: int) -> None:
        """Give every engine and queue its steps in program order."""
        orders: list[list[int]] = [[] for _ in self.plan.lane_count]
        self.queues = queues_of(self.plan.transfers)
        for step, transfer in sorted(self.plan.transfers.items()):
            self.queues[transfer.queue].order.append(step)
        for step, engine in enumerate(self.issuer):
            if engine != DMA_ENGINE:
                self.place[step] = len(orders[engine])
                orders[engine].append(step)
        # One lane more than the plan counts: the background of the Tensor Engine.
        self.stations = [Station(o, n + 1, window) for o, n in zip(orders, self.plan.lane_count, strict=True)]

    def play(self) -> Played:
        """Run until every step has ended."""
        for node, pending in enumerate(self.pending):
            if not pending:
                self._offer(node)
        while self.events or self.dma.due < NEVER:
            if not self.events or self.dma.due <= self.events[0][0]:
                now = self.dma.due
                self._proceed(now)
            else:
                now, actor = heappop(self.events)
                if actor < DMA_ENGINE:
                    self._issue(now, actor)
                else:
                    self._at_queue(now, actor - DMA_ENGINE)
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
            spans_of(self.dma.spans, rounds, self.plan.target.dma_engines),
            self._writing(rounds),
        )

    def _writing(self, rounds: list[Round]) -> Writing:
        steps = np.array([step for step, item in sorted(self.plan.transfers.items()) if item.written], np.int64)
        start, wait, cause = np.array([self.written, self.written_wait, self.written_cause], np.int64).reshape(3, -1)
        start = copied(rounds, start, by_time=True)[steps]
        wait = copied(rounds, wait, by_time=False)[steps]
        cause = copied(rounds, cause, by_time=False, moved=True)[steps]
        return Writing(steps, start, start + np.array(self.duration, np.int64)[steps], wait, cause)

    def _offer(self, node: int) -> None:
        """All producers of the node are known to end: queue a step for its engine at the time it becomes ready."""
        if node >= self.count:
            self.end[node] = self.ready[node]
            self._ended(node)
            return
        engine = self.issuer[node]
        if engine == DMA_ENGINE:
            self._offer_transfer(node)
            return
        heappush(self.stations[engine].waiting, (self.ready[node], self.place[node]))
        heappush(self.events, (self.ready[node], engine))

    def _offer_transfer(self, step: int) -> None:
        """Let its queue offer a transfer that is ready, if it is the next one and the one before has begun."""
        number = self.plan.transfers[step].queue
        queue = self.queues[number]
        if queue.next == step and queue.begun:
            queue.since = max(self.ready[step] + self.dma.latency, queue.free)
            heappush(self.events, (queue.since, DMA_ENGINE + number))

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
        self._waited(step, Wait.PORT, self.port_last[last])
        heappush(self.events, (when, engine))
        return False

    def _waited(self, step: int, kind: Wait, cause: int) -> None:
        """Note what it waited for on its engine or at a port; transfers hold these only while they are written."""
        self.wait[step] = Wait.DESCRIPTORS if self.engine[cause] == DMA_ENGINE else kind
        self.cause[step] = cause

    def _start(self, now: int, step: int, station: Station, lanes: tuple[int, ...]) -> None:
        plan, engine = self.plan, self.issuer[step]
        busiest = max(lanes, key=station.free.__getitem__)
        if now > self.ready[step]:
            self._waited(step, Wait.ENGINE, station.last[busiest])
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
        heappush(self.events, (end, engine))
        self.high = max(self.high, step)
        if self.engine[step] == DMA_ENGINE:
            self._write(now, step)
            return
        self.start[step], self.end[step] = now, end
        self.issued_at[step] = now
        self._ended(step)

    def _write(self, now: int, step: int) -> None:
        """The writing of a transfer's descriptors begins: from now on the transfer is ready for its queue."""
        self.written[step], self.written_wait[step], self.written_cause[step] = now, self.wait[step], self.cause[step]
        self.ready[step] = now
        self.wait[step], self.cause[step] = Wait.DESCRIPTORS, step
        self._offer_transfer(step)

    def _at_queue(self, now: int, number: int) -> None:
        """A queue's turn, or that of the generators, which have the number after the last queue's."""
        if number < len(self.queues):
            self._dispatch(now, number)
        elif now == self.generators_due:
            self._generate(now)

    def _dispatch(self, now: int, number: int) -> None:
        """Hand the queue's oldest transfer to the DMA engines, or let it wait for a generator of descriptors."""
        queue = self.queues[number]
        choice = self.plan.transfers[queue.next].generators
        if not choice:
            self._carry(now, queue, queue.last)
            return
        heappush(self.waiting.setdefault(choice, []), (queue.since, queue.next, number))
        when = self._generator_ready(choice)
        if when <= now:
            self._generate(now)
        else:
            self._wake(when)

    def _generate(self, now: int) -> None:
        """Serve the queues that wait for a generator which is free, in the order in which they came."""
        self.generators_due = NEVER
        while True:
            ready = {choice: self._generator_ready(choice) for choice, queues in self.waiting.items() if queues}
            served = [choice for choice, when in ready.items() if when <= now]
            if not served:
                break
            choice = min(served, key=lambda choice: self.waiting[choice][0])
            since, _, number = heappop(self.waiting[choice])
            queue = self.queues[number]
            held = ready[choice] == now and since < now
            self._carry(now, queue, self._generated_before(queue, now) if held else queue.last)
        if ready:
            self._wake(min(ready.values()))

    def _generator_ready(self, generators: tuple[int, ...]) -> int:
        """When one of the generators can serve a transfer."""
        return min(map(self.dma.generator_ready, generators))

    def _wake(self, when: int) -> None:
        if when < self.generators_due:
            self.generators_due = when
            heappush(self.events, (when, DMA_ENGINE + len(self.queues)))

    def _generated_before(self, queue: Queue, now: int) -> int:
        """The transfer that held the generator; the queue's last if that has not begun: causes lead back in time."""
        last = self.dma.generator_last[self.dma.generator_of(self.plan.transfers[queue.next])]
        flight = next((flight for flight in self.dma.flights if flight.step == last), None)
        return last if flight is None or flight.seniority < (now, queue.next) else queue.last

    def _carry(self, now: int, queue: Queue, cause: int) -> None:
        """The queue's oldest transfer is on its way; cause: what it waited for last, if it waited."""
        step = queue.next
        if now > self.ready[step] + self.dma.latency:
            self.wait[step], self.cause[step] = Wait.DMA, cause
        queue.head += 1
        queue.last, queue.begun, queue.since = step, False, NEVER
        self.high = max(self.high, step)
        flight = self.dma.carry(now, step, self.plan.transfers[step])
        if flight.start == now:
            self._begun(flight)

    def _begun(self, flight: Flight) -> None:
        """The first byte of a transfer has moved: its queue's interval runs."""
        queue = self.queues[flight.queue]
        queue.free, queue.begun = flight.start + flight.transfer.interval, True
        if queue.next >= 0 and not self.pending[queue.next] and self._is_written(queue.next):
            self._offer_transfer(queue.next)

    def _is_written(self, step: int) -> bool:
        """Whether the transfer needs no descriptors from GpSimd any more."""
        return self.issuer[step] == DMA_ENGINE or self.written[step] >= 0

    def _proceed(self, now: int) -> None:
        """DMA engines or HBM are done with a part of a transfer."""
        begun, done = self.dma.proceed(now)
        for flight in begun:
            self._begun(flight)
        for flight in done:
            step = flight.step
            if flight.cause >= 0:
                self.wait[step], self.cause[step] = flight.kind, flight.cause
            self.start[step], self.end[step] = flight.start, now
            self.issued_at[step] = now
            self._ended(step)
