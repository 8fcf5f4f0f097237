"""Where operands lie in memory: byte intervals on the axes of a storage, cut into cells that no write crosses.

An access pattern is a product of sets of byte intervals, one set per axis: (partition, byte) on chip, the buffer's own
row-major axes in HBM. `Grid` cuts the storage at the edges of everything written to it, so each write covers whole
cells, and two accesses one of which writes overlap exactly when they share a cell. Storage that is written tile by tile
gets cells as large as its tiles, and an access meets few of them.

Exact unless the pattern is no such product (rows begun and ended in the middle), has very many pieces, moves at run
time, or the grid had to be coarsened; then the footprint is larger than the access, never smaller.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import pairwise, product
from math import inf, prod
from typing import Final, NamedTuple

Interval = tuple[int, int]
Intervals = tuple[Interval, ...]
Box = tuple[Intervals, ...]
"""For each axis the intervals taken, ascending and apart; the box is their product."""

_MAX_PIECES: Final = 64  # intervals on one axis; beyond, their hull
_CELLS_PER_FOOTPRINT: Final = 64  # average that a grid may reach before it is coarsened


class Layout(NamedTuple):
    """What repeats from one access to the next: the buffer's class and the access pattern, in elements."""

    on_chip: bool
    buffer_shape: tuple[int, ...]
    buffer_itemsize: int
    itemsize: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    indirect: bool

    @property
    def buffer_bytes(self) -> int:
        """Size of the whole buffer."""
        return prod(self.buffer_shape) * self.buffer_itemsize


class Footprint(NamedTuple):
    """One access: its layout, its element offset, whether anything writes there, and where the buffer itself starts."""

    layout: Layout
    offset: int
    written: bool
    base: tuple[int, ...] = ()


@lru_cache(maxsize=4096)
def byte_pattern(layout: Layout) -> tuple[int, tuple[Interval, ...]]:
    """(shift, ((1, run), (stride, count), ...)): the pattern in bytes, strides positive, ascending and merged.

    shift: from the offset to the lowest byte; run: contiguous bytes. Broadcast dimensions leave no trace.
    """
    shift, run = 0, layout.itemsize
    dims: list[Interval] = []
    steps = [(s * layout.itemsize, n) for s, n in zip(layout.strides, layout.shape, strict=True) if n > 1 and s]
    for stride, count in sorted((abs(stride), count) for stride, count in steps):
        if not dims and stride <= run:
            run += (count - 1) * stride
        elif dims and stride == dims[-1][0] * dims[-1][1]:
            dims[-1] = (dims[-1][0], dims[-1][1] * count)
        else:
            dims.append((stride, count))
    shift = sum(stride * (count - 1) for stride, count in steps if stride < 0)
    return shift, ((1, run), *dims)


def choose_pitches(layouts: Sequence[Layout]) -> tuple[int, ...]:
    """The axes of a buffer as byte pitches, widest first; the last is 1.

    On chip (bytes per partition, 1). In HBM the buffer's row-major pitches; a buffer used only in contiguous runs, or
    with one dimension, gets the axes that its access patterns suggest.
    """
    first = layouts[0]
    if first.on_chip:
        return prod(first.buffer_shape[1:]) * first.buffer_itemsize, 1
    strides = {stride for layout in layouts if not layout.indirect for stride, _ in byte_pattern(layout)[1][1:]}
    if not strides:
        return (1,)
    own, pitch = [1], first.buffer_itemsize
    for size in reversed(first.buffer_shape):
        if size > 1:
            own.append(pitch * size)
        pitch *= size
    if len(own) > 2:
        return tuple(reversed(own[:-1]))
    chain: list[int] = []
    for stride in sorted(strides, reverse=True):
        if not chain or chain[-1] % stride == 0:
            chain.append(stride)
    return (*chain, 1)


