"""The results as a table on the terminal, as JSON, and as Markdown."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tests.conformance.verdict import Row, Verdict, in_words, totals

STYLES = {Verdict.PASSED: "green", Verdict.OURS: "red", Verdict.THEIRS: "yellow"}
LONGEST_CELL = 120  # characters of a reason in Markdown


def table(rows: Sequence[Row]) -> Table:
    """Kernel, configuration, seconds, passed or why not."""
    made = Table(caption=in_words(rows))
    made.add_column("kernel", overflow="fold")
    made.add_column("configuration", overflow="fold")
    made.add_column("s", justify="right")
    made.add_column("result", overflow="fold")
    for row in rows:
        style = STYLES.get(row.verdict, "dim")
        made.add_row(
            row.case.kernel, row.case.name, f"{row.outcome.seconds:.1f}", f"[{style}]{escape(result(row))}[/{style}]"
        )
    return made


def result(row: Row) -> str:
    """ "passed", or why not."""
    return row.why or str(row.verdict)


def show(rows: Sequence[Row], console: Console) -> None:
    """Print the table and the totals."""
    console.print(table(rows))


def as_data(rows: Sequence[Row], settings: dict[str, Any]) -> dict[str, Any]:
    """Settings, totals and rows for JSON."""
    return {"settings": settings, "totals": totals(rows), "cases": [row.as_data() for row in rows]}


def write_json(rows: Sequence[Row], settings: dict[str, Any], file: str) -> None:
    """Write `as_data` to a file."""
    Path(file).write_text(json.dumps(as_data(rows, settings), indent=2) + "\n")


def markdown(rows: Sequence[Row]) -> str:
    """The table as Markdown, totals first."""
    lines = [in_words(rows), "", "| kernel | configuration | result |", "|---|---|---|"]
    lines += [f"| {row.case.kernel} | {row.case.name} | {_cell(result(row))} |" for row in rows]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    short = text if len(text) <= LONGEST_CELL else f"{text[:LONGEST_CELL]}…"
    return short.replace("|", "\\|")
