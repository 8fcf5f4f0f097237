"""`trnlab llm`: a language model on some chips, in the three layers of the projection."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Protocol

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from trnlab.models.chips import Chip, chip_named
from trnlab.models.chips_command import FigureOption, figures_of
from trnlab.models.files import write_text, write_whole
from trnlab.models.parallel.partitioning import Partitioning
from trnlab.models.projection.outcome import Projection
from trnlab.models.projection.point import project
from trnlab.models.projection.runtime import Runtime
from trnlab.models.projection.serving_point import ServingPoint, default_precision
from trnlab.models.quantity import ModelError
from trnlab.models.sweep.search import best_partitioning
from trnlab.models.workloads.catalogue import get_model
from trnlab.models.workloads.formats import PRECISIONS, get_precision
from trnlab.models.workloads.huggingface import read_config
from trnlab.models.workloads.model import LanguageModel

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ENDINGS = (".svg", ".png", ".pdf")
Degree = Annotated[int | None, typer.Option(min=1, metavar="N")]


def model_named(name: str) -> LanguageModel:
    """A model of the catalogue, or the one that a config.json describes.

    Raises:
        ModelError: neither.
    """
    return read_config(name) if name.lower().endswith(".json") else get_model(name)


class Drawn(Protocol):
    """A result that can draw itself."""

    def plot(self) -> Figure:
        """Its picture."""


def llm(
    model: Annotated[str, typer.Argument(help="A known model, or the path of a Hugging Face config.json.")],
    chip: Annotated[str, typer.Option(help="trn3, trn4-low, h100, FILE.toml, ...")] = "trn3",
    chips: Annotated[int | None, typer.Option(min=1, help="How many; default: as the degrees multiply to.")] = None,
    batch: Annotated[int, typer.Option(min=1, help="Requests running at a time.")] = 64,
    context: Annotated[int, typer.Option(min=1, help="Tokens of a prompt.")] = 8192,
    answer: Annotated[int, typer.Option(min=1, help="Tokens of an answer.")] = 1024,
    precision: Annotated[str | None, typer.Option(help=f"One of {', '.join(PRECISIONS)}.")] = None,
    kv: Annotated[str | None, typer.Option(help="Format of the KV cache; default bf16.")] = None,
    tp: Degree = None,
    ep: Degree = None,
    pp: Degree = None,
    dp: Degree = None,
    cp: Degree = None,
    tpot: Annotated[float | None, typer.Option(help="Goal in ms when the best partitioning is looked for.")] = None,
    ttft: Annotated[float | None, typer.Option(help="The same for the first token.")] = None,
    chunk: Annotated[int | None, typer.Option(min=1, help="Tokens of a prompt processed at a time.")] = None,
    skew: Annotated[float, typer.Option(help="Zipf exponent of the routing; 0 is uniform.")] = 0.0,
    full_kv: Annotated[bool, typer.Option("--full-kv", help="Window layers keep the whole context.")] = False,
    copied_kv: Annotated[
        bool, typer.Option("--copied-kv", help="Copy the cache beyond its heads, do not split.")
    ] = False,
    kernels: Annotated[bool, typer.Option(help="Middle layer: timelines of our kernels, or plain defaults.")] = True,
    exposed: Annotated[float | None, typer.Option(help="Share of collectives that nothing hides.")] = None,
    fixed_cost: Annotated[float | None, typer.Option(metavar="µs", help="Of a layer and step, calibrated.")] = None,
    watts: Annotated[float | None, typer.Option(help="Power of one chip.")] = None,
    pue: Annotated[float, typer.Option(help="Power usage effectiveness of the data centre.")] = 1.0,
    price: Annotated[float | None, typer.Option(help="USD per chip and hour.")] = None,
    figure: FigureOption = None,
    json_file: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Also write it as data.")] = None,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also draw a decode step: .svg, .png, .pdf.")
    ] = None,
) -> None:
    """A language model on some chips: latency, throughput, memory, energy and cost, in three layers."""
    if plot is not None:
        check_ending(plot)
    shape, device = model_named(model), chip_named(chip, figures=figures_of(figure))
    recipe = get_precision(default_precision(shape, device) if precision is None else precision, kv)
    point = ServingPoint(batch=batch, prompt=context, answer=answer, chunk=chunk)
    runtime = Runtime(skew=skew, window_aware=not full_kv, split_kv=not copied_kv)
    split = given_split({"tp": tp, "ep": ep, "pp": pp, "dp": dp, "cp": cp}, chips)
    for name, value in (("--tpot", tpot), ("--ttft", ttft)):
        if split is not None and value is not None:
            raise ModelError(name, value, "only where the partitioning is not given")
    found = project(
        shape,
        device,
        split
        or best_partitioning(
            shape,
            device,
            chips or 1,
            point,
            recipe,
            most_tpot=_seconds(tpot),
            most_ttft=_seconds(ttft),
            runtime=runtime,
        ),
        point,
        precision=recipe,
        kernels=kernels,
        runtime=runtime,
        watts=watts,
        pue=pue,
        price_per_chip_hour=price,
        exposed=exposed,
        fixed_seconds=None if fixed_cost is None else fixed_cost * 1e-6,
    )
    print_projection(found, device, Console(), chosen=split is None)
    _save(found, json_file, plot)


def _seconds(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1e3


def _save(found: Projection, json_file: Path | None, plot: Path | None) -> None:
    if json_file is not None:
        write_text(json_file, found.to_json())
    if plot is not None:
        save_figure(found, plot)


def given_split(degrees: dict[str, int | None], chips: int | None) -> Partitioning | None:
    """The partitioning that was given, or None where it is to be looked for.

    Raises:
        ModelError: degrees that do not multiply to the chips.
    """
    if not any(degrees.values()):
        return None
    split = Partitioning(**{name: degree or 1 for name, degree in degrees.items()})
    if chips is not None and split.chips != chips:
        raise ModelError("--chips", chips, f"{split.chips}, which tp x pp x dp x cp make")
    return split


def print_projection(found: Projection, chip: Chip, console: Console, *, chosen: bool = False) -> None:
    """The three layers side by side, memory, where the middle layer's efficiencies come from, and the notes."""
    title = found.title + (" (best partitioning found)" if chosen else "")
    table = Table(title=Text(title), title_justify="left", box=SIMPLE_HEAD)
    table.add_column("", overflow="fold")
    for layer in found.layers:
        table.add_column(layer.name, justify="right", overflow="fold")
    for row in found.table():
        table.add_row(*map(Text, row))
    console.print(table)
    console.print(Text(found.memory_line))
    # Texts, not markup: names come from the user's files.
    for used in found.efficiencies:
        console.print(Text(str(used), style="dim"))
    notes = list(found.all_notes)
    if chip.target is not None and chip.variant in ("low", "central", "high"):
        notes.append("Trainium4 is a projection; its figures are announced multiples and assumptions")
    for note in notes:
        console.print(Text(f"note: {note}", style="dim"))


def check_ending(path: Path) -> None:
    """The file's ending is one that matplotlib writes.

    Raises:
        ModelError: it is not.
    """
    if path.suffix.lower() not in ENDINGS:
        raise ModelError("ending of a picture's file", path.suffix, ", ".join(ENDINGS))


def save_figure(found: Drawn, path: Path) -> None:
    """Draw a result's breakdown into a file, whole or not at all.

    Raises:
        TrnlabError: matplotlib is not installed, or the file cannot be written.
    """
    figure = found.plot()
    write_whole(path, lambda temporary: figure.savefig(temporary, format=path.suffix[1:].lower()))
