"""A titled table of text, as HTML and as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from trnlab.models.frames import html_table
from trnlab.models.quantity import ModelError


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows of text under a header. note: what the reader must know of it.

    Raises:
        ModelError: a row of another length than the header.
    """

    key: str
    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.header):
                raise ModelError(f"cells of a row of {self.title!r}", len(row), f"{len(self.header)}, as in its header")

    def html(self) -> str:
        """The table as HTML; every cell is escaped."""
        return html_table(self.title, self.header, self.rows)

    def markdown(self) -> str:
        """The table as Markdown under a heading of the third level."""
        lines = [_line(self.header), _line(["---"] * len(self.header)), *map(_line, self.rows)]
        return "\n\n".join(filter(None, [f"### {self.title}", self.note, "\n".join(lines)]))


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(_plain(cell) for cell in cells) + " |"


def _plain(cell: str) -> str:
    """The text of a cell without what Markdown would take for its own."""
    for special in ("\\", "|", "<", "*", "_", "`"):
        cell = cell.replace(special, f"\\{special}")
    return " ".join(cell.split())
