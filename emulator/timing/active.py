"""What a profiler counts of the engines: how long each is at work on something, and how long DMA packets take.

    active(engine) = length of the union of its instructions' times, each from its start until its result leaves
    DMA packets    = time of all descriptors, added up over the DMA engines

Instructions of the Scalar and Tensor Engines overlap: one of N elements alone on Scalar is at work for N + 264 cycles
(v2; N + 350 on v3), though the next can start after N, and profiles show bars that overlap, which active time counts
once. Their bars of the Vector Engine are as long as it is occupied. (Neuron Explorer, profile schema reference:
*_engine_active_time, dma_active_time, dma_packet_time; lengths of bars: NKI performance guide, DMA overview, and the
profile of version 5 in the kernel optimization tutorial.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from trnlab.emulator.target import Engine
from trnlab.emulator.timing.cost_terms import Cost
from trnlab.emulator.timing.dma_plan import picoseconds
from trnlab.emulator.timing.idle import covered
from trnlab.emulator.timing.schedule_plan import DMA_ENGINE, ENGINES, GPSIMD_ENGINE

if TYPE_CHECKING:
    from trnlab.emulator.timing.timeline import Timeline


def active_seconds(timeline: Timeline) -> dict[str, float]:
    """By engine: seconds in which it is at work on at least one instruction; for DMA, on at least one transfer.

    Waits for semaphores do not count, nor does the time until a result is seen elsewhere.
    """
    inside = np.array([picoseconds(_until_it_leaves(cost)) for cost in timeline.costs], np.int64)
    leaves = timeline.end_ps + inside[timeline.program.signature_ids[timeline.steps]]
    found = {}
    for number, engine in enumerate(ENGINES):
        mine = timeline.engine == number
        starts, ends = [timeline.start_ps[mine]], [leaves[mine]]
        if number == GPSIMD_ENGINE:
            starts.append(timeline.writing.start_ps)
            ends.append(timeline.writing.end_ps)
        if number == DMA_ENGINE:
            starts, ends = [timeline.dma_spans.start_ps], [timeline.dma_spans.end_ps]
        found[engine.value] = covered(np.concatenate(starts), np.concatenate(ends)) * 1e-12
    return found


def _until_it_leaves(cost: Cost) -> float:
    """Seconds from the end of the occupancy until the result leaves the engine."""
    return cost.latency_seconds if cost.engine in (Engine.SCALAR, Engine.TENSOR) else 0.0


def dma_packet_seconds(timeline: Timeline) -> float:
    """The time of all DMA descriptors, added up over the DMA engines."""
    total = 0.0
    for cost, times in zip(timeline.costs, timeline.executions, strict=True):
        if cost.transfer is not None and cost.engine is Engine.DMA:
            total += times * cost.transfer.packet_seconds
    return total
