"""Cutting a dimension into tiles: plain integers, shared by the kernels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Tile:
    """One piece of a dimension: its number, where it starts, and its size."""

    index: int
    start: int
    size: int

    @property
    def stop(self) -> int:
        """One past the last element."""
        return self.start + self.size


def tiles(extent: int, size: int, start: int = 0) -> Iterator[Tile]:
    """Pieces of `size` from `start` to `extent`; the last one may be smaller."""
    for index, begin in enumerate(range(start, extent, size)):
        yield Tile(index, begin, min(size, extent - begin))


def round_up(value: int, multiple: int) -> int:
    """The smallest multiple that is not below the value."""
    return -(-value // multiple) * multiple
