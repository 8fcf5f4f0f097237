"""Rooflines and kernels under them as rows of numbers, for tables and as data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from trnlab.models.kernel_point import MEMORIES, Bound, KernelPoint
from trnlab.models.quantity import Quantity
from trnlab.models.roofline import Roofline
from trnlab.models.spec_sheet import quantity_dict


def roofline_dict(line: Roofline, points: Sequence[KernelPoint] = ()) -> dict[str, Any]:
    """A roofline and the kernels timed on it as JSON-ready data, numbers unrounded; no time is null."""
    return {
        "name": line.name,
        "basis": line.basis,
        "peaks": {rate: quantity_dict(peak) for rate, peak in line.peaks.items()},
        "roofs": {roof.name: quantity_dict(roof.bytes_per_second) for roof in line.roofs},
        "ridge_points": {
            rate: {roof.name: quantity_dict(line.ridge_point(rate, roof.name)) for roof in line.roofs}
            for rate in line.peaks
        },
        "kernels": [bound_dict(line.bound(point)) for point in points],
    }


def bound_dict(bound: Bound) -> dict[str, Any]:
    """A kernel's bound as JSON-ready data; an intensity without bytes is null."""
    point = bound.point
    return {
        "name": point.name,
        "flops": dict(point.flops),
        "bytes": {memory: point.bytes_of(memory) for memory in MEMORIES},
        "intensity": {memory: _finite(point.intensity(memory)) for memory in MEMORIES},
        "bound": bound.resource,
        "speed_of_light_seconds": bound.time_seconds,
        "resource_seconds": dict(bound.times),
        "timeline_seconds": point.time_seconds,
        "percent_of_roofline": bound.percent_of_roofline,
        "class": bound.klass,
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def print_roofline(line: Roofline, console: Console) -> None:
    """Peaks by dtype, and the ridge point of each with each memory."""
    title = f"{line.title}: " + ", ".join(f"{roof.name} {roof.bytes_per_second:v}" for roof in line.roofs)
    table = Table(title=Text(title), title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("dtype")
    for heading in ("peak", *(f"ridge, {roof.name}" for roof in line.roofs)):
        table.add_column(heading, justify="right", overflow="fold")
    for rate, peak in line.peaks.items():
        ridges = (f"{line.ridge_point(rate, roof.name):v}" for roof in line.roofs)
        table.add_row(rate, str(peak), *ridges)
    console.print(table)


def print_kernels(line: Roofline, points: Sequence[KernelPoint], console: Console) -> None:
    """Each kernel timed on this roofline: its work, what bounds it, its speed of light and how near it comes."""
    bounds = [line.bound(point) for point in points]
    table = Table(title=Text(f"Kernels on {line.name}"), title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("kernel")
    for bound in bounds:
        table.add_column(Text(bound.point.name), justify="right", overflow="fold")
    for name, cells in _kernel_rows(bounds):
        table.add_row(name, *cells)
    console.print(table)


def _kernel_rows(bounds: Sequence[Bound]) -> list[tuple[str, list[str]]]:
    percents = [bound.percent_of_roofline for bound in bounds]
    return [
        ("FLOP", [f"{Quantity(bound.point.total_flops, 'FLOP', ''):v}" for bound in bounds]),
        *(
            (f"{memory} bytes", [f"{Quantity(b.point.bytes_of(memory), 'B', ''):v}" for b in bounds])
            for memory in MEMORIES
        ),
        ("FLOP per HBM byte", [f"{bound.intensity:.4g}" for bound in bounds]),
        *((f"{resource} alone", [_seconds(bound.times[resource]) for bound in bounds]) for resource in bounds[0].times),
        ("bound by", [bound.resource for bound in bounds]),
        ("speed of light", [_seconds(bound.time_seconds) for bound in bounds]),
        ("timeline", [_seconds(bound.point.time_seconds) for bound in bounds]),
        ("% of speed of light", ["-" if percent is None else f"{percent:.1f}" for percent in percents]),
    ]


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{Quantity(value, 's', ''):v}"
