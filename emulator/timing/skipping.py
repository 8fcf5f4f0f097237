"""Skipping steady state: once the simulation's state returns, what follows is what followed before, shifted.

At every period of the plan the state is written down relative to the present: which steps have been issued, what the
others still wait for and until when, how long engines, queues and ports stay occupied and by which step, how far the
DMA engines and HBM are with the transfers on their way, which events lie ahead. A transfer counts as issued when it has
ended. Everything later follows from that state and from the plan. So when a state returns, and
the plan repeats itself over the steps concerned, as many whole rounds as fit are copied instead of simulated, and
nothing differs from a full simulation.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from heapq import heapify
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from trnlab.emulator.program import IndexArray
from trnlab.emulator.timing.steady import Period
from trnlab.emulator.timing.turns import NEVER, later

if TYPE_CHECKING:
    from trnlab.emulator.timing.scheduler import Simulation
    from trnlab.emulator.timing.stations import Station

_LONG_AGO: Final = 1 << 40
_STATES: Final = 200  # states that are written down before the search is given up
_STATE_BYTES: Final = 1 << 26  # and their bytes


class Round(NamedTuple):
    """Steps that were issued in one round of a steady state, and how often it was copied.

    steps: of the round; spans: its rows among the DMA records; by_steps, by_time: from one round to the next
    begin: the first step of the plan's repeating stretch; steps before it are the same to every round
    """

    steps: IndexArray
    spans: tuple[int, int]
    copies: int
    by_steps: int
    by_time: int
    begin: int


class _Seen(NamedTuple):
    """When a state was seen: the first step not issued, the time, and the number of DMA records."""

    low: int
    now: int
    spans: int


class Watch:
    """Looks for returning states of a simulation, and moves it ahead."""

    def __init__(self, simulation: Simulation, period: Period) -> None:
        self.simulation, self.period = simulation, period
        self.low, self.due = 0, period.begin
        self.seen: dict[bytes, _Seen] = {}
        self.written = 0
        self.rounds: list[Round] = []
        self.done = False
        self.floor = -simulation.dma.latency - 1

    def advance(self, now: int) -> None:
        """To be called after every event: has another period begun, and did the state return?"""
        issued, low = self.simulation.issued_at, self.low
        while low < len(issued) and issued[low] >= 0:
            low += 1
        self.low = low
        events = self.simulation.events
        if low < self.due or (events and events[0][0] <= now):
            return
        period = self.period
        self.due = low + period.steps - (low - period.begin) % period.steps
        if low >= period.end or len(self.seen) >= _STATES or self.written > _STATE_BYTES:
            self.done = True
            return
        state = self._state(now)
        self.written += len(state)
        before = self.seen.get(state)
        if before is None:
            self.seen[state] = _Seen(low, now, len(self.simulation.dma.spans))
        elif before.low < low:
            self._skip(before, now)
            self.done = True

    # -- the state --------------------------------------------------------------------------------------------------

    def _reach(self) -> int:
        """One past the last step that what has been issued can have told anything."""
        return min(max(self.simulation.high, self.low) + self.period.reach + 1, self.simulation.count)

    def _state(self, now: int) -> bytes:
        """All numbers of the state, relative to the present and to the first step not issued."""
        simulation, low, reach = self.simulation, self.low, self._reach()
        issued, pending = simulation.issued_at, simulation.pending
        events = sorted((when - now, actor) for when, actor in simulation.events)
        numbers = array("q", ((low - self.period.begin) % self.period.steps, reach - low, len(events)))
        numbers.extend(number for event in events for number in event)
        open_steps = [step for step in range(low, reach) if issued[step] < 0]
        nodes = self._nodes(low, reach)
        open_nodes = [node for node in nodes if pending[node]]
        for group, start in ((open_steps, low), (open_nodes, nodes.start)):
            numbers.append(len(group))
            for node in group:
                numbers.extend((node - start, pending[node], max(simulation.ready[node] - now, self.floor)))
                numbers.extend((simulation.wait[node], self._relative(simulation.cause[node])))
        for step in open_steps:
            if simulation.written[step] >= 0:
                numbers.extend((step - low, simulation.written[step] - now, simulation.written_wait[step]))
                numbers.append(self._relative(simulation.written_cause[step]))
        for station in simulation.stations:
            numbers.append(station.table)
            numbers.extend(_after(station.free, now))
            numbers.extend(map(self._relative, station.last))
        for queue in simulation.queues:
            numbers.extend((*_after([queue.free], now), self._relative(queue.last), queue.begun))
            numbers.append(_relative_time(queue.since, now))
        for generators, waiting in sorted(simulation.waiting.items()):
            numbers.extend((*generators, len(waiting), *(number for *_, number in sorted(waiting))))
        numbers.append(_relative_time(simulation.generators_due, now))
        numbers.extend(_after(simulation.port_free, now))
        numbers.extend(map(self._relative, simulation.port_last))
        numbers.extend((*simulation.dma.state(now, self._relative), *simulation.throttle.state(now)))
        return numbers.tobytes()

    def _relative(self, step: int) -> int:
        """A step that a cause may name; older ones than the repeating stretch stand for themselves."""
        return step - self.low if step >= self.period.begin else step - _LONG_AGO

    def _nodes(self, low: int, high: int) -> range:
        """The nodes whose first waiting step is one of low..high."""
        first, last = np.searchsorted(self.period.anchor, [low, high]).tolist()
        return range(self.simulation.count + first, self.simulation.count + last)

    # -- the skip ---------------------------------------------------------------------------------------------------

    def _skip(self, before: _Seen, now: int) -> None:
        simulation, low = self.simulation, self.low
        by_steps, by_time = low - before.low, now - before.now
        copies = (self.period.end - self._horizon() - 2 * by_steps) // by_steps
        if copies < 1:
            return
        issued = np.array(simulation.issued_at[before.low : self._reach()], np.int64)
        steps = before.low + np.flatnonzero((issued > before.now) & (issued <= now))
        spans = (before.spans, len(simulation.dma.spans))
        self.rounds.append(Round(steps, spans, copies, by_steps, by_time, self.period.begin))
        self._shift(copies * by_steps, copies * by_time)

    def _horizon(self) -> int:
        """One past the last step that the simulation looks at now: told of something, or within an engine's window."""
        furthest = self._reach()
        for station in self.simulation.stations:
            order, head = station.order, station.head
            if head < len(order) and order[head] < self.period.end:
                furthest = max(furthest, order[min(head + station.window, len(order) - 1)] + 1)
        queued = (queue.next + 1 for queue in self.simulation.queues if queue.next < self.period.end)
        return max(furthest, *queued, 0)

    def _shift(self, steps: int, time: int) -> None:
        """Put the whole state so many steps and so much time ahead."""
        simulation, low, reach = self.simulation, self.low, self._reach()
        nodes = steps // self.period.steps * self.period.nodes
        self._copy(range(low, reach), steps, time)
        self._copy(self._nodes(low, reach), nodes, time)
        issued = simulation.issued_at
        marks = issued[low:reach]
        issued[low : low + steps] = [0] * steps
        issued[low + steps : reach + steps] = [mark + time if mark >= 0 else mark for mark in marks]
        for queue in simulation.queues:
            queue.free += time
            queue.since = later(queue.since, time)
            queue.last = self._twin(queue.last, steps)
            if 0 <= queue.next < self.period.end:
                queue.head = bisect_left(queue.order, queue.next + steps)
        for station in simulation.stations:
            self._shift_station(station, steps, time)
        for waiting in simulation.waiting.values():
            queues = [(number, simulation.queues[number]) for *_, number in waiting]
            waiting[:] = sorted((queue.since, queue.next, number) for number, queue in queues)
        simulation.generators_due = later(simulation.generators_due, time)
        simulation.port_free = [when + time for when in simulation.port_free]
        simulation.port_last = [self._twin(last, steps) for last in simulation.port_last]
        simulation.dma.shift(time, lambda step: self._twin(step, steps))
        simulation.throttle.shift(time)
        simulation.events = [(when + time, actor) for when, actor in simulation.events]
        heapify(simulation.events)
        simulation.high += steps
        self.low = low + steps

    def _twin(self, step: int, steps: int) -> int:
        """The step so many later, of one in the repeating stretch; those before it stand for themselves."""
        return step + steps if step >= self.period.begin else step

    def _copy(self, numbers: range, by: int, time: int) -> None:
        """What steps or nodes still wait for, moved to their twins; those issued or ended stay as they are."""
        simulation = self.simulation
        if numbers.start >= simulation.count:
            steps = by // self.period.nodes * self.period.steps if self.period.nodes else 0
            waiting = [number for number in numbers if simulation.pending[number]]
        else:
            steps = by
            waiting = [number for number in numbers if simulation.issued_at[number] < 0]
        columns = (simulation.pending, simulation.ready, simulation.wait, simulation.cause)
        rows = [tuple(column[number] for column in columns) for number in waiting]
        for number, (pending, ready, wait, cause) in zip(waiting, rows, strict=True):
            twin = number + by
            simulation.pending[twin], simulation.ready[twin], simulation.wait[twin] = pending, ready + time, wait
            simulation.cause[twin] = self._twin(cause, steps)
        if numbers.start < simulation.count:
            self._copy_writing(waiting, steps, time)

    def _copy_writing(self, waiting: list[int], steps: int, time: int) -> None:
        """The writing of descriptors of transfers that have not ended."""
        simulation = self.simulation
        rows = [
            (simulation.written[step], simulation.written_wait[step], simulation.written_cause[step])
            for step in waiting
        ]
        for step, (when, wait, cause) in zip(waiting, rows, strict=True):
            if when >= 0:
                twin = step + steps
                simulation.written[twin], simulation.written_wait[twin] = when + time, wait
                simulation.written_cause[twin] = self._twin(cause, steps)

    def _shift_station(self, station: Station, steps: int, time: int) -> None:
        simulation = self.simulation
        station.free = [when + time for when in station.free]
        station.last = [self._twin(last, steps) for last in station.last]
        issued, written = simulation.issued_at, simulation.written
        for place in range(station.head, len(station.order)):
            step = station.order[place]
            if step >= self.low + steps + (self._reach() - self.low):
                break
            station.issued[place] = issued[step] >= 0 or written[step] >= 0
        while station.issued[station.head]:
            station.head += 1
        places = range(station.head, len(station.order))
        open_places = [place for place in places if not station.issued[place] and not self._waits(station.order[place])]
        station.ready = []
        station.waiting = [(simulation.ready[station.order[place]], place) for place in open_places]
        heapify(station.waiting)

    def _waits(self, step: int) -> bool:
        return self.simulation.pending[step] > 0


def _relative_time(when: int, now: int) -> int:
    return NEVER if when == NEVER else when - now


def _after(times: list[int], now: int) -> tuple[int, ...]:
    """Times from now on; what is past is all the same."""
    return tuple(max(when - now, -1) for when in times)


def copied(rounds: list[Round], column: IndexArray, by_time: bool, moved: bool = False) -> IndexArray:
    """A column of results with the copied rounds filled in; `moved`: its values are steps, shifted with the round."""
    for item in rounds:
        times = np.arange(1, item.copies + 1)[:, None]
        where = item.steps[None, :] + times * item.by_steps
        values = np.broadcast_to(column[item.steps][None, :], where.shape)
        if by_time:
            values = values + times * item.by_time
        if moved:
            values = np.where(values >= item.begin, values + times * item.by_steps, values)
        column[where] = values
    return column
