"""What the bench says: medians, ratios, targets, and which cases could not be measured."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from rich.console import Console

from tests.bench.rows import Case, Comparison, Figure, Row, SkippedError, as_data, machine, report, seconds_text

TIMES = {"cold": [3.0, 0.5, 1.0], "warm": [0.2, 0.3, 0.9], "peer": [0.1, 0.7, 0.2]}


@pytest.mark.parametrize(
    ("ratio_target", "cold_target", "met"),
    [
        (None, None, ""),
        (1.5, None, "yes"),  # medians 0.3 and 0.2
        (1.4, None, "NO"),
        (None, 1.0, "yes"),
        (None, 0.9, "NO"),
        (1.5, 0.9, "NO"),
        (1.5, 1.0, "yes"),
    ],
)
def test_a_comparison_meets_all_of_its_targets(ratio_target: float | None, cold_target: float | None, met: str) -> None:
    row = Comparison(case="x", **TIMES, ratio_target=ratio_target, cold_target=cold_target)
    assert row.ratio == pytest.approx(1.5)
    assert row.met == met


def test_a_comparison_without_times_meets_nothing() -> None:
    row = Comparison(case="x", ratio_target=1.0, cold_target=1.0)
    assert row.ratio is None
    assert row.met == ""


@pytest.mark.parametrize(
    ("value", "at_least", "met"), [(2.0, False, "yes"), (2.1, False, "NO"), (2.0, True, "yes"), (1.9, True, "NO")]
)
def test_a_figure_is_at_most_or_at_least_its_target(value: float, at_least: bool, met: str) -> None:
    assert Figure(case="x", value=value, target=2.0, at_least=at_least).met == met


def test_cells() -> None:
    row = Comparison(case="matmul", peer_name="XLA", **TIMES, ratio_target=1.4, cold_target=1.0)
    assert row.cells() == ["matmul", "1 s", "300 ms", "200 ms", "XLA", "1.5x", "≤ 1.4x, cold ≤ 1 s", "NO"]
    figure = Figure(case="rate", value=12_345.6, unit="1/s", target=15_000, at_least=True)
    assert figure.cells() == ["rate", "12,346 1/s", "≥ 15,000 1/s", "NO"]


@pytest.mark.parametrize(
    ("value", "text"), [(0.0123456, "12.3 ms"), (0.9996, "1 s"), (0.9994, "999 ms"), (1.0, "1 s"), (61.26, "61.3 s")]
)
def test_seconds(value: float, text: str) -> None:
    assert seconds_text(value) == text


def fail() -> dict[str, Any]:
    raise ValueError("first line\nsecond line")


def skip() -> dict[str, Any]:
    raise SkippedError("no such thing here")


def test_a_broken_case_is_a_row_and_not_the_end() -> None:
    plan = Figure(case="x", unit="s", target=1.0)
    assert Case(plan, lambda: {"value": 0.5}).row() == Figure(case="x", value=0.5, unit="s", target=1.0)
    assert Case(plan, fail).row().problem == "failed: ValueError: first line"
    assert Case(plan, skip).row().problem == "skipped: no such thing here"


def test_the_report_shows_every_row_and_every_problem() -> None:
    rows: list[Row] = [
        Comparison(case="compared", peer_name="XLA", **TIMES),
        Case(Comparison(case="broken"), fail).row(),
        Case(Figure(case="absent"), skip).row(),
        Figure(case="counted", value=7.0, unit="MiB"),
    ]
    file = io.StringIO()
    report(rows, machine(), Console(width=150, file=file))
    text = file.getvalue()
    for part in (
        "compared",
        "300 ms",
        "1.5x",
        "7 MiB",
        "broken: failed: ValueError: first line",
        "absent: skipped: no",
    ):
        assert part in text


def test_rows_as_data_keep_every_repeat() -> None:
    data = json.loads(json.dumps(as_data(Comparison(case="x", **TIMES, ratio_target=2.0))))
    assert data["kind"] == "comparison"
    assert data["warm"] == TIMES["warm"]
    assert data["ratio"] == pytest.approx(1.5)
    assert data["met"] == "yes"


def test_the_machine_is_named() -> None:
    where = machine()
    assert where["cores"] >= 1
    assert {"trnlab", "jax", "numpy"} <= where["libraries"].keys()
    assert where["processor"]
