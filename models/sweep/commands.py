"""`trnlab sweep`: many operating points at once, written as a table, the best of them shown."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from trnlab.models.chips import chip_named
from trnlab.models.projection.commands import model_named
from trnlab.models.projection.method import LAYERS
from trnlab.models.quantity import ModelError
from trnlab.models.sweep.axes import Axes
from trnlab.models.sweep.run import BACKENDS, sweep
from trnlab.models.sweep.search import frontier
from trnlab.models.sweep.table import SweepTable, check_table_path
from trnlab.models.terminal import print_written

VARIANTS_OF = {"trn4": ("trn4-low", "trn4-central", "trn4-high")}
"""A projection is swept as a band: its three variants."""
_RANGE = re.compile(r"(\d+):(\d+):(x?)(\d+)")
SHOWN = (
    ("precision", "precision", ""),
    ("tp", "TP", "d"),
    ("ep", "EP", "d"),
    ("pp", "PP", "d"),
    ("dp", "DP", "d"),
    ("batch", "batch", "d"),
    ("prompt", "prompt", "d"),
    ("tpot_seconds", "TPOT ms", ".3g"),
    ("tokens_per_second_per_user", "tok/s/user", ",.0f"),
    ("tokens_per_second_per_chip", "tok/s/chip", ",.0f"),
)


def whole_numbers(text: str, name: str) -> list[int]:
    """[1, 8, 64] of "1,8,64"; steps of "1:9:2"; factors of "1:1024:x2", both ends included where they are reached.

    Raises:
        ModelError: another form, a number below 1, a step of 0 or a factor of 1.
    """
    values: list[int] = []
    for part in text.split(","):
        match = _RANGE.fullmatch(part.strip())
        if match is None:
            values += [_whole(part.strip(), name)]
            continue
        low, high, times, step = int(match[1]), int(match[2]), bool(match[3]), int(match[4])
        if low < 1 or high < low or step < (2 if times else 1):
            raise ModelError(name, part, "low:high:step with 1 <= low <= high, a step >= 1 or a factor >= x2")
        value = low
        while value <= high:
            values.append(value)
            value = value * step if times else value + step
    return list(dict.fromkeys(values))


def _whole(text: str, name: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ModelError(name, text, "whole numbers >= 1, low:high:step, or low:high:xfactor, with commas between")
    return int(text)


def run_sweep(
    model: Annotated[list[str], typer.Option("--model", help="A model; several times for several.")],
    chip: Annotated[
        list[str], typer.Option("--chip", help="A chip; several times for several; trn4 is three: low, central, high.")
    ],
    chips: Annotated[str, typer.Option(help="Counts, such as 16,64: every partitioning over each.")] = "16",
    batch: Annotated[str, typer.Option(help="Requests: 1,8,64 or 1:1024:x2 or 1:64:7.")] = "1:1024:x2",
    context: Annotated[str, typer.Option(help="Tokens of a prompt, in the same form.")] = "1024:65536:x2",
    answer: Annotated[int, typer.Option(min=1, help="Tokens of an answer.")] = 1024,
    precision: Annotated[list[str] | None, typer.Option("--precision", help="Several times for several.")] = None,
    kv: Annotated[str | None, typer.Option(help="Format of the KV cache.")] = None,
    parallelism: Annotated[str, typer.Option(help="Kinds to use.")] = "tp,ep,pp,dp",
    layer: Annotated[str, typer.Option(help=f"One of {', '.join(LAYERS)}.")] = "calibrated",
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="The table: .parquet or .csv.")] = None,
    backend: Annotated[str, typer.Option(help=f"One of {', '.join(BACKENDS)}.")] = "sequential",
    workers: Annotated[int, typer.Option(min=1, help="Processes or threads on this machine.")] = 1,
    show: Annotated[int, typer.Option(min=0, help="Rows of the Pareto front to print.")] = 20,
) -> None:
    """Models x chips x precisions x partitionings x batches x contexts, with the Pareto front of each pair."""
    if layer not in LAYERS:
        raise ModelError("--layer", layer, ", ".join(LAYERS))
    if out is not None:
        check_table_path(out)
    axes = Axes(
        models=[model_named(name) for name in model],
        chips=[chip_named(one) for name in chip for one in VARIANTS_OF.get(name.lower(), (name,))],
        batches=whole_numbers(batch, "--batch"),
        prompts=whole_numbers(context, "--context"),
        answer=answer,
        precisions=precision or (None,),
        kv=kv,
        chip_counts=whole_numbers(chips, "--chips"),
        parallelism=[kind.strip() for kind in parallelism.split(",")],
        layer=next(name for name in LAYERS if name == layer),
    )
    console = Console()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("points", total=None)
        table = sweep(
            axes,
            backend=backend,
            workers=workers,
            progress=lambda done, total: progress.update(task, completed=done, total=total),
        )
    fitting = int(table.columns["fits"].sum())
    console.print(f"{len(table):,} points, {fitting:,} of them fit their memory")
    for text in axes.left_out():
        console.print(Text(f"left out: {text}", style="dim"))
    for text in table.notes:
        console.print(Text(f"note: {text}", style="dim"))
    for name in table.names["model"]:
        for device in table.names["chip"]:
            _print_front(table, name, device, show, console)
    if out is not None:
        table.write(out)
        print_written(out, console)


def _print_front(table: SweepTable, model: str, chip: str, most: int, console: Console) -> None:
    """The Pareto front of one model and chip, thinned to `most` rows."""
    mine = (table.column("model") == model) & (table.column("chip") == chip)
    if not mine.any() or most == 0:
        return
    front = frontier(table.where(mine))
    if not len(front):
        short = float(table.where(mine).shortfall().min())
        console.print(Text(f"{model} on {chip}: nothing fits, by {short / 1e9:,.1f} GB a chip at the least"))
        return
    rows = np.unique(np.linspace(0, len(front) - 1, min(most, len(front))).round().astype(int))
    made = Table(title=Text(f"{model} on {chip}: no point beats these in both"), title_justify="left", box=SIMPLE_HEAD)
    for _, title, form in SHOWN:
        made.add_column(title, justify="right" if form else "left", overflow="fold")
    for index in rows.tolist():
        point = front.row(index) | {"tpot_seconds": float(front.columns["tpot_seconds"][index]) * 1e3}
        made.add_row(*(Text(format(point[name], form)) for name, _, form in SHOWN))
    console.print(made)
