"""`trnlab train`: a training step of a language model on some chips, in the three layers of the projection."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, get_args

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from trnlab.models.chips import Chip, chip_named
from trnlab.models.chips_command import FigureOption, figures_of
from trnlab.models.files import write_text
from trnlab.models.projection.commands import Degree, check_ending, given_split, model_named, save_figure
from trnlab.models.projection.machine import Machine
from trnlab.models.projection.training import RECOMPUTE, Recompute
from trnlab.models.projection.training_fit import best_training
from trnlab.models.projection.training_outcome import TrainingProjection, TrainingSetup
from trnlab.models.projection.training_point import project_training
from trnlab.models.quantity import ModelError
from trnlab.models.workloads.formats import PRECISIONS, get_precision


def train(
    model: Annotated[str, typer.Argument(help="A known model, or the path of a Hugging Face config.json.")],
    chip: Annotated[str, typer.Option(help="trn3, trn4-low, h100, FILE.toml, ...")] = "trn3",
    chips: Annotated[int | None, typer.Option(min=1, help="How many; default: as the degrees multiply to.")] = None,
    batch: Annotated[int, typer.Option(min=1, help="Sequences of a step.")] = 1024,
    context: Annotated[int, typer.Option(min=1, help="Tokens of a sequence.")] = 8192,
    micro_batch: Annotated[int, typer.Option(min=1, help="Sequences that a replica computes at a time.")] = 1,
    recompute: Annotated[str, typer.Option(help=f"One of {', '.join(RECOMPUTE)}.")] = "full",
    precision: Annotated[str, typer.Option(help=f"Of the matmuls; one of {', '.join(PRECISIONS)}.")] = "bf16",
    tp: Degree = None,
    ep: Degree = None,
    pp: Degree = None,
    dp: Degree = None,
    cp: Degree = None,
    figure: FigureOption = None,
    json_file: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Also write it as data.")] = None,
    plot: Annotated[Path | None, typer.Option(metavar="FILE", help="Also draw the step: .svg, .png, .pdf.")] = None,
) -> None:
    """A training step of a language model on some chips: time, utilisation, memory, in three layers."""
    if plot is not None:
        check_ending(plot)
    shape, device = model_named(model), chip_named(chip, figures=figures_of(figure))
    recipe = get_precision(precision)
    setup = TrainingSetup(sequence=context, batch=batch, micro_batch=micro_batch, recompute=_kind(recompute))
    split = given_split({"tp": tp, "ep": ep, "pp": pp, "dp": dp, "cp": cp}, chips)
    chosen = split or best_training(shape, recipe, Machine.of(device), chips or 1, setup)
    found = project_training(shape, device, chosen, setup, precision=recipe)
    print_training(found, device, Console(), chosen=split is None)
    if json_file is not None:
        write_text(json_file, found.to_json())
    if plot is not None:
        save_figure(found, plot)


def _kind(text: str) -> Recompute:
    for known in RECOMPUTE:
        if text == known:
            return known
    raise ModelError("--recompute", text, ", ".join(get_args(Recompute)))


def print_training(found: TrainingProjection, chip: Chip, console: Console, *, chosen: bool = False) -> None:
    """The three layers side by side, the memory, and the notes."""
    title = found.title + (" (shortest step found)" if chosen else "")
    table = Table(title=Text(title), title_justify="left", box=SIMPLE_HEAD)
    table.add_column("", overflow="fold")
    for layer in found.layers:
        table.add_column(layer.name, justify="right", overflow="fold")
    for row in found.table():
        table.add_row(*map(Text, row))
    console.print(table)
    console.print(Text(found.memory_line))
    notes = list(found.all_notes)
    if chip.target is not None and chip.variant in ("low", "central", "high"):
        notes.append("Trainium4 is a projection; its figures are announced multiples and assumptions")
    for note in notes:
        console.print(Text(f"note: {note}", style="dim"))
