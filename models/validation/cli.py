"""`trnlab validate`: the models beside what has been measured and published."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from trnlab.emulator.errors import TrnlabError
from trnlab.emulator.program import Program
from trnlab.models.validation.cases import CASES, MeasuredCase
from trnlab.models.validation.fitted import Responses
from trnlab.models.validation.outcome import evaluate, program_of
from trnlab.models.validation.projection_tables import print_validation
from trnlab.models.validation.projections import ProjectionValidation
from trnlab.models.validation.report import as_json, print_refit, print_rows, print_statistics
from trnlab.models.validation.statistics import summarise

validate = typer.Typer(no_args_is_help=True, help="Compare the models with published measurements.")


@validate.callback()
def _group() -> None:
    """Compare the models with published measurements."""


@validate.command()
def timeline(
    nki_library: Annotated[
        Path | None, typer.Option("--nki-library", metavar="DIR", help="A checkout of aws-neuron/nki-library.")
    ] = None,
    only: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Rows whose names begin so.")] = None,
    refit: Annotated[bool, typer.Option(help="Move the fitted constants; leave each source out. Minutes.")] = False,
    as_data: Annotated[bool, typer.Option("--json", help="Print the rows as JSON instead.")] = False,
) -> None:
    """Rebuild published measured kernels, time them, and print signed errors and means."""
    chosen = [case for case in CASES if not only or case.name.startswith(tuple(only))]
    if not chosen:
        raise TrnlabError(
            f"no validation row begins with {' or '.join(only or ())}: {', '.join(c.name for c in CASES)}"
        )
    missing = [case.name for case in chosen if isinstance(case.kernel, str) and nki_library is None]
    with redirect_stdout(sys.stderr):  # the library's kernels print warnings
        traced = [(case, program_of(case, nki_library)) for case in chosen if case.name not in missing]
    _report(traced, missing, refit=refit, as_data=as_data)


def _report(traced: list[tuple[MeasuredCase, Program]], missing: list[str], *, refit: bool, as_data: bool) -> None:
    outcomes = [evaluate(case, program) for case, program in traced]
    statistics = summarise(outcomes)
    responses = Responses.of([row for row in traced if row[0].counted]) if refit else None
    left_out = () if responses is None else responses.leave_one_out()
    if as_data:
        sys.stdout.write(as_json(outcomes, statistics, missing, responses, left_out) + "\n")
        return
    console = Console()
    print_rows(outcomes, console)
    print_statistics(statistics, missing, console)
    if responses is not None:
        print_refit(responses, left_out, console)


@validate.command()
def projections(
    gemm: Annotated[
        Path | None, typer.Option("--gemm", metavar="DIR", help="Your copy of the public Trainium3 GEMM profiles.")
    ] = None,
    as_data: Annotated[bool, typer.Option("--json", help="Print the rows as JSON instead.")] = False,
) -> None:
    """Published end-to-end rows and cross-checks beside ours, with signed errors, fitted constants and means."""
    found = ProjectionValidation.make(gemm)
    if as_data:
        sys.stdout.write(found.to_json() + "\n")
    else:
        print_validation(found, Console())
