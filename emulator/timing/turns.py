"""What several DMA queues share, a DMA engine or HBM: queues that wait for it take turns, a descriptor each.

Turns are played as a fluid: while queues with turns of d1 .. dn picoseconds wait, each advances at its part
d / (d1 + ... + dn) of the server's time, as many small turns one after another would make it. Within a queue work is
done in order. Times are whole picoseconds: parts are rounded so that together they are exactly the time that has
passed, so a server that has work never stands still and never does two things at once. Only differences of times
matter, and a tie is broken by the order of arrival.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from trnlab.emulator.timing.dma_plan import PlannedTransfer

NEVER: Final = 1 << 62


class Flight:
    """A transfer on its way.

    start: when its first byte moved, `NEVER` before; parts: how many servers have yet to be done with it
    kind, cause: whether DMA engine or HBM finished last (`Wait`), and the older transfer it waited for there, or -1
    """

    __slots__ = ("cause", "kind", "parts", "queue", "start", "step", "transfer")

    def __init__(self, step: int, transfer: PlannedTransfer) -> None:
        self.step, self.transfer, self.queue = step, transfer, transfer.queue
        self.start, self.parts = NEVER, 0
        self.kind, self.cause = 0, -1

    @property
    def seniority(self) -> tuple[int, int]:
        """Orders transfers by their start; of those that start together the earlier step is the older."""
        return self.start, self.step


class Job:
    """A flight's work on one server.

    left:   picoseconds of work that remain; turn: of one turn
    begin:  when the server began with it; behind: the last older transfer that left the server before it, or -1
    """

    __slots__ = ("begin", "behind", "flight", "left", "turn")

    def __init__(self, flight: Flight, left: int, turn: int) -> None:
        self.flight, self.left, self.turn = flight, left, turn
        self.begin, self.behind = NEVER, -1

    def copy(self) -> Job:
        """The same for another server."""
        twin = Job(self.flight, self.left, self.turn)
        twin.begin, twin.behind = self.begin, self.behind
        self.flight.parts += 1
        return twin


class Server:
    """Serves the first job of every queue at once, each by its share.

    heads: those jobs, in the order in which they became first; waiting: the others of each queue, in order of arrival
    since: up to when `left` of the heads is true; due: when the next of them ends
    """

    __slots__ = ("due", "heads", "since", "waiting")

    def __init__(self) -> None:
        self.heads: list[Job] = []
        self.waiting: dict[int, deque[Job]] = {}
        self.since, self.due = 0, NEVER

    def copy(self) -> Server:
        """Another server with the same work."""
        twin = Server()
        twin.heads = [job.copy() for job in self.heads]
        twin.waiting = {queue: deque(job.copy() for job in jobs) for queue, jobs in self.waiting.items()}
        twin.since, twin.due = self.since, self.due
        return twin

    def add(self, now: int, job: Job) -> bool:
        """One more job; whether it is the first of its queue."""
        if not self.heads:  # as the general case below would; most servers have one job at a time
            self.heads, self.since, self.due, job.begin = [job], now, now + job.left, now
            return True
        queue = job.flight.queue
        for head in self.heads:
            if head.flight.queue == queue:
                self.waiting.setdefault(queue, deque()).append(job)
                return False
        self._work(now)
        job.begin = now
        self.heads.append(job)
        self._plan()
        return True

    def finish(self, now: int) -> tuple[list[Job], list[Job]]:
        """At its due time: the jobs that have ended, and those that have become first of their queue."""
        if len(self.heads) == 1 and not self.waiting:
            alone, self.heads, self.due = self.heads, [], NEVER
            return alone, []
        self._work(now)
        ended = [job for job in self.heads if not job.left]
        self.heads = [job for job in self.heads if job.left]
        _note_delays((*self.heads, *ended), ended)
        begun = [self._following(now, job) for job in ended if job.flight.queue in self.waiting]
        self.heads += begun
        self._plan()
        return ended, begun

    def _following(self, now: int, before: Job) -> Job:
        """The next job of a queue, which is now its first."""
        jobs = self.waiting[before.flight.queue]
        job = jobs.popleft()
        job.begin, job.behind = now, before.flight.step
        if not jobs:
            del self.waiting[before.flight.queue]
        return job

    def _all(self) -> Iterator[Job]:
        """Every job, the heads first."""
        yield from self.heads
        for head in self.heads:
            yield from self.waiting.get(head.flight.queue, ())

    def _work(self, now: int) -> None:
        """Divide the time since the last change among the heads; what one no longer needs is the next one's."""
        passed, self.since = now - self.since, now
        if len(self.heads) == 1:
            self.heads[0].left -= passed
            return
        turns, summed, given = sum(job.turn for job in self.heads), 0, 0
        for job in self.heads:
            summed += job.turn
            part = min((passed * summed + turns // 2) // turns - given, job.left)
            job.left -= part
            given += part
        for job in self.heads:
            part = min(passed - given, job.left)
            job.left -= part
            given += part

    def _plan(self) -> None:
        """When the next head ends if nothing changes before: rounded up, where it ends inside a picosecond."""
        if len(self.heads) < 2:
            self.due = self.since + self.heads[0].left if self.heads else NEVER
            return
        turns = sum(job.turn for job in self.heads)
        self.due = self.since + min(-(-job.left * turns // job.turn) for job in self.heads)

    # -- for skipping -----------------------------------------------------------------------------------------------

    def state(self, now: int, relative: Callable[[int], int]) -> Iterator[int]:
        """Everything that later events depend on; times from now on, steps by `relative`."""
        yield len(self.heads)
        if self.heads:
            yield self.since - now
        for job in self._all():
            yield from (relative(job.flight.step), job.left, relative(job.behind))
            yield -1 if job.begin == NEVER else now - job.begin

    def shift(self, time: int, moved: Callable[[int], int]) -> None:
        """Put everything so much later; steps become `moved` ones."""
        self.since += time
        self.due = later(self.due, time)
        for job in self._all():
            job.begin = later(job.begin, time)
            job.behind = moved(job.behind)


def _note_delays(jobs: Iterable[Job], ended: list[Job]) -> None:
    """Transfers that have ended delayed those that began after them."""
    for job in jobs:
        for other in ended:
            if other.flight.seniority < job.flight.seniority:
                job.behind = other.flight.step


def later(when: int, time: int) -> int:
    """So much later; never stays never."""
    return when if when == NEVER else when + time
