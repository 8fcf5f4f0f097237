"""The program in time: `schedule(program, target)` plays it on five engines and sixteen DMA engines.

    timeline = schedule(program, "trn2")
    timeline.total_seconds, timeline.bounding_resource, timeline.mfu, timeline.critical_path

Order: "list" lets each engine start the oldest ready instruction among the next `window` of its queue, as a scheduling
compiler would arrange them; "program" is strictly in order. By default kernels that place buffers by hand keep their
order, others are list-scheduled; `Timeline.order` says which it was.

Modelled: engines that issue in order and signal by semaphores; DMA queues that take turns on sixteen DMA engines and at
this core's share of HBM; descriptor generators, and the GpSimd Engine's time where it writes descriptors; tiles that
rotate through SBUF and PSUM as far as they fit; memory ports that engines share; the Tensor Engine's throttling after
idle time, hidden and exposed weight loads, transposes in its background.
Not modelled: the start and end of an execution (`Target.execution_overhead_seconds`), instruction fetch, branches of
structured loops, other cores, single descriptors (the queues' turns are a fluid, see `turns`), a DMA engine that waits
for HBM in the middle of a transfer. Loop bounds known only at run time are assumed.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final, Literal, NamedTuple

import numpy as np

from trnlab.emulator.dependence import Edges, dependences, unroll
from trnlab.emulator.errors import SourceLocation, TimelineError
from trnlab.emulator.program import IndexArray, Program
from trnlab.emulator.target import Engine, Target, get_target
from trnlab.emulator.timing.active import active_seconds, dma_packet_seconds
from trnlab.emulator.timing.cost import Cost, Work, signature_costs
from trnlab.emulator.timing.idle import covered, idle_seconds
from trnlab.emulator.timing.loop_steps import loop_steps
from trnlab.emulator.timing.played import Played, Spans, Writing
from trnlab.emulator.timing.schedule_plan import DMA_ENGINE, ENGINES, TENSOR_ENGINE, Plan, Wait, hbm_rate, make_plan
from trnlab.emulator.timing.scheduler import Simulation

Order = Literal["list", "program"]

# Numbers of a target that carry a band of what they may be, and whether more of them is faster.
_BANDED: Final[Mapping[str, bool]] = {
    "vector_static_cycles": False,
    "vector_reciprocal_cycles_per_element": False,
    "dma_minimum_descriptor_ns": False,
    "dma_descriptor_overhead_ns": False,
    "dma_transfer_overhead_ns": False,
    "dma_dynamic_start_ns": False,
    "dma_dynamic_descriptor_ns": False,
    "dma_sustained_efficiency_floor": True,
    "tensor_sustained_clock_factor": True,
    "dma_bytes_per_second_per_engine": True,
}


class Event(NamedTuple):
    """One executed instruction: its step, its number in the program, where and when it ran, what it waited for.

    Of a transfer whose descriptors GpSimd writes, that is an event too, on the GpSimd Engine and with the same step.
    """

    step: int
    number: int
    opcode: str
    engine: Engine
    start_seconds: float
    end_seconds: float
    wait: str
    cause: int
    location: SourceLocation | None


class Range(NamedTuple):
    """Seconds: a bound from below, the schedule asked for, and a pessimistic schedule."""

    low: float
    central: float
    high: float


@dataclass(frozen=True, eq=False, kw_only=True)
class Timeline:
    """When every instruction ran, and what follows from it. Columns have one entry per executed step.

    steps:  the instruction number of each step; they differ where structured loops repeat
    costs:  by signature
    edges, plan, played: what ordered the steps, what was simulated, and what came of it
    """

    program: Program
    target: Target
    order: Order
    window: int
    assumed_trips: int
    idle_neighbours: bool
    steps: IndexArray
    costs: tuple[Cost, ...]
    edges: Edges
    plan: Plan
    played: Played

    def __len__(self) -> int:
        return len(self.steps)

    # -- columns ----------------------------------------------------------------------------------------------------

    @property
    def start_ps(self) -> IndexArray:
        """When each step began to occupy its engine; for transfers the first byte. In picoseconds."""
        return self.played.start_ps

    @property
    def end_ps(self) -> IndexArray:
        """When each step ceased to occupy its engine; for transfers the last byte. In picoseconds."""
        return self.played.end_ps

    @property
    def engine(self) -> IndexArray:
        """The engine of each step, as a number in `schedule_plan.ENGINES`."""
        return self.plan.engine

    @property
    def dma_spans(self) -> Spans:
        """The pieces of the transfers on the DMA engines; those of several queues overlap on an engine."""
        return self.played.spans

    @property
    def writing(self) -> Writing:
        """The GpSimd Engine's writing of descriptors."""
        return self.played.writing

    # -- time -------------------------------------------------------------------------------------------------------

    @cached_property
    def _done_ps(self) -> IndexArray:
        """When each step's result is visible everywhere."""
        done: IndexArray = self.end_ps + self.plan.settle
        return done

    @cached_property
    def total_seconds(self) -> float:
        """From the first trigger until the last result is visible."""
        return int(self._done_ps.max(initial=0)) * 1e-12

    @cached_property
    def busy_seconds(self) -> Mapping[str, float]:
        """Seconds of occupancy by resource: engines, the busiest DMA engine, HBM; array tiles count by their share."""
        times = np.bincount(self.engine, weights=self._occupied_ps, minlength=len(ENGINES))
        busy = {engine.value: time * 1e-12 for engine, time in zip(ENGINES, times.tolist(), strict=True)}
        if any(self.plan.background):  # two at a time: count the time in which either runs
            mine = self.engine == TENSOR_ENGINE
            busy[Engine.TENSOR.value] = covered(self.start_ps[mine], self.end_ps[mine]) * 1e-12
        busy[Engine.GPSIMD.value] += int((self.writing.end_ps - self.writing.start_ps).sum()) * 1e-12
        busy[Engine.DMA.value] = int(self._dma_busy_ps.max(initial=0)) * 1e-12
        return busy | {"hbm": self.work.hbm_bytes / hbm_rate(self.target, self.idle_neighbours)}

    @cached_property
    def _occupied_ps(self) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Time of every step on its engine, by the share of the lanes that it takes."""
        lanes = np.array([len(taken) for taken in self.plan.lanes], np.float64)
        share = lanes / np.array(self.plan.lane_count)[self.engine]
        occupied: np.ndarray[Any, np.dtype[np.float64]] = (self.end_ps - self.start_ps) * share
        return occupied

    @cached_property
    def _dma_busy_ps(self) -> IndexArray:
        """A DMA engine is busy for as long as its work takes: it never waits while a queue has some for it."""
        return self.plan.dma_work()

    @cached_property
    def active_seconds(self) -> Mapping[str, float]:
        """Seconds in which each engine is at work on something, as profilers count them (see `timing.active`)."""
        return active_seconds(self)

    @cached_property
    def dma_packet_seconds(self) -> float:
        """Seconds of all DMA packets, added up over the DMA engines, as profilers count them."""
        return dma_packet_seconds(self)

    @cached_property
    def idle_seconds(self) -> Mapping[str, Mapping[str, float]]:
        """For each engine but DMA: idle seconds by what it waited for (see `timing.idle`)."""
        return idle_seconds(self)

    @property
    def homeless_bytes(self) -> int:
        """Bytes per partition that SBUF and PSUM have no room for: a compiler would have to spill them."""
        return self.plan.homeless_bytes

    @cached_property
    def utilisation(self) -> Mapping[str, float]:
        """Busy fraction of the total time by resource; for DMA the mean over its engines."""
        total = self.total_seconds or 1.0
        used = {name: seconds / total for name, seconds in self.busy_seconds.items()}
        return used | {Engine.DMA.value: float(self._dma_busy_ps.mean()) * 1e-12 / total}

    @property
    def bounding_resource(self) -> str:
        """The busiest resource: an engine, "dma" or "hbm"."""
        return max(self.busy_seconds, key=self.busy_seconds.__getitem__)

    @cached_property
    def range(self) -> Range:
        """Low: the busiest resource, assumed costs at their fast end. High: program order, at their slow end.

        High is never below the central value. For the Trainium4 projection schedule its three variants as well.
        """
        low = self._replanned(fast=True).busiest_picoseconds()
        slow = self._replanned(fast=False)
        played = Simulation(slow, window=1).play()
        high = int((played.end_ps + slow.settle).max(initial=0))
        return Range(low * 1e-12, self.total_seconds, max(high * 1e-12, self.total_seconds))

    def _replanned(self, *, fast: bool) -> Plan:
        """The plan with the target's banded numbers, and assumed prices, at their fast or slow end."""
        target = _with_bands(self.target, fast=fast)
        costs = [cost.scaled(cost.band[not fast]) for cost in signature_costs(self.program, target)]
        return make_plan(self.program, target, costs, self.steps, self.edges, self.plan.loops, self.idle_neighbours)

    # -- work -------------------------------------------------------------------------------------------------------

    @cached_property
    def executions(self) -> list[int]:
        """How many executed steps have each signature."""
        ids = self.program.signature_ids[self.steps]
        return [int(count) for count in np.bincount(ids, minlength=len(self.costs))]

    @cached_property
    def work(self) -> Work:
        """Everything that was executed, added up."""
        total = Work()
        for cost, times in zip(self.costs, self.executions, strict=True):
            total = total + times * cost.work
        return total

    @property
    def hbm_bytes(self) -> int:
        """Bytes read from and written to HBM."""
        return self.work.hbm_bytes

    @property
    def hbm_bandwidth_share(self) -> float:
        """HBM bytes per second as a fraction of what this core has of the chip's bandwidth (`hbm_rate`)."""
        return self.hbm_bytes / hbm_rate(self.target, self.idle_neighbours) / (self.total_seconds or 1.0)

    @property
    def flops(self) -> Mapping[str, float]:
        """Useful FLOP of the Tensor Engine by rate class; transposes are not among them."""
        return self.work.matmul_flops

    @property
    def mfu(self) -> float:
        """Model FLOP utilisation: the time that the FLOP take at peak, each class at its own, over the total time."""
        peak = sum(count / self.target.matmul_flops_per_second(rate) for rate, count in self.flops.items())
        return peak / (self.total_seconds or 1.0)

    @cached_property
    def tensor_seconds(self) -> Mapping[str, float]:
        """Busy seconds of the Tensor Engine by kind of work: matmul, transpose; array tiles count by their share."""
        kinds = [cost.kind if cost.engine is Engine.TENSOR else "" for cost in self.costs]
        names = list(dict.fromkeys(kinds))
        which = np.array([names.index(kind) for kind in kinds], np.int64)[self.program.signature_ids[self.steps]]
        times = np.bincount(which, weights=self._occupied_ps, minlength=len(names)).tolist()
        return {name: time * 1e-12 for name, time in zip(names, times, strict=True) if name}

    @property
    def arithmetic_intensity(self) -> float:
        """Useful FLOP per HBM byte; infinite without HBM traffic."""
        return self.work.flops / self.hbm_bytes if self.hbm_bytes else float("inf")

    @cached_property
    def assumed_opcodes(self) -> tuple[str, ...]:
        """Opcodes of the program whose price no AWS document gives on this generation."""
        return tuple(sorted({cost.opcode for cost in self.costs if cost.assumed}))

    # -- events -----------------------------------------------------------------------------------------------------

    def event(self, step: int) -> Event:
        """One executed instruction."""
        return self._event(step, ENGINES[self.engine[step]], self.played, step)

    def writing_event(self, step: int) -> Event:
        """The writing of a transfer's descriptors; the step must be one of `writing.step`."""
        return self._event(step, Engine.GPSIMD, self.writing, int(np.searchsorted(self.writing.step, step)))

    def _event(self, step: int, engine: Engine, columns: Played | Writing, row: int) -> Event:
        number = int(self.steps[step])
        return Event(
            step,
            number,
            self.program.signature_of(number).opcode,
            engine,
            int(columns.start_ps[row]) * 1e-12,
            int(columns.end_ps[row]) * 1e-12,
            Wait(columns.wait[row]).name.lower(),
            int(columns.cause[row]),
            self.program.location_of(number),
        )

    def events(self) -> Iterator[Event]:
        """Every executed instruction, in program order."""
        return (self.event(step) for step in range(len(self)))

    @cached_property
    def critical_path(self) -> tuple[Event, ...]:
        """The chain of instructions that made the kernel as long as it is, first to last, and what each waited for."""
        if not len(self):
            return ()
        chain = [self.event(int(self._done_ps.argmax()))]
        while chain[-1].cause >= 0:
            last = chain[-1]
            is_writing = last.wait == Wait.DESCRIPTORS.name.lower()
            chain.append(self.writing_event(last.cause) if is_writing else self.event(last.cause))
        return tuple(reversed(chain))

    def table(self) -> list[tuple[str, ...]]:
        """Rows for printing: a heading, then resource, instructions, busy microseconds and utilisation in percent."""
        counts = np.bincount(self.engine, minlength=len(ENGINES)).tolist()
        by_name = dict(zip((engine.value for engine in ENGINES), counts, strict=True))
        rows = [("resource", "instructions", "busy µs", "utilisation %")]
        for name, seconds in self.busy_seconds.items():
            count = str(by_name.get(name, counts[DMA_ENGINE]))
            rows.append((name, count, f"{seconds * 1e6:.3f}", f"{100 * self.utilisation[name]:.1f}"))
        return [*rows, ("total", str(len(self)), f"{self.total_seconds * 1e6:.3f}", "100.0")]