def _sizes(pitches: tuple[int, ...]) -> list[float]:
    return [inf, *(outer // inner for outer, inner in pairwise(pitches))]


def _merged(pieces: Iterable[Interval]) -> Intervals:
    result: list[Interval] = []
    for low, high in sorted(pieces):
        if result and low <= result[-1][1]:
            result[-1] = (result[-1][0], max(high, result[-1][1]))
        else:
            result.append((low, high))
    return tuple(result)


def _intervals(steps: list[Interval]) -> Intervals:
    """The intervals of sum(i * step) for i < count, of unit pieces; their hull when there are too many."""
    pieces: Intervals = ((0, 1),)
    for step, count in sorted(steps):
        span = pieces[-1][1]
        if (len(pieces) == 1 and step <= span) or len(pieces) * count > _MAX_PIECES:
            pieces = ((0, (count - 1) * step + span),)
        else:
            pieces = _merged((low + k * step, high + k * step) for k in range(count) for low, high in pieces)
    return pieces


@lru_cache(maxsize=4096)
def axis_pieces(layout: Layout, pitches: tuple[int, ...]) -> Box | None:
    """The pattern as intervals on each axis, relative to its start; None when it is no product of such sets."""
    sizes = _sizes(pitches)
    axes: list[list[Interval]] = [[] for _ in pitches]
    dims = list(byte_pattern(layout)[1])
    while dims:
        stride, count = dims.pop()
        axis = next(index for index, pitch in enumerate(pitches) if pitch <= stride)
        step, rest = divmod(stride, pitches[axis])
        if rest:
            return None
        if (count - 1) * step < sizes[axis]:
            axes[axis].append((step, count))
            continue
        inside, rest = divmod(int(sizes[axis]), step)
        if rest or count % inside:
            return None
        axes[axis].append((step, inside))
        dims.append((pitches[axis - 1], count // inside))
    return tuple(_intervals(steps) for steps in axes)


def _coordinates(byte: int, pitches: tuple[int, ...]) -> list[int]:
    result = []
    for pitch in pitches:
        index, byte = divmod(byte, pitch)
        result.append(index)
    return result


def _hull(first: int, last: int, pitches: tuple[int, ...]) -> Box:
    """The smallest product of one interval per axis around the bytes first..last (inclusive)."""
    axes: list[Intervals] = []
    inside = False
    for low, high, size in zip(_coordinates(first, pitches), _coordinates(last, pitches), _sizes(pitches), strict=True):
        axes.append(((0, int(size)),) if inside else ((low, high + 1),))
        inside = inside or low != high
    return tuple(axes)


def box_of(footprint: Footprint, pitches: tuple[int, ...]) -> Box:
    """The axis intervals of one access; whole buffer when it moves at run time."""
    layout = footprint.layout
    if layout.indirect:
        return _based(_hull(0, layout.buffer_bytes - 1, pitches), footprint.base)
    shift, dims = byte_pattern(layout)
    start = footprint.offset * layout.itemsize + shift
    pieces = axis_pieces(layout, pitches)
    lows = _coordinates(start, pitches)
    fits = pieces is not None and all(
        low + axis[-1][1] <= size for low, axis, size in zip(lows, pieces, _sizes(pitches), strict=True)
    )
    if pieces is None or not fits:
        return _based(_hull(start, start + sum((n - 1) * s for s, n in dims), pitches), footprint.base)
    moved = tuple(tuple((a + low, b + low) for a, b in axis) for axis, low in zip(pieces, lows, strict=True))
    return _based(moved, footprint.base)


def _based(box: Box, base: tuple[int, ...]) -> Box:
    if not base:
        return box
    return tuple(tuple((a + by, b + by) for a, b in axis) for axis, by in zip(box, base, strict=True))


class Grid:
    """A storage cut along each axis at the edges of the boxes written to it, or at every `thinning`-th of them."""

    def __init__(self, written: Sequence[Box], thinning: int = 1) -> None:
        self.edges: list[list[int]] = []
        for axis in zip(*written, strict=True):
            edges = sorted({edge for intervals in axis for interval in intervals for edge in interval})
            self.edges.append(edges[:-1:thinning] + edges[-1:])
        self.shape = [len(edges) - 1 for edges in self.edges]

    @property
    def size(self) -> int:
        """Number of cells."""
        return prod(self.shape)

    def _ranges(self, box: Box) -> list[list[int]]:
        """On each axis the cells that the box meets."""
        found = []
        for edges, intervals, count in zip(self.edges, box, self.shape, strict=True):
            cells: dict[int, None] = {}
            for low, high in intervals:
                cells.update(dict.fromkeys(range(max(bisect_right(edges, low) - 1, 0), bisect_left(edges, high))))
            found.append([cell for cell in cells if cell < count])
        return found

    def count(self, box: Box) -> int:
        """How many cells the box meets."""
        return prod(len(cells) for cells in self._ranges(box))

    def cells(self, box: Box) -> tuple[int, ...]:
        """Numbers of the cells that the box meets, below `size`."""
        strides = [prod(self.shape[axis + 1 :]) for axis in range(len(self.shape))]
        scaled = [[cell * stride for cell in cells] for cells, stride in zip(self._ranges(box), strides, strict=True)]
        return tuple(scaled[0]) if len(scaled) == 1 else tuple(sum(index) for index in product(*scaled))


def cells_of(footprints: Sequence[Footprint]) -> tuple[list[tuple[int, ...]], int]:
    """For each footprint of one storage the cells it meets, and how many cells there are.

    Two footprints overlap, one of them written, exactly when they share a cell (see the module for the exceptions).
    """
    pitches = {layout: choose_pitches([layout]) for layout in {item.layout for item in footprints}}
    if not footprints[0].layout.on_chip:
        pitches = dict.fromkeys(pitches, choose_pitches(list(pitches)))
    boxes = [box_of(item, pitches[item.layout]) for item in footprints]
    written = [box for box, item in zip(boxes, footprints, strict=True) if item.written]
    thinning, grid = 1, Grid(written)
    while grid.size > 1 and sum(map(grid.count, boxes)) > _CELLS_PER_FOOTPRINT * (len(footprints) + 1024):
        thinning *= 2
        grid = Grid(written, thinning)
    return [grid.cells(box) for box in boxes], grid.size
