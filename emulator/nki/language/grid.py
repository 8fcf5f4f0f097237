"""The launch grid: which of the cores of a logical NeuronCore this kernel instance is.

Kernels run on one core, so there is no grid: `program_ndim()` is 0, and every kernel is program 0 of 1.

Source: NKI reference, nki.language (others); NKI guide, LNC overview.
"""

from __future__ import annotations

from numbers import Integral
from typing import Any

from trnlab.emulator.errors import ArgumentError
from trnlab.emulator.source import fail
from trnlab.emulator.trace import current


def _check_axes(subject: str, operand: str, axes: Any) -> None:
    given = axes if isinstance(axes, (tuple, list)) else (axes,)
    if any(not isinstance(axis, Integral) or axis != 0 for axis in given):
        fail(ArgumentError, subject, operand=operand, found=f"{axes!r}", allowed="0, the only axis of a launch grid")


def program_id(axis: int = 0) -> int:
    """Index of this kernel instance along the grid's axis: 0."""
    current("nl.program_id")
    _check_axes("nl.program_id", "axis", axis)
    return 0


def num_programs(axes: int | tuple[int, ...] | None = 0) -> int:
    """Number of kernel instances along the grid's axes (None: all of them): 1."""
    current("nl.num_programs")
    if axes is not None:
        _check_axes("nl.num_programs", "axes", axes)
    return 1


def program_ndim() -> int:
    """Number of dimensions of the launch grid: 0, as for every kernel launched without a grid."""
    current("nl.program_ndim")
    return 0
