"""A small table as data, shown in three ways: plain text, rich's renderable, HTML for notebooks."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Any


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of text under column heads; `notes` are lines below, `left` the columns that are not numbers."""

    title: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()
    left: tuple[int, ...] = (0,)

    def __str__(self) -> str:
        widths = [max(len(row[column]) for row in (self.heads, *self.rows)) for column in range(len(self.heads))]
        lines = [self._line(row, widths) for row in (self.heads, *self.rows)]
        rule = "  ".join("-" * width for width in widths)
        return "\n".join([self.title, lines[0], rule, *lines[1:], *self.notes])

    def _line(self, row: tuple[str, ...], widths: list[int]) -> str:
        cells = [
            cell.ljust(width) if column in self.left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        return "  ".join(cells).rstrip()

    def __rich__(self) -> Any:
        """The table for rich's consoles."""
        from rich.box import SIMPLE_HEAD
        from rich.table import Table as RichTable
        from rich.text import Text

        table = RichTable(title=Text(self.title), caption=Text("\n".join(self.notes)), box=SIMPLE_HEAD)
        for column, head in enumerate(self.heads):
            table.add_column(head, justify="left" if column in self.left else "right")
        for row in self.rows:
            table.add_row(*[Text(cell) for cell in row])
        return table

    def _repr_html_(self) -> str:
        heads = "".join(f"<th>{escape(head)}</th>" for head in self.heads)
        body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in self.rows)
        notes = "".join(f"<p>{escape(note)}</p>" for note in self.notes)
        caption = f"<caption>{escape(self.title)}</caption>"
        return f"<table>{caption}<thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>{notes}"


def number(value: float, digits: int = 3) -> str:
    """A number with a few significant digits, as tables show it."""
    return f"{value:.{digits}g}"
