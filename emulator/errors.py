"""The exception hierarchy of trnlab, and the violation record that every kernel error carries.

Errors are data first: a `KernelError` holds a `Violation`, and its text is rendered from it.
Each class also derives from the builtin that Python users would catch (`ValueError`, `TypeError`, ...).
"""

from __future__ import annotations

import os
from dataclasses import dataclass


def shown_file(file: str) -> str:
    """The file as messages show it; cells of a notebook live in files nobody knows, and are called what they are."""
    return "notebook cell" if os.path.basename(os.path.dirname(file)).startswith("ipykernel_") else file


@dataclass(frozen=True, slots=True)
class SourceLocation:
    """A line of the user's kernel: file, line number, enclosing function, and the line's text."""

    file: str
    line: int
    function: str
    text: str = ""

    def __str__(self) -> str:
        where = f"{shown_file(self.file)}:{self.line} in {self.function}"
        return f"{where}: {self.text}" if self.text else where


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """What was broken, as data: `subject` found `found` where `allowed` is the rule.

    subject:    the instruction or function, by its published NKI name ("nc_matmul", "nl.ndarray")
    operand:    the operand or argument at fault, or "" when it is the whole call
    found:      what the kernel gave
    allowed:    what the rule admits
    generation: the NeuronCore generation the rule was read for, or "" when it holds on all
    location:   the kernel's source line, when there is one
    source:     the document the rule comes from
    """

    subject: str
    found: str
    allowed: str
    operand: str = ""
    generation: str = ""
    location: SourceLocation | None = None
    source: str = ""

    def __str__(self) -> str:
        where = f"{self.subject}: {self.operand}" if self.operand else self.subject
        on = f" on {self.generation}" if self.generation else ""
        lines = [f"{where}: found {self.found}; allowed{on}: {self.allowed}"]
        if self.location is not None:
            lines.append(f"  at {self.location}")
        if self.source:
            lines.append(f"  rule: {self.source}")
        return "\n".join(lines)


class TrnlabError(Exception):
    """Root of every exception that trnlab raises on purpose."""


class KernelError(TrnlabError):
    """A kernel broke a rule of the NeuronCore or of the NKI language; `violation` says which.

    The published `nki.isa.NkiValidationError` is this class.
    """

    def __init__(self, violation: Violation) -> None:
        super().__init__(str(violation))
        self.violation = violation


class ShapeError(KernelError, ValueError):
    """A shape, size or access pattern that the instruction or view does not take."""


class DtypeError(KernelError, TypeError):
    """A dtype, or a pair of dtypes, that the operand does not take."""


class BufferError(KernelError, ValueError):
    """An operand in a memory space (SBUF, PSUM, HBM) that the instruction cannot reach."""


class PartitionError(KernelError, ValueError):
    """A partition start or count that the hardware's partition rules forbid."""


class ArgumentError(KernelError, ValueError):
    """A keyword, operator, mode or immediate that the instruction does not take."""


class UsageError(ArgumentError, TypeError):
    """A call that does not fit a published signature, or a Python operator that a tensor does not have."""


class UnknownNameError(KernelError, AttributeError):
    """A name that nki, one of its modules, or a tensor does not have."""


class BoundsError(KernelError, IndexError):
    """An index or access pattern outside its tensor."""


class CapacityError(KernelError, MemoryError):
    """More bytes live at once than the memory space holds."""


class GenerationError(KernelError, ValueError):
    """An instruction, mode or dtype that this NeuronCore generation does not have."""


class EngineError(KernelError, ValueError):
    """An engine that cannot run the instruction, or cannot reach its operands."""


class TensorLifetimeError(KernelError, RuntimeError):
    """A tensor used outside the kernel call that allocated it."""


class UnwrittenOutputError(KernelError, RuntimeError):
    """A kernel returned a tensor that no instruction wrote, or returned nothing."""


class TraceError(KernelError, RuntimeError):
    """The kernel's Python cannot be traced: a run-time value where a compile-time value is needed."""


class RuntimeValueError(TraceError, TypeError):
    """A register's or a tensor's run-time value where Python needs it while the kernel is traced."""


class NotYetSupportedError(KernelError, NotImplementedError):
    """A published name or mode that trnlab does not implement yet."""


class BackendError(TrnlabError, RuntimeError):
    """A back end was asked for something that it cannot do (for instance differentiate a kernel)."""


class CostError(TrnlabError, LookupError):
    """An instruction that cannot be priced; `subject`, `found`, `allowed` and `generation` are the data."""

    def __init__(self, subject: str, found: str, allowed: str, generation: str = "") -> None:
        self.subject, self.found, self.allowed, self.generation = subject, found, allowed, generation
        on = f" on {generation}" if generation else ""
        super().__init__(f"cost of {subject}: found {found}; allowed{on}: {allowed}")


class TimelineError(TrnlabError, ValueError):
    """A program or an option that cannot be scheduled; `what`, `found` and `allowed` are the data."""

    def __init__(self, what: str, found: str, allowed: str) -> None:
        self.what, self.found, self.allowed = what, found, allowed
        super().__init__(f"{what}: found {found}; allowed: {allowed}")
