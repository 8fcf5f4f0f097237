"""Which tiles take turns in the same memory: what a finite SBUF and PSUM add to a program's order.

A kernel allocates a tile anew in every iteration, and a compiler gives it memory that earlier tiles no longer need. How
many iterations are under way at once is therefore a matter of memory: a tile that reuses memory waits for the last
readers of the tiles it replaces. Here memory is handed out in program order, fresh memory first, then that of the tiles
whose last use lies furthest back, so tiles rotate through all that is free:

* SBUF by bytes per partition, wherever they lie (fragmentation and tiles of few partitions side by side are ignored);
* PSUM by banks: a tile takes the empty bank that was left first, and shares a bank only where none is empty.

Tiles with an address keep it (`dependence` orders what overlaps there), and their memory is not handed out. What does
not fit at all gets memory of its own and is counted in `homeless_bytes`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Final, NamedTuple

import numpy as np

from trnlab.emulator.memory import ON_CHIP_REGIONS, Buffer, MemoryRegion
from trnlab.emulator.program import IndexArray, Program
from trnlab.emulator.target import Target

_NONE: Final = range(0)


class Takeover(NamedTuple):
    """The tiles (buffer numbers) whose memory a tile takes over."""

    tile: int
    replaced: tuple[int, ...]
    region: MemoryRegion


@dataclass(frozen=True, eq=False)
class Rotation:
    """Who takes over whose memory, in order of first use.

    banks:          by tile in PSUM the banks that it lies in
    homeless_bytes: bytes per partition (SBUF and PSUM) for which there was no room
    """

    takeovers: tuple[Takeover, ...]
    banks: dict[int, range]
    homeless_bytes: int


class Uses(NamedTuple):
    """The first and last step of each buffer, -1 where it is not used."""

    first: IndexArray
    last: IndexArray


def uses_of(program: Program, steps: IndexArray) -> Uses:
    """When each buffer of a flat program is used, in executed steps."""
    starts = program.operand_starts
    counts = starts[steps + 1] - starts[steps]
    at = np.repeat(np.arange(len(steps)), counts)
    rows = np.arange(len(at)) - np.repeat(np.cumsum(counts) - counts, counts) + np.repeat(starts[steps], counts)
    used = program.operands[rows, 0]
    first, last = np.full((2, len(program.buffers)), -1, np.int64)
    last[used] = at
    first[used[::-1]] = at[::-1]
    return Uses(first, last)


def rotate(program: Program, uses: Uses, target: Target) -> Rotation:
    """Hand out the target's SBUF and PSUM to the tiles of a flat program."""
    order = np.argsort(uses.first, kind="stable")
    tiles = [program.buffers[n] for n in order.tolist() if uses.first[n] >= 0]
    sbuf = _Bytes(target.sbuf_bytes_per_partition - _placed_bytes(tiles, MemoryRegion.sbuf))
    psum = _Banks(target, [tile for tile in tiles if tile.region is MemoryRegion.psum and tile.address], uses)
    memories: dict[MemoryRegion, _Bytes | _Banks] = {MemoryRegion.sbuf: sbuf, MemoryRegion.psum: psum}
    takeovers = []
    for tile in tiles:
        if tile.region not in ON_CHIP_REGIONS or tile.address is not None:
            continue
        first, last = int(uses.first[tile.number]), int(uses.last[tile.number])
        replaced = memories[tile.region].take(tile.number, tile.bytes_per_partition, first, last)
        if replaced:
            takeovers.append(Takeover(tile.number, tuple(replaced), tile.region))
    return Rotation(tuple(takeovers), psum.banks, sbuf.homeless + psum.homeless)


def _placed_bytes(tiles: Iterable[Buffer], region: MemoryRegion) -> int:
    """Bytes per partition that tiles with an address cover, in any partition."""
    spans = sorted(
        (tile.address[1], tile.address[1] + tile.bytes_per_partition)
        for tile in tiles
        if tile.region is region and tile.address is not None
    )
    covered, end = 0, 0
    for low, high in spans:
        covered += max(0, high - max(low, end))
        end = max(end, high)
    return covered


