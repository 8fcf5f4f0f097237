"""The validation as a table for the terminal and as data."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from trnlab.models.validation.cases import LEFT_OUT
from trnlab.models.validation.fitted import FITTED, LeftOut, Responses
from trnlab.models.validation.outcome import Outcome
from trnlab.models.validation.statistics import Statistics

_COLUMNS = ("row", "kernel", "measured", "low", "predicted", "high", "error")
_WIDTHS = {"row": 10, "low": 6, "high": 6, "error": 7}
_COUNTERS = ("row", "counter", "measured", "predicted", "error")


def print_rows(outcomes: Sequence[Outcome], console: Console) -> None:
    """One line for each case, in milliseconds, a star where the measurement is outside; then what profiles counted."""
    _print("Timeline against published measurements, ms", _COLUMNS, map(_cells, outcomes), console)
    counters = [cells for row in outcomes for cells in _counters(row)]
    if counters:
        _print("Active times, ms, and HBM traffic, MB", _COUNTERS, counters, console)


def _print(title: str, columns: Sequence[str], rows: Iterable[tuple[str, ...]], console: Console) -> None:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for column in columns:
        if column == "kernel":
            table.add_column(column, min_width=16)  # the only one that shrinks, by wrapping
        else:
            text = column in ("row", "counter")
            width = _WIDTHS.get(column, len(column))
            table.add_column(column, no_wrap=True, justify="left" if text else "right", min_width=width)
    for row in rows:
        table.add_row(*row)
    console.print(table)


def _cells(row: Outcome) -> tuple[str, ...]:
    case = row.case
    return (
        case.name if case.counted else f"({case.name})",
        f"{case.target} {case.title}",
        f"{case.milliseconds:.4g}{'' if row.inside else '*'}",
        f"{row.low:.3g}",
        f"{row.central:.4g}",
        f"{row.high:.3g}",
        f"{100 * row.error:+.1f} %",
    )


def _counters(row: Outcome) -> Iterator[tuple[str, ...]]:
    for name, item in row.active.items():
        yield row.case.name, name, f"{item.measured:.3g}", f"{item.predicted:.3g}", f"{100 * item.error:+.1f} %"
    if row.hbm_bytes is not None:
        item = row.hbm_bytes
        measured, predicted = item.measured / 1e6, item.predicted / 1e6
        yield row.case.name, "hbm", f"{measured:.0f}", f"{predicted:.0f}", f"{100 * item.error:+.1f} %"


def print_statistics(statistics: Statistics, missing: Sequence[str], console: Console) -> None:
    """The means, the worst rows, the order of versions, and what is not there."""
    groups = ", ".join(f"{name} {100 * error:.1f} %" for name, error in statistics.by_group.items())
    agreeing = sum(order.agrees for order in statistics.orders)
    wrong = "; ".join(f"{order.faster} before {order.slower}" for order in statistics.orders if not order.agrees)
    lines = [
        f"mean absolute error {100 * statistics.mean_absolute_error:.1f} % over {statistics.rows} rows, "
        f"{100 * statistics.balanced:.1f} % balanced over sources ({groups})",
        f"worst row {_signed(statistics.worst)}; worst active time {_signed(statistics.worst_active)}",
        f"measurements inside low..high: {statistics.inside} of {statistics.rows}; "
        f"order of versions right in {agreeing} of {len(statistics.orders)} pairs{': not ' if wrong else ''}{wrong}",
        *_unseen_line(*statistics.unseen),
        *(f"not rebuilt {name}: {reason}" for name, reason in LEFT_OUT.items()),
        *(f"skipped {name}: it needs --nki-library" for name in missing),
    ]
    for line in lines:
        console.print(line, highlight=False)


def _unseen_line(rows: int, then: float, now: float) -> Iterator[str]:
    if rows:
        yield (
            f"rows that came after the rules were fixed: {rows}, mean absolute error {100 * then:.1f} % when first "
            f"compared, {100 * now:.1f} % now"
        )


def _signed(row: tuple[str, float]) -> str:
    return f"{row[0]} {100 * row[1]:+.1f} %"


def print_refit(responses: Responses, left_out: Sequence[LeftOut], console: Console) -> None:
    """The effect of each fitted constant, and the errors on each source when it has no say in them."""
    effects = responses.effects()
    table = Table(title="Fitted constants: mean absolute error by value", title_justify="left", box=None)
    for column in ("constant", "value: error", "basis"):
        table.add_column(column, overflow="fold")
    for constant in FITTED:
        values = ", ".join(f"{value:g}: {100 * error:.1f} %" for value, error in effects[constant.label].items())
        table.add_row(constant.label, values, constant.basis)
    console.print(table)
    for item in left_out:
        chosen = ", ".join(f"{name} {value:g}" for name, value in item.chosen.items())
        console.print(f"without {item.group}: {chosen}; error on it {100 * item.mean_absolute_error:.1f} %")
    errors = [abs(error) for item in left_out for error in item.errors.values()]
    console.print(f"leave one source out: {100 * sum(errors) / len(errors):.1f} % over all rows")


def as_json(
    outcomes: Sequence[Outcome],
    statistics: Statistics,
    missing: Sequence[str],
    responses: Responses | None = None,
    left_out: Sequence[LeftOut] = (),
) -> str:
    """Rows, statistics, skipped rows and, after a refit, effects of the constants and errors on sources left out."""
    data: dict[str, Any] = {
        "rows": [row.as_data() for row in outcomes],
        "statistics": statistics.as_data(),
        "skipped": list(missing),
        "not_rebuilt": dict(LEFT_OUT),
        "fitted_constants": {
            item.label: {
                "grid": list(item.grid),
                "generations": list(item.generations),
                "basis": item.basis,
                "mean_absolute_error": {} if responses is None else responses.effects()[item.label],
            }
            for item in FITTED
        },
        "leave_one_source_out": {item.group: item.as_data() for item in left_out},
    }
    return json.dumps(data, indent=2)
