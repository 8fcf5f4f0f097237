"""Random legal kernels: instructions on random tiles inside random nests of Python loops and structured loops.

A `Recipe` is data, drawn from a seed or by hypothesis, which shrinks it; `kernel_of` runs it as a kernel's Python
would. Everything is tiny, because compiling takes most of the time, and few sizes occur, because every instruction of a
new form is compiled once more for the reference.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

import numpy as np
from hypothesis import strategies as st

import trnlab.emulator.nki.isa as nisa
import trnlab.emulator.nki.language as nl

ROWS, COLUMNS, WIDTH = 4, 16, 4
HBM = (16, 16)
KEPT = (nl.float32, nl.float32, nl.bfloat16, nl.int32)
LIST = 5
PSUM = 2
BINARY = (nl.add, nl.multiply, nl.maximum, nl.subtract)


@dataclass(frozen=True)
class Index:
    """(start + sum(step * counter)) modulo the number of places, looked up in a permutation of them or not."""

    start: int
    steps: tuple[int, ...]
    permuted: bool = False

    def __call__(self, counters: list[int], places: int) -> int:
        number = self.start + sum(s * c for s, c in zip(self.steps, reversed(counters), strict=False))
        order = np.random.default_rng(places).permutation(places) if self.permuted else range(places)
        return int(order[number % places])


@dataclass(frozen=True)
class Place:
    """A window of a tile: kept outside all loops, from the list of tiles, or fresh in a loop around.

    aligned: columns in steps of the window's width; step: every second column; rows: a ragged last iteration has half
    """

    tile: str
    number: Index
    column: Index
    aligned: bool
    step: int = 1


@dataclass(frozen=True)
class Operation:
    """One instruction.

    own:    it stores to rows that no other iteration stores to
    varies: what that means depends on the kind
    ragged: it takes half the rows in the last iteration of the innermost loop
    """

    kind: str
    places: tuple[Place, ...]
    row: Index
    operator: Any
    value: float
    own: bool
    varies: bool
    ragged: bool


@dataclass(frozen=True)
class Repeated:
    """A loop: "range", "triangle" (as often as the counter around it says, and once), or "fori", which stays a loop.

    fresh:  dtypes of the tiles that every iteration allocates
    bank:   every iteration allocates a PSUM bank
    filled: the tiles are loaded at once; otherwise they hold what uninitialised memory holds
    """

    kind: str
    trips: int
    fresh: tuple[Any, ...]
    bank: bool
    filled: bool
    body: tuple[Operation | Repeated, ...]


Recipe = tuple[Operation | Repeated, ...]


@dataclass
class _Run:
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
        getattr(self, item.kind)(item, ROWS // 2 if ragged else ROWS, *item.places)

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


KINDS = (
    *("load", "store", "gather", "scatter", "fill", "copy", "copy", "whole", "halves", "spread", "turn"),
    *("combine", "combine", "scale", "scale", "fold", "activate", "multiply"),
)


# -- drawing a recipe ------------------------------------------------------------------------------------------------


def random_recipe(random: Random, executed: int = 120) -> Recipe:
    """Nests of loops that execute at most about `executed` statements."""
    body: list[Repeated] = []
    while not body or (len(body) < 3 and _executed(body) < executed // 2):
        apart = random.random() < 0.6
        body.append(_random_loop(random, 1, executed - _executed(body), apart))
    return tuple(body)


def _executed(body: Sequence[Operation | Repeated]) -> int:
    return sum(
        item.trips * (_executed(item.body) + len(item.fresh)) if isinstance(item, Repeated) else 1 for item in body
    )


def _random_loop(random: Random, depth: int, executed: int, apart: bool) -> Repeated:
    """apart: nothing that outlives an iteration is written twice, so that the loop may run all of them at once."""
    trips = random.choice([2, 3, 3, 4, 5])
    body: list[Operation | Repeated] = []
    for _ in range(random.randint(1, 4)):
        left = executed // trips - _executed(body)
        if depth < 4 and left > 8 and random.random() < 0.4:
            body.append(_random_loop(random, depth + 1, left, apart and random.random() < 0.7))
        elif left > 0 or not body:
            body.append(_random_operation(random, apart))
    return Repeated(
        random.choice(["range"] * 12 + ([] if apart else ["triangle"] * 2 + ["fori"] * 2)),
        trips,
        tuple(random.choice([nl.float32, nl.float32, nl.bfloat16]) for _ in range(random.randint(apart, 2))),
        apart or random.random() < 0.3,
        random.random() < 0.8,
        tuple(body),
    )


def _random_operation(random: Random, apart: bool) -> Operation:
    kind = random.choice([kind for kind in KINDS if not apart or kind not in {"gather", "scatter", "activate"}])
    return Operation(
        kind,
        (_random_place(random, apart, kind != "store"), _random_place(random, apart), _random_place(random, apart)),
        _random_index(random, apart),
        random.choice(BINARY),
        random.choice([0.5, 1.25, -0.75]),
        apart,
        random.random() < 0.5,
        random.random() < 0.2,
    )


def _random_place(random: Random, apart: bool, written: bool = False) -> Place:
    return Place(
        "fresh" if apart and written else random.choice(["fresh", "fresh", "kept", "list"]),
        _random_index(random, apart),
        _random_index(random, apart),
        random.random() < 0.7,
        random.choice([1, 1, 1, 2]),
    )


def _random_index(random: Random, apart: bool) -> Index:
    """What steps alike in all iterations, or anything: tables of steps keep a loop from running them at once."""
    if apart and random.random() < 0.95:
        return Index(random.choice([0, 0, 1]), tuple(random.choice([0, 0, 0, 1]) for _ in range(3)))
    steps = tuple(random.choice([0, 0, 0, 1, 1, 2, 4, -1]) for _ in range(3))
    return Index(random.randint(0, 7), steps, random.random() < 0.2)


def recipes(executed: int = 120) -> st.SearchStrategy[Recipe]:
    """The same as a strategy: every random choice is hypothesis's, so that failures shrink."""
    return st.randoms(use_true_random=False).map(lambda random: random_recipe(random, executed))


def kernel_of(recipe: Recipe) -> Callable[[Any, Any, Any], tuple[Any, ...]]:
    """The recipe as a kernel of x and table, float32 [16, 16], and index, int32 [4, 1]."""

    def random_kernel(x: Any, table: Any, index: Any) -> tuple[Any, ...]:
        held = nl.ndarray(index.shape, dtype=index.dtype)
        nisa.dma_copy(held, index)
        run = _Run(x, table, held)
        run.setup()
        run.body(recipe)
        return run.results()

    return random_kernel


def arguments(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ordinary numbers, and row numbers of which some repeat and one may be out of bounds."""
    rng = np.random.default_rng(seed)
    x, table = rng.standard_normal((2, *HBM)).astype(np.float32)
    return x, table, rng.integers(0, HBM[0] + 1, (ROWS, 1), dtype=np.int32)
