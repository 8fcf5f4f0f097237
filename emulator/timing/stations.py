"""An engine in the simulation: its instructions in program order, those that are ready, and what its lanes do."""

from __future__ import annotations

from collections import deque
from heapq import heappop, heappush

from trnlab.emulator.target import Target
from trnlab.emulator.timing.dma_plan import picoseconds


class Station:
    """One engine."""

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


class Throttle:
    """The Tensor Engine's clock after it stood idle (Neuron Explorer, throttling): slow until it has been kept busy.

    An instruction runs at the reduced rate when the engine was busy for less than a share of the time window before it;
    what occupies a part of the array counts by that part. The published ramp from half to full rate over the window
    loses as much time as this step does half-way through it.
    """

    __slots__ = ("busy", "lanes", "needed", "rate", "spans", "window")

    def __init__(self, target: Target, lanes: int) -> None:
        self.lanes = lanes
        self.window = picoseconds(target.tensor_throttle_window_seconds or 0.0)
        self.needed = round(self.window * (target.tensor_throttle_utilisation or 0.0)) * lanes
        self.rate = target.tensor_throttle_rate_factor or 1.0
        self.spans: deque[tuple[int, int, int]] = deque()
        self.busy = 0

    def state(self, now: int) -> tuple[int, ...]:
        """What later durations depend on, relative to now."""
        recent = [span for span in self.spans if span[1] > now - self.window]
        return tuple(number for begin, end, weight in recent for number in (begin - now, end - now, weight))

    def shift(self, time: int) -> None:
        """Put everything so much later."""
        self.spans = deque((begin + time, end + time, weight) for begin, end, weight in self.spans)

    def duration(self, now: int, duration: int, lanes: int) -> int:
        """How long an instruction on so many lanes takes that starts now; remembers that it does."""
        if not self.window:
            return duration
        since = now - self.window
        while self.spans and self.spans[0][1] <= since:
            begin, end, weight = self.spans.popleft()
            self.busy -= (end - begin) * weight
        clipped = max(0, since - self.spans[0][0]) * self.spans[0][2] if self.spans else 0
        if self.busy - clipped < self.needed:
            duration = round(duration / self.rate)
        self.spans.append((now, now + duration, lanes))
        self.busy += duration * lanes
        return duration
