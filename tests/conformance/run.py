"""Runs cases in child processes, one per group, and gathers their rows."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass

from tests.conformance.case import Case, Checkouts
from tests.conformance.supervision import supervise
from tests.conformance.verdict import Row

WORKER = "tests.conformance.worker"
LISTS = "tests.conformance.case_lists"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How cases run.

    time_limit: seconds for every case, or None for each case's own
    processes:  children at a time
    cases:      the module whose CASES the children look names up in
    """

    checkouts: Checkouts
    one_core: bool = False
    mode: str = "reference"
    time_limit: float | None = None
    processes: int = 1
    cases: str = LISTS


def run(cases: Sequence[Case], settings: Settings, note: Callable[[Row], None] = lambda _: None) -> list[Row]:
    """The rows of the cases, in their order; `note` is told of each as it ends."""
    groups = {case.group: [other for other in cases if other.group == case.group] for case in cases}
    rows: dict[str, Row] = {}
    with ThreadPoolExecutor(settings.processes) as pool:
        for done in as_completed([pool.submit(_gather, group, settings, note) for group in groups.values()]):
            rows.update(done.result())
    return [rows[case.name] for case in cases]


def _gather(group: Sequence[Case], settings: Settings, note: Callable[[Row], None]) -> dict[str, Row]:
    rows = {}
    for row in _rows(group, settings):
        rows[row.case.name] = row
        note(row)
    return rows


def _rows(group: Sequence[Case], settings: Settings) -> Iterator[Row]:
    by_name = {case.name: case for case in group}
    limits = {case.name: settings.time_limit or case.limit for case in group}
    request = {
        "cases": settings.cases,
        "checkouts": asdict(settings.checkouts),
        "one_core": settings.one_core,
        "mode": settings.mode,
    }
    for name, outcome in supervise([sys.executable, "-m", WORKER], limits, request):
        yield Row(by_name[name], outcome)
