"""Descriptors that GpSimd writes: the engine's time, the memory port, idle reasons, the critical path, the exports."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from typing import Any

import jax
import ml_dtypes
import numpy as np
import pytest

import trnlab.emulator.nki.isa as nisa
import trnlab.emulator.nki.language as nl
from trnlab.emulator import launch
from trnlab.emulator.timing.timeline import Timeline, schedule

FLOAT32, BFLOAT16 = np.dtype(np.float32), np.dtype(ml_dtypes.bfloat16)
GPSIMD_HZ = {"trn1": 1.4e9, "trn2": 1.2e9, "trn3": 1.2e9}


def timeline_of(kernel: Callable[..., Any], target: str = "trn2", dtype: Any = FLOAT32) -> Timeline:
    array = jax.ShapeDtypeStruct((128, 512), dtype)  # type: ignore[no-untyped-call]
    return schedule(launch.trace(kernel, array, target=target), target, order="program")


def tile(x: Any) -> Any:
    return nl.ndarray(x.shape, dtype=x.dtype)


def written(x: Any) -> None:
    nisa.dma_copy(tile(x), x, dge_mode=nisa.dge_mode.swdge)


def on_gpsimd(x: Any) -> None:
    nisa.tensor_copy(tile(x), tile(x), engine=nisa.engine.gpsimd)


def writing_ps(target: str = "trn2", descriptors: int = 128) -> int:
    """A start, and a cycle for each descriptor."""
    return round((150 + descriptors) / GPSIMD_HZ[target] * 1e12)


def test_instructions_of_gpsimd_wait_for_the_writing() -> None:
    def kernel(x: Any) -> Any:
        written(x)
        on_gpsimd(x)
        return x

    timeline = timeline_of(kernel)
    assert timeline.writing.start_ps.tolist() == [0]
    assert timeline.writing.end_ps.tolist() == [writing_ps()]
    # The data start after the trigger's latency, while later descriptors are still being written: as without GpSimd.
    assert timeline.start_ps.tolist() == [1_300_000, writing_ps()]
    assert [event.wait for event in timeline.events()] == ["descriptors", "descriptors"]
    assert int(timeline.played.cause[1]) == 0
    copy = int(timeline.end_ps[1] - timeline.start_ps[1])
    assert timeline.busy_seconds["gpsimd"] == pytest.approx((writing_ps() + copy) * 1e-12)


def test_the_writing_waits_for_instructions_of_gpsimd() -> None:
    def kernel(x: Any) -> Any:
        on_gpsimd(x)
        written(x)
        return x

    timeline = timeline_of(kernel)
    free = int(timeline.end_ps[0])
    assert timeline.writing.start_ps.tolist() == [free]
    assert int(timeline.start_ps[1]) == free + 1_300_000
    path = [(event.engine.value, event.wait, event.cause) for event in timeline.critical_path]
    assert path == [("gpsimd", "start", -1), ("gpsimd", "engine", 0), ("dma", "descriptors", 1)]


def test_descriptors_follow_the_data_that_the_transfer_depends_on() -> None:
    def kernel(x: Any) -> Any:
        source, result = tile(x), nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
        nisa.memset(source, 1.0, engine=nisa.engine.vector)
        nisa.dma_copy(result, source, dge_mode=nisa.dge_mode.swdge)
        return result

    timeline = timeline_of(kernel)
    # 60 cycles of memory access at 0.96 GHz and a semaphore of 35 ns.
    ready = int(timeline.end_ps[0]) + round(60 / 0.96e9 * 1e12) + 35_000
    assert timeline.writing.start_ps.tolist() == [ready]
    assert int(timeline.start_ps[1]) == ready + 1_300_000
    idle = timeline.idle_seconds["gpsimd"]
    assert idle["vector"] + idle["semaphore"] == pytest.approx(ready * 1e-12)
    assert timeline.busy_seconds["gpsimd"] + sum(idle.values()) == pytest.approx(timeline.total_seconds)


@pytest.mark.parametrize("mode", [nisa.dge_mode.none, nisa.dge_mode.hwdge])
def test_other_descriptors_leave_gpsimd_alone(mode: Any) -> None:
    def kernel(x: Any) -> Any:
        nisa.dma_copy(tile(x), x, dge_mode=mode)
        on_gpsimd(x)
        return x

    timeline = timeline_of(kernel)
    assert len(timeline.writing.step) == 0
    assert int(timeline.start_ps[1]) == 0


def beside_vector(x: Any) -> Any:
    """A copy on Vector that is ready while GpSimd writes: after an instruction that needs no port."""
    nisa.memset(nl.ndarray((1, 1), dtype=nl.float32, buffer=nl.psum), 0.0, engine=nisa.engine.vector)
    written(x)
    nisa.tensor_copy(tile(x), tile(x), engine=nisa.engine.vector)
    return x


@pytest.mark.parametrize(
    ("target", "dtype", "waits"),
    [
        ("trn1", FLOAT32, True),  # one SBUF port for both
        ("trn2", FLOAT32, False),  # each its own
        ("trn2", BFLOAT16, True),  # a copy of bf16 runs in a performance mode, over the shared bus
        ("trn3", BFLOAT16, True),
    ],
)
def test_writing_holds_the_memory_port(target: str, dtype: Any, waits: bool) -> None:
    timeline = timeline_of(beside_vector, target, dtype)
    end = writing_ps(target)
    first = int(timeline.end_ps[0])
    assert timeline.writing.end_ps.tolist() == [end]
    assert 0 < first < end
    assert int(timeline.start_ps[2]) == (end if waits else first)
    assert timeline.event(2).wait == ("descriptors" if waits else "engine")
    waited = (end - first) * 1e-12 if waits else 0.0
    assert timeline.idle_seconds["vector"].get("descriptors", 0.0) == pytest.approx(waited)


def test_writing_waits_for_the_memory_port() -> None:
    def kernel(x: Any) -> Any:
        nisa.tensor_copy(tile(x), tile(x), engine=nisa.engine.vector)
        written(x)
        return x

    timeline = timeline_of(kernel, "trn1")
    # Both are ready at once, and the Vector Engine comes first.
    end = int(timeline.end_ps[0])
    assert timeline.writing.start_ps.tolist() == [end]
    assert timeline.idle_seconds["gpsimd"]["port"] == pytest.approx(end * 1e-12)
    path = [(event.engine.value, event.wait, event.cause) for event in timeline.critical_path]
    assert path == [("vector", "start", -1), ("gpsimd", "port", 0), ("dma", "descriptors", 1)]


def test_no_schedule_is_shorter_than_what_gpsimd_has_to_write() -> None:
    def kernel(x: Any) -> Any:
        for row in range(40):
            nisa.dma_copy(nl.ndarray((1, 8), dtype=x.dtype), x[row : row + 1, 0:8], dge_mode=nisa.dge_mode.swdge)
        return x

    timeline = timeline_of(kernel)
    # One row and one descriptor each.
    assert timeline.range.low == pytest.approx(40 * writing_ps(descriptors=1) * 1e-12)
    assert timeline.total_seconds >= timeline.range.low


def test_exports_show_the_writing() -> None:
    from trnlab.models.profile.event_table import event_table
    from trnlab.models.profile.summary import profile_of
    from trnlab.models.profile.trace_events import trace_events

    def kernel(x: Any) -> Any:
        written(x)
        on_gpsimd(x)
        return x

    timeline = timeline_of(kernel)
    rows = list(csv.DictReader(io.StringIO(event_table(timeline).to_csv())))
    assert [(row["step"], row["engine"], row["queue"]) for row in rows] == [
        ("0", "dma", "0"),
        ("1", "gpsimd", "-1"),
        ("0", "gpsimd", "-1"),
    ]
    assert float(rows[2]["end_ns"]) == writing_ps() / 1000
    events = [event for event in json.loads(trace_events(timeline))["traceEvents"] if event["ph"] == "X"]
    (slice_,) = [event for event in events if event["name"] == "dma_copy, descriptors"]
    assert (slice_["pid"], slice_["cat"], slice_["ts"]) == (1, "gpsimd", 0)
    assert slice_["dur"] == pytest.approx(writing_ps() / 1e6)
    profile = profile_of(timeline)
    assert profile.busy_seconds["gpsimd"] == timeline.busy_seconds["gpsimd"]
    lines = {(line.opcode, line.engine) for line in profile.hot_lines}
    assert lines & {("dma_copy", "gpsimd"), ("dma_copy", "dma"), ("tensor_copy", "gpsimd")}
