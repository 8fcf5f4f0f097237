"""What the bench reports: comparisons with a peer, figures with a unit, and the machine they were taken on."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

FAILED = "failed"
LIBRARIES = ("trnlab", "jax", "jaxlib", "numpy", "ml_dtypes", "torch", "torchao", "triton")


def seconds_text(value: float) -> str:
    """Three digits, in seconds or milliseconds."""
    return f"{value:.3g} s" if value >= 0.9995 else f"{1000 * value:.3g} ms"


def number_text(value: float) -> str:
    """Four digits, or all of a larger number's before the point."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def verdict(checks: Sequence[bool]) -> str:
    """Whether all checks hold; empty where there is none."""
    return "" if not checks else "yes" if all(checks) else "NO"


def outcome(problem: str) -> str:
    """The problem in a word, "skipped" or "failed"."""
    return problem.partition(":")[0]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Ours beside a peer: seconds of every repeat, and the targets (None: reported only).

    ratio_target: most that median(warm) / median(peer) may be; cold_target: most that median(cold) may be, in seconds
    problem: why there are no times: skipped because ..., or failed with ...
    """

    case: str
    peer_name: str = ""
    cold: list[float] = field(default_factory=list)
    warm: list[float] = field(default_factory=list)
    peer: list[float] = field(default_factory=list)
    ratio_target: float | None = None
    cold_target: float | None = None
    problem: str = ""

    @property
    def ratio(self) -> float | None:
        """Our median warm time over the peer's."""
        return statistics.median(self.warm) / statistics.median(self.peer) if self.warm and self.peer else None

    @property
    def met(self) -> str:
        """yes, NO, or nothing where there is no target or no time."""
        checks = []
        if self.ratio is not None and self.ratio_target is not None:
            checks.append(self.ratio <= self.ratio_target)
        if self.cold and self.cold_target is not None:
            checks.append(statistics.median(self.cold) <= self.cold_target)
        return verdict(checks)

    def cells(self) -> list[str]:
        """The row of the table."""
        if self.problem:
            return [self.case, *[""] * 3, self.peer_name, "", self._target(), outcome(self.problem)]
        cold, warm, peer = (
            seconds_text(statistics.median(times)) if times else "" for times in (self.cold, self.warm, self.peer)
        )
        ratio = "" if self.ratio is None else f"{self.ratio:.3g}x"
        return [self.case, cold, warm, peer, self.peer_name, ratio, self._target(), self.met]

    def _target(self) -> str:
        ratio = [] if self.ratio_target is None else [f"≤ {self.ratio_target:g}x"]
        return ", ".join(ratio + ([] if self.cold_target is None else [f"cold ≤ {seconds_text(self.cold_target)}"]))


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One measured figure and its target (None: reported only): at most that, or at least."""

    case: str
    value: float | None = None
    unit: str = ""
    target: float | None = None
    at_least: bool = False
    problem: str = ""

    @property
    def met(self) -> str:
        """yes, NO, or nothing where there is no target or no figure."""
        if self.value is None or self.target is None:
            return ""
        return verdict([self.value >= self.target if self.at_least else self.value <= self.target])

    def cells(self) -> list[str]:
        """The row of the table."""
        measured = "" if self.value is None else f"{number_text(self.value)} {self.unit}"
        target = (
            "" if self.target is None else f"{'≥' if self.at_least else '≤'} {number_text(self.target)} {self.unit}"
        )
        return [self.case, measured, target, outcome(self.problem) or self.met]


class SkippedError(Exception):
    """A case that cannot be measured here; the text says why."""


Row = Comparison | Figure


@dataclass(frozen=True)
class Case:
    """`plan`: the row without its values; `measure` fills it in, or raises SkippedError."""

    plan: Row
    measure: Callable[[], dict[str, Any]]

    def row(self) -> Row:
        """The measured row; what went wrong, where something did, is in its `problem`."""
        try:
            return replace(self.plan, **self.measure())
        except SkippedError as reason:
            return replace(self.plan, problem=f"skipped: {reason}")
        except Exception as error:  # noqa: BLE001  one broken case must not hide the others; main() fails for it
            first = str(error).partition("\n")[0]
            return replace(self.plan, problem=f"{FAILED}: {type(error).__name__}: {first}")


COLUMNS: dict[type, list[str]] = {
    Comparison: ["case", "ours cold", "ours warm", "peer", "the peer", "ratio", "target", "met"],
    Figure: ["case", "measured", "target", "met"],
}


def processor() -> str:
    """The processor's name where the system tells, else its architecture."""
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def installed(names: Sequence[str] = LIBRARIES) -> dict[str, str]:
    """The versions of those that are installed."""
    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def machine() -> dict[str, Any]:
    """Where and when: processor, cores, load at the start, system, Python, libraries, date."""
    return {
        "date": date.today().isoformat(),
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "load_before": round(os.getloadavg()[0], 2),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "libraries": installed(),
    }


def as_data(row: Row) -> dict[str, Any]:
    """The row with what is computed from it."""
    ratio = {"ratio": row.ratio} if isinstance(row, Comparison) else {}
    return {"kind": type(row).__name__.lower(), **asdict(row), **ratio, "met": row.met}


LEFT_ALIGNED = {"case", "the peer", "target"}


def report(rows: Sequence[Row], where: dict[str, Any], console: Console) -> None:
    """Print the machine, a table for each kind of row, and what went wrong with those that have no values."""
    libraries = ", ".join(f"{name} {number}" for name, number in where["libraries"].items())
    console.print(f"{where['date']}, {where['processor']}, {where['cores']} cores, load {where['load_before']} before")
    console.print(f"{where['system']}, Python {where['python']}, {libraries}; medians")
    for kind, columns in COLUMNS.items():
        table = Table()
        for column in columns:
            table.add_column(column, justify="left" if column in LEFT_ALIGNED else "right")
        for row in rows:
            if isinstance(row, kind):
                table.add_row(*row.cells())
        if table.row_count:
            console.print(table)
    for row in rows:
        if row.problem:
            console.print(f"{row.case}: {row.problem}", markup=False)
