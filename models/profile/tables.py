"""A profile as tables for the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath

from rich.console import Console
from rich.table import Table

from trnlab.models.profile.summary import Profile, compare

SHOWN_LINES = 12


def print_profile(profile: Profile, console: Console) -> None:
    """Total time, units, idle reasons, hot lines, DMA sizes and advice."""
    low, central, high = profile.seconds
    console.print(
        f"[bold]{profile.kernel}[/bold] on {profile.target}: [bold]{duration(central)}[/bold] "
        f"({duration(low)} to {duration(high)}), bound by {profile.bounding_resource}; "
        f"{profile.instructions} instructions in {profile.order} order; "
        f"MFU {100 * profile.mfu:.1f} %, HBM {100 * profile.hbm_share:.1f} %, DMA {100 * profile.dma_share:.1f} %"
    )
    if profile.tensor_seconds:
        parts = ", ".join(f"{name} {duration(seconds)}" for name, seconds in profile.tensor_seconds.items())
        console.print(f"Tensor Engine: {parts}")
    for table in (_light(profile), _idle(profile), _memory(profile), _lines(profile), _transfers(profile)):
        if table.row_count:
            console.print(table)
    _print_advice(profile, console)
    if profile.assumed_opcodes:
        assumed = ", ".join(profile.assumed_opcodes)
        console.print(f"[dim]Cost assumed, no AWS document prices them here: {assumed}[/dim]")


def duration(seconds: float) -> str:
    """Seconds in the unit that suits them: "25.0 µs"."""
    for factor, unit in ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")):
        if seconds >= factor:
            return f"{seconds / factor:.4g} {unit}"
    return f"{seconds * 1e9:.0f} ns"


def _amount(value: float, unit: str) -> str:
    for factor, prefix in ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= factor:
            return f"{value / factor:.3g} {prefix}{unit}"
    return f"{value:.3g} {unit}"


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left")
    for column in columns:
        name, _, right = column.partition(">")
        table.add_column(name, justify="right" if right else "left", overflow="fold")
    return table


def _short(lines: Sequence[str]) -> str:
    return " ".join(PurePath(line).name for line in lines)


def _light(profile: Profile) -> Table:
    table = _table("Speed of light", "unit", "achieved>1", "peak>1", "% of peak>1")
    for row in profile.light:
        busy = row.quantity == "busy"
        achieved = "" if busy else _amount(row.achieved, row.quantity)
        table.add_row(row.unit, achieved, "" if busy else _amount(row.peak, row.quantity), f"{row.percent:.1f}")
    return table


def _idle(profile: Profile) -> Table:
    table = _table("Engines", "engine", "busy>1", "active>1", "idle, by reason")
    for engine, reasons in profile.idle_seconds.items():
        why = ", ".join(f"{reason} {duration(seconds)}" for reason, seconds in reasons.items())
        busy, active = (times.get(engine, 0.0) for times in (profile.busy_seconds, profile.active_seconds))
        table.add_row(engine, duration(busy), duration(active), why)
    return table


def _memory(profile: Profile) -> Table:
    table = _table("On-chip memory", "memory", "peak KiB a partition>1", "capacity KiB>1", "%>1")
    for curve in profile.memory:
        share = 100 * curve.peak_bytes / curve.capacity_bytes
        table.add_row(
            curve.memory.upper(), f"{curve.peak_bytes / 1024:.1f}", f"{curve.capacity_bytes / 1024:.0f}", f"{share:.0f}"
        )
    return table


def _lines(profile: Profile) -> Table:
    table = _table("Critical path by source line", "line", "instruction", "times>1", "time>1", "%>1")
    for row in profile.hot_lines[:SHOWN_LINES]:
        table.add_row(_short([row.line]), row.opcode, str(row.count), duration(row.seconds), f"{row.percent:.1f}")
    return table


def _transfers(profile: Profile) -> Table:
    table = _table("DMA descriptors by size", "from bytes>1", "descriptors>1", "bytes>1", "grade", "lines")
    for row in profile.transfers:
        count, total = f"{row.descriptors:,}", _amount(row.total_bytes, "B")
        table.add_row(str(row.low_bytes), count, total, row.grade, _short(row.lines))
    return table


def _print_advice(profile: Profile, console: Console) -> None:
    if not profile.advice:
        console.print("Advice: no rule found anything worth one percent of the time.")
        return
    console.print("Advice, largest gain first")
    for number, row in enumerate(profile.advice, start=1):
        where = f" [{_short(row.lines)}]" if row.lines else ""
        text = f"{number}. {row.found}{where}: {row.remedy}; gains at most {duration(row.gain_seconds)}"
        console.print(f"{text} ({row.gain_percent:.1f} %). Source: {row.source}.", highlight=False, markup=False)


def print_comparison(profiles: Sequence[Profile], console: Console) -> None:
    """The first profile beside each of the others: total time, busy times, shares, with ratios."""
    first = profiles[0]
    for other in profiles[1:]:
        table = _table(
            f"{first.target} against {other.target}", "what", f"{first.target}>1", f"{other.target}>1", "ratio>1"
        )
        for change in compare(first, other):
            before, after = (_value(value, change.unit) for value in (change.before, change.after))
            table.add_row(change.name, before, after, "" if change.ratio is None else f"{change.ratio:.3f}")
        console.print(table)


def _value(value: float, unit: str) -> str:
    if unit == "s":
        return duration(value)
    return _amount(value, unit) if unit else f"{value:.4g}"
