"""`instruction.depends_on(...)`: orderings between instructions beyond those that their data demands.

Source: NKI reference, nki.isa.NkiInstruction; NKI guide, scheduling APIs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from trnlab.emulator.errors import ArgumentError, TraceError
from trnlab.emulator.source import fail

if TYPE_CHECKING:
    from trnlab.emulator.trace import Trace


@dataclass(frozen=True, slots=True)
class NkiInstruction:
    """Handle of an instruction just recorded; `depends_on` adds orderings beyond those of the data."""

    trace: Trace
    number: int

    def depends_on(self, *producers: NkiInstruction) -> NkiInstruction:
        """Order this instruction after every producer; returns itself, so calls chain.

        Raises:
            ArgumentError: a producer that is no instruction of this kernel call, or was recorded after this one.
            TraceError: a producer inside a structured loop that this instruction is not in.
        """
        for producer in producers:
            if not isinstance(producer, NkiInstruction) or producer.trace is not self.trace:
                allowed = "what an instruction of this kernel call returned"
                fail(ArgumentError, "depends_on", operand="producers", found=repr(producer), allowed=allowed)
            if any(loop.begin <= producer.number < loop.end <= self.number for loop in self.trace._loops):
                found, allowed = "a producer in a loop that the consumer is not in", "both in one loop body"
                fail(TraceError, "depends_on", operand="producers", found=found, allowed=allowed)
            self.trace.add_edge(producer.number, self.number)
        return self

    def __repr__(self) -> str:
        return f"NkiInstruction({self.number} of kernel {self.trace.kernel})"
