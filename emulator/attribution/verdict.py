"""The answer to "is my kernel wrong, or is it the precision?"."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from trnlab.emulator.testing.comparison import Comparison
from trnlab.emulator.testing.tables import number


class Cause(Enum):
    """What makes the results differ from what is wanted."""

    KERNEL = "kernel"
    """In wide arithmetic the program differs from the oracle: another formula, or a mistake. Precision is not it."""
    PRECISION = "precision"
    """In wide arithmetic the program agrees with the oracle: all that differs is finite precision."""
    UNJUDGED = "unjudged"
    """No oracle was given: the figures are those of finite precision, and nothing says that the formula is right."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The cause, and the numbers that it follows from.

    kernel_error:    the largest rms error of a result of the twin against the oracle, over the oracle's rms
    precision_error: the same of the program against the twin
    tolerance:       up to where `kernel_error` counts as agreement
    not_finite:      elements of the results that are infinite or NaN, and finite in wide arithmetic
    worst:           the line that adds most, in words
    """

    cause: Cause
    kernel_error: float | None
    precision_error: float
    tolerance: float
    not_finite: int
    worst: str

    @property
    def text(self) -> str:
        """The verdict in words."""
        size = f"finite precision moves the results by {number(self.precision_error)} (relative rms)"
        if self.not_finite:
            size = f"{self.not_finite} elements of the results overflowed or became NaN; elsewhere {size}"
        size += f", most of it at {self.worst}" if self.worst else ""
        if self.cause is Cause.UNJUDGED:
            return f"{size}; whether the formula is right needs an oracle"
        found = f"{number(self.kernel_error or 0.0)} (tolerance {number(self.tolerance)})"
        if self.cause is Cause.KERNEL:
            return f"the kernel computes something else: even in wide arithmetic it is off by {found}; {size}"
        return f"the kernel is right: in wide arithmetic it is off by {found}; {size}"

    def __str__(self) -> str:
        return f"verdict: {self.text}"


def judge(
    precision: Sequence[Comparison], kernel: Sequence[Comparison], tolerance: float, worst: str, not_finite: int
) -> Verdict:
    """The verdict on results compared with the twin's, and the twin's with the oracle's (none without an oracle)."""
    errors = [_size(comparison) for comparison in kernel]
    cause = Cause.UNJUDGED
    if errors:
        cause = Cause.PRECISION if max(errors) <= tolerance else Cause.KERNEL
    return Verdict(
        cause=cause,
        kernel_error=max(errors, default=None),
        precision_error=max((comparison.relative_rms for comparison in precision), default=0.0),
        tolerance=tolerance,
        not_finite=not_finite,
        worst=worst,
    )


def _size(comparison: Comparison) -> float:
    """The relative rms error; infinite where one side alone is NaN or infinite."""
    mismatches = comparison.nan_mismatches + comparison.inf_mismatches
    return float("inf") if mismatches else comparison.relative_rms
