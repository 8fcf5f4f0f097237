"""The `trnlab` command: demo, run, claims, isa, dtypes, quantize."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from trnlab.emulator.errors import TrnlabError
from trnlab.emulator.instruction_pages import ALL_TARGETS, as_json, page_of, pages
from trnlab.emulator.script import run_script
from trnlab.emulator.target import get_target
from trnlab.models import demo as demo_
from trnlab.models.chips_command import show_chips
from trnlab.models.claims_command import claims
from trnlab.models.demo_report import render
from trnlab.models.files import write_text
from trnlab.models.format_command import show_formats
from trnlab.models.instruction_tables import print_page, print_table
from trnlab.models.profile.cli import profile
from trnlab.models.projection.commands import llm
from trnlab.models.projection.training_command import train
from trnlab.models.quantize_command import quantize
from trnlab.models.report.command import report
from trnlab.models.roofline_command import roofline
from trnlab.models.sweep.commands import run_sweep
from trnlab.models.terminal import print_written
from trnlab.models.tune_command import tune_kernel
from trnlab.models.validation.cli import validate

app = typer.Typer(
    name="trnlab",
    no_args_is_help=True,
    add_completion=False,
    help="An emulated Trainium kernel lab: run NKI kernels on this machine, and see what they would cost.",
    pretty_exceptions_enable=False,
)
USAGE_ERROR = 2
COLUMNS = (SpinnerColumn(), BarColumn(bar_width=20), TimeElapsedColumn(), TextColumn("{task.description}"))

JsonFile = Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Also write the table as data.")]


@app.command()
def demo(json_file: JsonFile = None) -> None:
    """Run an MX matmul and flash attention at gpt-oss shapes, and show accuracy and projected performance."""
    if json_file is not None and not json_file.absolute().parent.is_dir():
        raise TrnlabError(f"cannot write {json_file}: no such folder")
    console = Console()
    with Progress(*COLUMNS, console=console, transient=True) as progress:
        task = progress.add_task("", total=demo_.steps())
        report = demo_.run_demo(lambda message: progress.update(task, description=message, advance=1))
    render(report, console)
    if json_file is not None:
        write_text(json_file, report.to_json())
        print_written(json_file, console)


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "allow_interspersed_args": False}
)
def run(
    script: Annotated[str, typer.Argument(metavar="SCRIPT", help="A Python script that uses nki.")],
    args: Annotated[list[str] | None, typer.Argument(metavar="[ARGS]...", help="Its arguments.")] = None,
    target: Annotated[
        str | None, typer.Option(help="trn1, trn2, trn3 or trn4; default: the environment's, else trn3.")
    ] = None,
) -> None:
    """Run a script that knows nothing of trnlab, with `import nki` resolved to the emulator."""
    if not Path(script).is_file():
        raise TrnlabError(f"no script at {script}")
    if target is not None:
        get_target(target)
    raise typer.Exit(run_script(script, args or [], target=target))


@app.command()
def isa(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="One instruction, in full.")] = None,
    target: Annotated[str | None, typer.Option(help="trn1, trn2, trn3 or trn4; default: all of them.")] = None,
    as_data: Annotated[bool, typer.Option("--json", help="Print the pages as JSON instead.")] = False,
) -> None:
    """The instructions: engines, operands, limits and costs, each with its source."""
    targets = ALL_TARGETS if target is None else (get_target(target),)
    found = pages(targets) if name is None else page_of(name, targets)
    if as_data:
        sys.stdout.write(as_json(found) + "\n")
    elif isinstance(found, tuple):
        print_table(found, targets, Console())
    else:
        print_page(found, Console())


app.command("dtypes")(show_formats)
app.command()(quantize)
app.command("chips")(show_chips)
app.command()(claims)
app.command()(roofline)
app.command()(profile)
app.add_typer(validate, name="validate")
app.command()(llm)
app.command()(train)
app.command("sweep")(run_sweep)
app.command("tune")(tune_kernel)
app.command()(report)


def main() -> None:
    """Entry point of the console script: trnlab's own errors are one message and exit code 2."""
    try:
        app()
    except TrnlabError as error:
        sys.stderr.write(f"trnlab: {error}\n")
        sys.exit(USAGE_ERROR)


if __name__ == "__main__":
    main()
