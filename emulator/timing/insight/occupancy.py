"""How full SBUF and PSUM are over time.

A buffer counts from the start of the first instruction that touches it until the end of the last, with its bytes in
each of its partitions. Buffers start at partition 0 unless placed by hand, so the sum is that of the fullest partition
for kernels that place nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from trnlab.emulator.memory import MemoryRegion
from trnlab.emulator.program import IndexArray

if TYPE_CHECKING:
    from trnlab.emulator.timing.timeline import Timeline

REGIONS: Final = (MemoryRegion.sbuf, MemoryRegion.psum)


@dataclass(frozen=True, eq=False, kw_only=True)
class MemoryCurve:
    """Bytes per partition of one on-chip memory in use: `used_bytes[i]` from `times_ps[i]` until `times_ps[i + 1]`."""

    memory: str
    times_ps: IndexArray
    used_bytes: IndexArray
    capacity_bytes: int

    @property
    def peak_bytes(self) -> int:
        """Most bytes per partition in use at once."""
        return int(self.used_bytes.max(initial=0))

    def mean_bytes(self, total_ps: int) -> float:
        """Bytes per partition in use, averaged over the first `total_ps` picoseconds."""
        if not total_ps or not len(self.times_ps):
            return 0.0
        lengths = np.diff(np.append(self.times_ps, total_ps))
        return float((self.used_bytes * lengths).sum() / total_ps)


def memory_curves(timeline: Timeline) -> tuple[MemoryCurve, ...]:
    """The curves of SBUF and PSUM."""
    begin, end = _lives(timeline)
    target = timeline.target
    capacity = {
        MemoryRegion.sbuf: target.sbuf_bytes_per_partition,
        MemoryRegion.psum: target.psum_bytes_per_partition,
    }
    buffers = timeline.program.buffers
    curves = []
    for region in REGIONS:
        numbers = np.array([b.number for b in buffers if b.region is region and begin[b.number] <= end[b.number]], int)
        sizes = np.array([buffers[number].bytes_per_partition for number in numbers.tolist()], np.int64)
        times, used = _curve(begin[numbers], end[numbers], sizes)
        curves.append(
            MemoryCurve(memory=region.value, times_ps=times, used_bytes=used, capacity_bytes=capacity[region])
        )
    return tuple(curves)


def _lives(timeline: Timeline) -> tuple[IndexArray, IndexArray]:
    """When each buffer is first and last in use; begin > end for one that nothing touches."""
    program, steps = timeline.program, timeline.steps
    starts = program.operand_starts
    counts = starts[steps + 1] - starts[steps]
    step_of_row = np.repeat(np.arange(len(steps)), counts)
    rows = _ranges(starts[steps], counts)
    touched = program.operands[rows, 0]
    begin = np.full(len(program.buffers), np.iinfo(np.int64).max, np.int64)
    end = np.full(len(program.buffers), -1, np.int64)
    np.minimum.at(begin, touched, timeline.start_ps[step_of_row])
    np.maximum.at(end, touched, timeline.end_ps[step_of_row])
    return begin, end


def _ranges(starts: IndexArray, counts: IndexArray) -> IndexArray:
    """The numbers starts[i] .. starts[i] + counts[i] - 1 for every i, end to end."""
    offsets = np.cumsum(counts) - counts
    ranges: np.ndarray[Any, np.dtype[np.int64]] = np.arange(int(counts.sum())) + np.repeat(starts - offsets, counts)
    return ranges


def _curve(begin: IndexArray, end: IndexArray, sizes: IndexArray) -> tuple[IndexArray, IndexArray]:
    """Times at which the sum of the sizes of the intervals begin..end changes, and the sum from there on."""
    times = np.concatenate([begin, end])
    changes = np.concatenate([sizes, -sizes])
    order = np.argsort(times, kind="stable")
    distinct, first = np.unique(times[order], return_index=True)
    if not len(distinct):
        return distinct, distinct
    return distinct, np.cumsum(np.add.reduceat(changes[order], first))
