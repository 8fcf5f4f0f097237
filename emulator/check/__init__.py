"""Checks: pure passes from a program and a target to findings."""

from __future__ import annotations

from trnlab.emulator.check.capacity import Occupancy as Occupancy, check_capacity as check_capacity
from trnlab.emulator.check.finding import Finding as Finding
from trnlab.emulator.check.initialisation import uninitialised_reads as uninitialised_reads
from trnlab.emulator.check.limits import what_breaks as what_breaks
from trnlab.emulator.program import Program
from trnlab.emulator.target import Target, get_target


def check(program: Program, target: Target | str | None = None) -> tuple[Finding, ...]:
    """What every pass finds in a program on a target (default: the one it was traced for), by instruction."""
    on = get_target(program.target_name if target is None else target)
    program = program.flat
    found = [*what_breaks(program, on), *uninitialised_reads(program)]
    return tuple(sorted(found, key=lambda finding: finding.instruction))
