"""From a program and its costs to what the scheduler plays: durations, DMA loads and edge delays in picoseconds.

Picoseconds are integers, so equal states are equal and ties break by program order.

Delays along an edge, from the end of the producer's occupancy to the moment the consumer may start:

    other engine   producer's latency + semaphore (35 ns); a semaphore alone where the producer only read
    same engine    nothing; the Scalar Engine's own latency where its result is used (AWS performance guide)
    after DMA      completion (300 ns) + semaphore

The graph has a node per step, and further nodes, numbered from the steps on, where a tile takes over memory
(`rotation`): they take no time and end when all tiles that it replaces are done with.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

import numpy as np

from trnlab.emulator.dependence import Edges, Kind
from trnlab.emulator.memory import MemoryRegion
from trnlab.emulator.program import IndexArray, Program
from trnlab.emulator.target import Engine, Feature, Target
from trnlab.emulator.timing.cost import Cost
from trnlab.emulator.timing.dma_plan import GENERATORS, PlannedTransfer, picoseconds, plan_transfers
from trnlab.emulator.timing.ports import Ports, ports_of
from trnlab.emulator.timing.rotation import rotate, uses_of
from trnlab.emulator.timing.takeover import Links, links_of

ENGINES: Final = (Engine.TENSOR, Engine.VECTOR, Engine.SCALAR, Engine.GPSIMD, Engine.SYNC, Engine.DMA)
"""The numbering of engines in plans and timelines."""
DMA_ENGINE: Final = ENGINES.index(Engine.DMA)
TENSOR_ENGINE: Final = ENGINES.index(Engine.TENSOR)
GPSIMD_ENGINE: Final = ENGINES.index(Engine.GPSIMD)

FloatArray = np.ndarray[Any, np.dtype[np.float64]]


class Wait(IntEnum):
    """What an instruction waited for last before it ran.

    START: nothing. DATA: a producer. ENGINE: its engine. DMA: its queue, a DMA engine or a descriptor generator.
    HBM: memory bandwidth. SBUF, PSUM: memory that another tile still held. PORT: a memory port that engines share.
    DESCRIPTORS: those of a transfer, its own or another, that GpSimd was writing (`played.Writing`).
    """

    START = 0
    DATA = 1
    ENGINE = 2
    DMA = 3
    HBM = 4
    SBUF = 5
    PSUM = 6
    PORT = 7
    DESCRIPTORS = 8


_WAIT_OF: Final = {MemoryRegion.sbuf: Wait.SBUF, MemoryRegion.psum: Wait.PSUM}


@dataclass(frozen=True, eq=False)
class Plan:
    """One entry per step, times in picoseconds.

    engine:     number in `ENGINES`
    duration:   occupancy of the engine; 0 for transfers, whose time is in `transfers`
    settle:     from the end of the occupancy until the result is visible everywhere
    exposed:    what loading the stationary operand adds when the Tensor Engine stood idle before
    lanes:      lanes of the engine that the step occupies; more than one lane exists where array tiles overlap
    lane_count: by engine
    background: whether the step is a transpose that may run beside what occupies the array
    ports:      shared memory ports that the step holds while it runs, or while GpSimd writes its descriptors
    table:      number of the activation table it needs, 0 for none
    successors: node i's consumers are successors[first[i] : first[i + 1]], with the delay and `Wait` of each edge
    producers:  how many edges each node waits for
    homeless_bytes: bytes per partition for which SBUF or PSUM has no room
    loops:      steps that an iteration of each loop takes, where the program came folded
    """

    target: Target
    engine: IndexArray
    duration: IndexArray
    settle: IndexArray
    exposed: list[int]
    lanes: list[tuple[int, ...]]
    lane_count: tuple[int, ...]
    background: list[bool]
    ports: list[Ports]
    table: list[int]
    transfers: dict[int, PlannedTransfer]
    first: list[int]
    successors: list[int]
    delays: list[int]
    waits: list[int]
    producers: list[int]
    homeless_bytes: int
    loops: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.engine)

    def busiest_picoseconds(self) -> int:
        """Work of the busiest engine, DMA engine, generator or HBM, if it never waited: no schedule is shorter."""
        memory = sum(transfer.hbm for transfer in self.transfers.values())
        generators = self.generator_work().max(initial=0)
        return int(max(self.engine_work().max(initial=0), self.dma_work().max(initial=0), generators, memory))

    def engine_work(self) -> FloatArray:
        """Picoseconds of occupancy by engine if none ever waited, at their full clock."""
        share = np.array([len(lanes) for lanes in self.lanes]) / np.array(self.lane_count)[self.engine]
        # Transposes in the background halve at best what they and the array's other work take.
        share = np.where(np.array(self.background, bool), share / 2, share)
        work = np.bincount(self.engine, weights=self.duration * share, minlength=len(ENGINES)).astype(np.float64)
        work[GPSIMD_ENGINE] += sum(transfer.generating for transfer in self.transfers.values() if transfer.written)
        return work

    def generator_work(self) -> IndexArray:
        """Picoseconds that each generator makes descriptors that no other can make."""
        made = np.zeros(len(GENERATORS), np.int64)
        for transfer in self.transfers.values():
            if len(transfer.generators) == 1:
                made[transfer.generators[0]] += transfer.generating
        return made

    def dma_work(self) -> IndexArray:
        """Picoseconds that each DMA engine carries data, whatever the order."""
        carried = np.zeros(self.target.dma_engines, np.int64)
        for transfer, times in Counter(self.transfers.values()).items():
            for engines, time in transfer.loads:
                carried += times * time * (engines >> np.arange(len(carried)) & 1)
        return carried


def make_plan(
    program: Program,
    target: Target,
    costs: Sequence[Cost],
    steps: IndexArray,
    edges: Edges,
    loops: tuple[int, ...] = (),
    idle_neighbours: bool = False,
) -> Plan:
    """The plan of the executed steps, priced by signature; loops: see `Plan`; idle_neighbours: see `hbm_rate`."""
    ids = program.signature_ids[steps]
    engine = np.array([ENGINES.index(cost.engine) for cost in costs], np.int64)[ids]
    duration = np.array([picoseconds(cost.seconds) for cost in costs], np.int64)[ids]
    settle = np.array([picoseconds(cost.latency_seconds) for cost in costs], np.int64)[ids]
    chain = np.array([picoseconds(cost.chain_seconds) for cost in costs], np.int64)[ids]
    rotation = rotate(program, uses_of(program, steps), target)
    links = links_of(program, steps, rotation)
    semaphore = picoseconds(target.semaphore_latency_ns * 1e-9)
    first, successors, delays, waits, producers = _graph(edges, links, engine, settle, chain, semaphore)
    lane_counts, lanes = _lanes(costs, target)
    tables = {name: number for number, name in enumerate(dict.fromkeys(["", *(cost.table for cost in costs)]))}
    by_signature = [tables[cost.table] for cost in costs]
    background = [_in_background(cost, target) for cost in costs]
    exposed = [picoseconds(cost.load_seconds) for cost in costs]
    names = ids.tolist()
    return Plan(
        target=target,
        engine=engine,
        duration=duration,
        settle=settle,
        exposed=[exposed[name] for name in names],
        lanes=[lanes[name] for name in names],
        lane_count=lane_counts,
        background=[background[name] for name in names],
        ports=ports_of(program, target, costs, steps, rotation.banks),
        table=[by_signature[name] for name in names],
        transfers=plan_transfers(program, target, costs, steps, hbm_rate(target, idle_neighbours)),
        first=first,
        successors=successors,
        delays=delays,
        waits=waits,
        producers=producers,
        homeless_bytes=rotation.homeless_bytes,
        loops=loops,
    )


def hbm_rate(target: Target, idle_neighbours: bool) -> float:
    """Bytes per second of HBM for one core: its equal share, or its stack's where the cores beside it do nothing."""
    return target.hbm_bytes_per_second_per_stack if idle_neighbours else target.hbm_bytes_per_second_per_core


