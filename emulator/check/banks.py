"""Which PSUM bank each tile lives in: first fit over time.

Tiles are taken in order of first use. One of at most a bank's bytes goes into the first bank with that much room; a
larger one takes the first run of whole banks that are free. Hand-placed tiles hold the banks of their address, from
which they keep others while they are live. Bytes in a bank are counted, not placed: fragmentation inside a bank is
ignored, and so is the choice of partitions.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from trnlab.emulator.memory import Buffer
from trnlab.emulator.nest import LiveRanges
from trnlab.emulator.program import IndexArray
from trnlab.emulator.target import Target


@dataclass(frozen=True)
class BankPlan:
    """banks[number]: the banks of a tile. homeless: the tiles that found no room, in order of first use."""

    banks: Mapping[int, range]
    homeless: tuple[Buffer, ...]

    def curve(self, ranges: LiveRanges, instructions: int) -> IndexArray:
        """How many banks hold a live tile, by instruction."""
        used = np.zeros(instructions, np.int64)
        for bank in {bank for banks in self.banks.values() for bank in banks}:
            steps = np.zeros(instructions + 1, np.int64)
            for number in (number for number, banks in self.banks.items() if bank in banks):
                steps[ranges.first[number]] += 1
                steps[ranges.last[number] + 1] -= 1
            used += np.cumsum(steps[:-1]) > 0
        return used


@dataclass
class _Banks:
    """The banks at one moment of the walk through time."""

    count: int
    bank_bytes: int
    free: list[int]
    ending: list[tuple[int, int, int, int]] = field(default_factory=list)  # heap of (last use, first bank, end, bytes)

    def release(self, before: int) -> None:
        """Give back what tiles that ended before an instruction held."""
        while self.ending and self.ending[0][0] < before:
            _, first, end, nbytes = heapq.heappop(self.ending)
            for bank in range(first, end):
                self.free[bank] += nbytes

    def find(self, nbytes: int, reserved: Sequence[int]) -> range | None:
        """The first bank, or run of banks, with room."""
        room = [free - held for free, held in zip(self.free, reserved, strict=True)]
        if nbytes <= self.bank_bytes:
            return next((range(bank, bank + 1) for bank in range(self.count) if room[bank] >= nbytes), None)
        width = -(-nbytes // self.bank_bytes)
        starts = range(self.count - width + 1)
        return next((range(s, s + width) for s in starts if min(room[s : s + width]) == self.bank_bytes), None)

    def take(self, banks: range, nbytes: int, last: int) -> None:
        """Hold bytes of each bank until after instruction `last`."""
        for bank in banks:
            self.free[bank] -= nbytes
        heapq.heappush(self.ending, (last, banks.start, banks.stop, nbytes))


def assign_banks(tiles: Iterable[Buffer], ranges: LiveRanges, target: Target) -> BankPlan:
    """Banks for every PSUM tile of a program, by first fit in order of first use."""
    size = target.psum_bank_bytes
    ordered = sorted(tiles, key=lambda tile: (int(ranges.first[tile.number]), tile.number))
    placed = [tile for tile in ordered if tile.address is not None]
    plan = {tile.number: _banks_at(tile, size) for tile in placed}
    homeless: list[Buffer] = []
    banks = _Banks(target.psum_banks, size, [size] * target.psum_banks)
    for tile in ordered:
        if tile.address is not None:
            continue
        first, last = int(ranges.first[tile.number]), int(ranges.last[tile.number])
        banks.release(first)
        placed = [other for other in placed if ranges.last[other.number] >= first]
        found = banks.find(tile.bytes_per_partition, _reserved(placed, plan, ranges, last, target))
        if found is None:
            homeless.append(tile)
        else:
            plan[tile.number] = found
            banks.take(found, min(tile.bytes_per_partition, size), last)
    return BankPlan(plan, tuple(homeless))


def _banks_at(tile: Buffer, bank_bytes: int) -> range:
    _, byte = tile.address or (0, 0)
    return range(byte // bank_bytes, (byte + tile.bytes_per_partition - 1) // bank_bytes + 1)


def _reserved(
    placed: Sequence[Buffer], plan: Mapping[int, range], ranges: LiveRanges, last: int, target: Target
) -> list[int]:
    """Bytes of each bank that hand-placed tiles hold at some time up to instruction `last`."""
    held = [0] * target.psum_banks
    for tile in placed:
        if ranges.first[tile.number] > last:
            break
        for bank in plan[tile.number]:
            _, byte = tile.address or (0, 0)
            low = max(byte, bank * target.psum_bank_bytes)
            high = min(byte + tile.bytes_per_partition, (bank + 1) * target.psum_bank_bytes)
            held[bank] += high - low
    return held
