"""DMA in the simulation: queues, descriptor generators, DMA engines and HBM, in time order.

Each queue offers its oldest transfer once that is ready, the trigger's latency has passed and the queue's interval is
over; the DMA engines take transfers in the order of these times, never in program order. A transfer whose descriptors
are made on the device first takes its generator. The sum of all transfers never outruns this core's share of HBM.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from trnlab.emulator.target import Target
from trnlab.emulator.timing.dma_plan import GENERATORS, PlannedTransfer, picoseconds
from trnlab.emulator.timing.schedule_plan import Wait


class Queue:
    """One DMA queue: its transfers in program order, and when the next may start."""

    __slots__ = ("free", "head", "last", "order")

    def __init__(self) -> None:
        self.order: list[int] = []
        self.head = 0
        self.free = 0
        self.last = -1

    @property
    def next(self) -> int:
        """Its oldest transfer, or -1."""
        return self.order[self.head] if self.head < len(self.order) else -1


class Carried(NamedTuple):
    """A transfer that has been handed out: first and last byte, and what the last byte waited for (or cause -1)."""

    start: int
    end: int
    wait: int
    cause: int


class DmaEngines:
    """The DMA engines, the descriptor generators and HBM."""

    __slots__ = ("free", "generator_free", "hbm_free", "hbm_last", "last", "latency", "level", "level_last", "spans")

    def __init__(self, target: Target) -> None:
        self.latency = picoseconds(target.dma_start_latency_ns * 1e-9)
        self.free = [0] * target.dma_engines
        self.last = [-1] * target.dma_engines
        # While all engines are in one state it is kept here, and `free` is out of date.
        self.level: int | None = 0
        self.level_last = -1
        self.generator_free = [0] * len(GENERATORS)
        self.hbm_free, self.hbm_last = 0, -1
        self.spans: list[tuple[int, int, int, int]] = []

    def generator_ready(self, transfer: PlannedTransfer) -> int:
        """When the data can start as far as the transfer's descriptor generator is concerned."""
        return min(self.generator_free[place] for place in transfer.generators) + self.latency

    def carry(self, now: int, step: int, transfer: PlannedTransfer) -> Carried:
        """Occupy the generator, the DMA engines and HBM from now on."""
        if transfer.generators:
            place = min(transfer.generators, key=self.generator_free.__getitem__)
            self.generator_free[place] = now - self.latency + transfer.generating
        if transfer.even and self.level is not None:
            done = self._carry_level(now, step, transfer.even)
        else:
            done = self._carry_each(now, step, transfer)
        if transfer.hbm:
            self.hbm_free = max(self.hbm_free, done.start) + transfer.hbm
            if self.hbm_free > done.end:
                done = Carried(done.start, self.hbm_free, Wait.HBM, self.hbm_last)
            self.hbm_last = step
        return done

    def state(self, now: int) -> tuple[int, ...]:
        """What later transfers depend on, relative to now."""
        free = self.free if self.level is None else [self.level] * len(self.free)
        times = [*free, *self.generator_free, self.hbm_free]
        return tuple(max(when - now, -1 - self.latency) for when in times)

    def users(self) -> list[int]:
        """The step that used each DMA engine, and HBM, last."""
        last = self.last if self.level is None else [self.level_last] * len(self.last)
        return [*last, self.hbm_last]

    def shift(self, steps: int, time: int, begin: int) -> None:
        """Put everything so much later; steps from `begin` on become their twins."""
        self.free = [when + time for when in self.free]
        self.last = [last + steps if last >= begin else last for last in self.last]
        self.level = None if self.level is None else self.level + time
        self.level_last += steps if self.level_last >= begin else 0
        self.generator_free = [when + time for when in self.generator_free]
        self.hbm_free += time
        self.hbm_last += steps if self.hbm_last >= begin else 0

    def _carry_level(self, now: int, step: int, time: int) -> Carried:
        """All engines together."""
        free = self.level or 0
        start, cause = (free, self.level_last) if free > now else (now, -1)
        self.level, self.level_last = start + time, step
        self.spans.append((step, -1, start, start + time))
        return Carried(start, start + time, Wait.DMA, cause)

    def _carry_each(self, now: int, step: int, transfer: PlannedTransfer) -> Carried:
        if self.level is not None:
            self.free = [self.level] * len(self.free)
            self.last = [self.level_last] * len(self.free)
            self.level = None
        begin, latest, cause = -1, now, -1
        free, last, spans = self.free, self.last, self.spans
        for engine, time in transfer.loads:
            waits = free[engine] > now
            start = free[engine] if waits else now
            end = start + time
            if end > latest:
                latest, cause = end, last[engine] if waits else -1
            if begin < 0 or start < begin:
                begin = start
            free[engine], last[engine] = end, step
            spans.append((step, engine, start, end))
        if transfer.even and min(free) == latest:
            self.level, self.level_last = latest, step
        return Carried(max(begin, 0), latest, Wait.DMA, cause)


def queues_of(transfers: Mapping[int, PlannedTransfer]) -> list[Queue]:
    """The queues of a plan, empty."""
    return [Queue() for _ in range(1 + max((transfer.queue for transfer in transfers.values()), default=0))]
