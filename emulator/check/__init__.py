"""Checks: pure passes from a program and a target to findings."""

from __future__ import annotations

from collections.abc import Collection

from trnlab.emulator.check.capacity import Occupancy as Occupancy, check_capacity as check_capacity
from trnlab.emulator.check.finding import Finding as Finding
from trnlab.emulator.check.initialisation import (
    uninitialised_reads as uninitialised_reads,
    unwritten_outputs as unwritten_outputs,
)
from trnlab.emulator.check.limits import what_breaks as what_breaks
from trnlab.emulator.check.overlap import overlapping_operands as overlapping_operands
from trnlab.emulator.program import Program
from trnlab.emulator.target import Target, get_target


def check(
    program: Program, target: Target | str | None = None, *, whole: Collection[int] | None = None
) -> tuple[Finding, ...]:
    """What every pass finds in a program on a target (default: the one it was traced for), by instruction.

    whole: the buffers that the kernel returns as a whole; all that it returns from, where this is not known
    """
    on = get_target(program.target_name if target is None else target)
    program = program.flat
    found = [
        *what_breaks(program, on),
        *uninitialised_reads(program),
        *overlapping_operands(program),
        *unwritten_outputs(program, whole),
    ]
    return tuple(sorted(found, key=lambda finding: finding.instruction))
