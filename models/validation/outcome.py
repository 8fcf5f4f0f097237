"""One measured case against the timeline: predictions, signed errors, active times and bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trnlab.emulator import trace
from trnlab.emulator.program import Program
from trnlab.emulator.target import Target
from trnlab.emulator.timing.timeline import Order, Timeline, schedule
from trnlab.models.validation import library
from trnlab.models.validation.cases import MeasuredCase


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A published figure and the predicted one, in the same unit."""

    measured: float
    predicted: float

    @property
    def error(self) -> float:
        """(predicted - measured) / measured."""
        return self.predicted / self.measured - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What the timeline says of one case; times in milliseconds.

    low, central, high: predicted, the execution's overhead included where the measurement includes it
    active: by resource, where the profile published active times; hbm_bytes: bytes, likewise
    homeless_bytes: bytes per partition that found no room on chip
    """

    case: MeasuredCase
    low: float
    central: float
    high: float
    order: Order
    instructions: int
    bounding_resource: str
    active: Mapping[str, Comparison]
    hbm_bytes: Comparison | None
    homeless_bytes: int
    assumed_opcodes: tuple[str, ...]

    @property
    def error(self) -> float:
        """(predicted - measured) / measured of the central prediction."""
        return self.central / self.case.milliseconds - 1

    @property
    def inside(self) -> bool:
        """Whether the measurement, or its spread, meets the predicted range."""
        spread = self.case.band * self.case.milliseconds
        return self.low <= self.case.milliseconds + spread and self.case.milliseconds - spread <= self.high

    def as_data(self) -> dict[str, Any]:
        """The row as JSON-ready data."""
        case = self.case
        return {
            "name": case.name,
            "group": case.group,
            "title": case.title,
            "target": case.target,
            "source": case.source,
            "note": case.note,
            "counted": case.counted,
            "measured_ms": case.milliseconds,
            "low_ms": self.low,
            "predicted_ms": self.central,
            "high_ms": self.high,
            "error": self.error,
            "error_unseen": case.unseen,
            "inside_range": self.inside,
            "order": self.order,
            "bounding_resource": self.bounding_resource,
            "instructions": self.instructions,
            "homeless_bytes": self.homeless_bytes,
            "assumed_opcodes": list(self.assumed_opcodes),
            "active_ms": {name: _data(item) for name, item in self.active.items()},
            "hbm_bytes": None if self.hbm_bytes is None else _data(self.hbm_bytes),
        }


def _data(item: Comparison) -> dict[str, float]:
    return {"measured": item.measured, "predicted": item.predicted, "error": item.error}


def program_of(case: MeasuredCase, checkout: Path | None = None) -> Program:
    """The case's kernel, traced.

    Raises:
        LibraryError: it is a kernel of the NKI Library and no checkout, or one without it, is given.
    """
    if not isinstance(case.kernel, str):
        return trace(case.kernel, *case.arguments(), target=case.hardware())
    if checkout is None:
        raise library.LibraryError(f"case {case.name} needs a checkout of aws-neuron/nki-library")
    return trace(library.load(case.kernel, checkout), *case.arguments(), target=case.hardware())


def predicted_milliseconds(case: MeasuredCase, timeline: Timeline) -> float:
    """The central prediction of what the case measured."""
    return 1e3 * (timeline.total_seconds + case.overhead * timeline.target.execution_overhead_seconds)


def evaluate(case: MeasuredCase, program: Program, target: Target | None = None) -> Outcome:
    """The timeline of a case's program beside its measurement, made on one core of an otherwise idle chip."""
    timeline = schedule(program, target or case.hardware(), idle_neighbours=True)
    overhead = timeline.target.provenance["execution_overhead_seconds"]
    low, high = (value * case.overhead for value in (overhead.low or 0.0, overhead.high or 0.0))
    counted = {**timeline.active_seconds, "dma packets": timeline.dma_packet_seconds}
    active = {name: Comparison(measured=time, predicted=1e3 * counted[name]) for name, time in case.active.items()}
    moved = case.hbm_bytes
    return Outcome(
        case=case,
        low=1e3 * (timeline.range.low + low),
        central=predicted_milliseconds(case, timeline),
        high=1e3 * (timeline.range.high + high),
        order=timeline.order,
        instructions=len(timeline),
        bounding_resource=timeline.bounding_resource,
        active=active,
        hbm_bytes=None if moved is None else Comparison(measured=moved, predicted=timeline.hbm_bytes),
        homeless_bytes=timeline.plan.homeless_bytes,
        assumed_opcodes=timeline.assumed_opcodes,
    )
