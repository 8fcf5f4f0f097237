"""`trnlab roofline`: peaks, ridge points, and kernels as points from their programs."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, cast

import typer
from rich.console import Console

from trnlab.emulator.errors import GenerationError, TrnlabError
from trnlab.models.chips import Chip, chip_named
from trnlab.models.chips_command import FigureOption, figures_of
from trnlab.models.files import write_whole
from trnlab.models.kernel_point import MEMORIES, KernelPoint, Memory
from trnlab.models.plots import draw
from trnlab.models.program_points import point_of_text
from trnlab.models.quantity import ModelError
from trnlab.models.roofline import Roofline
from trnlab.models.roofline_tables import print_kernels, print_roofline, roofline_dict
from trnlab.models.terminal import print_line

DEFAULT_CHIPS = ("trn1", "trn2", "trn3", "trn4")
PICTURES = (".png", ".svg", ".pdf")


def roofline(
    chip: Annotated[
        list[str] | None, typer.Option(metavar="CHIP", help="trn3, trn4-low, h100, FILE.toml. Repeatable.")
    ] = None,
    kernel: Annotated[
        list[str] | None,
        typer.Option(metavar='"FILE.py:KERNEL ARGS"', help="Args as lhsT=bf16[4096,2048]. Repeatable; implies --core."),
    ] = None,
    core: Annotated[bool, typer.Option("--core", help="One NeuronCore instead of a whole chip.")] = False,
    figure: FigureOption = None,
    memory: Annotated[str, typer.Option(help="Memory on the picture's axis: HBM, DMA or SBUF.")] = "HBM",
    picture: Annotated[Path | None, typer.Option(metavar="FILE", help="Draw them: .png, .svg or .pdf.")] = None,
    as_data: Annotated[bool, typer.Option("--json", help="Print the numbers as JSON instead.")] = False,
) -> None:
    """Peaks by dtype, ridge points by memory level, and how near kernels come to their speed of light."""
    _check_picture(picture, memory)
    chosen = figures_of(figure)
    chips = [chip_named(name, figures=chosen) for name in chip or DEFAULT_CHIPS]
    lines = [_core(one) if core or kernel else Roofline.of_chip(one) for one in chips]
    for line in lines if picture is not None else ():
        line.roof(memory)  # refuses before the work where there is none to draw
    read = [_points(line, kernel or []) for line in lines]
    points, missing = [found for found, _ in read], [absent for _, absent in read]
    if as_data:
        rows = zip(lines, points, missing, strict=True)
        data = [roofline_dict(line, found) | {"not_run": absent} for line, found, absent in rows]
        sys.stdout.write(json.dumps(data, indent=2, allow_nan=False) + "\n")
    else:
        _print(lines, points, missing)
    if picture is not None:
        shown = [point for found in points for point in found]
        figure_ = draw(shown, lines, memory=cast(Memory, memory))
        write_whole(picture, lambda path: figure_.savefig(path, format=picture.suffix[1:].lower()))


def _check_picture(picture: Path | None, memory: str) -> None:
    if memory not in MEMORIES:
        raise ModelError("--memory", memory, ", ".join(MEMORIES))
    if picture is None:
        return
    if picture.suffix.lower() not in PICTURES:
        raise ModelError("--picture", str(picture), ", ".join(f"FILE{suffix}" for suffix in PICTURES))
    if not picture.absolute().parent.is_dir():
        raise TrnlabError(f"cannot write {picture}: no such folder")


def _core(chip: Chip) -> Roofline:
    if chip.target is None:
        raise ModelError(
            "chip with NeuronCores", chip.label, "trn1, trn2, trn3 or trn4; others have chip rooflines only"
        )
    return Roofline.of_core(chip.target)


def _points(line: Roofline, kernels: list[str]) -> tuple[list[KernelPoint], list[str]]:
    """The kernels as points of the core, and why those are missing that need what the generation does not have."""
    points, missing = [], []
    for text in kernels:
        assert line.target is not None
        try:
            points.append(point_of_text(text, line.target))
        except GenerationError as error:
            found = error.violation
            missing.append(f"{text.partition(' ')[0]} does not run on {line.name}: {found.subject}: {found.found}")
    return points, missing


def _print(lines: list[Roofline], points: list[list[KernelPoint]], missing: list[list[str]]) -> None:
    console = Console()
    for line, found, absent in zip(lines, points, missing, strict=True):
        print_roofline(line, console)
        if found:
            print_kernels(line, found, console)
        for reason in absent:
            print_line(reason, console)
    for basis in dict.fromkeys(line.basis for line in lines):
        console.print(f"[dim]Basis: {basis}. Ridge points in FLOP per byte.[/dim]")
