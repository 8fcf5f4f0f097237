"""Does everything that is live at once fit into SBUF and PSUM?

A buffer takes its bytes in each of its partitions while it is live (`nest.live_ranges`). Without an address it starts
at partition 0, so SBUF is judged by the bytes live in partition 0 and in each partition where a hand-placed buffer
starts; what fits by that sum is assumed to be placeable. PSUM is judged by banks (`check.banks`).

Time: linear in instructions for SBUF; PSUM adds a step per tile and bank.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from trnlab.emulator.check.banks import BankPlan, assign_banks
from trnlab.emulator.check.finding import allocation_line, line_of
from trnlab.emulator.errors import CapacityError, Violation
from trnlab.emulator.memory import Buffer, MemoryRegion
from trnlab.emulator.nest import LiveRanges, live_ranges
from trnlab.emulator.program import IndexArray, Program
from trnlab.emulator.target import Target

SHOWN_HOLDERS = 8
_SOURCE = "NKI architecture guide, SBUF and PSUM geometry"


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """A buffer, and the instructions over which it holds its memory (both inclusive)."""

    buffer: Buffer
    first: int
    last: int
    line: str

    def __str__(self) -> str:
        what = f"{self.buffer.name}: {self.buffer.dtype}{list(self.buffer.shape)}"
        where = f", allocated at {self.line}" if self.line else ""
        return f"{what}, {self.buffer.bytes_per_partition} bytes per partition, live {self.first} to {self.last}{where}"


@dataclass(frozen=True, kw_only=True, eq=False)
class Occupancy:
    """How full the on-chip memories get.

    sbuf_curve: bytes live in the fullest partition, by instruction
    psum_curve: banks in use, by instruction, of the tiles that found a bank
    *_peak_instruction: where the curve first reaches its peak; -1 for an empty program
    *_holders: the buffers live there, largest first
    """

    sbuf_curve: IndexArray
    psum_curve: IndexArray
    sbuf_capacity_bytes: int
    psum_capacity_banks: int
    sbuf_peak_instruction: int
    psum_peak_instruction: int
    sbuf_holders: tuple[Holder, ...]
    psum_holders: tuple[Holder, ...]

    @property
    def sbuf_peak_bytes(self) -> int:
        """Most bytes per partition live in SBUF at once."""
        return int(self.sbuf_curve.max(initial=0))

    @property
    def psum_peak_banks(self) -> int:
        """Most PSUM banks in use at once."""
        return int(self.psum_curve.max(initial=0))

    def __repr__(self) -> str:
        return (
            f"Occupancy(sbuf {self.sbuf_peak_bytes} of {self.sbuf_capacity_bytes} bytes per partition, "
            f"psum {self.psum_peak_banks} of {self.psum_capacity_banks} banks)"
        )


@dataclass(frozen=True, slots=True)
class Overflow:
    """One way in which a program does not fit, at an instruction; `about` is the buffer's or memory's name."""

    instruction: int
    about: str
    found: str
    allowed: str


def check_capacity(program: Program, target: Target) -> Occupancy:
    """How full SBUF and PSUM get on the target.

    Raises:
        CapacityError: more is live at once than a memory holds, or two live buffers share an address.
    """
    program = program.flat
    occupancy, overflows = measure(program, target)
    if overflows:
        worst = overflows[0]
        raise CapacityError(
            Violation(
                subject=f"kernel {program.kernel}",
                operand=worst.about,
                found=worst.found,
                allowed=worst.allowed,
                generation=target.label,
                location=line_of(program, worst.instruction),
                source=_SOURCE,
            )
        )
    return occupancy


def measure(program: Program, target: Target) -> tuple[Occupancy, tuple[Overflow, ...]]:
    """How full SBUF and PSUM get, and every way in which the program does not fit."""
    program = program.flat
    ranges = live_ranges(program)
    live = _OnChip(program, ranges)
    plan = assign_banks(live.of(MemoryRegion.psum), ranges, target)
    sbuf = _partition_curve(live.of(MemoryRegion.sbuf), ranges, len(program))
    psum = plan.curve(ranges, len(program))
    occupancy = Occupancy(
        sbuf_curve=sbuf,
        psum_curve=psum,
        sbuf_capacity_bytes=target.sbuf_bytes_per_partition,
        psum_capacity_banks=target.psum_banks,
        sbuf_peak_instruction=_peak(sbuf),
        psum_peak_instruction=_peak(psum),
        sbuf_holders=live.holders(MemoryRegion.sbuf, _peak(sbuf)),
        psum_holders=live.holders(MemoryRegion.psum, _peak(psum)),
    )
    overlaps = live.overlaps()
    return occupancy, (*overlaps, *_sbuf_overflow(occupancy), *_psum_overflow(plan, live, target))


def _sbuf_overflow(occupancy: Occupancy) -> tuple[Overflow, ...]:
    peak, capacity = occupancy.sbuf_peak_bytes, occupancy.sbuf_capacity_bytes
    if peak <= capacity:
        return ()
    found = f"{peak} bytes per partition live at instruction {occupancy.sbuf_peak_instruction}"
    return (
        Overflow(
            occupancy.sbuf_peak_instruction,
            "SBUF",
            found + _listed(occupancy.sbuf_holders),
            f"{capacity} bytes per partition",
        ),
    )


def _psum_overflow(plan: BankPlan, live: _OnChip, target: Target) -> tuple[Overflow, ...]:
    if not plan.homeless:
        return ()
    tile = plan.homeless[0]
    at = int(live.ranges.first[tile.number])
    found = f"no room at instruction {at} for {live.holder(tile)}"
    allowed = f"{target.psum_banks} banks of {target.psum_bank_bytes} bytes per partition"
    return (Overflow(at, "PSUM", found + _listed(live.holders(MemoryRegion.psum, at)), allowed),)


def _listed(holders: tuple[Holder, ...]) -> str:
    lines = [f"\n    {holder}" for holder in holders[:SHOWN_HOLDERS]]
    more = [f"\n    and {len(holders) - SHOWN_HOLDERS} more"] if len(holders) > SHOWN_HOLDERS else []
    return ", held by" + "".join(lines + more) + "\n "


class _OnChip:
    """The buffers of the on-chip memories that a program uses."""

    def __init__(self, program: Program, ranges: LiveRanges) -> None:
        self.program = program
        self.ranges = ranges

    def of(self, region: MemoryRegion) -> list[Buffer]:
        first = self.ranges.first
        return [b for b in self.program.buffers if b.region is region and first[b.number] >= 0]

    def holder(self, buffer: Buffer) -> Holder:
        where = allocation_line(self.program, buffer.number)
        first, last = int(self.ranges.first[buffer.number]), int(self.ranges.last[buffer.number])
        return Holder(buffer=buffer, first=first, last=last, line="" if where is None else f"{where.file}:{where.line}")

    def holders(self, region: MemoryRegion, instruction: int) -> tuple[Holder, ...]:
        """What is live at an instruction, largest first."""
        first, last = self.ranges.first, self.ranges.last
        live = [b for b in self.of(region) if first[b.number] <= instruction <= last[b.number]]
        return tuple(self.holder(b) for b in sorted(live, key=lambda b: (-b.bytes_per_partition, b.number)))

    def overlaps(self) -> tuple[Overflow, ...]:
        """Pairs of hand-placed buffers that are live at once and share bytes."""
        placed = [b for region in (MemoryRegion.sbuf, MemoryRegion.psum) for b in self.of(region) if b.address]
        placed.sort(key=lambda b: int(self.ranges.first[b.number]))
        found: list[Overflow] = []
        live: list[Buffer] = []
        for buffer in placed:
            start = int(self.ranges.first[buffer.number])
            live = [other for other in live if self.ranges.last[other.number] >= start]
            found += [self._overlap(other, buffer, start) for other in live if _share_bytes(other, buffer)]
            live.append(buffer)
        return tuple(found)

    def _overlap(self, one: Buffer, other: Buffer, start: int) -> Overflow:
        where = one.region.value.upper()
        found = f"two live buffers that share addresses:\n    {self._placed(one)}\n    {self._placed(other)}\n "
        return Overflow(start, f"{one.name} and {other.name}", found, f"disjoint addresses of live buffers in {where}")

    def _placed(self, buffer: Buffer) -> str:
        partition, byte = buffer.address or (0, 0)
        return f"{self.holder(buffer)}, placed at partition {partition}, byte {byte}"


def _share_bytes(one: Buffer, other: Buffer) -> bool:
    (p1, b1), (p2, b2) = one.address or (0, 0), other.address or (0, 0)
    return (
        one.region is other.region
        and max(p1, p2) < min(p1 + one.shape[0], p2 + other.shape[0])
        and max(b1, b2) < min(b1 + one.bytes_per_partition, b2 + other.bytes_per_partition)
    )


def _partition_curve(buffers: list[Buffer], ranges: LiveRanges, instructions: int) -> IndexArray:
    """Bytes live in the fullest partition; the fullest is one where some buffer starts."""
    starts = sorted({(b.address or (0, 0))[0] for b in buffers})
    curve = np.zeros(instructions, np.int64)
    for start in starts:
        there = [b for b in buffers if (b.address or (0, 0))[0] <= start < (b.address or (0, 0))[0] + b.shape[0]]
        numbers = np.asarray([b.number for b in there], np.int64)
        weights = np.asarray([b.bytes_per_partition for b in there], np.int64)
        curve = np.maximum(curve, _curve(ranges.first[numbers], ranges.last[numbers], weights, instructions))
    return curve


def _curve(first: IndexArray, last: IndexArray, weights: IndexArray, instructions: int) -> IndexArray:
    """Sum of the weights of the intervals first..last around each instruction."""
    steps = np.zeros(instructions + 1, np.int64)
    np.add.at(steps, first, weights)
    np.add.at(steps, last + 1, -weights)
    curve: np.ndarray[Any, np.dtype[np.int64]] = np.cumsum(steps[:-1])
    return curve


def _peak(curve: IndexArray) -> int:
    return int(np.argmax(curve)) if len(curve) else -1
