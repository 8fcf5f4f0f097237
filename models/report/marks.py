"""Claims and validation as marks: computed over claimed with bands, and signed errors by group of rows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Final

from trnlab.models.claims import Claim, Reading
from trnlab.models.report.figure import Figure, Trace
from trnlab.models.report.theme import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    INK,
    ORANGE,
    PURPLE,
    SKY,
    VERMILION,
    YELLOW,
    axis,
    layout,
)
from trnlab.models.validation.projections import ProjectionValidation

VERDICTS: Final = {
    "reproduced": (GREEN, "circle"),
    "close": (BLUE, "square"),
    "explained": (ORANGE, "diamond"),
    "not reproduced": (VERMILION, "x"),
    "input of the projection": (GREY, "triangle-up"),
    "not testable": (PURPLE, "triangle-down"),
}
GROUPS: Final = (GREEN, BLUE, SKY, ORANGE, VERMILION, YELLOW, PURPLE, BLACK)
WIDTH: Final = 84


def claims_figure(claims: Sequence[Claim]) -> Figure:
    """Every reading of every claim as computed / claimed, by verdict."""
    names = [short(claim.statement) for claim in claims]
    return Figure(
        key="claims",
        title="What was announced, and what the model makes of it",
        lead="One mark for each thing that a claim could mean: what is computed over what is claimed; 1 is agreement. "
        "Filled: the plainest reading, which decides the verdict of arithmetic; open: the others. Lines span the "
        "bands. Agreement of an input of the projection with itself proves nothing.",
        layout=layout(
            150 + 26 * len(claims),
            xaxis=axis("computed / claimed (ratio)", log=(1, 2, 5)),
            yaxis=axis("", autorange="reversed", ticks="", type="category", categoryarray=names, categoryorder="array"),
            shapes=[_line_at(1.0)],
        ),
        states={(): [trace for verdict in VERDICTS if (trace := _verdict(verdict, claims)) is not None]},
    )


def short(text: str) -> str:
    """The text, cut at a word where it is longer than an axis can show."""
    if len(text) <= WIDTH:
        return text
    return text[: WIDTH - 1].rsplit(" ", maxsplit=1)[0] + " …"


def readings(verdict: str, claims: Iterable[Claim]) -> list[tuple[Claim, Reading]]:
    """The computed readings of the claims with that verdict."""
    return [(c, r) for c in claims if c.verdict == verdict for r in c.readings if r.computed is not None]


def is_first(claim: Claim, reading: Reading) -> bool:
    """Whether it is the claim's plainest reading."""
    return reading is claim.readings[0]


def _verdict(verdict: str, claims: Sequence[Claim]) -> Trace | None:
    found = readings(verdict, claims)
    if not found:
        return None
    colour, symbol = VERDICTS[verdict]
    ratios = [ratio(claim, reading) for claim, reading in found]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": verdict,
        "x": [middle for _, middle, _ in ratios],
        "y": [short(claim.statement) for claim, _ in found],
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": [high - middle for _, middle, high in ratios],
            "arrayminus": [middle - low for low, middle, _ in ratios],
            "color": colour,
            "thickness": 1.2,
            "width": 0,  # caps would mark bands of no length
        },
        "marker": {
            "color": colour,
            "symbol": [symbol if is_first(*each) else f"{symbol}-open" for each in found],
            "size": 9,
            "line": {"color": colour, "width": 1.5},
        },
        "text": [reading.meaning for _, reading in found],
        "hovertemplate": "%{y}<br>%{text}<br>%{x:.3f} of what is claimed<extra></extra>",
    }


def ratio(claim: Claim, reading: Reading) -> tuple[float, float, float]:
    """(low, central, high) of computed / claimed."""
    computed = reading.computed
    assert computed is not None
    (low, high), claimed = computed.interval, claim.claimed.value
    return low / claimed, computed.value / claimed, high / claimed


def _line_at(x: float) -> Trace:
    line = {"color": INK, "width": 1.2, "dash": "dash"}
    return {"type": "line", "x0": x, "x1": x, "yref": "paper", "y0": 0, "y1": 1, "line": line}


def errors(found: ProjectionValidation) -> dict[str, list[tuple[str, float]]]:
    """(row, signed relative error) by group; a group without rows is left out."""
    decode, prompts = found.decode.residuals, found.prefill.residuals
    groups = {
        "decode, fitted": [(row.name, row.error) for row in decode if row.left_out_error is not None],
        "decode, each left out": [(r.name, r.left_out_error) for r in decode if r.left_out_error is not None],
        "decode, third party, not fitted": [(row.name, row.error) for row in decode if row.left_out_error is None],
        "decode, middle layer, not fitted": [(row.name, row.error) for row in found.kernels],
        "prompts, fitted": [(row.name, row.error) for row in prompts if row.left_out_error is not None],
        "prompts, not fitted": [(row.name, row.error) for row in prompts if row.left_out_error is None],
        "Trainium3 matmuls, fitted": [(row.name, row.error) for row in found.gemm.residuals],
        "NVIDIA serving, not fitted": [(row.name, row.error) for row in found.serving],
    }
    return {name: rows for name, rows in groups.items() if rows}


def errors_figure(found: ProjectionValidation) -> Figure:
    """A strip of marks for each group of measured rows."""
    groups = errors(found)
    return Figure(
        key="errors",
        title="Model against published measurements",
        lead="Signed error of every row, model over measurement. Rows marked as fitted moved the constants; the others "
        "did not. Black bars: mean absolute error of the group.",
        layout=layout(
            140 + 46 * len(groups),
            showlegend=True,
            xaxis=axis("error of the model (% of the measurement)", zeroline=True, zerolinecolor=INK),
            yaxis=axis("", autorange="reversed", tickvals=list(range(len(groups))), ticktext=list(groups), ticks=""),
        ),
        states={(): [*(_strip(n, *item) for n, item in enumerate(groups.items())), _means(groups)]},
    )


def _strip(number: int, name: str, rows: Sequence[tuple[str, float]]) -> Trace:
    # Rows are spread by a golden-ratio sequence, so that equal errors do not hide each other.
    spread = [number + 0.5 * (math.fmod(index * 0.618034, 1) - 0.5) for index in range(len(rows))]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": [100 * error for _, error in rows],
        "y": spread,
        "text": [row for row, _ in rows],
        "marker": {"color": GROUPS[number], "size": 8, "opacity": 0.85, "line": {"color": INK, "width": 0.5}},
        "hovertemplate": "%{text}: %{x:+.1f} %<extra></extra>",
    }


def _means(groups: dict[str, list[tuple[str, float]]]) -> Trace:
    xs: list[float | None] = []
    ys: list[float | None] = []
    for number, rows in enumerate(groups.values()):
        mean = 100 * sum(abs(error) for _, error in rows) / len(rows)
        xs += [mean, mean, None]
        ys += [number - 0.32, number + 0.32, None]
    return {
        "type": "scatter",
        "mode": "lines",
        "name": "mean absolute error",
        "x": xs,
        "y": ys,
        "line": {"color": INK, "width": 2},
        "hovertemplate": "mean absolute error: %{x:.1f} %<extra></extra>",
    }
