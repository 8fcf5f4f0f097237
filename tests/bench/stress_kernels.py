"""Kernels that stress the emulator and compute nothing useful: many small instructions, and random ones."""

from __future__ import annotations

import random
from typing import Any, NamedTuple

import trnlab.emulator  # noqa: F401  makes the next import possible

# isort: split
import nki
import nki.isa as nisa
import nki.language as nl

SMALL_COLUMNS = 8


@nki.jit
def small_tiles(x: Any, count: int) -> Any:
    """x after `count` - 2 steps x / 2 + 1 on a 128 x 8 tile: an instruction each, and one load and one store.

    x: [128, 8] float32.
    """
    tile = nl.ndarray((nl.tile_size.pmax, SMALL_COLUMNS), dtype=nl.float32, buffer=nl.sbuf)
    nisa.dma_copy(dst=tile, src=x)
    for _ in range(count - 2):
        nisa.tensor_scalar(dst=tile, data=tile, op0=nl.multiply, operand0=0.5, op1=nl.add, operand1=1.0)
    result = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
    nisa.dma_copy(dst=result, src=tile)
    return result


RANDOM_TILES, RANDOM_COLUMNS, RANDOM_WIDTHS = 12, 96, (8, 16, 24, 32)
# (before, with): dst = (data1 <before> 0.25) <with> data2; none leaves the range of its operands, so values stay finite
RANDOM_OPERATORS = ((None, "maximum"), (None, "minimum"), ("subtract", "maximum"), ("add", "minimum"))
RANDOM_NUMBER = 0.25


class RandomStep(NamedTuple):
    """(tile, first column) of dst, data1 and data2, which lie in three tiles; the columns' number; the operators."""

    places: tuple[tuple[int, int], ...]
    width: int
    before: str | None
    combine: str


def random_steps(count: int, seed: int) -> list[RandomStep]:
    """Steps drawn at random: nothing in them repeats."""
    draw = random.Random(seed)
    steps = []
    for _ in range(count):
        width = draw.choice(RANDOM_WIDTHS)
        three = draw.sample(range(RANDOM_TILES), 3)
        places = tuple((tile, draw.randrange(RANDOM_COLUMNS - width)) for tile in three)
        steps.append(RandomStep(places, width, *draw.choice(RANDOM_OPERATORS)))
    return steps


@nki.jit
def unfoldable(x: Any, count: int, seed: int) -> Any:
    """`count` instructions in random order on random columns of twelve tiles, which start as those of x; returns them.

    x: [12, 128, 96] float32. 16 different instructions, so what is hard is their order, not their number.
    """
    shape = (nl.tile_size.pmax, RANDOM_COLUMNS)
    held = [nl.ndarray(shape, dtype=nl.float32, buffer=nl.sbuf) for _ in range(RANDOM_TILES)]
    for number, tile in enumerate(held):
        nisa.dma_copy(dst=tile, src=x[number])
    for step in random_steps(count - 2 * RANDOM_TILES, seed):
        dst, data1, data2 = (held[tile][:, first : first + step.width] for tile, first in step.places)
        combine = getattr(nl, step.combine)
        if step.before is None:
            nisa.tensor_tensor(dst=dst, data1=data1, data2=data2, op=combine)
            continue
        before = getattr(nl, step.before)
        nisa.scalar_tensor_tensor(dst=dst, data=data1, op0=before, operand0=RANDOM_NUMBER, op1=combine, operand1=data2)
    result = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
    for number, tile in enumerate(held):
        nisa.dma_copy(dst=result[number], src=tile)
    return result


TRANSFER_COLUMNS, TRANSFER_WIDTHS = 8192, (128, 160, 192, 224)


@nki.jit
def random_transfers(x: Any, count: int, seed: int, results: int = 1) -> Any:
    """exp of `count` // 3 stretches of columns of x, of random widths: a load, an activation and a store each.

    x: [128, 8192] float32. Columns that no stretch reaches are not written. Stores go to `results` tensors, each by a
    queue of its own; the first is returned.
    """
    draw = random.Random(seed)
    tensors = [nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm) for _ in range(results)]
    for number in range(count // 3):
        width, first = draw.choice(TRANSFER_WIDTHS), 16 * number % (TRANSFER_COLUMNS // 2)
        tile = nl.ndarray((nl.tile_size.pmax, width), dtype=x.dtype, buffer=nl.sbuf)
        nisa.dma_copy(dst=tile, src=x[:, first : first + width])
        nisa.activation(dst=tile, op=nl.exp, data=tile)
        nisa.dma_copy(dst=tensors[number % results][:, first : first + width], src=tile)
    return tensors[0]
