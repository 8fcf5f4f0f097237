"""Everything a profile says about one kernel on one target, as data: `profile_of(timeline)`, and a comparison of two.

The same record feeds the terminal tables, the JSON file, the picture and the HTML page, so they cannot disagree.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from trnlab.emulator.timing.insight.advice import Advice, advice
from trnlab.emulator.timing.insight.hot_lines import HotLine, hot_lines
from trnlab.emulator.timing.insight.occupancy import MemoryCurve, memory_curves
from trnlab.emulator.timing.insight.speed_of_light import Light, speed_of_light
from trnlab.emulator.timing.insight.transfers import SizeBin, transfer_sizes
from trnlab.emulator.timing.timeline import Timeline

FORMAT: Final = "trnlab-profile-1"
_CURVE_POINTS: Final = 2000
"""Points of an occupancy curve in exports; of more, the largest of each stretch is kept."""


@dataclass(frozen=True, kw_only=True)
class Profile:
    """One kernel on one target.

    seconds: low, central, high (see `timeline.Range`)
    intensity: useful FLOP per byte of "HBM", "DMA" and "SBUF" traffic; infinite without traffic
    tensor_seconds: the Tensor Engine's time: useful (FLOP at peak), below peak, transposes, idle
    active_seconds, dma_packet_seconds: what AWS's profilers count of the engines and of DMA (see `timing.active`)
    timeline: what all of it was computed from
    """

    kernel: str
    target: str
    order: str
    instructions: int
    seconds: tuple[float, float, float]
    bounding_resource: str
    mfu: float
    hbm_share: float
    dma_share: float
    flops: Mapping[str, float]
    hbm_bytes: int
    dma_bytes: int
    intensity: Mapping[str, float]
    tensor_seconds: Mapping[str, float]
    busy_seconds: Mapping[str, float]
    active_seconds: Mapping[str, float]
    dma_packet_seconds: float
    idle_seconds: Mapping[str, Mapping[str, float]]
    light: tuple[Light, ...]
    memory: tuple[MemoryCurve, ...]
    transfers: tuple[SizeBin, ...]
    hot_lines: tuple[HotLine, ...]
    advice: tuple[Advice, ...]
    assumed_opcodes: tuple[str, ...]
    timeline: Timeline = field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """The profile as JSON-ready data; infinities are None, curves are shortened to at most 2,000 points."""
        plain = {
            item.name: getattr(self, item.name)
            for item in dataclasses.fields(self)
            if item.name not in ("timeline", "memory", "light", "transfers")
        }
        records = {
            "light": [{**dataclasses.asdict(row), "percent": row.percent} for row in self.light],
            "transfers": [{**dataclasses.asdict(row), "grade": row.grade} for row in self.transfers],
            "memory": [_curve(row) for row in self.memory],
            "hot_lines": [dataclasses.asdict(row) for row in self.hot_lines],
            "advice": [dataclasses.asdict(row) for row in self.advice],
        }
        data = {"format": FORMAT, **plain, **records}
        return {name: _plain(value) for name, value in data.items()}


def profile_of(timeline: Timeline) -> Profile:
    """The profile of a timeline; plays it again a few times, once for each piece of advice."""
    work, span = timeline.work, timeline.range
    traffic = {
        "HBM": work.hbm_bytes,
        "DMA": work.dma_bytes,
        "SBUF": work.sbuf_read_bytes + work.sbuf_write_bytes,
    }
    dma_peak = timeline.target.dma_bytes_per_second_per_core
    return Profile(
        kernel=timeline.program.kernel,
        target=str(timeline.target),
        order=timeline.order,
        instructions=len(timeline),
        seconds=(span.low, span.central, span.high),
        bounding_resource=timeline.bounding_resource,
        mfu=timeline.mfu,
        hbm_share=timeline.hbm_bandwidth_share,
        dma_share=work.dma_bytes / dma_peak / (timeline.total_seconds or 1.0),
        flops=dict(timeline.flops),
        hbm_bytes=work.hbm_bytes,
        dma_bytes=work.dma_bytes,
        intensity={name: work.flops / nbytes if nbytes else math.inf for name, nbytes in traffic.items()},
        tensor_seconds=_tensor_time(timeline),
        busy_seconds=dict(timeline.busy_seconds),
        active_seconds=dict(timeline.active_seconds),
        dma_packet_seconds=timeline.dma_packet_seconds,
        idle_seconds={engine: dict(reasons) for engine, reasons in timeline.idle_seconds.items()},
        light=speed_of_light(timeline),
        memory=memory_curves(timeline),
        transfers=transfer_sizes(timeline),
        hot_lines=hot_lines(timeline),
        advice=advice(timeline),
        assumed_opcodes=timeline.assumed_opcodes,
        timeline=timeline,
    )


def _tensor_time(timeline: Timeline) -> dict[str, float]:
    """The Tensor Engine's total time in four parts; empty for a kernel that never uses it."""
    spent = timeline.tensor_seconds
    if not spent:
        return {}
    useful = timeline.mfu * timeline.total_seconds
    matmul, transposes = spent.get("matmul", 0.0), spent.get("transpose", 0.0)
    # At its full clock a matmul is as fast as its peak: the difference is what the array or the clock leaves unused.
    parts = {"useful": useful, "below peak": max(matmul - useful, 0.0), "transposes": transposes}
    return {**parts, "idle": max(timeline.total_seconds - sum(parts.values()), 0.0)}


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def _curve(curve: MemoryCurve) -> dict[str, Any]:
    times, used = curve.times_ps.tolist(), curve.used_bytes.tolist()
    stretch = max(1, math.ceil(len(times) / _CURVE_POINTS))
    starts = range(0, len(times), stretch)
    return {
        "memory": curve.memory,
        "capacity_bytes": curve.capacity_bytes,
        "peak_bytes": curve.peak_bytes,
        "times_ns": [times[i] / 1000 for i in starts],
        "used_bytes": [max(used[i : i + stretch]) for i in starts],
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One quantity of two profiles: its values, their ratio (None when the first is zero)."""

    name: str
    unit: str
    before: float
    after: float

    @property
    def ratio(self) -> float | None:
        """after / before."""
        return self.after / self.before if self.before else None


def compare(before: Profile, after: Profile) -> tuple[Change, ...]:
    """What differs between two profiles: total time, then busy time by resource, MFU, shares of the bandwidths."""
    rows = [Change(name="total", unit="s", before=before.seconds[1], after=after.seconds[1])]
    for name in dict.fromkeys([*before.busy_seconds, *after.busy_seconds]):
        pair = before.busy_seconds.get(name, 0.0), after.busy_seconds.get(name, 0.0)
        if any(pair):
            rows.append(Change(name=f"{name} busy", unit="s", before=pair[0], after=pair[1]))
    for name in ("mfu", "hbm_share", "dma_share", "hbm_bytes", "dma_bytes", "instructions"):
        unit = "B" if name.endswith("bytes") else ""
        rows.append(Change(name=name, unit=unit, before=getattr(before, name), after=getattr(after, name)))
    return tuple(rows)
