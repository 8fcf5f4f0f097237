"""What commands print alike, whatever the terminal."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.text import Text


def print_line(text: str, console: Console, style: str = "") -> None:
    """One line, which no width breaks and whose brackets are no markup: for what holds a path or a user's own words."""
    console.print(Text(text, style=style), soft_wrap=True)


def print_written(path: Path, console: Console) -> None:
    """Say that the file was written."""
    print_line(f"written: {path}", console, style="dim")
