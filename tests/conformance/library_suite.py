"""The NKI Library's own pytest suite on the emulator: which tests there are, which are run, and how they end.

Run are the suite's quick positive tests: marked `fast`, launching a kernel in simulation (not `trace_only`), and not
among those that the suite itself leaves out in simulation for their size. Of each test function every n-th remaining
parametrisation is taken, from the first, in the order of collection.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from tests.conformance.case import Checkouts, Subject
from tests.conformance.cases_library_microscaling import NAMED_TYPES
from tests.conformance.outcome import FAILED, Status
from tests.conformance.supervision import child, supervise
from tests.conformance.verdict import Row, Verdict

WORKER = (sys.executable, "-m", "tests.conformance.library_suite_worker")
MARKS = "fast and not trace_only"
INTEGRATION = "test/integration"
COLLECTION_LIMIT = 900.0  # seconds; a minute on a quiet machine
GRACE = 30.0  # seconds past the limit that a test has to notice it, before its process is ended
NUMBER = re.compile(r"\b\d+\b")
LONGEST_REASON = 140  # characters
KNOWN = {"Unsupported out_x4_dtype": NAMED_TYPES}
"""Why a test cannot pass where the fault is not the emulator's, by what its message contains."""


class CollectionError(Exception):
    """The suite could not be collected; the message is the child's last words."""


@dataclass(frozen=True, kw_only=True)
class SuiteSettings:
    """How the suite runs.

    every:      take each n-th parametrisation of a test function
    time_limit: seconds for a test
    tests:      folder or file below the library
    """

    checkouts: Checkouts
    every: int = 1
    time_limit: float = 60.0
    platform: str = "trn2"
    one_core: bool = False
    tests: str = INTEGRATION
    processes: int = 1

    def request(self, **more: Any) -> dict[str, Any]:
        """What every child is told."""
        return {
            "library": str(self.checkouts.folder("library")),
            "marks": MARKS,
            "platform": self.platform,
            "tests": self.tests,
            "limit": self.time_limit,
            "one_core": self.one_core,
            "jobs": None,
            **more,
        }


def collect(settings: SuiteSettings) -> list[str]:
    """Node ids of the tests that fit a simulation; raises CollectionError."""
    with child(WORKER, settings.request()) as running:
        for event in running.events({}, COLLECTION_LIMIT):
            if event["event"] == "collected":
                return [test["id"] for test in event["tests"] if not test["too_large"]]
            if event["event"] == "late":
                raise CollectionError(f"not collected within {COLLECTION_LIMIT:g} s")
        raise CollectionError(running.last_words())


def function_of(test: str) -> str:
    """The node id without its parametrisation."""
    return test.partition("[")[0]


def sample(tests: Sequence[str], every: int) -> list[str]:
    """Every n-th parametrisation of each test function, from the first."""
    return [test for _, group in groupby(tests, key=function_of) for test in list(group)[::every]]


def file_of(test: str) -> str:
    """The file of a node id."""
    return test.partition("::")[0]


def run_suite(settings: SuiteSettings, note: Callable[[Row], None] = lambda _: None) -> list[Row]:
    """The rows of the sampled tests, in the order of collection."""
    tests = sample(collect(settings), settings.every)
    files = [list(group) for _, group in groupby(tests, key=file_of)]
    with ThreadPoolExecutor(settings.processes) as pool:
        return [row for rows in pool.map(lambda file: _run_file(file, settings, note), files) for row in rows]


def _run_file(tests: list[str], settings: SuiteSettings, note: Callable[[Row], None]) -> list[Row]:
    rows = []
    for row in _rows(tests, settings):
        rows.append(row)
        note(row)
    return rows


def _rows(tests: list[str], settings: SuiteSettings) -> Iterator[Row]:
    file = file_of(tests[0])
    limits = dict.fromkeys(tests, settings.time_limit + GRACE)
    for name, outcome in supervise(WORKER, limits, settings.request(tests=file), COLLECTION_LIMIT):
        symptom, known = next((known for known in KNOWN.items() if known[0] in outcome.message), ("", ""))
        group = f"suite/{file.rpartition('/')[2].removesuffix('.py').removeprefix('test_')}"
        yield Row(
            Subject(
                name=name,
                group=group,
                kernel=f"library:{group}",
                generation=settings.platform,
                known=known,
                symptom=symptom,
            ),
            outcome,
        )


def eligible(row: Row) -> bool:
    """Whether a test is of the kind that one emulated core has to pass: positive, one core, within the time limit."""
    return row.verdict in (Verdict.PASSED, Verdict.OURS) and row.outcome.status is not Status.TIME_LIMIT


def summary(rows: Sequence[Row]) -> str:
    """The figures, and how often each failure occurs."""
    kind = [row for row in rows if eligible(row)]
    passed = sum(row.verdict is Verdict.PASSED for row in kind)
    share = f" ({passed / len(kind):.0%})" if kind else ""
    apart = Counter(reason(row) for row in rows if not eligible(row))
    failures = Counter(reason(row) for row in kind if row.outcome.status in FAILED)
    lines = [f"{len(rows)} tests: {passed} passed of {len(kind)}{share} that need one core and fit the time limit"]
    lines += [f"  apart {count:5}  {why}" for why, count in apart.most_common()]
    lines += [f"  failed {count:4}  {why}" for why, count in failures.most_common()]
    return "\n".join(lines)


def reason(row: Row) -> str:
    """Why a test did not pass, without the numbers that differ between tests of one kind."""
    if row.verdict in (Verdict.TWO_CORES, Verdict.COLLECTIVES):
        return str(row.verdict)
    said = NUMBER.sub("n", row.outcome.message)[:LONGEST_REASON]
    if row.outcome.status is Status.TIME_LIMIT:
        return f"{said}, at the stage: {row.outcome.stage or 'unknown'}"
    return said if row.verdict is Verdict.SKIPPED else f"{row.verdict}: {row.outcome.status}: {said}"
