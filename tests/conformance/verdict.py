"""What a case's outcome says of the emulator: passed, apart, a limit of ours, or a fault of theirs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from tests.conformance.case import Subject
from tests.conformance.outcome import FAILED, Outcome, Status


class Verdict(StrEnum):
    """The columns of the totals."""

    PASSED = "passed"
    TWO_CORES = "needs two cores"
    COLLECTIVES = "needs collectives"
    OURS = "limit of ours"
    THEIRS = "fault of theirs"
    SKIPPED = "skipped"


DIRECT = {
    Status.PASSED: Verdict.PASSED,
    Status.TWO_CORES: Verdict.TWO_CORES,
    Status.COLLECTIVES: Verdict.COLLECTIVES,
    Status.SKIPPED: Verdict.SKIPPED,
}


@dataclass(frozen=True)
class Row:
    """A case and how it ended."""

    case: Subject
    outcome: Outcome

    @property
    def verdict(self) -> Verdict:
        """Where it counts: a launch for two cores that fails when it is forced to one still needs two."""
        if self.outcome.status not in FAILED:
            return DIRECT[self.outcome.status]
        if self.case.known and self.case.symptom in self.outcome.message:
            return Verdict.THEIRS
        return Verdict.TWO_CORES if self.outcome.forced else Verdict.OURS

    @property
    def why(self) -> str:
        """Why it did not pass, in one line."""
        if self.verdict is Verdict.PASSED:
            return f"{self.verdict}, although: {self.case.known}" if self.case.known else ""
        if self.verdict is Verdict.SKIPPED:
            return self.outcome.message
        if self.verdict is Verdict.THEIRS:
            return f"{self.verdict}: {self.case.known}"
        said = f"{self.outcome.status}: {self.outcome.message}" if self.outcome.status in FAILED else ""
        forced = "forced to one core, " if self.outcome.forced and said else ""
        return f"{self.verdict}: {forced}{said}".rstrip(": ")

    def as_data(self) -> dict[str, Any]:
        """The row for JSON."""
        case = self.case
        named = {"case": case.name, "kernel": case.kernel, "group": case.group, "generation": case.generation}
        return {**named, "verdict": str(self.verdict), "why": self.why, "known": case.known, **asdict(self.outcome)}


def totals(rows: Iterable[Row]) -> dict[Verdict, int]:
    """How many rows have each verdict, all verdicts included, in their order."""
    counted = Counter(row.verdict for row in rows)
    return {verdict: counted[verdict] for verdict in Verdict}


def in_words(rows: Sequence[Row]) -> str:
    """The totals as a sentence; "skipped" only where there are any."""
    shown = {verdict: count for verdict, count in totals(rows).items() if count or verdict is not Verdict.SKIPPED}
    return f"{len(rows)} cases: " + ", ".join(f"{count} {verdict}" for verdict, count in shown.items())
