"""DMA in the simulation: queues, descriptor generators, DMA engines and HBM, in time order.

Each queue offers its oldest transfer once that is ready, the trigger's latency has passed and the queue's interval is
over; the first byte moves as soon as a DMA engine is done with the queue's earlier transfers. The queues share a DMA
engine in turns, a descriptor each, and likewise this core's part of HBM; both are fluids (`turns`). Round robin is what
AWS's DMA overview says of NeuronCore-v2 and v3; v4 has classes of service, assumed equal. A transfer ends when the last
of its DMA engines and HBM are done with it. Where a generator makes descriptors, the transfer takes that first, and
queues that wait for one have it in the order in which they came (assumed); those that GpSimd writes it has written
before (`scheduler`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from trnlab.emulator.target import Target
from trnlab.emulator.timing.dma_plan import GENERATORS, PlannedTransfer, picoseconds
from trnlab.emulator.timing.schedule_plan import Wait
from trnlab.emulator.timing.turns import NEVER, Flight, Job, Server, later


class Queue:
    """One DMA queue: its transfers in program order, and when the next may start once the last has `begun`.

    since: when the next was first offered, `NEVER` while it is not
    """

    __slots__ = ("begun", "free", "head", "last", "order", "since")

    def __init__(self) -> None:
        self.order: list[int] = []
        self.head = 0
        self.free = 0
        self.last = -1
        self.begun = True
        self.since = NEVER

    @property
    def next(self) -> int:
        """Its oldest transfer, or -1."""
        return self.order[self.head] if self.head < len(self.order) else -1


class Alike:
    """DMA engines that are in one state, as bits of `engines`, and the server that stands for each of them."""

    __slots__ = ("engines", "server")

    def __init__(self, engines: int, server: Server) -> None:
        self.engines, self.server = engines, server


class DmaEngines:
    """The DMA engines, the descriptor generators and HBM.

    due:   when the next of them is done with a part of a transfer
    spans: (step, bits of DMA engines, start, end) of what has been carried
    generator_free, generator_last: when each generator is free, and the step that it served last, or -1
    """

    __slots__ = ("due", "flights", "generator_free", "generator_last", "groups", "hbm", "latency", "spans")

    def __init__(self, target: Target) -> None:
        self.latency = picoseconds(target.dma_start_latency_ns * 1e-9)
        self.groups = [Alike((1 << target.dma_engines) - 1, Server())]
        self.hbm = Server()
        self.flights: list[Flight] = []
        self.generator_free, self.generator_last = [0] * len(GENERATORS), [-1] * len(GENERATORS)
        self.spans: list[tuple[int, int, int, int]] = []
        self.due = NEVER

    def generator_of(self, transfer: PlannedTransfer) -> int:
        """The generator that makes the transfer's descriptors: of those that can, the one that is free first."""
        return min(transfer.generators, key=self.generator_free.__getitem__)

    def generator_ready(self, generator: int) -> int:
        """When data can start whose descriptors it makes."""
        return self.generator_free[generator] + self.latency

    def carry(self, now: int, step: int, transfer: PlannedTransfer) -> Flight:
        """Hand over a transfer; its `start` is now where a DMA engine begins with it at once."""
        if transfer.generators:
            generator = self.generator_of(transfer)
            self.generator_free[generator] = now - self.latency + transfer.generating
            self.generator_last[generator] = step
        flight, begins = Flight(step, transfer), False
        self.flights.append(flight)
        flight.parts = 1 if transfer.hbm else 0
        for bits, time in transfer.loads:
            for group in self._cut(bits):
                flight.parts += 1
                begins |= group.server.add(now, Job(flight, time, transfer.turn))
        if begins:
            self._begin(now, flight)
        self._plan()
        return flight

    def proceed(self, now: int) -> tuple[list[Flight], list[Flight]]:
        """At the due time: the transfers whose first byte moves now, and those whose last one has."""
        done: list[Flight] = []
        begun: list[Flight] = []
        if self.hbm.due == now:
            done += [job.flight for job in self.hbm.finish(now)[0] if self._parted(job, Wait.HBM)]
        for group in self.groups:
            if group.server.due != now:
                continue
            ended, following = group.server.finish(now)
            for job in ended:
                self.spans.append((job.flight.step, group.engines, job.begin, now))
                if self._parted(job, Wait.DMA):
                    done.append(job.flight)
            for job in following:
                if job.flight.start == NEVER:
                    self._begin(now, job.flight)
                    begun.append(job.flight)
        if len(self.groups) > 1:
            self._rejoin()
        self._plan()
        return begun, done

    def _begin(self, now: int, flight: Flight) -> None:
        """The first byte moves: from here on the transfer takes its share of HBM."""
        flight.start = now
        if flight.transfer.hbm:
            self.hbm.add(now, Job(flight, flight.transfer.hbm, flight.transfer.hbm_turn))

    def _parted(self, job: Job, kind: Wait) -> bool:
        """Note that a server is done with a job; whether it was the flight's last."""
        flight = job.flight
        flight.parts -= 1
        flight.kind, flight.cause = kind, job.behind
        if flight.parts:
            return False
        self.flights.remove(flight)
        return True

    def _cut(self, bits: int) -> list[Alike]:
        """The groups that make up these DMA engines; those that are only in part among them are divided."""
        if len(self.groups) == 1 and self.groups[0].engines == bits:
            return self.groups
        for group in tuple(self.groups):
            common = group.engines & bits
            if common not in (0, group.engines):
                self.groups.append(Alike(group.engines ^ common, group.server.copy()))
                group.engines = common
        self.groups.sort(key=lambda item: item.engines & -item.engines)
        return [group for group in self.groups if group.engines & bits]

    def _rejoin(self) -> None:
        """DMA engines without work are in one state."""
        idle = [group for group in self.groups if not group.server.heads]
        if len(idle) > 1:
            idle[0].engines = sum(group.engines for group in idle)
            self.groups = [group for group in self.groups if group.server.heads or group is idle[0]]

    def _plan(self) -> None:
        self.due = self.hbm.due
        for group in self.groups:
            self.due = min(self.due, group.server.due)

    # -- for skipping -----------------------------------------------------------------------------------------------

    def state(self, now: int, relative: Callable[[int], int]) -> Iterator[int]:
        """What later transfers depend on; times from now on, steps by `relative`."""
        for when, last in zip(self.generator_free, self.generator_last, strict=True):
            yield max(when - now, -1 - self.latency)
            yield relative(last) if when + self.latency > now else -1
        yield len(self.flights)
        for flight in self.flights:
            yield from (relative(flight.step), flight.parts, -1 if flight.start == NEVER else now - flight.start)
        yield len(self.groups)
        for group in self.groups:
            yield group.engines
            yield from group.server.state(now, relative)
        yield from self.hbm.state(now, relative)

    def shift(self, time: int, moved: Callable[[int], int]) -> None:
        """Put everything so much later; steps become `moved` ones."""
        self.generator_free = [when + time for when in self.generator_free]
        self.generator_last = [moved(step) for step in self.generator_last]
        for flight in self.flights:
            flight.step = moved(flight.step)
            flight.start = later(flight.start, time)
        for server in (self.hbm, *(group.server for group in self.groups)):
            server.shift(time, moved)
        self._plan()


def queues_of(transfers: Mapping[int, PlannedTransfer]) -> list[Queue]:
    """The queues of a plan, empty."""
    return [Queue() for _ in range(1 + max((transfer.queue for transfer in transfers.values()), default=0))]
