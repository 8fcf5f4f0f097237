"""A claim as a test: the statement, the things it could mean, what each gives, and a verdict.

Verdicts
    reproduced               published figures give the claimed number at the digits it was announced with
    close                    they come within 5 %
    explained                a model with assumptions gives it at stated operating points; nobody said that it was those
    not reproduced           neither
    input of the projection  the number is the projection's own assumption, so agreement proves nothing
    not testable             something that was not published is needed; what is shown holds under assumptions
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

from trnlab.models.frames import html_table
from trnlab.models.quantity import ModelError, Quantity
from trnlab.models.spec_sheet import quantity_dict

Verdict = Literal["reproduced", "close", "explained", "not reproduced", "input of the projection", "not testable"]
Kind = Literal["arithmetic", "model", "input", "untestable"]
KINDS: Final[tuple[Kind, ...]] = ("arithmetic", "model", "input", "untestable")

CLOSE_PERCENT: Final = 5.0
COLUMNS: Final = ("claim", "claimed", "could mean", "model", "error", "verdict")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One thing that a claim could mean, and what comes of it. computed: None when nothing here can compute it."""

    meaning: str
    computed: Quantity | None

    def error_percent(self, claimed: Quantity) -> float | None:
        """100 x (computed - claimed) / claimed, None when nothing is computed."""
        return None if self.computed is None else 100 * (self.computed.value / claimed.value - 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatingPoint:
    """A serving point at which a claim holds: the projection's layer, running requests, and tokens of the prompt."""

    layer: str
    batch: float
    prompt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One announced statement.

    kind: "arithmetic" on published figures; "model" of serving; "input" of the projection; "untestable".
    readings: what it could mean, the plainest first; the verdict of "arithmetic" is that of the first.
    digits: decimals with which the number was announced, which is all the precision it claims. at_least: announced as
    a lower bound. scale: the unit step in which it was announced, such as 1e15 for PFLOP/s.
    points: where a model gives exactly the claimed number. measure: what of the speed-up map it speaks of, "" for none.

    Raises:
        ModelError: no reading, an unknown kind, or a reading in another unit than the claim.
    """

    statement: str
    source: str
    claimed: Quantity
    readings: tuple[Reading, ...]
    kind: Kind = "arithmetic"
    digits: int = 0
    scale: float = 1.0
    at_least: bool = False
    points: tuple[OperatingPoint, ...] = ()
    measure: Literal["", "throughput", "latency"] = ""
    note: str = ""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ModelError(f"kind of {self.statement!r}", self.kind, ", ".join(KINDS))
        if not self.readings:
            raise ModelError(f"readings of {self.statement!r}", 0, "at least one")
        for reading in self.readings:
            if reading.computed is not None and reading.computed.unit != self.claimed.unit:
                raise ModelError(f"unit computed for {self.statement!r}", reading.computed.unit, self.claimed.unit)

    @property
    def computed(self) -> Quantity | None:
        """What the first reading gives."""
        return self.readings[0].computed

    @property
    def error_percent(self) -> float | None:
        """The first reading's error."""
        return self.readings[0].error_percent(self.claimed)

    @property
    def verdict(self) -> Verdict:
        """How what is computed stands to what is claimed."""
        if self.kind == "input":
            return "input of the projection"
        if self.kind == "untestable" or self.computed is None or self.error_percent is None:
            return "not testable"
        if self.kind == "model":
            return "explained" if self.points else "not reproduced"
        computed, claimed = (round(q.value / self.scale, self.digits) for q in (self.computed, self.claimed))
        if abs(self.error_percent) > CLOSE_PERCENT:
            return "not reproduced"
        return "reproduced" if computed == claimed or (self.at_least and computed > claimed) else "close"

    def rows(self) -> tuple[tuple[str, ...], ...]:
        """The cells of `COLUMNS` as text, one row a reading; what belongs to the claim stands in the first."""
        found = []
        for number, reading in enumerate(self.readings):
            error = reading.error_percent(self.claimed)
            computed = "not computed" if reading.computed is None else text_of(reading.computed, ".4")
            own = (self.statement, text_of(self.claimed, ".4v")) if number == 0 else ("", "")
            verdict = self.verdict if number == 0 else ""
            found.append((*own, reading.meaning, computed, "" if error is None else f"{error:+.1f} %", verdict))
        return tuple(found)

    def _repr_html_(self) -> str:
        """The claim and its readings, for notebooks."""
        return html_table(f"{self.statement} ({self.source})", COLUMNS[1:], [row[1:] for row in self.rows()])

    def as_dict(self) -> dict[str, Any]:
        """The claim as JSON-ready data, numbers unrounded."""
        return {
            "statement": self.statement,
            "source": self.source,
            "claimed": quantity_dict(self.claimed),
            "at_least": self.at_least,
            "verdict": self.verdict,
            "readings": [
                {
                    "meaning": reading.meaning,
                    "computed": None if reading.computed is None else quantity_dict(reading.computed),
                    "error_percent": reading.error_percent(self.claimed),
                }
                for reading in self.readings
            ],
            "operating_points": [
                {"layer": point.layer, "batch": point.batch, "prompt": point.prompt} for point in self.points
            ],
            "note": self.note,
        }


def text_of(quantity: Quantity, spec: str) -> str:
    """The formatted quantity; a ratio is written with a times sign, "1.938x"."""
    number, blank, rest = format(quantity, spec).partition(" ")
    return number + ("x" if quantity.unit == "" else "") + blank + rest
