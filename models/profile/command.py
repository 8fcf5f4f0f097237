"""`trnlab profile`: trace a kernel by shapes alone, time it on one or more targets, print and write what came of it."""

from __future__ import annotations

import json
import re
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from trnlab.emulator import TrnlabError, get_target, trace
from trnlab.emulator.program import Program
from trnlab.emulator.target import Target
from trnlab.emulator.timing.timeline import Order, schedule
from trnlab.models.files import write_whole
from trnlab.models.profile.event_table import event_table
from trnlab.models.profile.kernel_files import KernelFileError, load_kernel, parse_arguments
from trnlab.models.profile.page import profile_page
from trnlab.models.profile.picture import draw_timeline
from trnlab.models.profile.summary import Profile, profile_of
from trnlab.models.profile.trace_events import trace_events

FORMATS: Final = ("html", "json", "csv", "trace", "png", "svg", "parquet")
"""What `write_profiles` can write; the first five are written unless asked otherwise."""

DEFAULT_FORMATS: Final = FORMATS[:5]

Progress = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Request:
    """What to profile: a kernel, its arguments, and the targets, of which the first is the one compared with."""

    kernel: str
    arguments: Sequence[str]
    targets: Sequence[Target]
    order: Order | None = None


def targets_named(target: str, compare: str | None) -> tuple[Target, ...]:
    """The target, then those of a comma-separated list; "trn4-low" is a variant of the projection.

    Raises:
        TargetError: no such target or variant.
    """
    names = [target, *(name.strip() for name in (compare or "").split(",") if name.strip())]
    return tuple(_target(name) for name in names)


def _target(name: str) -> Target:
    plain, _, variant = name.partition("-")
    return get_target(plain, variant or None)


def split_arguments(texts: Sequence[str]) -> list[str]:
    """Each text cut where a space is followed by `NAME=`, so that one option may carry several arguments."""
    return [part for text in texts for part in re.split(r"\s+(?=[A-Za-z_]\w*=)", text.strip()) if part]


def profiles(request: Request, progress: Progress = lambda _: None) -> list[Profile]:
    """The profile on every target, tracing the kernel for each: tile sizes may depend on it.

    Raises:
        KernelFileError: the kernel or an argument cannot be used.
        KernelError: the kernel breaks a rule of a target.
    """
    with redirect_stdout(sys.stderr):  # what a kernel prints is not part of the profile
        kernel = load_kernel(request.kernel)
    arguments = parse_arguments(split_arguments(request.arguments))
    made = []
    for target in request.targets:
        progress(f"{target}: tracing")
        program = _traced(kernel, target, arguments)
        progress(f"{target}: {len(program.flat):,} instructions on the timeline")
        made.append(profile_of(schedule(program, target, request.order)))
    return made


def _traced(kernel: Callable[..., Any], target: Target, arguments: dict[str, Any]) -> Program:
    try:
        with redirect_stdout(sys.stderr):
            return trace(kernel, target=target, **arguments)
    except TrnlabError:
        raise
    except Exception as error:  # whatever the kernel's own Python raises, an assertion above all
        *_, last = traceback.extract_tb(error.__traceback__)
        found = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        where = f"{Path(last.filename).name}:{last.lineno}"
        raise KernelFileError(f"kernel on {target}", found, f"arguments that its own code takes ({where})") from error


def steps(request: Request) -> int:
    """How often `profiles` and `write_profiles` report progress."""
    return 3 * len(request.targets) + 1


def write_profiles(
    made: Sequence[Profile], folder: Path, formats: Sequence[str], progress: Progress = lambda _: None
) -> list[Path]:
    """Write the formats into the folder, which is made if need be; each file is whole or absent.

    Raises:
        KernelFileError: an unknown format.
        TrnlabError: the folder cannot be written, or a format's library is not installed.
    """
    unknown = [name for name in formats if name not in FORMATS]
    if unknown:
        raise KernelFileError("format", ", ".join(unknown), ", ".join(FORMATS))
    _make(folder)
    written: list[Path] = []
    for profile in made:
        progress(f"{profile.target}: writing")
        stem = re.sub(r"[^\w.-]+", "-", f"{profile.kernel}-{profile.target}").strip("-")
        written += [_write_one(profile, folder / stem, name) for name in formats if name not in ("html", "json")]
    if "json" in formats:
        text = as_json(made)
        written.append(_write(folder / "profile.json", text.encode()))
    if "html" in formats:
        written.append(_write(folder / "profile.html", profile_page(made).encode()))
    progress("done")
    return written


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TrnlabError(f"cannot make the folder {folder}: {error.strerror}") from error


def _write_one(profile: Profile, stem: Path, name: str) -> Path:
    path = stem.with_name(f"{stem.name}.{'trace.json' if name == 'trace' else name}")
    if name in ("png", "svg"):
        draw_timeline(profile, path)
        return path
    contents: dict[str, Callable[[], bytes]] = {
        "csv": lambda: event_table(profile.timeline).to_csv().encode(),
        "parquet": lambda: event_table(profile.timeline).to_parquet(),
        "trace": lambda: trace_events(profile.timeline).encode(),
    }
    return _write(path, contents[name]())


def _write(path: Path, contents: bytes) -> Path:
    write_whole(path, lambda temporary: temporary.write_bytes(contents))
    return path


def as_json(made: Sequence[Profile]) -> str:
    """The profiles as JSON text."""
    data: list[dict[str, Any]] = [profile.to_dict() for profile in made]
    return json.dumps(data, indent=1, allow_nan=False)
