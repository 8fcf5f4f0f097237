"""`trnlab report`: one interactive page, pictures, Markdown and data in a folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from trnlab.emulator.errors import TrnlabError
from trnlab.models.files import write_whole
from trnlab.models.report.contents import STEPS, Contents, gather
from trnlab.models.report.page import plotly_script, report_markdown, report_page
from trnlab.models.report.pictures import ENDINGS, pictures, save
from trnlab.models.report.scenario import Scenario
from trnlab.models.terminal import print_written

_COLUMNS = (SpinnerColumn(), BarColumn(bar_width=20), TimeElapsedColumn(), TextColumn("{task.description}"))
PICTURES = 8
"""Pictures that a report draws, each in every ending."""


def report(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the page, pictures, Markdown and data.")],
    model: Annotated[
        str, typer.Option(help="A known model, or the path of a Hugging Face config.json.")
    ] = "gpt-oss-120b",
    batch: Annotated[int, typer.Option(min=1, help="Requests running at the operating point.")] = 64,
    context: Annotated[int, typer.Option(min=1, help="Tokens of a prompt at the operating point.")] = 8192,
    as_data: Annotated[bool, typer.Option("--json", help="Also write everything as report.json.")] = False,
) -> None:
    """Everything about a model on Trainium2, 3 and 4 as one interactive page that works offline, and as pictures."""
    scenario = Scenario.of(model, batch=batch, prompt=context)
    plotly_script()  # refuses before the work where plotly is missing
    _make_folder(out)
    console = Console()
    with Progress(*_COLUMNS, console=console, transient=True) as progress:
        task = progress.add_task("", total=STEPS + PICTURES + 1)

        def tell(message: str) -> None:
            progress.update(task, description=message, advance=1)

        written = write_report(gather(scenario, tell), out, tell, as_data=as_data)
    for path in written:
        print_written(path, console)


def _make_folder(out: Path) -> None:
    try:
        (out / "figures").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TrnlabError(f"cannot write {out}: {error.strerror}") from error


def write_report(
    contents: Contents, out: Path, progress: Callable[[str], None] = lambda message: None, *, as_data: bool = False
) -> list[Path]:
    """Write page, pictures, Markdown and, where asked for, data; every file whole or not at all.

    Raises:
        TrnlabError: a file cannot be written, or plotly or matplotlib is not installed.
    """
    _make_folder(out)
    written, shown = [], []
    for name, (key, draw) in pictures(contents).items():
        progress(f"picture: {name}")
        figure = draw()
        for ending in ENDINGS:
            path = out / "figures" / f"{name}.{ending}"
            write_whole(path, lambda target, figure=figure, ending=ending: save(figure, target, ending))  # type: ignore[misc]
            written.append(path)
        shown.append((key, f"figures/{name}.svg"))
    progress("page")
    texts: dict[str, Callable[[], str]] = {
        "report.html": lambda: report_page(contents),
        "report.md": lambda: report_markdown(contents, shown),
    }
    if as_data:
        texts["report.json"] = contents.to_json
    for name, make in texts.items():
        _write_text(out / name, make())
        written.append(out / name)
    return written


def _write_text(path: Path, text: str) -> None:
    def write(target: Path) -> None:
        target.write_text(text, encoding="utf-8")

    write_whole(path, write)
