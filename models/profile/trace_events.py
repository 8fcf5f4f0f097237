"""A timeline in the Trace Event Format, for Perfetto (ui.perfetto.dev) and Chrome's tracing page.

Tracks: one for each engine, for each DMA queue (more where its transfers overlap), and for each queue on each DMA
engine, which the queues share in turns. Flows are dependences between different engines. Counters are the bytes per
partition in use in SBUF and PSUM.

Source of the format: "Trace Event Format" (Google, 2016): metadata (M), complete (X), flow (s, f) and counter (C)
events, times in microseconds.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from heapq import heappop, heappush
from typing import Any, Final

import numpy as np

from trnlab.emulator.timing.insight.occupancy import memory_curves
from trnlab.emulator.timing.schedule_plan import DMA_ENGINE, ENGINES, GPSIMD_ENGINE
from trnlab.emulator.timing.timeline import Timeline
from trnlab.models.profile.event_table import EventTable, event_table

Event = dict[str, Any]

CORE, QUEUES, DMA_ENGINES, MEMORY = 1, 2, 3, 4
_PROCESSES: Final = {CORE: "engines", QUEUES: "DMA queues", DMA_ENGINES: "DMA engines", MEMORY: "memory"}
_LANES: Final = 1000
"""Tracks of a queue, or of a DMA engine: lane l of queue q is q * 1000 + l, queue q of engine e is e * 1000 + q."""


def trace_events(timeline: Timeline) -> str:
    """The whole trace as JSON text."""
    table = event_table(timeline)
    tracks = _tracks(timeline, table)
    events = [
        *_names(tracks),
        *_instructions(timeline, table, tracks),
        *_pieces(timeline, table),
        *_flows(timeline, tracks),
        *_counters(timeline),
    ]
    about = {"kernel": timeline.program.kernel, "target": timeline.target.name, "order": timeline.order}
    return json.dumps({"traceEvents": events, "displayTimeUnit": "ns", "otherData": about}, separators=(",", ":"))


def _microseconds(picoseconds: int) -> float:
    return picoseconds / 1e6


def _tracks(timeline: Timeline, table: EventTable) -> list[tuple[int, int]]:
    """(process, thread) of every step; transfers of a queue that overlap get lanes of their own."""
    tracks = [(CORE, engine) for engine in timeline.engine.tolist()]
    queues = table.columns["queue"].tolist()
    free: dict[int, list[tuple[int, int]]] = {}
    lanes: dict[int, int] = {}
    start, end = timeline.start_ps.tolist(), timeline.end_ps.tolist()
    transfers = np.flatnonzero(timeline.engine == DMA_ENGINE)
    for step in transfers[np.argsort(timeline.start_ps[transfers], kind="stable")].tolist():
        queue = queues[step]
        idle = free.setdefault(queue, [])
        if idle and idle[0][0] <= start[step]:
            lane = heappop(idle)[1]
        else:
            lane = lanes.get(queue, 0)
            lanes[queue] = lane + 1
        heappush(idle, (end[step], lane))
        tracks[step] = (QUEUES, queue * _LANES + lane)
    return tracks


def _names(tracks: list[tuple[int, int]]) -> Iterator[Event]:
    for process, name in _PROCESSES.items():
        yield {"ph": "M", "name": "process_name", "pid": process, "tid": 0, "args": {"name": name}}
        yield {"ph": "M", "name": "process_sort_index", "pid": process, "tid": 0, "args": {"sort_index": process}}
    for number, engine in enumerate(ENGINES):
        if number != DMA_ENGINE:
            yield _thread(CORE, number, engine.value)
    for process, thread in sorted(set(tracks)):
        if process == QUEUES:
            queue, lane = divmod(thread, _LANES)
            yield _thread(QUEUES, thread, f"queue {queue}" + (f", overlap {lane}" if lane else ""))


def _thread(process: int, thread: int, name: str) -> Event:
    return {"ph": "M", "name": "thread_name", "pid": process, "tid": thread, "args": {"name": name}}


def _instructions(timeline: Timeline, table: EventTable, tracks: list[tuple[int, int]]) -> Iterator[Event]:
    columns = {name: column.tolist() for name, column in table.columns.items()}
    writing = timeline.writing
    start, end = (
        [*timeline.start_ps.tolist(), *writing.start_ps.tolist()],
        [*timeline.end_ps.tolist(), *writing.end_ps.tolist()],
    )
    on_gpsimd = [(CORE, GPSIMD_ENGINE)] * len(writing.step)
    for row, (process, thread) in enumerate([*tracks, *on_gpsimd]):
        yield {
            "ph": "X",
            "name": (columns["name"][row] or columns["opcode"][row]) + (", descriptors" if row >= len(tracks) else ""),
            "cat": columns["engine"][row],
            "pid": process,
            "tid": thread,
            "ts": _microseconds(start[row]),
            "dur": _microseconds(end[row] - start[row]),
            "args": {
                "instruction": columns["instruction"][row],
                "line": f"{columns['file'][row]}:{columns['line'][row]}",
                "waited for": columns["wait"][row],
                "cause": columns["cause"][row],
            },
        }


def _pieces(timeline: Timeline, table: EventTable) -> Iterator[Event]:
    """What each DMA engine carried for each queue, and when."""
    spans, queue = timeline.dma_spans, table.columns["queue"]
    tracks = spans.engine * _LANES + queue[spans.step]
    for track in np.unique(tracks).tolist():
        yield _thread(DMA_ENGINES, track, "DMA engine {}, queue {}".format(*divmod(track, _LANES)))
    rows = zip(spans.step.tolist(), tracks.tolist(), spans.start_ps.tolist(), spans.end_ps.tolist(), strict=True)
    for step, track, start, end in rows:
        where = {"ph": "X", "name": f"step {step}", "cat": "dma engine", "pid": DMA_ENGINES, "tid": track}
        yield {**where, "ts": _microseconds(start), "dur": _microseconds(end - start), "args": {"step": step}}


def _flows(timeline: Timeline, tracks: list[tuple[int, int]]) -> Iterator[Event]:
    """An arrow from each producer to each consumer on another engine."""
    edges, engine = timeline.edges, timeline.engine
    crosses = np.flatnonzero(engine[edges.producers] != engine[edges.consumers])
    start, end = timeline.start_ps.tolist(), timeline.end_ps.tolist()
    producers, consumers = edges.producers[crosses].tolist(), edges.consumers[crosses].tolist()
    for number, (producer, consumer) in enumerate(zip(producers, consumers, strict=True)):
        common = {"name": "dependence", "cat": "dependence", "id": number}
        process, thread = tracks[producer]
        yield {**common, "ph": "s", "pid": process, "tid": thread, "ts": _microseconds(end[producer])}
        process, thread = tracks[consumer]
        yield {**common, "ph": "f", "bp": "e", "pid": process, "tid": thread, "ts": _microseconds(start[consumer])}


def _counters(timeline: Timeline) -> Iterator[Event]:
    for curve in memory_curves(timeline):
        name = f"{curve.memory.upper()} bytes per partition"
        for time, used in zip(curve.times_ps.tolist(), curve.used_bytes.tolist(), strict=True):
            yield {"ph": "C", "name": name, "pid": MEMORY, "tid": 0, "ts": _microseconds(time), "args": {"used": used}}
