"""Ordering edges of a program: which instruction must wait for which, and why. Linear in the instructions in practice.

    edges = dependences(program)
    edges.of(7)   # ((3, Kind.RAW), (5, Kind.WAR)): instruction 7 reads what 3 wrote and overwrites what 5 reads

Edges are direct: an access waits for the last write of each cell of memory it touches, a write also for the reads since
then; whatever is ordered through others gets no edge of its own. Every pair of accesses to the same bytes, one of which
writes, is ordered by a path of edges. Each buffer without a hand-given address is its own storage; buffers with
addresses share their memory, so what overlaps on chip is ordered too.

A program with structured loops is ordered as it runs: `unroll` lists the executed steps, and edges are between steps.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from itertools import pairwise
from typing import Any, Final, NamedTuple

import numpy as np

from trnlab.emulator.errors import TimelineError
from trnlab.emulator.footprint import Footprint, Layout, cells_of
from trnlab.emulator.memory import ON_CHIP_REGIONS, MemoryRegion
from trnlab.emulator.program import IndexArray, Loop, OperandSignature, Program

MAX_STEPS: Final = 2_000_000
"""Executed instructions that an unrolled program may have."""


class Kind(IntEnum):
    """Why one instruction waits for another; where several reasons hold, the first listed here is kept."""

    RAW = 0
    WAW = 1
    WAR = 2
    REGISTER = 3
    EXTRA = 4


@dataclass(frozen=True, eq=False)
class Edges:
    """For consumer i: producers[starts[i] : starts[i + 1]], ascending, and their kinds."""

    starts: IndexArray
    producers: IndexArray
    kinds: np.ndarray[Any, np.dtype[np.int8]]

    def __len__(self) -> int:
        return len(self.producers)

    @property
    def consumers(self) -> IndexArray:
        """The consumer of every edge."""
        return np.repeat(np.arange(len(self.starts) - 1), np.diff(self.starts))

    def of(self, consumer: int) -> tuple[tuple[int, Kind], ...]:
        """The (producer, kind) pairs that one instruction waits for."""
        part = slice(int(self.starts[consumer]), int(self.starts[consumer + 1]))
        kinds = (Kind(kind) for kind in self.kinds[part].tolist())
        return tuple(zip(self.producers[part].tolist(), kinds, strict=True))

    def __iter__(self) -> Iterator[tuple[int, int, Kind]]:
        return (
            (producer, consumer, kind)
            for consumer in range(len(self.starts) - 1)
            for producer, kind in self.of(consumer)
        )


def unroll(program: Program, assumed_trips: int = 1) -> IndexArray:
    """Instruction numbers in the order they execute: loop bodies repeated, bounds known only at run time assumed.

    Numbers are those of `program.flat`.

    Raises:
        TimelineError: more than `MAX_STEPS` steps, or a negative number of assumed trips.
    """
    if assumed_trips < 0:
        raise TimelineError("assumed_trips", str(assumed_trips), "0 or more")
    program = program.flat
    if not program.loops:
        return np.arange(len(program), dtype=np.int64)
    order = sorted(program.loops, key=lambda loop: (loop.begin, -loop.end))
    return _unrolled(order, 0, len(program), assumed_trips)


def trips_of(loop: Loop, assumed: int) -> int:
    """How often a structured loop runs; as often as assumed where only the run knows."""
    known = loop.kind == "for" and loop.lower_register is None and loop.upper_register is None
    return len(range(loop.lower, loop.upper, loop.step)) if known else assumed


def _unrolled(loops: list[Loop], begin: int, end: int, assumed: int) -> IndexArray:
    """Steps of the instructions begin..end, with the loops among them; `loops` is used up front to back."""
    parts: list[IndexArray] = []
    while loops and loops[0].begin < end:
        loop = loops.pop(0)
        body = _unrolled(loops, loop.begin, loop.end, assumed)
        trips = trips_of(loop, assumed)
        if trips * len(body) > MAX_STEPS:
            raise TimelineError("loop", f"{trips} trips of {len(body)} instructions", f"at most {MAX_STEPS} in all")
        parts += [np.arange(begin, loop.begin), np.tile(body, trips)]
        begin = loop.end
    return np.concatenate([*parts, np.arange(begin, end, dtype=np.int64)])


class _Accesses(NamedTuple):
    """One row per operand of every step, reads of a step before its pure writes; footprints are numbered."""

    first: list[int]  # where each step's accesses begin; one more entry than steps
    footprint: list[int]
    reads: list[bool]
    writes: list[bool]
    cells: list[tuple[int, ...]]  # by footprint; empty where nothing ever writes
    register: list[bool]  # by footprint
    cell_count: int


def dependences(program: Program, steps: IndexArray | None = None) -> Edges:
    """The ordering edges between steps (by default the instructions of `program.flat`, every loop body once)."""
    program = program.flat
    executed = np.arange(len(program), dtype=np.int64) if steps is None else steps
    return _sweep(_accesses(program, executed), _extra(program, executed))


def _layout(operand: OperandSignature) -> Layout:
    return Layout(
        operand.region in ON_CHIP_REGIONS,
        operand.buffer_shape,
        operand.buffer_dtype.itemsize,
        operand.dtype.itemsize,
        operand.shape,
        operand.strides,
        operand.indirection is not None,
    )


def _accesses(program: Program, steps: IndexArray) -> _Accesses:
    ids = program.signature_ids[steps]
    starts = program.operand_starts[steps]
    layouts: dict[Layout, int] = {}
    rows: list[IndexArray] = []
    for number, signature in enumerate(program.signatures):
        where = np.flatnonzero(ids == number)
        for position, operand in enumerate(signature.operands):
            table = np.empty((len(where), 6), np.int64)
            table[:, 0] = where
            table[:, 1:3] = program.operands[starts[where] + position]
            table[:, 3] = layouts.setdefault(_layout(operand), len(layouts))
            table[:, 4:] = operand.reads, operand.writes
            rows.append(table)
    if not rows:
        return _Accesses([0] * (len(steps) + 1), [], [], [], [], [], 0)
    table = np.concatenate(rows)
    table = table[np.lexsort((~table[:, 4].astype(bool), table[:, 0]))]
    storage = _storages(program)[table[:, 1]]
    # Memory that nothing writes orders nothing.
    written = np.zeros(len(program.buffers) + len(MemoryRegion), bool)
    written[storage[table[:, 5] != 0]] = True
    table, storage = table[written[storage]], storage[written[storage]]
    keys = np.stack([storage, table[:, 1], table[:, 3], table[:, 2]], axis=1)
    unique, footprint = _distinct(keys)
    is_written = np.zeros(len(unique), bool)
    is_written[footprint[table[:, 5] != 0]] = True
    cells, count = _cells(program, unique, is_written.tolist(), list(layouts))
    registers = np.array([buffer.region is MemoryRegion.register for buffer in program.buffers], bool)
    return _Accesses(
        np.searchsorted(table[:, 0], np.arange(len(steps) + 1)).tolist(),
        footprint.tolist(),
        (table[:, 4] != 0).tolist(),
        (table[:, 5] != 0).tolist(),
        cells,
        registers[unique[:, 1]].tolist(),
        count,
    )


def _distinct(rows: IndexArray) -> tuple[IndexArray, IndexArray]:
    """The different rows, sorted, and the number of each row among them: `np.unique` by rows, several times as fast."""
    order = np.lexsort(rows.T[::-1])
    ordered = rows[order]
    is_new = np.ones(len(rows), bool)
    is_new[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    number = np.empty(len(rows), np.int64)
    number[order] = np.cumsum(is_new) - 1
    return ordered[is_new], number


def _storages(program: Program) -> IndexArray:
    """The storage of each buffer: its own, or one for all buffers of a region that have addresses."""
    shared = {region: len(program.buffers) + place for place, region in enumerate(MemoryRegion)}
    return np.array(
        [buffer.number if buffer.address is None else shared[buffer.region] for buffer in program.buffers], np.int64
    )


def _cells(
    program: Program, unique: IndexArray, written: list[bool], layouts: list[Layout]
) -> tuple[list[tuple[int, ...]], int]:
    """Cell numbers of every footprint; tiles used alike (one per loop iteration, say) share one plan."""
    plans: dict[tuple[tuple[int, int, bool, tuple[int, int] | None], ...], tuple[list[tuple[int, ...]], int]] = {}
    addresses = [buffer.address for buffer in program.buffers]
    bounds = [*np.flatnonzero(np.diff(unique[:, 0], prepend=-1)).tolist(), len(unique)]
    rows = unique.tolist()
    cells: list[tuple[int, ...]] = []
    total = 0
    for begin, end in pairwise(bounds):
        key = tuple(
            (layout, offset, write, addresses[buffer])
            for (_, buffer, layout, offset), write in zip(rows[begin:end], written[begin:end], strict=True)
        )
        plan = plans.get(key)
        if plan is None:
            footprints = [Footprint(layouts[layout], offset, write, base or ()) for layout, offset, write, base in key]
            plan = plans[key] = cells_of(footprints)
        cells += [tuple(total + cell for cell in local) for local in plan[0]]
        total += plan[1]
    return cells, total


def _extra(program: Program, steps: IndexArray) -> dict[int, list[int]]:
    """For each step the steps it was asked to follow: the latest execution of each producer before it."""
    places: dict[int, list[int]] = {}
    asked = {number for edge in program.edges for number in edge}
    for step in np.flatnonzero(np.isin(steps, list(asked))).tolist() if asked else ():
        places.setdefault(int(steps[step]), []).append(step)
    result: dict[int, list[int]] = {}
    for producer, consumer in program.edges:
        before = places.get(producer, [])
        for step in places.get(consumer, ()):
            position = bisect_left(before, step)
            if position:
                result.setdefault(step, []).append(before[position - 1])
    return result


def _sweep(accesses: _Accesses, extra: dict[int, list[int]]) -> Edges:
    """Play the accesses in order: each cell knows its last writer and its readers since."""
    first, footprints, reads, writes, cells, register, cell_count = accesses
    writer = [-1] * cell_count
    readers: list[list[int] | None] = [None] * cell_count
    starts, producers, kinds = [0], list[int](), list[int]()
    for step in range(len(first) - 1):
        found: dict[int, int] = {}
        for access in range(first[step], first[step + 1]):
            footprint = footprints[access]
            touched, as_register = cells[footprint], register[footprint]
            if reads[access]:
                raw = Kind.REGISTER if as_register else Kind.RAW
                _read(step, touched, raw, writer, readers, found)
            if writes[access]:
                waw, war = (Kind.REGISTER,) * 2 if as_register else (Kind.WAW, Kind.WAR)
                _write(step, touched, waw, war, writer, readers, found)
        for producer in extra.get(step, ()):
            found.setdefault(producer, Kind.EXTRA)
        ordered = sorted(found)
        producers += ordered
        kinds += [found[producer] for producer in ordered]
        starts.append(len(producers))
    return Edges(np.array(starts, np.int64), np.array(producers, np.int64), np.array(kinds, np.int8))


def _read(
    step: int,
    cells: tuple[int, ...],
    kind: int,
    writer: list[int],
    readers: list[list[int] | None],
    found: dict[int, int],
) -> None:
    known = step  # neighbouring cells often have one writer
    for cell in cells:
        last = writer[cell]
        if last != known:
            known = last
            if last >= 0 and last != step and found.get(last, kind) >= kind:
                found[last] = kind
        since = readers[cell]
        if since is None:
            readers[cell] = [step]
        else:
            since.append(step)


def _write(
    step: int,
    cells: tuple[int, ...],
    waw: int,
    war: int,
    writer: list[int],
    readers: list[list[int] | None],
    found: dict[int, int],
) -> None:
    before: set[int] = set()
    known = step
    for cell in cells:
        since = readers[cell]
        last = writer[cell]
        # A reader has waited for the last writer already.
        if since:
            before.update(since)
            readers[cell] = None
        elif last != known:
            known = last
            if last >= 0 and last != step and found.get(last, waw) >= waw:
                found[last] = waw
        writer[cell] = step
    before.discard(step)
    for reader in before:
        if found.get(reader, war) >= war:
            found[reader] = war
