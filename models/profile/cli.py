"""The command `trnlab profile`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal, cast

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from trnlab.emulator import TrnlabError
from trnlab.models.profile.command import (
    DEFAULT_FORMATS,
    FORMATS,
    Request,
    as_json,
    profiles,
    steps,
    targets_named,
    write_profiles,
)
from trnlab.models.profile.tables import print_comparison, print_profile
from trnlab.models.terminal import print_written

_COLUMNS = (SpinnerColumn(), BarColumn(bar_width=20), TimeElapsedColumn(), TextColumn("{task.description}"))
_ORDERS = ("list", "program")


def profile(
    kernel: Annotated[str, typer.Argument(metavar="FILE.py:KERNEL", help="Or package.module:kernel.")],
    shapes: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=DTYPE[SIZES]", help="An argument: lhsT=bf16[4096,2048], or scale=0.5. Repeatable."),
    ] = None,
    target: Annotated[str, typer.Option(help="trn1, trn2, trn3, trn4, trn4-low or trn4-high.")] = "trn3",
    compare: Annotated[str | None, typer.Option(metavar="TARGETS", help="Further targets: trn3,trn4.")] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write page, data, tables and pictures there.")
    ] = None,
    formats: Annotated[str, typer.Option(help=f"What to write: {', '.join(FORMATS)}.")] = ",".join(DEFAULT_FORMATS),
    schedule: Annotated[str | None, typer.Option(help="list or program; default: as the kernel allocates.")] = None,
    as_data: Annotated[bool, typer.Option("--json", help="Print the profiles as JSON instead of tables.")] = False,
) -> None:
    """Where a kernel's time would go, without running it: engines, waiting, memory, advice, other generations."""
    if schedule is not None and schedule not in _ORDERS:
        raise TrnlabError(f"--schedule: found {schedule!r}; allowed: {', '.join(_ORDERS)}")
    order = cast(Literal["list", "program"] | None, schedule)
    request = Request(kernel=kernel, arguments=shapes or (), targets=targets_named(target, compare), order=order)
    console = Console(stderr=as_data)
    with Progress(*_COLUMNS, console=console, transient=True) as progress:
        task = progress.add_task("", total=steps(request))

        def report(message: str) -> None:
            progress.update(task, description=message, advance=1)

        made = profiles(request, report)
        wanted = [name.strip() for name in formats.split(",") if name.strip()]
        written = [] if out is None else write_profiles(made, out, wanted, report)
    if as_data:
        sys.stdout.write(as_json(made) + "\n")
        return
    print_profile(made[0], console)
    print_comparison(made, console)
    for path in written:
        print_written(path, console)
