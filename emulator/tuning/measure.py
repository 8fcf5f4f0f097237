"""One setting of a kernel: traced by shapes alone, timed, and how much memory it takes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from typing import Any

from trnlab.emulator.check.capacity import measure as occupancy_of
from trnlab.emulator.errors import KernelError, UsageError
from trnlab.emulator.launch import Kernel, trace
from trnlab.emulator.target import Target
from trnlab.emulator.timing.timeline import schedule
from trnlab.emulator.tuning.space import Setting


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A setting and what was predicted for it, or why the kernel refuses it.

    seconds: predicted total time; sbuf_bytes: most bytes per partition in use; psum_banks: most banks in use
    refused: the kernel's error, "" when it ran
    """

    setting: Setting
    seconds: float | None = None
    sbuf_bytes: int | None = None
    psum_banks: int | None = None
    instructions: int | None = None
    refused: str = ""

    @property
    def key(self) -> str:
        """The setting as text; equal settings have equal keys."""
        return key_of(self.setting)


def key_of(setting: Setting) -> str:
    """The setting as text, its arguments in the order of their names."""
    return ", ".join(f"{name}={setting[name]!r}" for name in sorted(setting))


@dataclass(frozen=True, kw_only=True)
class Job:
    """What stays the same in a sweep: what gives the kernel, its other arguments, the target."""

    load: Callable[[], Kernel | Callable[..., Any]]
    arguments: Mapping[str, Any] = field(default_factory=dict)
    target: Target


def measure(job: Job, setting: Setting) -> Measured:
    """The setting's predicted time and memory.

    A kernel says no to a setting with an `AssertionError` or `ValueError` of its own or a `KernelError`; anything else
    it raises, and an argument that it does not have, is a fault of the sweep and is passed on.
    """
    try:
        with redirect_stdout(sys.stderr):  # what a kernel prints is no result
            program = trace(job.load(), target=job.target, **job.arguments, **setting)
    except UsageError:  # an argument that the kernel does not have is refused for all settings alike
        raise
    except (KernelError, AssertionError, ValueError) as error:
        return Measured(
            setting=setting, refused=f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        )
    occupancy, overflows = occupancy_of(program, job.target)
    if overflows:
        return Measured(setting=setting, refused=f"CapacityError: {overflows[0].found.splitlines()[0]}")
    timeline = schedule(program, job.target)
    return Measured(
        setting=setting,
        seconds=timeline.total_seconds,
        sbuf_bytes=occupancy.sbuf_peak_bytes,
        psum_banks=occupancy.psum_peak_banks,
        instructions=len(timeline),
    )
