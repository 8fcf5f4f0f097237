"""Lines with a path: whole on any width, and no name in them is markup."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from trnlab.models.terminal import print_line, print_written


@pytest.mark.parametrize("width", [20, 80])
@pytest.mark.parametrize("folder", ["a", "my-[red]folder[/red]", "a folder/" * 20, "x" * 200])
def test_a_path_stays_on_its_line(width: int, folder: str) -> None:
    path = Path("/", folder, "table.json")
    out = io.StringIO()
    print_written(path, Console(file=out, width=width))
    assert out.getvalue() == f"written: {path}\n"


def test_a_line_keeps_its_words_as_they_are() -> None:
    out = io.StringIO()
    print_line("block_k=[1, 2] refused: [bold] 12 bytes", Console(file=out, width=10))
    assert out.getvalue() == "block_k=[1, 2] refused: [bold] 12 bytes\n"
