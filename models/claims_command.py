"""`trnlab claims`: the announcement as tests, what it would mean for models, and where its factors hold."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from trnlab.emulator.errors import TrnlabError
from trnlab.models.claims import Claim, OperatingPoint, Reading, claims_table
from trnlab.models.claims.claim import text_of
from trnlab.models.claims.consequences import ANSWER, BATCH, PROMPT, Consequence, consequences
from trnlab.models.claims.picture import draw_maps
from trnlab.models.claims.serving import claim_maps, gpt_oss_map
from trnlab.models.claims.speedup_map import MARKS, MEASURES, TITLES, Measure, SpeedupMap
from trnlab.models.files import write_whole
from trnlab.models.projection.method import LAYERS, Case
from trnlab.models.quantity import ModelError, Quantity

PICTURES = (".png", ".svg", ".pdf")
SHOWN_CASES: Final[tuple[Case, ...]] = ("central", "fast")
"""Ends of Trainium3's fixed cost whose calibrated maps stand under a claim; `--map` prints other layers."""


def claims(
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Also write everything as data.")
    ] = None,
    map_of: Annotated[
        str | None,
        typer.Option("--map", metavar="LAYER", help=f"Print the GPT-OSS map of a layer: {', '.join(LAYERS)}."),
    ] = None,
    picture: Annotated[Path | None, typer.Option(metavar="FILE", help="Draw the maps: .png, .svg or .pdf.")] = None,
) -> None:
    """The announced claims about Trainium3 and Trainium4: what they could mean, what that gives, and where it holds."""
    _check(json_file, picture, map_of)
    console = Console()
    if map_of is None:
        _print_claims(claims_table(), console)
        _print_consequences(consequences(), console)
    else:
        _print_map(gpt_oss_map(map_of), console)
    if json_file is not None:
        text = json.dumps(_as_data(), indent=2, allow_nan=False)
        write_whole(json_file, lambda path: _write(path, text))
    if picture is not None:
        figure = draw_maps(claim_maps())
        write_whole(picture, lambda path: figure.savefig(path, format=picture.suffix[1:].lower()))


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def _check(json_file: Path | None, picture: Path | None, layer: str | None) -> None:
    for path in (json_file, picture):
        if path is not None and not path.absolute().parent.is_dir():
            raise TrnlabError(f"cannot write {path}: no such folder")
    if picture is not None and picture.suffix.lower() not in PICTURES:
        raise ModelError("--picture", str(picture), ", ".join(f"FILE{suffix}" for suffix in PICTURES))
    if layer is not None and layer not in LAYERS:
        raise ModelError("--map", layer, ", ".join(LAYERS))


def _print_claims(table_: tuple[Claim, ...], console: Console) -> None:
    for claim in table_:
        console.print(f"\n[bold]{claim.statement}[/bold]: {claim.verdict}", highlight=False)
        table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
        for justify in ("right", "right", "left", "left"):
            table.add_column(justify=justify, no_wrap=justify == "right")
        table.add_row(text_of(claim.claimed, ".4v"), "", "claimed", "at least" if claim.at_least else "")
        for reading in claim.readings:
            table.add_row(*_reading(claim, reading))
        console.print(table, highlight=False)
        for text in (holds_at(claim.points), claim.note):
            if text:
                console.print(f"[dim]{text}[/dim]", highlight=False)
        if claim.measure:
            for case in SHOWN_CASES:
                _print_map(gpt_oss_map("calibrated", case), console, (claim.measure,))


def _reading(claim: Claim, reading: Reading) -> tuple[str, ...]:
    error, found = reading.error_percent(claim.claimed), reading.computed
    value, _, klass = ("not computed", "", "") if found is None else text_of(found, ".4").rpartition(" (")
    return (value, "" if error is None else f"{error:+.1f} %", klass.rstrip(")"), reading.meaning)


def holds_at(points: Iterable[OperatingPoint]) -> str:
    """Where a claim holds exactly, in words: by layer, the batches at each length of the prompt."""
    found: dict[str, dict[int, list[float]]] = {}
    for point in points:
        found.setdefault(point.layer, {}).setdefault(point.prompt, []).append(point.batch)
    layers = [
        f"{layer}: " + ", ".join(f"{prompt // 1024}k x {_numbers(batches)}" for prompt, batches in rows.items())
        for layer, rows in found.items()
    ]
    return f"holds at prompt x requests of {'; '.join(layers)}" if layers else ""


def _numbers(batches: list[float]) -> str:
    return " and ".join(f"{batch:.3g}" if batch < 1000 else f"{batch:.0f}" for batch in batches)


CONSEQUENCE_NOTES = (
    "decode: tokens/s; prompt: 1 / TTFT; request: tokens/s, prompts counted; per chip.",
    "Trainium4 multiplies MXFP4 weights with MXFP8 activations, or FP4 where a row says so.",
    "An UltraServer of 144 chips over one of 64 has 2.25 times as many.",
)


def _print_consequences(rows: tuple[Consequence, ...], console: Console) -> None:
    setting = f"16 chips, {BATCH} requests of {PROMPT} + {ANSWER} tokens"
    console.print(f"\n[bold]What it would mean for models[/bold]: {setting}", highlight=False)
    for note in CONSEQUENCE_NOTES:
        console.print(f"[dim]{note}[/dim]", highlight=False)
    for over in dict.fromkeys(row.over for row in rows):
        table = Table(title=over, title_justify="left", box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
        for column in ("", "decode", "prompt", "request"):
            table.add_column(column, justify="right" if column else "left", no_wrap=True)
        for model in dict.fromkeys(row.model for row in rows):
            table.add_row(f"[bold]{model}[/bold]", "", "", "")
            for row in rows:
                if (row.over, row.model) == (over, model):
                    what = row.what if row.layer == "roofline" else f"{row.what}, {row.layer}"
                    table.add_row(what, *(_ratio(ratio) for ratio in (row.decode, row.prompt, row.request)))
        console.print(table)


def _ratio(ratio: Quantity) -> str:
    """Two digits, with the band where there is one: "3.4x 2.6-3.8"."""
    value, (low, high) = f"{ratio.value:.2g}x", ratio.interval
    return value if ratio.low is None else f"{value} {low:.2g}-{high:.2g}"


def _print_map(found: SpeedupMap, console: Console, measures: Sequence[Measure] = MEASURES) -> None:
    """The measures over batch and prompt, marked where 3 and 4 times are reached."""
    for measure in measures:
        title = f"{TITLES[measure]}, {found.title}: {found.new.label} over {found.old.label}; columns: requests"
        table = Table(title=title, title_justify="left", box=None, pad_edge=False, padding=(0, 1, 0, 0))
        for heading in found.header():
            table.add_column(heading, justify="right")
        for row in found.rows(measure):
            table.add_row(*(f"[bold]{cell}[/bold]" if cell.endswith("*") else cell for cell in row))
        console.print(table)
    console.print(f"[dim]{MARKS}[/dim]", highlight=False)


def _as_data() -> dict[str, Any]:
    """Claims, consequences and maps as JSON-ready data; a point that does not fit is null."""
    return {
        "claims": [claim.as_dict() for claim in claims_table()],
        "consequences": [row.as_dict() for row in consequences()],
        "maps": [
            {
                "layer": each.layer,
                "case": each.case,
                "old": each.old.label,
                "new": each.new.label,
                "batches": each.batches,
                "prompts": each.prompts,
            }
            | {
                measure: [
                    [None if np.isnan(value) else value for value in row] for row in each.values(measure).tolist()
                ]
                for measure in MEASURES
            }
            for each in claim_maps()
        ],
    }
