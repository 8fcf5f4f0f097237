"""What the rows say together: means, worst rows, order of versions, and how good the ranges are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Final

from trnlab.models.validation.outcome import Outcome

DISTINCT: Final = 0.05
"""Measurements of two versions that differ by more must be predicted in the same order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """Two versions of one problem, the measured faster one first, and whether the prediction agrees."""

    faster: str
    slower: str
    agrees: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """Of the counted rows; errors are fractions.

    mean_absolute_error: over all rows; by_group: within each group; balanced: the mean of those
    worst: the row with the largest absolute error
    inside: how many measurements lie in the predicted range
    unseen: rows that came after the rules were fixed, their mean absolute error then and now
    """

    rows: int
    mean_absolute_error: float
    balanced: float
    by_group: Mapping[str, float]
    worst: tuple[str, float]
    worst_active: tuple[str, float]
    inside: int
    unseen: tuple[int, float, float]
    orders: tuple[Order, ...]

    def as_data(self) -> dict[str, Any]:
        """The statistics as JSON-ready data."""
        return {
            "rows": self.rows,
            "mean_absolute_error": self.mean_absolute_error,
            "balanced_over_groups": self.balanced,
            "by_group": dict(self.by_group),
            "worst_row": list(self.worst),
            "worst_active_time": list(self.worst_active),
            "inside_range": self.inside,
            "unseen_rows": dict(zip(("rows", "error_then", "error_now"), self.unseen, strict=True)),
            "orders": [[order.faster, order.slower, order.agrees] for order in self.orders],
        }


def mean(values: Iterable[float]) -> float:
    """The arithmetic mean; 0 of nothing."""
    found = list(values)
    return sum(found) / len(found) if found else 0.0


def by_group(errors: Mapping[str, float], groups: Mapping[str, str]) -> dict[str, float]:
    """Mean absolute error of each group; errors and groups by row name."""
    names = dict.fromkeys(groups[row] for row in errors)
    return {name: mean(abs(errors[row]) for row in errors if groups[row] == name) for name in names}


def orders(outcomes: Sequence[Outcome]) -> tuple[Order, ...]:
    """Every pair of versions whose measurements differ by more than `DISTINCT`."""
    found = []
    for one, other in combinations([row for row in outcomes if row.case.family], 2):
        fast, slow = sorted((one, other), key=lambda row: row.case.milliseconds)
        distinct = slow.case.milliseconds > (1 + DISTINCT) * fast.case.milliseconds
        if one.case.family == other.case.family and distinct:
            found.append(Order(faster=fast.case.name, slower=slow.case.name, agrees=fast.central < slow.central))
    return tuple(found)


def summarise(outcomes: Sequence[Outcome]) -> Statistics:
    """The statistics of the counted rows."""
    counted = [row for row in outcomes if row.case.counted]
    errors = {row.case.name: row.error for row in counted}
    groups = by_group(errors, {row.case.name: row.case.group for row in counted})
    active = {f"{row.case.name} {engine}": item.error for row in counted for engine, item in row.active.items()}
    return Statistics(
        rows=len(counted),
        mean_absolute_error=mean(map(abs, errors.values())),
        balanced=mean(groups.values()),
        by_group=groups,
        worst=_worst(errors),
        worst_active=_worst(active),
        inside=sum(row.inside for row in counted),
        unseen=_unseen(counted),
        orders=orders(counted),
    )


def _unseen(rows: Sequence[Outcome]) -> tuple[int, float, float]:
    later = [(abs(row.case.unseen), abs(row.error)) for row in rows if row.case.unseen is not None]
    return len(later), mean(then for then, _ in later), mean(now for _, now in later)


def _worst(errors: Mapping[str, float]) -> tuple[str, float]:
    return max(errors.items(), key=lambda item: abs(item[1]), default=("", 0.0))
