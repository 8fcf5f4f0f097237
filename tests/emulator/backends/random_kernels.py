"""Random legal kernels: instructions on random tiles inside random nests of Python loops and structured loops.

A `Recipe` is data, drawn from a seed or by hypothesis, which shrinks it; `kernel_of` runs it as a kernel's Python
would. Everything is tiny, because compiling takes most of the time, and few sizes occur, because every instruction of a
new form is compiled once more for the reference.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

import trnlab.emulator.nki.isa as nisa
import trnlab.emulator.nki.language as nl
from tests.emulator.backends.random_instructions import FURTHER
from tests.emulator.backends.random_recipes import KINDS, Index, Operation, Place, Recipe, Repeated

ROWS, COLUMNS, WIDTH = 4, 16, 4
HBM = (16, 16)
KEPT = (nl.float32, nl.float32, nl.bfloat16, nl.int32)
LIST = 5
PSUM = 2


@dataclass
class Run:
    """One trace of a recipe."""

    x: Any
    table: Any
    index: Any
    kept: list[Any] = field(default_factory=list)
    tiles: list[Any] = field(default_factory=list)
    psum: list[Any] = field(default_factory=list)
    started: list[Any] = field(default_factory=list)
    outs: list[Any] = field(default_factory=list)
    counters: list[int] = field(default_factory=list)
    trips: list[int] = field(default_factory=list)
    fresh: list[Any] = field(default_factory=list)
    registers: list[Any] = field(default_factory=list)
    small: Any = None
    narrow: Any = None

    def setup(self) -> None:
        """Everything kept: half of it filled by loops that fold, the rest uninitialised."""
        self.kept = [nl.ndarray((ROWS, COLUMNS), dtype=dtype) for dtype in KEPT]
        self.tiles = [nl.ndarray((ROWS, COLUMNS), dtype=nl.float32) for _ in range(LIST)]
        self.psum = [nl.ndarray((ROWS, WIDTH), dtype=nl.float32, buffer=nl.psum) for _ in range(PSUM)]
        self.outs = [nl.ndarray(HBM, dtype=nl.float32, buffer=nl.shared_hbm) for _ in range(2)]
        for bank in self.psum:
            nisa.memset(bank, 0.0)
        for number, tile in enumerate(self.tiles[1:]):
            nisa.dma_copy(tile, self.x[number : number + ROWS])
        nisa.dma_copy(self.kept[0], self.x[0:ROWS])
        for out in self.outs:
            nisa.dma_copy(out[0:ROWS], self.kept[0])
        nisa.memset(self.kept[3], 5)

    def setup_further(self) -> None:
        """What further instructions use: run-time numbers from 0 to 7, and eight-bit floats that nothing wrote."""
        self.small = nl.ndarray((ROWS, 1), dtype=nl.int32)
        nisa.tensor_scalar(self.small, self.index, nl.bitwise_and, 7)
        self.narrow = nl.ndarray((ROWS, COLUMNS), dtype=nl.float8_e4m3)

    def results(self) -> tuple[Any, ...]:
        outputs = [*self.outs]
        for tile in (*self.kept, *self.tiles, *self.psum):
            source = tile
            if tile.buffer == nl.psum:
                source = nl.ndarray(tile.shape, dtype=tile.dtype)
                nisa.tensor_copy(source, tile)
            outputs.append(nl.ndarray(tile.shape, dtype=tile.dtype, buffer=nl.shared_hbm))
            nisa.dma_copy(outputs[-1], source)
        return tuple(outputs)

    # -- operands ---------------------------------------------------------------------------------------------------

    def tile(self, place: Place) -> Any:
        if place.tile == "list":
            return self.tiles[place.number(self.counters, LIST)]
        if place.tile == "fresh" and self.fresh:
            return self.fresh[place.number.start % len(self.fresh)]
        return self.kept[place.number.start % len(KEPT)]

    def window(self, place: Place, rows: int, width: int = WIDTH) -> Any:
        tile = self.tile(place)
        unit = width if place.aligned else 1
        first = unit * place.column(self.counters, (COLUMNS - place.step * (width - 1) - 1) // unit + 1)
        return tile[0:rows, first : first + place.step * (width - 1) + 1 : place.step]

    def floats(self, place: Place, rows: int, width: int = WIDTH) -> Any:
        """The window, or one of a tile of floats in its place."""
        view = self.window(place, rows, width)
        return self.single(place, rows, width) if view.dtype.is_integer else view

    def single(self, place: Place, rows: int, width: int = WIDTH, offset: int = 0) -> Any:
        """The window, or one of a tile of float32 in its place."""
        if self.tile(place).dtype != nl.float32:
            place = replace(place, tile="list")
        if width * place.step > COLUMNS:
            place = replace(place, step=1)
        return self.window(replace(place, column=replace(place.column, start=place.column.start + offset)), rows, width)

    def memory(self, tensor: Any, item: Operation, rows: int, column: Index) -> Any:
        first = WIDTH * column(self.counters, HBM[1] // WIDTH)
        columns = slice(first, first + WIDTH)
        if self.registers and item.varies:
            return tensor[nl.ds(self.registers[-1], rows), columns]
        row = item.row(self.counters, HBM[0] - ROWS + 1)
        return tensor[row : row + rows, columns]

    # -- statements -------------------------------------------------------------------------------------------------

    def body(self, body: Recipe) -> None:
        for item in body:
            if isinstance(item, Repeated):
                self.loop(item)
            else:
                self.emit(item)

    def loop(self, item: Repeated) -> None:
        if item.kind == "fori":
            self.trips.append(1)
            nl.fori_loop(0, item.trips, lambda register: self.iteration(item, 0, register))
            self.trips.pop()
            return
        trips = self.counters[-1] + 1 if item.kind == "triangle" and self.counters else item.trips
        self.trips.append(trips)
        for counter in range(trips):
            self.iteration(item, counter, None)
        self.trips.pop()

    def iteration(self, item: Repeated, counter: int, register: Any) -> None:
        outer = len(self.fresh)
        self.counters.append(counter)
        self.registers += [] if register is None else [register]
        if item.bank:
            self.psum.append(nl.ndarray((ROWS, WIDTH), dtype=nl.float32, buffer=nl.psum))
        for dtype in item.fresh:
            self.fresh.append(nl.ndarray((ROWS, COLUMNS), dtype=dtype))
            if item.filled:
                nisa.dma_copy(self.fresh[-1], self.table[2 * counter : 2 * counter + ROWS])
        self.body(item.body)
        del self.fresh[outer:]
        self.psum = self.psum[:-1] if item.bank else self.psum
        self.registers = self.registers if register is None else self.registers[:-1]
        self.counters.pop()

    def emit(self, item: Operation) -> None:
        ragged = item.ragged and bool(self.counters) and self.counters[-1] == self.trips[-1] - 1
        rows = ROWS // 2 if ragged else ROWS
        if item.kind in FURTHER:
            FURTHER[item.kind](self, item, rows, *item.places)
        else:
            getattr(self, item.kind)(item, rows, *item.places)

    # -- instructions -----------------------------------------------------------------------------------------------

    def load(self, item: Operation, rows: int, dst: Place, src: Place, _: Place) -> None:
        nisa.dma_copy(self.window(dst, rows), self.memory(self.x, item, rows, src.column))

    def store(self, item: Operation, rows: int, dst: Place, src: Place, _: Place) -> None:
        if not item.own:
            target = self.x if item.varies and dst.step == 2 else self.outs[0]
            nisa.dma_copy(self.memory(target, item, rows, dst.column), self.window(src, rows))
            return
        place = 0
        for counter, trips in zip(self.counters, self.trips, strict=True):
            place = place * trips + counter
        row, first = divmod(place, HBM[1] // WIDTH)
        row, first = row * ROWS % HBM[0], first * WIDTH
        nisa.dma_copy(self.outs[1][row : row + rows, first : first + WIDTH], self.window(src, rows))

    def gather(self, item: Operation, rows: int, dst: Place, src: Place, _: Place) -> None:
        first = WIDTH * src.column(self.counters, HBM[1] // WIDTH)
        rows_of_table = self.table.vector_select(0, self.index)[:, first : first + WIDTH]
        nisa.dma_copy(self.window(dst, ROWS), rows_of_table, oob_mode=nisa.oob_mode.skip)

    def scatter(self, item: Operation, rows: int, dst: Place, src: Place, _: Place) -> None:
        first = WIDTH * dst.column(self.counters, HBM[1] // WIDTH)
        places = self.outs[0].vector_select(0, self.index)[:, first : first + WIDTH]
        nisa.dma_copy(places, self.window(src, ROWS), oob_mode=nisa.oob_mode.skip)

    def fill(self, item: Operation, rows: int, dst: Place, *_: Place) -> None:
        nisa.memset(self.window(dst, rows), int(item.value * 4))

    def copy(self, item: Operation, rows: int, dst: Place, src: Place, _: Place) -> None:
        nisa.tensor_copy(self.window(dst, rows), self.window(src, rows))

    def whole(self, item: Operation, rows: int, dst: Place, src: Place, _: Place) -> None:
        nisa.tensor_copy(self.tile(dst), self.tile(src))

    def halves(self, item: Operation, rows: int, dst: Place, src: Place, _: Place) -> None:
        """Bits move between tiles of two dtypes."""
        to, other = (self.tile(place).view(nl.uint16) for place in (dst, src))
        a, b = dst.column(self.counters, 6), src.column(self.counters, 6)
        nisa.tensor_copy(to[0:rows, a : a + 8], other[0:rows, b : b + 8])

    def spread(self, item: Operation, rows: int, dst: Place, src: Place, _: Place) -> None:
        nisa.tensor_copy(self.window(dst, rows), self.window(src, rows, 1).broadcast(1, WIDTH))

    def turn(self, item: Operation, rows: int, dst: Place, src: Place, _: Place) -> None:
        to, data = self.window(dst, ROWS), self.window(src, ROWS)
        if to.dtype == data.dtype:
            nisa.nc_transpose(to, data)
        else:
            nisa.tensor_copy(to, data)

    def combine(self, item: Operation, rows: int, dst: Place, first: Place, second: Place) -> None:
        views = (self.window(place, rows) for place in (dst, first, second))
        nisa.tensor_tensor(*views, item.operator, engine=nisa.engine.vector)

    def scale(self, item: Operation, rows: int, dst: Place, src: Place, _: Place) -> None:
        value = item.value + (0.25 * sum(self.counters) if item.varies else 0)
        nisa.tensor_scalar(
            self.window(dst, rows), self.window(src, rows), item.operator, value, op1=nl.add, operand1=0.1
        )

    def fold(self, item: Operation, rows: int, dst: Place, src: Place, _: Place) -> None:
        nisa.tensor_reduce(self.window(dst, rows, 1), nl.add, self.window(src, rows), axis=1)

    def activate(self, item: Operation, rows: int, dst: Place, src: Place, total: Place) -> None:
        first = not self.counters or self.counters[-1] == 0
        command = nisa.reduce_cmd.reset_reduce if first else nisa.reduce_cmd.reduce
        result = self.window(total, rows, 1) if item.varies else None
        data = self.window(src, rows)
        nisa.activation(self.window(dst, rows), nl.tanh, data, reduce_op=nl.add, reduce_res=result, reduce_cmd=command)

    def multiply(self, item: Operation, rows: int, dst: Place, left: Place, right: Place) -> None:
        bank = self.psum[-1] if item.own else self.psum[dst.number(self.counters, PSUM)]
        operands = []
        for place in (left, right):
            operand = self.window(place, ROWS)
            if operand.dtype != nl.float32:
                operand = nl.ndarray((ROWS, WIDTH), dtype=nl.float32)
                nisa.tensor_copy(operand, self.window(place, ROWS))
            operands.append(operand)
        accumulate = (
            item.varies and (any(bank is other for other in self.started) or not item.own) and self.counters[-1] > 0
        )
        nisa.nc_matmul(bank, *operands, accumulate=accumulate)
        self.started.append(bank)
        nisa.tensor_copy(self.window(dst, rows), bank[0:rows])


ALL_KINDS = (*KINDS, *FURTHER)


def _kinds(body: Recipe) -> set[str]:
    return {kind for item in body for kind in (_kinds(item.body) if isinstance(item, Repeated) else [item.kind])}


def kernel_of(recipe: Recipe) -> Callable[[Any, Any, Any], tuple[Any, ...]]:
    """The recipe as a kernel of x and table, float32 [16, 16], and index, int32 [4, 1]."""

    def random_kernel(x: Any, table: Any, index: Any) -> tuple[Any, ...]:
        held = nl.ndarray(index.shape, dtype=index.dtype)
        nisa.dma_copy(held, index)
        run = Run(x, table, held)
        run.setup()
        if _kinds(recipe) & FURTHER.keys():
            run.setup_further()
        run.body(recipe)
        return run.results()

    return random_kernel


def arguments(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ordinary numbers, and row numbers of which some repeat and one may be out of bounds."""
    rng = np.random.default_rng(seed)
    x, table = rng.standard_normal((2, *HBM)).astype(np.float32)
    return x, table, rng.integers(0, HBM[0] + 1, (ROWS, 1), dtype=np.int32)
