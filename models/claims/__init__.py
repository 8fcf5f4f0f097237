"""What was announced about Trainium3 and Trainium4, as tests: what each claim could mean, and what that gives."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from trnlab.models.claims.claim import (
    CLOSE_PERCENT as CLOSE_PERCENT,
    COLUMNS as COLUMNS,
    Claim as Claim,
    OperatingPoint as OperatingPoint,
    Reading as Reading,
    Verdict as Verdict,
)
from trnlab.models.claims.hardware import chip_claims, energy_claims, trainium4_claims, ultraserver_claims
from trnlab.models.claims.running import running_claims
from trnlab.models.claims.serving import serving_claims
from trnlab.models.frames import data_frame


@cache
def claims_table() -> tuple[Claim, ...]:
    """Every claim: chips, UltraServers, GPT-OSS, energy, and the Trainium4 announcement by variant."""
    return (
        *chip_claims(),
        *ultraserver_claims(),
        *serving_claims(),
        *running_claims(),
        *energy_claims(),
        *trainium4_claims(),
    )


def rows(claims: tuple[Claim, ...] | None = None) -> tuple[tuple[str, ...], ...]:
    """The claims as plain text cells of `COLUMNS`, one tuple a reading, ready for any table printer."""
    return tuple(row for claim in (claims_table() if claims is None else claims) for row in claim.rows())


def to_pandas(claims: tuple[Claim, ...] | None = None) -> Any:
    """One row a reading: claim, claimed, meaning, computed with band and class, error, verdict, as a pandas DataFrame.

    Raises:
        TrnlabError: pandas is not installed.
    """
    return data_frame(
        [
            {
                "statement": claim.statement,
                "claimed": claim.claimed.value,
                "unit": claim.claimed.unit,
                "meaning": reading.meaning,
                "computed": None if reading.computed is None else reading.computed.value,
                "low": None if reading.computed is None else reading.computed.low,
                "high": None if reading.computed is None else reading.computed.high,
                "class": None if reading.computed is None else reading.computed.klass,
                "error_percent": reading.error_percent(claim.claimed),
                "verdict": claim.verdict,
                "source": claim.source,
            }
            for claim in (claims_table() if claims is None else claims)
            for reading in claim.readings
        ]
    )


def as_json(claims: tuple[Claim, ...] | None = None, *, indent: int | None = 2) -> str:
    """The claims as a JSON array, values in base units."""
    table = claims_table() if claims is None else claims
    return json.dumps([claim.as_dict() for claim in table], indent=indent, allow_nan=False)
