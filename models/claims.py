"""What was announced about Trainium3 and Trainium4, beside what the published figures or our projection give.

A claim is a test: each row has the statement, its source, the claimed number, the computed one and a verdict. A claim
that needs a model of serving is listed and not answered.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final, Literal

from trnlab.emulator.target.facts import KEYNOTE, VARIANTS
from trnlab.models.chips import Chip, get_chip, get_ultraserver
from trnlab.models.quantity import ModelError, Quantity

Verdict = Literal["reproduced", "close", "not reproduced", "input of the projection", "needs a serving model"]

CLOSE_PERCENT: Final = 5.0
COLUMNS: Final = ("claim", "claimed", "computed", "error", "verdict", "note")


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One announced statement.

    digits: decimals with which the number was announced, which is all the precision it claims.
    computed: None when nothing here can compute it. is_input: the computed number is the projection's own assumption,
    central, low or high, made with the claim in view, so neither agreement nor distance proves anything.
    scale: the unit step in which the number was announced, such as 1e15 for PFLOP/s.

    Verdicts: "not reproduced" when the computed value is more than 5 % off, else "reproduced" when it rounds to the
    claimed one at its digits and "close" when not; "input of the projection"; "needs a serving model".

    Raises:
        ModelError: claimed and computed have different units.
    """

    statement: str
    source: str
    claimed: Quantity
    computed: Quantity | None
    digits: int = 0
    scale: float = 1.0
    is_input: bool = False
    note: str = ""

    def __post_init__(self) -> None:
        if self.computed is not None and self.computed.unit != self.claimed.unit:
            raise ModelError(f"unit computed for {self.statement!r}", self.computed.unit, self.claimed.unit)

    @property
    def error_percent(self) -> float | None:
        """100 x (computed - claimed) / claimed, None when nothing is computed."""
        if self.computed is None:
            return None
        return 100 * (self.computed.value - self.claimed.value) / self.claimed.value

    @property
    def verdict(self) -> Verdict:
        """How the computed number stands to the claimed one."""
        if self.computed is None or self.error_percent is None:
            return "needs a serving model"
        if self.is_input:
            return "input of the projection"
        if abs(self.error_percent) > CLOSE_PERCENT:
            return "not reproduced"
        computed, claimed = (round(q.value / self.scale, self.digits) for q in (self.computed, self.claimed))
        return "reproduced" if computed == claimed else "close"

    def row(self) -> tuple[str, ...]:
        """The cells of `COLUMNS` as text."""
        error = "" if self.error_percent is None else f"{self.error_percent:+.1f} %"
        computed = "not computed here yet" if self.computed is None else _text(self.computed, ".4")
        return (self.statement, _text(self.claimed, ".4v"), computed, error, self.verdict, self.note)

    def as_dict(self) -> dict[str, Any]:
        """The row as JSON-ready data, numbers unrounded."""
        return {
            "statement": self.statement,
            "source": self.source,
            "claimed": _as_dict(self.claimed),
            "computed": None if self.computed is None else _as_dict(self.computed),
            "error_percent": self.error_percent,
            "verdict": self.verdict,
            "note": self.note,
        }


def _text(quantity: Quantity, spec: str) -> str:
    """The formatted quantity; a ratio is written with a times sign, "1.938x"."""
    number, blank, rest = format(quantity, spec).partition(" ")
    return number + ("x" if quantity.unit == "" else "") + blank + rest


def _as_dict(quantity: Quantity) -> dict[str, Any]:
    names = ("value", "unit", "source", "klass", "low", "high")
    return {name: getattr(quantity, name) for name in names}


def _times(value: float) -> Quantity:
    return Quantity(value, "", KEYNOTE)


def claims_table() -> tuple[Claim, ...]:
    """Every claim: chip and UltraServer ratios, the Trainium4 announcement by variant, and the unanswered ones."""
    return (*_chip_claims(), *_ultraserver_claims(), *_trainium4_claims(), *_unanswered_claims())


def rows(claims: tuple[Claim, ...] | None = None) -> tuple[tuple[str, ...], ...]:
    """The claims as plain text cells, one tuple of `COLUMNS` each, ready for any table printer."""
    return tuple(claim.row() for claim in (claims_table() if claims is None else claims))


def as_json(claims: tuple[Claim, ...] | None = None, *, indent: int | None = 2) -> str:
    """The claims as a JSON array, values in base units."""
    table = claims_table() if claims is None else claims
    return json.dumps([claim.as_dict() for claim in table], indent=indent, ensure_ascii=False, allow_nan=False)


