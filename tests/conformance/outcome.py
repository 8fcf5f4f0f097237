"""How a case ended, as data: a status, the stage that failed, and what the failure said."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

LONGEST_MESSAGE = 400  # characters
FRAMES = 4  # innermost ones
LONGEST_CHAIN = 20  # links of a chain of exceptions that are looked at


class Status(StrEnum):
    """What became of a case."""

    PASSED = "passed"
    WRONG = "wrong"  # it ran; a result is off
    ERROR = "error"  # an exception: see the stage
    TIME_LIMIT = "time limit"
    SKIPPED = "skipped"  # a checkout or a package is absent, or the case itself declines
    TWO_CORES = "needs two cores"
    COLLECTIVES = "needs collectives"


FAILED = (Status.WRONG, Status.ERROR, Status.TIME_LIMIT)

TWO_CORE_INSTRUCTIONS = ("nisa.core_barrier", "nisa.sendrecv")


class Stage(StrEnum):
    """How far a case came."""

    INPUTS = "inputs"  # its inputs, and for a kernel called directly its reference
    KERNEL = "kernel"
    REFERENCE = "reference"  # the library's, which is computed after the launch
    COMPARISON = "comparison"


class SkippedError(Exception):
    """The case cannot run here; the message says what is absent."""


class MismatchError(AssertionError):
    """A result differs from the reference by more than the tolerance."""


class NeedsCollectivesError(Exception):
    """The launch is over several devices."""


class TimeLimitError(BaseException):
    """It took too long; no `except Exception` of what ran stops this."""


STATUSES: dict[type[BaseException], Status] = {
    SkippedError: Status.SKIPPED,
    MismatchError: Status.WRONG,
    NeedsCollectivesError: Status.COLLECTIVES,
    TimeLimitError: Status.TIME_LIMIT,
}
"""Exceptions of the driver itself: their text alone says what happened."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How one case ended.

    cores:   of the launch as it is published; 0 where nothing was launched
    forced:  whether a launch on two cores was run on one (`--one-core`)
    errors:  largest absolute difference from the reference, by output
    """

    status: Status
    stage: str = ""
    message: str = ""
    frames: tuple[str, ...] = ()
    cores: int = 0
    forced: bool = False
    errors: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0

    @classmethod
    def from_data(cls, data: dict[str, Any]) -> Outcome:
        """The outcome that `dataclasses.asdict` made the data from, also after a round trip through JSON."""
        return cls(**{**data, "status": Status(data["status"]), "frames": tuple(data["frames"])})


def outcome_of(
    error: BaseException | None,
    *,
    stage: str = "",
    cores: int = 0,
    forced: bool = False,
    errors: dict[str, float] | None = None,
    seconds: float = 0.0,
) -> Outcome:
    """The outcome of an attempt that raised the error, or none."""
    passed = Outcome(status=Status.PASSED, cores=cores, forced=forced, errors=errors or {}, seconds=round(seconds, 2))
    if error is None:
        return passed
    message = str(error)[:LONGEST_MESSAGE] if isinstance(error, tuple(STATUSES)) else first_line(error)
    return replace(passed, status=classify(error), stage=stage, message=message, frames=innermost(error))


def classify(error: BaseException) -> Status:
    """The status that an exception stands for; the exceptions it was raised from count too."""
    for link in _chain(error):
        status = _status(link)
        if status is not None:
            return status
    return Status.ERROR


def _status(error: BaseException) -> Status | None:
    from trnlab.emulator.errors import NotYetSupportedError

    if isinstance(error, NotYetSupportedError):
        broken = error.violation
        if broken.subject in TWO_CORE_INSTRUCTIONS or (broken.subject, broken.operand) == ("nki.jit", "lnc"):
            return Status.TWO_CORES
        return Status.COLLECTIVES if broken.subject.startswith("nki.collectives") else None
    return next((status for kind, status in STATUSES.items() if isinstance(error, kind)), None)


def _chain(error: BaseException) -> Iterator[BaseException]:
    link: BaseException | None = error
    for _ in range(LONGEST_CHAIN):
        if link is None:
            return
        yield link
        link = link.__cause__ or link.__context__


def first_line(error: BaseException) -> str:
    """The exception's class and the first line of its text."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else ''}"[:LONGEST_MESSAGE]


def innermost(error: BaseException) -> tuple[str, ...]:
    """The innermost frames of its traceback: file, line, function; without folders."""
    frames = traceback.extract_tb(error.__traceback__)[-FRAMES:]
    return tuple(f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames)
