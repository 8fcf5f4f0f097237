"""The source lines of a kernel by the time they take on the critical path."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trnlab.emulator.timing.timeline import Timeline


@dataclass(frozen=True, slots=True, kw_only=True)
class HotLine:
    """One source line and opcode: how often it stands on the critical path, the seconds that pass there, their share.

    Seconds run from the end of the instruction before to the end of this one: waiting for it is its own time.
    """

    line: str
    opcode: str
    engine: str
    count: int
    seconds: float
    percent: float


def hot_lines(timeline: Timeline) -> tuple[HotLine, ...]:
    """The lines of the critical path, longest first; their seconds add up to the last instruction's end."""
    found: dict[tuple[str, str, str], list[float]] = {}
    reached = 0.0
    for event in timeline.critical_path:
        where = "" if event.location is None else f"{event.location.file}:{event.location.line}"
        entry = found.setdefault((where, event.opcode, event.engine.value), [0, 0.0])
        entry[0] += 1
        entry[1] += max(event.end_seconds - reached, 0.0)
        reached = max(reached, event.end_seconds)
    total = timeline.total_seconds or 1.0
    ordered = sorted(found.items(), key=lambda item: -item[1][1])
    return tuple(
        HotLine(
            line=line, opcode=opcode, engine=engine, count=int(count), seconds=seconds, percent=100 * seconds / total
        )
        for (line, opcode, engine), (count, seconds) in ordered
    )