def _chip_claims() -> tuple[Claim, ...]:
    trn2, trn3 = get_chip("trn2"), get_chip("trn3")
    bf16 = trn3.peak("bf16") / trn2.peak("bf16")
    return (
        Claim(
            statement="Trainium3 has twice the FP8 rate of Trainium2, per chip",
            source=KEYNOTE,
            claimed=_times(2),
            computed=trn3.peak("mxfp8") / trn2.peak("fp8"),
            note=f"MXFP8 against FP8 of the chip pages; BF16 grows by {bf16:.4v} only",
        ),
        Claim(
            statement="Trainium3 has 1.5 times the HBM capacity of Trainium2, per chip",
            source=KEYNOTE,
            claimed=_times(1.5),
            computed=trn3.hbm_bytes / trn2.hbm_bytes,
            digits=1,
        ),
        Claim(
            statement="Trainium3 has 1.7 times the HBM bandwidth of Trainium2, per chip",
            source=KEYNOTE,
            claimed=_times(1.7),
            computed=trn3.hbm_bandwidth / trn2.hbm_bandwidth,
            digits=1,
            note="chip pages; the NKI guides' 4.7 and 3.0 TB/s give 1.57",
        ),
    )


def _ultraserver_claims() -> tuple[Claim, ...]:
    trn2, trn3 = get_ultraserver("trn2"), get_ultraserver("trn3-gen2")
    return (
        Claim(
            statement="a Trn3 Gen2 UltraServer with 144 chips delivers 362 PFLOP/s FP8",
            source=KEYNOTE,
            claimed=Quantity(362e15, "FLOP/s", KEYNOTE),
            computed=trn3.chips_peak("mxfp8"),
            scale=1e15,
            note="144 x the chip page's MXFP8 rate",
        ),
        Claim(
            statement="a Trn3 UltraServer has 4.4 times the compute of a Trn2 UltraServer",
            source=KEYNOTE,
            claimed=_times(4.4),
            computed=trn3.chips_peak("mxfp8") / trn2.peak("fp8"),
            digits=1,
            note="144 chips against 64: 2.25x the chips, 1.94x each",
        ),
        Claim(
            statement="a Trn3 UltraServer has 3.9 times the memory bandwidth of a Trn2 UltraServer",
            source=KEYNOTE,
            claimed=_times(3.9),
            computed=trn3.hbm_bandwidth / trn2.hbm_bandwidth,
            digits=1,
            note="AWS's own UltraServer tables give 3.80; 3.9 would need 724 against 185.6 TB/s",
        ),
    )


def _trainium4_claims() -> tuple[Claim, ...]:
    return tuple(claim for variant in VARIANTS for claim in _variant_claims(get_chip("trn4", variant)))


def _variant_claims(trn4: Chip) -> tuple[Claim, ...]:
    trn3 = get_chip("trn3")
    announced: tuple[tuple[str, float, Quantity], ...] = (
        ("at least 6 times the FP4 rate", 6, trn4.peak("mxfp4") / trn3.peak("mxfp4")),
        ("3 times the FP8 rate", 3, trn4.peak("mxfp8") / trn3.peak("mxfp8")),
        ("4 times the memory bandwidth", 4, trn4.hbm_bandwidth / trn3.hbm_bandwidth),
    )
    central = "announced multiplier, taken as it is"
    note = central if trn4.variant == "central" else f"what the projection's {trn4.variant} case assumes"
    return tuple(
        Claim(
            statement=f"{trn4.label} has {what} of Trainium3, per chip",
            source=KEYNOTE,
            claimed=_times(factor),
            computed=computed,
            is_input=True,
            note=note,
        )
        for what, factor, computed in announced
    )


def _unanswered_claims() -> tuple[Claim, ...]:
    serving = "no model, batch, lengths, precision or parallelism was published"
    return (
        Claim(
            statement="GPT-OSS: 3 times the throughput per chip on Trn3 against Trn2 UltraServers",
            source=KEYNOTE,
            claimed=_times(3),
            computed=None,
            note=serving,
        ),
        Claim(
            statement="GPT-OSS: responses 4 times as fast on Trn3 against Trn2 UltraServers",
            source=KEYNOTE,
            claimed=_times(4),
            computed=None,
            note=serving,
        ),
        Claim(
            statement="Trainium3 is 40 % more energy-efficient than Trainium2",
            source=KEYNOTE,
            claimed=_times(1.4),
            computed=None,
            digits=1,
            note="also needs the power of both chips, which AWS has not published",
        ),
    )
