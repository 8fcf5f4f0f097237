"""The sizes of a kernel's DMA descriptors, and which of them are too small to be fast.

Source of the limits: AWS NKI DMA bandwidth guide: below 256 bytes per partition very poor, from 256 bytes to 2 KiB
below peak, 2 KiB the recommended minimum, from 4 KiB saturated.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from trnlab.emulator.timing.insight.signatures import source_lines

if TYPE_CHECKING:
    from trnlab.emulator.timing.timeline import Timeline

Grade = Literal["very poor", "below peak", "recommended", "saturated"]

GRADES: Final[tuple[tuple[int, Grade], ...]] = (
    (256, "very poor"),
    (2048, "below peak"),
    (4096, "recommended"),
)
"""Sizes below the limit have the grade; the rest is saturated."""

SOURCE: Final = "AWS NKI DMA bandwidth guide, efficient sizes"


def grade_of(nbytes: int) -> Grade:
    """The guide's grade of a descriptor of that many bytes."""
    return next((grade for limit, grade in GRADES if nbytes < limit), "saturated")


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeBin:
    """The descriptors of low_bytes <= size < 2 x low_bytes: how many, how many bytes, and from which source lines."""

    low_bytes: int
    descriptors: int
    total_bytes: int
    lines: tuple[str, ...]

    @property
    def grade(self) -> Grade:
        """The grade of the smallest size of the bin."""
        return grade_of(self.low_bytes)


def transfer_sizes(timeline: Timeline) -> tuple[SizeBin, ...]:
    """The histogram of descriptor sizes, smallest first; empty bins are left out."""
    counts: dict[int, list[int]] = {}
    lines: dict[int, dict[str, None]] = {}
    counted = zip(timeline.costs, timeline.executions, source_lines(timeline), strict=True)
    for cost, times, places in counted:
        if cost.transfer is None or not times:
            continue
        size = cost.transfer.descriptor_bytes
        low = 1 << (size.bit_length() - 1)
        number = times * cost.transfer.partitions * cost.transfer.descriptors
        entry = counts.setdefault(low, [0, 0])
        entry[0] += number
        entry[1] += number * size
        lines.setdefault(low, {}).update(dict.fromkeys(places))
    return tuple(
        SizeBin(low_bytes=low, descriptors=number, total_bytes=total, lines=tuple(lines[low]))
        for low, (number, total) in sorted(counts.items())
    )
