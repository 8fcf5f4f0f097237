"""What exceptions mean, and what outcomes mean for the emulator."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import pytest

from tests.conformance.case import Subject
from tests.conformance.outcome import (
    LONGEST_MESSAGE,
    MismatchError,
    NeedsCollectivesError,
    Outcome,
    SkippedError,
    Status,
    TimeLimitError,
    classify,
    first_line,
    outcome_of,
)
from tests.conformance.report import as_data, markdown
from tests.conformance.verdict import Row, Verdict, in_words, totals
from trnlab.emulator.errors import NotYetSupportedError, Violation


def not_yet(subject: str, operand: str = "") -> NotYetSupportedError:
    return NotYetSupportedError(Violation(subject=subject, operand=operand, found="a call", allowed="nothing"))


def raised(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as caught:  # noqa: BLE001  (what the driver does)
        return caught


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (not_yet("nki.jit", "lnc"), Status.TWO_CORES),
        (not_yet("nisa.sendrecv"), Status.TWO_CORES),
        (not_yet("nisa.core_barrier"), Status.TWO_CORES),
        (not_yet("nki.collectives.all_reduce"), Status.COLLECTIVES),
        (not_yet("nisa.something"), Status.ERROR),
        (not_yet("nki.jit", "mode"), Status.ERROR),
        (NeedsCollectivesError("16 devices"), Status.COLLECTIVES),
        (SkippedError("no checkout"), Status.SKIPPED),
        (MismatchError("off"), Status.WRONG),
        (AssertionError("off"), Status.ERROR),
        (SystemExit(1), Status.ERROR),
        (TimeLimitError("longer than 1 s"), Status.TIME_LIMIT),
    ],
)
def test_classify(error: BaseException, status: Status) -> None:
    assert classify(error) is status
    wrapped = RuntimeError("wrapped")
    wrapped.__cause__ = error
    assert classify(wrapped) is status


def test_a_chain_that_bites_its_tail_ends() -> None:
    first, second = ValueError("a"), ValueError("b")
    first.__context__, second.__context__ = second, first
    assert classify(first) is Status.ERROR


def test_outcomes_survive_json() -> None:
    error = raised(MismatchError("out: off"))
    outcome = outcome_of(error, stage="comparison", cores=2, forced=True, errors={"out": 0.5}, seconds=1.234)
    assert outcome == Outcome.from_data(json.loads(json.dumps(asdict(outcome))))
    assert (outcome.status, outcome.message, outcome.seconds) == (Status.WRONG, "out: off", 1.23)
    assert outcome.frames[-1].startswith("test_outcome.py:")
    assert outcome.frames[-1].endswith(" raised")


def test_messages_are_short() -> None:
    assert first_line(ValueError("one\ntwo")) == "ValueError: one"
    assert first_line(ValueError()) == "ValueError: "
    assert len(first_line(ValueError("x" * 1000))) == LONGEST_MESSAGE
    assert len(outcome_of(raised(MismatchError("x" * 1000))).message) == LONGEST_MESSAGE


THEIRS = "fault of theirs: typo"


def row(status: Status, *, known: str = "", symptom: str = "", **more: Any) -> Row:
    subject = Subject(name="n", group="g", kernel="library:k", known=known, symptom=symptom)
    return Row(subject, Outcome(status=status, **more))


@pytest.mark.parametrize(
    ("made", "verdict", "why"),
    [
        (row(Status.PASSED), Verdict.PASSED, ""),
        (row(Status.PASSED, forced=True), Verdict.PASSED, ""),
        (row(Status.WRONG, message="off"), Verdict.OURS, "limit of ours: wrong: off"),
        (row(Status.TIME_LIMIT, message="longer than 1 s"), Verdict.OURS, "limit of ours: time limit: longer than 1 s"),
        (
            row(Status.WRONG, message="off", forced=True),
            Verdict.TWO_CORES,
            "needs two cores: forced to one core, wrong: off",
        ),
        (row(Status.TWO_CORES, message="long"), Verdict.TWO_CORES, "needs two cores"),
        (row(Status.COLLECTIVES), Verdict.COLLECTIVES, "needs collectives"),
        (row(Status.WRONG, known="typo"), Verdict.THEIRS, "fault of theirs: typo"),
        (row(Status.ERROR, known="typo", forced=True), Verdict.THEIRS, "fault of theirs: typo"),
        (row(Status.WRONG, known="typo", symptom="NameError", message="NameError: x"), Verdict.THEIRS, THEIRS),
        (
            row(Status.WRONG, known="typo", symptom="NameError", message="off"),
            Verdict.OURS,
            "limit of ours: wrong: off",
        ),
        (row(Status.TWO_CORES, known="typo"), Verdict.TWO_CORES, "needs two cores"),
        (row(Status.PASSED, known="typo"), Verdict.PASSED, "passed, although: typo"),
        (row(Status.SKIPPED, message="no checkout"), Verdict.SKIPPED, "no checkout"),
    ],
)
def test_verdicts(made: Row, verdict: Verdict, why: str) -> None:
    assert (made.verdict, made.why) == (verdict, why)


def test_totals_name_every_verdict() -> None:
    rows = [row(Status.PASSED), row(Status.PASSED), row(Status.ERROR), row(Status.ERROR, known="x")]
    assert totals([]) == dict.fromkeys(Verdict, 0)
    assert in_words(rows) == (
        "4 cases: 2 passed, 0 needs two cores, 0 needs collectives, 1 limit of ours, 1 fault of theirs"
    )
    assert as_data(rows, {"mode": "reference"})["totals"][Verdict.PASSED] == 2
    assert in_words([row(Status.SKIPPED)]).endswith("1 skipped")


def test_markdown_has_a_line_per_case_and_keeps_its_columns() -> None:
    text = markdown([row(Status.ERROR, message="a | b")])
    assert text.splitlines()[-1] == "| library:k | n | limit of ours: error: a \\| b |"
