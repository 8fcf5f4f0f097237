"""Why engines stand idle: the time before each instruction, by what that instruction waited for last.

GpSimd's writing of a transfer's descriptors counts as an instruction of GpSimd.

Reasons, for every engine but DMA; with its busy time they add up to the total:

    start            nothing yet: the engine's first instruction had nothing to wait for
    tensor, dma, ... a result of that engine: its work, and its latency until the result is seen
    semaphore        the last part of such a wait, the signal between the engines
    sbuf, psum       memory that an earlier tile still held
    port             a memory port that another engine held
    descriptors      descriptors of a transfer that GpSimd wrote, holding the port
    engine           an instruction before it in the engine's own order
    end              nothing more to do
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from trnlab.emulator.program import IndexArray
from trnlab.emulator.timing.dma_plan import picoseconds
from trnlab.emulator.timing.schedule_plan import DMA_ENGINE, ENGINES, GPSIMD_ENGINE, Wait

if TYPE_CHECKING:
    from trnlab.emulator.timing.timeline import Timeline

_OF_WAIT: Final = {
    Wait.START: "start",
    Wait.ENGINE: "engine",
    Wait.DMA: "dma",
    Wait.HBM: "hbm",
    Wait.SBUF: "sbuf",
    Wait.PSUM: "psum",
    Wait.PORT: "port",
    Wait.DESCRIPTORS: "descriptors",
}
REASONS: Final = (*(engine.value for engine in ENGINES), "semaphore", *dict.fromkeys(_OF_WAIT.values()), "end")
"""Every reason; "dma" stands once, for a wait for its data."""


def idle_seconds(timeline: Timeline) -> dict[str, dict[str, float]]:
    """For each engine but DMA that runs instructions: idle seconds by reason, largest first."""
    found = {}
    for number, engine in enumerate(ENGINES):
        work = _work_of(timeline, number)
        if number != DMA_ENGINE and len(work.start_ps):
            found[engine.value] = _idle(timeline, number, work)
    return found


def covered(start: IndexArray, end: IndexArray) -> int:
    """The length of the union of intervals."""
    if not len(start):
        return 0
    order = np.argsort(start, kind="stable")
    start, end = start[order], end[order]
    reached = np.maximum.accumulate(np.concatenate([[start[0]], end[:-1]]))
    return int(np.maximum(0, end - np.maximum(start, reached)).sum())


class _Work(NamedTuple):
    """What an engine did, in order of time."""

    start_ps: IndexArray
    end_ps: IndexArray
    wait: IndexArray
    cause: IndexArray


def _work_of(timeline: Timeline, engine: int) -> _Work:
    steps, played, writing = np.flatnonzero(timeline.engine == engine), timeline.played, timeline.writing
    columns = [getattr(played, name)[steps] for name in _Work._fields]
    if engine == GPSIMD_ENGINE:
        more = [getattr(writing, name) for name in _Work._fields]
        columns = [np.concatenate(pair) for pair in zip(columns, more, strict=True)]
    order = np.argsort(columns[0], kind="stable")
    return _Work(*(column[order] for column in columns))


def _idle(timeline: Timeline, engine: int, work: _Work) -> dict[str, float]:
    reached = np.maximum.accumulate(np.concatenate([np.zeros(1, np.int64), work.end_ps]))
    gaps = np.maximum(0, work.start_ps - reached[:-1])
    totals: dict[str, int] = {}
    reasons, signals = _reasons(timeline, engine, work, gaps)
    for reason in dict.fromkeys(reasons[gaps > 0].tolist()):
        totals[REASONS[reason]] = int((gaps - signals)[reasons == reason].sum())
    totals["semaphore"] = int(signals.sum())
    totals["end"] = round(timeline.total_seconds * 1e12) - int(reached[-1])
    ordered = sorted(totals.items(), key=lambda item: -item[1])
    return {reason: time * 1e-12 for reason, time in ordered if time > 0}


def _reasons(timeline: Timeline, engine: int, work: _Work, gaps: IndexArray) -> tuple[IndexArray, IndexArray]:
    """For each piece of work the place in `REASONS`, and the part of its gap that is the semaphore's."""
    wait, cause = work.wait, work.cause
    by_wait = np.array([REASONS.index(_OF_WAIT.get(kind, "start")) for kind in Wait], np.int64)
    for_data = (wait == Wait.DATA) & (cause >= 0)
    producer = timeline.engine[np.where(cause >= 0, cause, 0)]
    reasons = np.where(for_data, producer, by_wait[wait])
    semaphore = picoseconds(timeline.target.semaphore_latency_ns * 1e-9)
    elsewhere = for_data & (producer != engine)
    return reasons, np.where(elsewhere, np.minimum(gaps, semaphore), 0)
