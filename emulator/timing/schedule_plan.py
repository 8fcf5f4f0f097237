"""From a program and its costs to what the scheduler plays: durations, DMA loads and edge delays in picoseconds.

Picoseconds are integers, so equal states are equal and ties break by program order.

Delays along an edge, from the end of the producer's occupancy to the moment the consumer may start:

    other engine   producer's latency + semaphore (35 ns); a semaphore alone where the producer only read
    same engine    nothing; the Scalar Engine's own latency where its result is used (AWS performance guide)
    after DMA      completion (300 ns) + semaphore
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from trnlab.emulator.dependence import Edges, Kind
from trnlab.emulator.program import IndexArray, Program
from trnlab.emulator.target import Engine, Target
from trnlab.emulator.timing.cost import Cost
from trnlab.emulator.timing.dma_plan import PlannedTransfer, picoseconds, plan_transfers

ENGINES: Final = (Engine.TENSOR, Engine.VECTOR, Engine.SCALAR, Engine.GPSIMD, Engine.SYNC, Engine.DMA)
"""The numbering of engines in plans and timelines."""
DMA_ENGINE: Final = ENGINES.index(Engine.DMA)


@dataclass(frozen=True, eq=False)
class Plan:
    """One entry per step, times in picoseconds.

    engine:     number in `ENGINES`
    duration:   occupancy of the engine; 0 for transfers, whose time is in `transfers`
    settle:     from the end of the occupancy until the result is visible everywhere
    lanes:      lanes of the engine that the step occupies; more than one lane exists where array tiles overlap
    lane_count: by engine
    table:      number of the activation table it needs, 0 for none
    successors: producer i's consumers are successors[first[i] : first[i + 1]], with the delay of each edge
    producers:  how many producers each step waits for
    """

    target: Target
    engine: IndexArray
    duration: IndexArray
    settle: IndexArray
    lanes: list[tuple[int, ...]]
    lane_count: tuple[int, ...]
    table: list[int]
    transfers: dict[int, PlannedTransfer]
    first: list[int]
    successors: list[int]
    delays: list[int]
    producers: list[int]

    def __len__(self) -> int:
        return len(self.engine)

    def busiest_picoseconds(self) -> int:
        """Work of the busiest engine, DMA engine or HBM, if it never waited: no schedule is shorter."""
        share = np.array([len(lanes) for lanes in self.lanes]) / np.array(self.lane_count)[self.engine]
        engines = np.bincount(self.engine, weights=self.duration * share, minlength=len(ENGINES))
        carried = np.zeros(self.target.dma_engines, np.int64)
        for transfer in self.transfers.values():
            for engine, time in transfer.loads:
                carried[engine] += time
        memory = sum(transfer.hbm for transfer in self.transfers.values())
        return int(max(engines.max(initial=0), carried.max(initial=0), memory))


def make_plan(program: Program, target: Target, costs: Sequence[Cost], steps: IndexArray, edges: Edges) -> Plan:
    """The plan of the executed steps, priced by signature."""
    ids = program.signature_ids[steps]
    engine = np.array([ENGINES.index(cost.engine) for cost in costs], np.int64)[ids]
    duration = np.array([picoseconds(cost.seconds) for cost in costs], np.int64)[ids]
    settle = np.array([picoseconds(cost.latency_seconds) for cost in costs], np.int64)
    chain = np.array([picoseconds(cost.chain_seconds) for cost in costs], np.int64)
    delays = _delays(edges, engine, settle[ids], chain[ids], picoseconds(target.semaphore_latency_ns * 1e-9))
    order = np.argsort(edges.producers, kind="stable")
    lane_counts, lanes = _lanes(costs)
    tables = {name: number for number, name in enumerate(dict.fromkeys(["", *(cost.table for cost in costs)]))}
    by_signature = [tables[cost.table] for cost in costs]
    names = ids.tolist()
    return Plan(
        target=target,
        engine=engine,
        duration=duration,
        settle=settle[ids],
        lanes=[lanes[name] for name in names],
        lane_count=lane_counts,
        table=[by_signature[name] for name in names],
        transfers=plan_transfers(program, target, costs, steps),
        first=np.searchsorted(edges.producers[order], np.arange(len(steps) + 1)).tolist(),
        successors=edges.consumers[order].tolist(),
        delays=delays[order].tolist(),
        producers=np.diff(edges.starts).tolist(),
    )


def _delays(edges: Edges, engine: IndexArray, settle: IndexArray, chain: IndexArray, semaphore: int) -> IndexArray:
    producer, consumer = edges.producers, edges.consumers
    same = (engine[producer] == engine[consumer]) & (engine[producer] != DMA_ENGINE)
    only_read = (edges.kinds == Kind.WAR) & (engine[producer] != DMA_ENGINE)
    apart = np.where(only_read, 0, settle[producer]) + semaphore
    together = np.where(edges.kinds == Kind.RAW, chain[producer], 0)
    return np.where(same, together, apart).astype(np.int64)


def _lanes(costs: Sequence[Cost]) -> tuple[tuple[int, ...], list[tuple[int, ...]]]:
    """Lanes of each engine, and the lanes each signature takes: the array's cells where matmuls are tiled."""
    tensor = max((cost.tile.total for cost in costs if cost.tile), default=1)
    counts = tuple(tensor if engine is Engine.TENSOR else 1 for engine in ENGINES)
    lanes = [cost.tile.cells if cost.tile else tuple(range(counts[ENGINES.index(cost.engine)])) for cost in costs]
    return counts, lanes