def default_order(program: Program) -> Order:
    """Program order when the kernel placed a buffer by hand, else list order."""
    return "program" if any(buffer.address is not None for buffer in program.buffers) else "list"


def schedule(
    program: Program,
    target: Target | str,
    order: Order | None = None,
    window: int = 64,
    assumed_trips: int = 1,
    idle_neighbours: bool = False,
) -> Timeline:
    """The program played on a target, which need not be the one it was traced for.

    Meanwhile Python's search for cycles of objects is off, in all threads: here are none, and it would take long.

    order:         "list", "program", or None for `default_order`
    window:        how far from the head of an engine's queue list order looks for a ready instruction
    assumed_trips: trips of structured loops whose bounds are known only at run time
    idle_neighbours: whether the other cores on this core's HBM stack leave their share of its bandwidth to it

    Raises:
        CostError: an instruction has no price on this target.
        TimelineError: another order, a window below 1, or loops that unroll to too many instructions.
    """
    if order not in (None, "list", "program"):
        raise TimelineError("order", repr(order), "'list', 'program' or None")
    if window < 1:
        raise TimelineError("window", str(window), "1 or more")
    loops, program = loop_steps(program, assumed_trips), program.flat
    chosen, resolved = get_target(target), order or default_order(program)
    costs = signature_costs(program, chosen)
    steps = unroll(program, assumed_trips)
    with _no_search_for_cycles():
        edges = dependences(program, steps)
        plan = make_plan(program, chosen, costs, steps, edges, loops, idle_neighbours)
        played = Simulation(plan, window if resolved == "list" else 1).play()
    return Timeline(
        program=program,
        target=chosen,
        order=resolved,
        window=window,
        assumed_trips=assumed_trips,
        idle_neighbours=idle_neighbours,
        steps=steps,
        costs=costs,
        edges=edges,
        plan=plan,
        played=played,
    )


@contextmanager
def _no_search_for_cycles() -> Iterator[None]:
    """Inside, Python does not search for cycles of objects; measured on 100,000 steps, it took a fifth of the time."""
    was_searching = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_searching:
            gc.enable()


def _with_bands(target: Target, *, fast: bool) -> Target:
    """The target with the banded numbers behind costs at their fast or slow end."""
    facts = {}
    for name, more_is_faster in _BANDED.items():
        fact = target.provenance.get(name)
        if fact is None:  # what the generation does not have
            continue
        end = fact.high if more_is_faster == fast else fact.low
        if end is not None:
            facts[name] = replace(fact, value=end, low=None, high=None)
    return target.with_facts(f"{target.variant}, {'fast' if fast else 'slow'} end", **facts) if facts else target
