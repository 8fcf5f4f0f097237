"""Takeovers of memory as edges: who must be done with a tile before another tile's first writes.

A tile's writers wait for the readers of the tiles it replaces. Accumulations count as neither: they follow a write, and
a reader follows them. Tiles without a writer or reader wait, or are waited for, at every use. Where both sides are few
there is an edge for each pair; else the edges meet in a node, so their number stays linear.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from trnlab.emulator.dependence import Kind
from trnlab.emulator.memory import MemoryRegion
from trnlab.emulator.program import IndexArray, Program
from trnlab.emulator.timing.rotation import Rotation, Takeover

_DIRECT: Final = 4  # pairs up to which edges need no node
_PLACE: Final = {region: place for place, region in enumerate(MemoryRegion)}


@dataclass(frozen=True, eq=False)
class Links:
    """Edges between steps and nodes; nodes are numbered from the number of steps on.

    kinds:   WAR where the producer only reads, else WAW; regions: index into `MemoryRegion`
    """

    nodes: int
    producers: IndexArray
    consumers: IndexArray
    kinds: IndexArray
    regions: IndexArray


class _Accesses:
    """Which steps read, write and use each buffer."""

    def __init__(self, program: Program, steps: IndexArray) -> None:
        widths = [len(signature.operands) for signature in program.signatures]
        starts, ids = program.operand_starts, program.signature_ids[steps]
        counts = np.asarray(widths, np.int64)[ids]
        within = np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)
        at = np.repeat(np.arange(len(steps)), counts)
        buffers = program.operands[np.repeat(starts[steps], counts) + within, 0]
        offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(widths, dtype=np.int64)])
        which = offsets[ids[at]] + within
        access = np.array([item.access for signature in program.signatures for item in signature.operands], str)[which]
        reads, writes = access == "read", access == "write"
        self.readers = _Grouped(buffers[reads], at[reads], len(program.buffers))
        self.writers = _Grouped(buffers[writes], at[writes], len(program.buffers))
        self.users = _Grouped(buffers, at, len(program.buffers))


class _Grouped:
    """Steps by buffer, each step once."""

    def __init__(self, buffers: IndexArray, steps: IndexArray, count: int) -> None:
        order = np.lexsort((steps, buffers))
        buffers, steps = buffers[order], steps[order]
        new = np.ones(len(steps), bool)
        new[1:] = (np.diff(buffers) != 0) | (np.diff(steps) != 0)
        self.steps: list[int] = steps[new].tolist()
        self.first: list[int] = np.searchsorted(buffers[new], np.arange(count + 1)).tolist()

    def of(self, buffer: int) -> list[int]:
        return self.steps[self.first[buffer] : self.first[buffer + 1]]


class _Builder:
    """Collects edges; `released` holds the nodes at which tiles with many readers end."""

    def __init__(self, accesses: _Accesses, steps: int) -> None:
        self.accesses, self.steps, self.nodes = accesses, steps, 0
        self.released: dict[int, int] = {}
        self.edges: list[tuple[int, int, int, int]] = []

    def link(self, takeover: Takeover) -> None:
        """The edges of one takeover."""
        region = _PLACE[takeover.region]
        ends = [end for tile in takeover.replaced for end in self._ends(tile, region)]
        writers = self.accesses.writers.of(takeover.tile) or self.accesses.users.of(takeover.tile)
        if len(ends) * len(writers) <= _DIRECT:
            self.edges += [(end, step, kind, region) for end, kind in ends for step in writers]
            return
        node = self._node()
        self.edges += [(end, node, kind, region) for end, kind in ends]
        self.edges += [(node, step, Kind.WAW, region) for step in writers]

    def _ends(self, tile: int, region: int) -> list[tuple[int, int]]:
        """(step or node, kind) at which a tile's last uses end."""
        if tile in self.released:
            return [(self.released[tile], Kind.WAW)]
        readers = self.accesses.readers.of(tile)
        kind = Kind.WAR if readers else Kind.WAW
        last = readers or self.accesses.users.of(tile)
        if len(last) == 1:
            return [(last[0], kind)]
        node = self.released[tile] = self._node()
        self.edges += [(step, node, kind, region) for step in last]
        return [(node, Kind.WAW)]

    def _node(self) -> int:
        self.nodes += 1
        return self.steps + self.nodes - 1


def links_of(program: Program, steps: IndexArray, rotation: Rotation) -> Links:
    """The edges of a rotation."""
    builder = _Builder(_Accesses(program, steps), len(steps))
    for takeover in rotation.takeovers:
        builder.link(takeover)
    table: np.ndarray[Any, np.dtype[np.int64]] = np.array(builder.edges, np.int64).reshape(-1, 4)
    return Links(builder.nodes, *(np.ascontiguousarray(column) for column in table.T))
