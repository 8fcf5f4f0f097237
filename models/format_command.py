"""`trnlab dtypes`: the element formats, as tables or as data."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from rich.console import Console

from trnlab.emulator.format_pages import as_json, format_pages, page_named
from trnlab.emulator.instruction_pages import ALL_TARGETS
from trnlab.emulator.target import get_target
from trnlab.models.format_tables import print_format, print_formats


def show_formats(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="One format, in full.")] = None,
    target: Annotated[str | None, typer.Option(help="trn1, trn2, trn3 or trn4; default: all of them.")] = None,
    as_data: Annotated[bool, typer.Option("--json", help="Print the formats as JSON instead.")] = False,
) -> None:
    """The element formats: ranges, specials, generations, conversions; of one with up to 8 bits, every code."""
    targets = ALL_TARGETS if target is None else (get_target(target),)
    found = format_pages(targets) if name is None else page_named(name, targets)
    if as_data:
        sys.stdout.write(as_json(found) + "\n")
    elif isinstance(found, tuple):
        print_formats(found, targets, Console())
    else:
        print_format(found, targets, Console())
