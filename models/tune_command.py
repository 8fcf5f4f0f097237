"""The command `trnlab tune`: sweep a kernel's keyword arguments by predicted time."""

from __future__ import annotations

import dataclasses
import json
import sys
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from trnlab.emulator.tuning import Measured, Tuning, parse_space, tune
from trnlab.emulator.tuning.workers import BACKENDS, Workers
from trnlab.models.profile.command import split_arguments, targets_named
from trnlab.models.profile.kernel_files import load_kernel, parse_arguments
from trnlab.models.profile.tables import duration
from trnlab.models.terminal import print_line

SHOWN_SETTINGS = 15
_COLUMNS = (SpinnerColumn(), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))


def tune_kernel(
    kernel: Annotated[str, typer.Argument(metavar="FILE.py:KERNEL", help="Or package.module:kernel.")],
    space: Annotated[
        list[str],
        typer.Option(metavar="NAME=VALUES", help="block_m=256,512 or block_k=4:16:4 or 512:4096:*2. Repeatable."),
    ],
    shapes: Annotated[
        list[str] | None, typer.Option(metavar="NAME=DTYPE[SIZES]", help="An argument, as for profile. Repeatable.")
    ] = None,
    target: Annotated[str, typer.Option(help="trn1, trn2, trn3, trn4, trn4-low or trn4-high.")] = "trn3",
    jobs: Annotated[int, typer.Option(help="Settings measured at once; -1: one per core.")] = -1,
    backend: Annotated[str, typer.Option(help=f"{', '.join(BACKENDS)}.")] = "local",
    scheduler: Annotated[str | None, typer.Option(metavar="ADDRESS", help="Of the Dask or Ray cluster.")] = None,
    results: Annotated[Path | None, typer.Option(metavar="FILE", help="Keep results there; continue it.")] = None,
    as_data: Annotated[bool, typer.Option("--json", help="Print the results as JSON instead of tables.")] = False,
) -> None:
    """Which tile sizes would be fastest: every setting of keyword arguments, by predicted time and SBUF use."""
    (chosen,) = targets_named(target, None)
    workers = Workers(jobs, backend, scheduler)
    swept = parse_space(space)
    with redirect_stdout(sys.stderr):
        loaded = load_kernel(kernel)
    arguments = parse_arguments(split_arguments(shapes or ()))
    console = Console(stderr=as_data)
    with Progress(*_COLUMNS, console=console, transient=True) as progress:
        task = progress.add_task("", total=None)

        def report(result: Measured, done: int, total: int) -> None:
            progress.update(task, completed=done, total=total, description=result.key)

        tuning = tune(
            loaded,
            swept,
            arguments,
            target=chosen,
            workers=workers,
            results_file=results,
            progress=report,
            load=partial(load_kernel, kernel),
        )
    if as_data:
        sys.stdout.write(_as_json(tuning) + "\n")
    else:
        _print(tuning, console)


def _as_json(tuning: Tuning) -> str:
    pareto = {result.key for result in tuning.pareto}
    rows = [{**dataclasses.asdict(result), "pareto": result.key in pareto} for result in tuning.results]
    return json.dumps({"target": str(tuning.target), "results": rows}, indent=1)


def _print(tuning: Tuning, console: Console) -> None:
    pareto = {result.key for result in tuning.pareto}
    table = Table(
        title=f"Predicted on {tuning.target}, fastest first; * where nothing is better in both time and SBUF",
        title_justify="left",
    )
    for name in ("setting", "time", "SBUF KiB a partition", "PSUM banks", ""):
        table.add_column(name, justify="left" if name in ("setting", "") else "right", overflow="fold")
    best = list(tuning.ranked[:SHOWN_SETTINGS])
    default = tuning.default
    for result in [*best, *([default] if default is not None and default not in best else [])]:
        if result.seconds is not None:
            table.add_row(
                result.key or "(defaults)",
                duration(result.seconds),
                f"{(result.sbuf_bytes or 0) / 1024:.1f}",
                str(result.psum_banks),
                "*" if result.key in pareto else "",
            )
    console.print(table)
    if len(tuning.ranked) > SHOWN_SETTINGS:
        console.print(f"[dim]{len(tuning.ranked) - SHOWN_SETTINGS} slower settings are not shown[/dim]")
    if tuning.default is not None and tuning.default.seconds and tuning.best is not None and tuning.best.seconds:
        gain = tuning.default.seconds / tuning.best.seconds
        console.print(f"best: {tuning.best.key or 'the defaults'}, {gain:.2f} times as fast as the defaults")
    for result in tuning.refused:
        print_line(f"refused: {result.key or '(defaults)'}: {result.refused}", console, style="dim")
