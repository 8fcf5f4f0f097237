"""How near each unit came to what it can do at most: the speed of light of a kernel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from trnlab.emulator.target import Engine

if TYPE_CHECKING:
    from trnlab.emulator.timing.timeline import Timeline


@dataclass(frozen=True, slots=True, kw_only=True)
class Light:
    """One unit: what it did per second, the most it can do, and the percentage.

    unit: "tensor bf16", "vector", "DMA", "HBM"; quantity: "FLOP/s", "B/s", or "busy" for engines, whose peak is 1
    least_seconds: how long the unit's work takes at its peak: no schedule of this program is shorter
    """

    unit: str
    quantity: str
    achieved: float
    peak: float
    least_seconds: float
    basis: str

    @property
    def percent(self) -> float:
        """100 x achieved / peak."""
        return 100 * self.achieved / self.peak if self.peak else 0.0


def speed_of_light(timeline: Timeline) -> tuple[Light, ...]:
    """Every unit that the kernel used, nearest to its peak first."""
    rows = [*_tensor(timeline), *_engines(timeline), *_memories(timeline)]
    return tuple(sorted((row for row in rows if row.achieved), key=lambda row: -row.percent))


def _tensor(timeline: Timeline) -> list[Light]:
    total = timeline.total_seconds or 1.0
    rows = []
    for rate, flops in timeline.flops.items():
        peak = timeline.target.matmul_flops_per_second(rate)
        rows.append(
            Light(
                unit=f"tensor {rate}",
                quantity="FLOP/s",
                achieved=flops / total,
                peak=peak,
                least_seconds=flops / peak,
                basis="useful multiply-adds of this rate against the array's peak; transposes do not count",
            )
        )
    return rows


def _engines(timeline: Timeline) -> list[Light]:
    busy = timeline.busy_seconds
    total = timeline.total_seconds or 1.0
    basis = "time occupied by instructions"
    return [
        Light(
            unit=engine.value,
            quantity="busy",
            achieved=busy[engine.value] / total,
            peak=1.0,
            least_seconds=busy[engine.value],
            basis=basis,
        )
        for engine in (Engine.TENSOR, Engine.VECTOR, Engine.SCALAR, Engine.GPSIMD)
    ]


def _memories(timeline: Timeline) -> list[Light]:
    target, work = timeline.target, timeline.work
    total = timeline.total_seconds or 1.0
    moved = (
        ("DMA", work.dma_bytes, target.dma_bytes_per_second_per_core, "DMA engines of the core at the effective rate"),
        ("HBM", work.hbm_bytes, target.hbm_bytes_per_second_per_core, "the core's equal share of the chip's HBM"),
    )
    return [
        Light(unit=name, quantity="B/s", achieved=count / total, peak=peak, least_seconds=count / peak, basis=basis)
        for name, count, peak, basis in moved
    ]
