"""What a check reports: one finding, as data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from trnlab.emulator.errors import SourceLocation
from trnlab.emulator.program import Program
from trnlab.emulator.source import location_of

Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something a pass found in a program: `opcode`'s `operand` has `found` where `allowed` is the rule.

    check:       the pass ("limits", "capacity", "initialisation")
    severity:    "error": the program cannot run so on the target; "warning": it runs, with doubtful results
    instruction: the first instruction it holds for
    count:       how many instructions it holds for
    operand:     the operand or buffer at fault, or "" when it is the whole instruction
    generation:  the target it was read for, or "" when it holds on all
    location:    the kernel's source line of the first instruction
    source:      the document the rule comes from
    """

    check: str
    severity: Severity
    instruction: int
    opcode: str
    found: str
    allowed: str
    operand: str = ""
    count: int = 1
    generation: str = ""
    location: SourceLocation | None = None
    source: str = ""

    def __str__(self) -> str:
        what = f"{self.opcode}: {self.operand}" if self.operand else self.opcode
        times = f" and {self.count - 1} more" if self.count > 1 else ""
        on = f" on {self.generation}" if self.generation else ""
        lines = [
            f"{self.severity}: instruction {self.instruction}{times}: {what}: found {self.found}; "
            f"allowed{on}: {self.allowed}"
        ]
        if self.location is not None:
            lines.append(f"  at {self.location}")
        if self.source:
            lines.append(f"  rule: {self.source}")
        return "\n".join(lines)


def line_of(program: Program, instruction: int) -> SourceLocation | None:
    """The kernel's source line of an instruction, with its text where the file can be read."""
    where = program.location_of(instruction) if len(program) else None
    return None if where is None else location_of(where.file, where.line, where.function)


def allocation_line(program: Program, buffer: int) -> SourceLocation | None:
    """The kernel's source line that allocated a buffer."""
    index = program.buffers[buffer].location
    return None if index < 0 else location_of(*program.locations[index])