def _graph(
    edges: Edges, links: Links, engine: IndexArray, settle: IndexArray, chain: IndexArray, semaphore: int
) -> tuple[list[int], list[int], list[int], list[int], list[int]]:
    """Dependences and takeovers as one graph: first, successors, delays, waits and producer counts of its nodes."""
    nodes = len(engine) + links.nodes
    producer = np.concatenate([edges.producers, links.producers])
    consumer = np.concatenate([edges.consumers, links.consumers])
    kinds = np.concatenate([edges.kinds, links.kinds])
    waits = np.concatenate([np.full(len(edges), Wait.DATA, np.int64), _waits(links)])
    delays = _delays(producer, consumer, kinds, engine, settle, chain, semaphore)
    order = np.argsort(producer, kind="stable")
    first = np.searchsorted(producer[order], np.arange(nodes + 1))
    counts = np.bincount(consumer, minlength=nodes)
    return (
        first.tolist(),
        consumer[order].tolist(),
        delays[order].tolist(),
        waits[order].tolist(),
        counts.tolist(),
    )


def _waits(links: Links) -> IndexArray:
    names = np.zeros(len(MemoryRegion), np.int64)
    for place, region in enumerate(MemoryRegion):
        names[place] = _WAIT_OF.get(region, Wait.DATA)
    result: IndexArray = names[links.regions]
    return result


def _delays(
    producer: IndexArray,
    consumer: IndexArray,
    kinds: IndexArray,
    engine: IndexArray,
    settle: IndexArray,
    chain: IndexArray,
    semaphore: int,
) -> IndexArray:
    """Edges out of a takeover's node take no time; those into it cross to an engine that may be any."""
    steps = len(engine)
    inner = producer < steps
    made, used = np.where(inner, producer, 0), np.where(consumer < steps, consumer, 0)
    same = (engine[made] == engine[used]) & (engine[made] != DMA_ENGINE) & (consumer < steps)
    only_read = (kinds == Kind.WAR) & (engine[made] != DMA_ENGINE)
    apart = np.where(only_read, 0, settle[made]) + semaphore
    together = np.where(kinds == Kind.RAW, chain[made], 0)
    result: IndexArray = np.where(inner, np.where(same, together, apart), 0).astype(np.int64)
    return result


def _in_background(cost: Cost, target: Target) -> bool:
    """Whether hardware may run a transpose beside another instruction of the Tensor Engine (AWS Trainium3 guide)."""
    tensor = cost.engine is Engine.TENSOR and cost.kind == "transpose" and cost.tile is None
    return tensor and target.has(Feature.BACKGROUND_TRANSPOSE)


def _lanes(costs: Sequence[Cost], target: Target) -> tuple[tuple[int, ...], list[tuple[int, ...]]]:
    """Lanes of each engine, and the lanes each signature takes: the array's cells where matmuls are tiled."""
    tensor = max((cost.tile.total for cost in costs if cost.tile), default=1)
    counts = tuple(tensor if engine is Engine.TENSOR else 1 for engine in ENGINES)
    lanes = [cost.tile.cells if cost.tile else tuple(range(counts[ENGINES.index(cost.engine)])) for cost in costs]
    return counts, lanes
