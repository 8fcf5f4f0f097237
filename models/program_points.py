"""Kernels as points of a roofline, from their programs: the FLOP and bytes that a traced kernel really asks for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from trnlab.emulator import trace
from trnlab.emulator.target import Target
from trnlab.emulator.timing.timeline import Timeline, schedule
from trnlab.models.kernel_point import KernelPoint
from trnlab.models.profile.command import split_arguments
from trnlab.models.profile.kernel_files import load_kernel, parse_arguments
from trnlab.models.roofline import Roofline


def kernel_point(name: str, timeline: Timeline) -> KernelPoint:
    """A timed program as a point under the roofline of the core it was timed on."""
    work = timeline.work
    return KernelPoint(
        name=name,
        flops=dict(timeline.flops),
        hbm_bytes=timeline.hbm_bytes,
        dma_bytes=work.dma_bytes,
        sbuf_bytes=work.sbuf_read_bytes + work.sbuf_write_bytes,
        time_seconds=timeline.total_seconds,
        target=Roofline.of_core(timeline.target).name,
    )


def traced_point(name: str, kernel: Any, arguments: Mapping[str, Any], target: Target) -> KernelPoint:
    """The kernel traced for these arguments (arrays, or shapes alone) and timed on one core of the target.

    Raises:
        KernelError: the kernel breaks a rule there, or needs what that generation does not have.
    """
    return kernel_point(name, schedule(trace(kernel, target=target, **arguments), target))


def point_of_text(text: str, target: Target) -> KernelPoint:
    """The point of "FILE.py:kernel lhsT=bf16[4096,2048] rhs=bf16[4096,512]", as a command line gives it.

    Raises:
        KernelFileError: no such file or kernel, or an argument that cannot be read.
        KernelError: see `traced_point`.
    """
    place, _, arguments = text.strip().partition(" ")
    return traced_point(_name(place), load_kernel(place), parse_arguments(split_arguments([arguments])), target)


def _name(place: str) -> str:
    source, _, name = place.rpartition(":")
    return name if source else PurePath(place).stem
