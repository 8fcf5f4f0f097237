"""`trnlab chips`: all chips in one table, or one chip's spec sheet with its sources and contradictions."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from trnlab.models.chips import Chip, chip_named, chip_names
from trnlab.models.chips.assumptions import NAMED_SETS
from trnlab.models.chips.toml_writer import to_toml
from trnlab.models.quantity import ModelError, Quantity
from trnlab.models.spec_sheet import sheet_dict, spec_sheet
from trnlab.models.systems_table import print_systems, systems_data

FigureOption = Annotated[
    list[str] | None,
    typer.Option("--figure", metavar="TOPIC=NAME", help="Another printed figure or assumption: link=chip page."),
]


def figures_of(texts: list[str] | None) -> dict[str, str]:
    """{"link": "chip page"} of ["link=chip page"].

    Raises:
        ModelError: no "=" in a text, or a topic given twice.
    """
    found: dict[str, str] = {}
    for text in texts or []:
        topic, equals, name = text.partition("=")
        if not equals or topic.strip() in found:
            raise ModelError("--figure", text, "TOPIC=NAME, each topic once")
        found[topic.strip()] = name.strip()
    return found


def show_chips(
    name: Annotated[
        str | None, typer.Argument(metavar="[CHIP]", help="One chip in full: trn3, trn4-low, h100, or FILE.toml.")
    ] = None,
    figure: FigureOption = None,
    as_data: Annotated[bool, typer.Option("--json", help="Print the figures as JSON instead.")] = False,
    systems: Annotated[bool, typer.Option("--systems", help="Instances, UltraServers and domains instead.")] = False,
    as_toml: Annotated[bool, typer.Option("--toml", help="Print one chip as TOML, to make one's own of.")] = False,
) -> None:
    """The chips: peaks, memory, links, power, each with its source, class and what contradicts it."""
    chosen = figures_of(figure)
    if systems:
        _show_systems(name, as_data, has_more=bool(chosen) or as_toml)
        return
    if name is None and (chosen or as_toml):
        raise ModelError("--figure or --toml", "all chips", "one chip: name it")
    chips = [chip_named(each) for each in chip_names()] if name is None else [chip_named(name, figures=chosen)]
    if as_data:
        sys.stdout.write(json.dumps([sheet_dict(chip) for chip in chips], indent=2) + "\n")
    elif as_toml:
        sys.stdout.write(to_toml(chips[0]))
    elif name is None:
        _print_overview(chips, Console())
    else:
        _print_sheet(chips[0], Console())


def _show_systems(name: str | None, as_data: bool, *, has_more: bool) -> None:
    if name is not None or has_more:
        raise ModelError("--systems", name or "--figure or --toml", "alone or with --json: it lists all")
    if as_data:
        sys.stdout.write(json.dumps(systems_data(), indent=2, allow_nan=False) + "\n")
    else:
        print_systems(Console())


def _cell(quantity: Quantity | None, scale: float, digits: int = 4) -> str:
    """The figure in units of `scale`, marked where it is no published one."""
    if quantity is None:
        return "-"
    number = f"{float(f'{quantity.value / scale:.{digits}g}'):g}"
    return number if quantity.klass == "published" else f"{number}{quantity.klass[0]}"


COLUMNS: tuple[tuple[str, Callable[[Chip], str]], ...] = (
    ("\nBF16", lambda chip: _cell(chip.peaks.get("bf16"), 1e12)),
    ("\nFP8", lambda chip: _cell(chip.peaks.get("mxfp8", chip.peaks.get("fp8")), 1e12)),
    ("\nFP4", lambda chip: _cell(chip.peaks.get("mxfp4"), 1e12)),
    ("HBM\nGB", lambda chip: _cell(chip.hbm_bytes, 1e9, 3)),
    ("HBM\nTB/s", lambda chip: _cell(chip.hbm_bandwidth, 1e12, 3)),
    ("link\nGB/s", lambda chip: _cell(chip.link_bandwidth_one_direction, 1e9, 3)),
    ("\nW", lambda chip: _cell(chip.power, 1)),
)


NOTES = (
    "d: derived, a: assumed, unmarked: published, -: nobody printed it. FP8: MXFP8 where there is one.",
    "link: one direction. Trainium4: the central case; others are "
    + ", ".join(f"trn4-{name}" for name in ("low", "high", *NAMED_SETS))
    + ".",
)


def _print_overview(chips: list[Chip], console: Console) -> None:
    table = Table(
        title="Chips: dense peaks in TFLOP/s",
        title_justify="left",
        box=SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    table.add_column("\nchip", no_wrap=True)
    for heading, _ in COLUMNS:
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("scale-up\ndomain", no_wrap=True)
    for chip in chips:
        table.add_row(chip.name, *(cell(chip) for _, cell in COLUMNS), chip.scale_up.label)
    console.print(table)
    for note in NOTES:
        console.print(f"[dim]{note}[/dim]", highlight=False)


def _print_sheet(chip: Chip, console: Console) -> None:
    title = Text(f"{chip.label}, {chip.vendor}: {chip.cores} cores, {chip.scale_up.label}")  # names are the user's
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for heading in ("figure", "value", "class", "source, or --figure to choose it"):
        table.add_column(heading, overflow="fold", justify="right" if heading == "value" else "left")
    sheet = spec_sheet(chip)
    sources = list(dict.fromkeys(figure.quantity.source for figure in sheet if figure.quantity is not None))
    for figure in sheet:
        found = figure.quantity
        if found is None:
            table.add_row(figure.name, "not printed", "", "")
        else:
            table.add_row(figure.name, *_value(found), str(sources.index(found.source) + 1))
        for select, other in figure.others:
            table.add_row("[dim]  instead[/dim]", *_value(other), escape(select))
    console.print(table)
    for number, source in enumerate(sources, 1):
        console.print(Text(f"{number}: {source}", style="dim"))


def _value(quantity: Quantity) -> tuple[str, str]:
    """Four digits with the band, and the class; a capacity in binary units where those make it a short number."""
    is_binary = quantity.unit == "B" and quantity.value % 2**20 == 0
    text, _, klass = format(quantity, ".4i" if is_binary else ".4").rpartition(" (")
    return text, klass.rstrip(")")