class _Bytes:
    """Memory by bytes: fresh, then that of the tile that ended first."""

    def __init__(self, capacity: int) -> None:
        self.fresh = capacity
        self.homeless = 0
        self.live: list[tuple[int, int, int]] = []  # heap of (last use, tile, bytes)
        self.ended: deque[list[int]] = deque()  # [tile, bytes left], in order of last use

    def take(self, tile: int, nbytes: int, first: int, last: int) -> list[int]:
        """The tiles whose memory it takes over."""
        while self.live and self.live[0][0] < first:
            _, other, size = heappop(self.live)
            self.ended.append([other, size])
        missing = nbytes - min(self.fresh, nbytes)
        self.fresh -= nbytes - missing
        replaced = []
        while missing and self.ended:
            oldest = self.ended[0]
            part = min(missing, oldest[1])
            replaced.append(oldest[0])
            missing -= part
            oldest[1] -= part
            if not oldest[1]:
                self.ended.popleft()
        self.homeless += missing
        heappush(self.live, (last, tile, nbytes - missing))
        return replaced


class _Bank:
    """One bank: what lives in it, and what ended there whose place nothing has taken yet."""

    __slots__ = ("ended", "free", "left", "live")

    def __init__(self, free: int) -> None:
        self.free = free
        self.left = -1
        self.live: list[tuple[int, int, int]] = []  # (last use, tile, bytes)
        self.ended: list[int] = []

    def advance(self, first: int) -> None:
        """Take out what ended before a step."""
        if not self.live:
            return
        for item in [item for item in self.live if item[0] < first]:
            self.live.remove(item)
            self.free += item[2]
            self.left = max(self.left, item[0])
            if item[1] >= 0:
                self.ended.append(item[1])


class _Banks:
    """PSUM by banks."""

    def __init__(self, target: Target, placed: list[Buffer], uses: Uses) -> None:
        self.size = target.psum_bank_bytes
        self.all = [_Bank(self.size) for _ in range(target.psum_banks)]
        self.banks: dict[int, range] = {}
        self.homeless = 0
        self.placed = deque((int(uses.first[t.number]), int(uses.last[t.number]), t) for t in placed)
        for tile in placed:
            byte = (tile.address or (0, 0))[1]
            self.banks[tile.number] = range(byte // self.size, -(-(byte + tile.bytes_per_partition) // self.size))

    def take(self, tile: int, nbytes: int, first: int, last: int) -> list[int]:
        """The tiles whose place it takes over."""
        self._reserve(last)
        for bank in self.all:
            bank.advance(first)
        found = self._empty(-(-nbytes // self.size))
        if not found and nbytes <= self.size:
            found = self._shared(nbytes)
        if not found:
            self.homeless += nbytes
            return []
        self.banks[tile] = found
        replaced: dict[int, None] = {}
        for number in found:
            bank = self.all[number]
            replaced.update(dict.fromkeys(bank.ended))
            bank.ended = []
            held = min(nbytes, self.size)
            bank.free -= held
            bank.live.append((last, tile, held))
        return list(replaced)

    def _reserve(self, until: int) -> None:
        """Tiles with an address hold their banks whole from their first use on."""
        while self.placed and self.placed[0][0] <= until:
            _, last, tile = self.placed.popleft()
            for number in self.banks[tile.number]:
                bank = self.all[number]
                held, bank.free = bank.free, 0
                bank.live.append((last, -1, held))

    def _empty(self, width: int) -> range:
        """The run of empty banks that was left first."""
        runs = [range(start, start + width) for start in range(len(self.all) - width + 1)]
        empty = [run for run in runs if not any(self.all[number].live for number in run)]
        return min(empty, key=lambda run: max(self.all[number].left for number in run), default=_NONE)

    def _shared(self, nbytes: int) -> range:
        """The bank with room that has most of it."""
        number = max(range(len(self.all)), key=lambda place: self.all[place].free)
        return range(number, number + 1) if self.all[number].free >= nbytes else _NONE
