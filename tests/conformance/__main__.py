"""Which of AWS's public NKI kernels run on the emulator, and compute what they should.

    python -m tests.conformance --nki-library DIR --nki-samples DIR --neuron-sdk DIR

The folders are checkouts of aws-neuron/nki-library (branch 2.29_release), aws-neuron/nki-samples and
aws-neuron/aws-neuron-sdk; cases of one that is not given are skipped. The NKI Library's cases need torch, scipy and
pytest; its own suite (`--library-suite`) also pytest-html, pytest-metadata, allpairspy, attrs and filelock. The exit
code is 1 when a case shows a limit of the emulator.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from rich.console import Console

from tests.conformance.case import GENERATIONS, MODES, OPTIONS, VARIABLES, Case, Checkouts, checkouts_of_environment
from tests.conformance.case_lists import CASES, select
from tests.conformance.library_suite import INTEGRATION, CollectionError, SuiteSettings, run_suite, summary
from tests.conformance.outcome import SkippedError
from tests.conformance.report import markdown, result, show, write_json
from tests.conformance.run import Settings, run
from tests.conformance.verdict import Row, Verdict

PAGE_WIDTH = 150  # characters, where the output is no terminal
MOST_PROCESSES = 2
SUITE_TIME_LIMIT = 60.0  # seconds a test


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser(
        prog="python -m tests.conformance", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    given = checkouts_of_environment()
    for checkout, option in OPTIONS.items():
        made.add_argument(
            option,
            dest=checkout,
            metavar="DIR",
            type=_folder,
            default=getattr(given, checkout),
            help=f"default: ${VARIABLES[checkout]}",
        )
    made.add_argument("--only", metavar="GLOB", default="*", help="cases whose name matches")
    made.add_argument("--group", metavar="GLOB", default="*", help="cases whose group matches, as in 'library/*'")
    made.add_argument("--tier", type=int, choices=(1, 2, 3), default=3, help="1: seconds a case, 2: up to a minute")
    made.add_argument("--list", action="store_true", help="list the cases and stop")
    made.add_argument("--one-core", action="store_true", help="run launches on two cores on one, to look behind them")
    made.add_argument("--mode", choices=MODES, default=MODES[0], help="reference: nki.simulate; compiled: the kernel")
    made.add_argument("--time-limit", type=_seconds, metavar="S", help="seconds a case, instead of each case's own")
    made.add_argument("--processes", type=int, choices=range(1, MOST_PROCESSES + 1), default=1, help="at a time")
    made.add_argument(
        "--library-suite", action="store_true", help="run the NKI Library's own pytest suite instead of the cases"
    )
    made.add_argument("--every", type=_count, metavar="N", default=1, help="of the suite, each N-th set of parameters")
    made.add_argument("--suite-tests", metavar="PATH", default=INTEGRATION, help="of the suite, this folder or file")
    made.add_argument("--suite-platform", choices=GENERATIONS, default="trn2", help="the platform it is asked for")
    made.add_argument("--json", metavar="FILE", help="write settings, totals and every case")
    made.add_argument("--markdown", metavar="FILE", help="write the table")
    return made


def _folder(text: str) -> str:
    if text and not Path(text).is_dir():
        raise argparse.ArgumentTypeError(f"{text} is no folder")
    return text


def _seconds(text: str) -> float:
    seconds = float(text)
    if seconds <= 0:
        raise argparse.ArgumentTypeError(f"{text}: more than 0")
    return seconds


def _count(text: str) -> int:
    count = int(text)
    if count < 1:
        raise argparse.ArgumentTypeError(f"{text}: at least 1")
    return count


def settings(options: argparse.Namespace) -> Settings:
    """What the options say of a run."""
    return Settings(
        checkouts=Checkouts(**{checkout: getattr(options, checkout) for checkout in VARIABLES}),
        one_core=options.one_core,
        mode=options.mode,
        time_limit=options.time_limit,
        processes=options.processes,
    )


def suite_settings(options: argparse.Namespace) -> SuiteSettings:
    """What the options say of a run of the library's suite."""
    return SuiteSettings(
        checkouts=settings(options).checkouts,
        every=options.every,
        time_limit=options.time_limit or SUITE_TIME_LIMIT,
        platform=options.suite_platform,
        one_core=options.one_core,
        tests=options.suite_tests,
        processes=options.processes,
    )


def listing(cases: list[Case]) -> str:
    """A line per case, and how many there are."""
    lines = [f"{case.group:24} tier {case.tier}  {case.name:44} {case.kernel}" for case in cases]
    return "\n".join([*lines, f"{len(cases)} cases of {len({case.kernel for case in cases})} kernels"])


def write(rows: list[Row], options: argparse.Namespace, seconds: float) -> None:
    """The files that the options name."""
    if options.json:
        chosen = {name: value for name, value in vars(options).items() if name not in VARIABLES}
        write_json(rows, {**chosen, "seconds": round(seconds, 1)}, options.json)
    if options.markdown:
        Path(options.markdown).write_text(markdown(rows))


def main(arguments: list[str]) -> int:
    """Run, print, write; 1 when a case shows a limit of the emulator."""
    options = parser().parse_args(arguments)
    cases = select(CASES, only=options.only, group=options.group, tier=options.tier)
    console = Console(width=None if sys.stdout.isatty() else PAGE_WIDTH)
    if options.list:
        console.print(listing(cases), highlight=False, markup=False, soft_wrap=True)
        return 0
    start = time.perf_counter()
    try:
        rows = run_suite(suite_settings(options), progress) if options.library_suite else _run(cases, options)
    except (CollectionError, SkippedError) as error:
        parser().error(f"--library-suite: {error}")
    show(rows, console)
    if options.library_suite:
        console.print(summary(rows), highlight=False, markup=False, soft_wrap=True)
    write(rows, options, time.perf_counter() - start)
    return int(any(row.verdict is Verdict.OURS for row in rows))


def _run(cases: list[Case], options: argparse.Namespace) -> list[Row]:
    return run(cases, settings(options), progress)


def progress(row: Row) -> None:
    """A line on standard error for a case that ended."""
    Console(stderr=True).print(f"{row.case.name}: {result(row)}", markup=False, highlight=False, soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
