"""Speed and memory of the emulator on this machine: `make bench`, or `python -m tests.bench` with options.

Every time is a median; a kernel and what it is set against run in turn, in one process. The exit code is 1 when a case
failed; a target that is not met only shows in the table.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from tests.bench.comparisons import interpreter_cases, library_case, unfoldable_case, xla_cases
from tests.bench.figures import fold_cases, reference_cases, timeline_cases, tracing_cases
from tests.bench.launches import FULL, SMALL, Sizes
from tests.bench.library import FOLDER_VARIABLE
from tests.bench.memory import memory_cases
from tests.bench.quantizers import quantize_cases
from tests.bench.rows import FAILED, Case, as_data, machine, report

REPEATS = 9
PAGE_WIDTH = 150  # characters, where the output is no terminal
Section = Callable[[Sizes, argparse.Namespace], list[Case]]
SECTIONS: dict[str, Section] = {
    "xla": lambda sizes, options: xla_cases(sizes, options.repeats),
    "interpreters": lambda sizes, _: interpreter_cases(sizes),
    "library": lambda sizes, options: [library_case(sizes.library_tokens, options.nki_library)],
    "unfoldable": lambda sizes, _: [unfoldable_case(sizes.unfoldable)],
    "tracing": lambda sizes, _: tracing_cases(sizes),
    "fold": lambda sizes, _: fold_cases(sizes),
    "reference": lambda sizes, _: reference_cases(sizes),
    "timeline": lambda sizes, _: timeline_cases(sizes),
    "memory": lambda sizes, _: memory_cases(sizes),
    # Last, for it changes how malloc works.
    "quantize": lambda sizes, options: quantize_cases(sizes, options.repeats),
}


def parse(arguments: list[str]) -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--json", metavar="FILE", help="write the machine and every row, with all repeats, as JSON")
    parser.add_argument("--small", action="store_true", help="small shapes, in seconds: says whether the bench works")
    parser.add_argument(
        "--only",
        nargs="+",
        choices=SECTIONS,
        default=list(SECTIONS),
        metavar="SECTION",
        help=f"sections to run: {', '.join(SECTIONS)}",
    )
    parser.add_argument("--repeats", type=int, default=REPEATS, help=f"pairs of warm runs (default {REPEATS})")
    parser.add_argument(
        "--nki-library",
        metavar="DIR",
        default=os.environ.get(FOLDER_VARIABLE, ""),
        help=f"checkout of aws-neuron/nki-library, branch 2.29_release (default ${FOLDER_VARIABLE})",
    )
    options = parser.parse_args(arguments)
    if options.repeats < 1:
        parser.error("--repeats: at least 1")
    return options


def main(arguments: list[str]) -> int:
    """Measure, print, write; 1 when a case failed."""
    options = parse(arguments)
    where, sizes, rows = machine(), SMALL if options.small else FULL, []
    progress = Console(stderr=True)
    for section in options.only:
        for case in SECTIONS[section](sizes, options):
            progress.print(f"{section}: {case.plan.case}", highlight=False)
            rows.append(case.row())
    report(rows, where, Console(width=None if sys.stdout.isatty() else PAGE_WIDTH))
    if options.small:
        progress.print("Small shapes: the targets are for the full ones.")
    if options.json:
        Path(options.json).write_text(json.dumps({"machine": where, "rows": [as_data(row) for row in rows]}, indent=2))
    return int(any(row.problem.startswith(FAILED) for row in rows))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
