"""One HTML page for the profiles of a kernel on one or more targets; it needs no network and no other file."""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from importlib.resources import files
from string import Template
from typing import Any, Final

import numpy as np

from trnlab.emulator.timing.timeline import Timeline
from trnlab.models.profile.event_table import Column, event_table
from trnlab.models.profile.summary import Profile
from trnlab.models.roofline import Roofline

_ASSETS: Final = files("trnlab.models.profile") / "assets"


def profile_page(profiles: Sequence[Profile]) -> str:
    """The page as HTML text; the first profile is the one that the others are compared with."""
    data = {"profiles": [_page_data(profile) for profile in profiles]}
    # A "<" inside a string could end the data or open a comment; its escape means the same to JSON.
    text = json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    return Template(_asset("page.html")).substitute(
        title=html.escape(f"{profiles[0].kernel}: profile"),
        style=_asset("page.css"),
        script=_asset("page.js"),
        data=text,
    )


def _asset(name: str) -> str:
    return (_ASSETS / name).read_text(encoding="utf-8")


def _page_data(profile: Profile) -> dict[str, Any]:
    return {**profile.to_dict(), "events": _events(profile.timeline), "roofline": _roofline(profile)}


def _events(timeline: Timeline) -> dict[str, Any]:
    """The events of each engine as columns, in order of their start; names are numbers into lists."""
    table = event_table(timeline).columns
    transposes = np.array([cost.kind == "transpose" for cost in timeline.costs], bool)
    is_transpose = transposes[timeline.program.signature_ids[table["instruction"]]].astype(int)
    lines = np.array([f"{f}:{n}" for f, n in zip(table["file"].tolist(), table["line"].tolist(), strict=True)], object)
    opcodes, waits, places = _numbered(table["opcode"]), _numbered(table["wait"]), _numbered(lines)
    rows = []
    for engine in dict.fromkeys(table["engine"].tolist()):
        own = np.flatnonzero(table["engine"] == engine)
        own = own[np.argsort(table["start_ns"][own], kind="stable")]
        rows.append(
            {
                "name": engine,
                "engine": engine,
                "step": table["step"][own].tolist(),
                "start": table["start_ns"][own].round(1).tolist(),
                "end": table["end_ns"][own].round(1).tolist(),
                "opcode": opcodes[1][own].tolist(),
                "wait": waits[1][own].tolist(),
                "line": places[1][own].tolist(),
                "kind": (is_transpose[own] if engine != "dma" else np.zeros(len(own), int)).tolist(),
            }
        )
    return {"rows": rows, "opcodes": opcodes[0], "waits": waits[0], "lines": places[0]}


def _numbered(column: Column) -> tuple[list[str], Column]:
    """The distinct values, and the column as numbers into them."""
    values = list(dict.fromkeys(column.tolist()))
    number = {value: index for index, value in enumerate(values)}
    return values, np.array([number[value] for value in column.tolist()], np.int64)


def _roofline(profile: Profile) -> dict[str, Any]:
    line = Roofline.of_core(profile.timeline.target)
    achieved = sum(profile.flops.values()) / (profile.seconds[1] or 1.0)
    points = [
        {"memory": memory, "intensity": intensity, "flops_per_second": achieved}
        for memory, intensity in profile.intensity.items()
        if memory != "SBUF" and 0 < intensity < float("inf")
    ]
    return {
        "roofs": {roof.name: roof.bytes_per_second.value for roof in (line.hbm, line.dma)},
        "peaks": {rate: line.peak(rate).value for rate in profile.flops},
        "points": points,
    }
