"""Random tiles: uniform numbers, dropout, and the seed of the Vector Engine that draws both.

A kernel that never seeds gets the same numbers in every call (see nisa.rng).

Source: NKI reference, nki.language (rand, random_seed, dropout); nisa.rand2, nisa.rng.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import trnlab.emulator.nki.isa as nisa
from trnlab.emulator.dtypes import uint32
from trnlab.emulator.memory import MemoryRegion, as_element
from trnlab.emulator.nki.language import operators as op
from trnlab.emulator.nki.language.creation import ndarray
from trnlab.emulator.nki.language.tiles import given, new_tile, require_tensor, require_tile
from trnlab.emulator.target import Feature
from trnlab.emulator.tensor import NkiTensor
from trnlab.emulator.trace import current

_FRACTION_BITS: Final = 24
"""Bits of a number drawn without nisa.rand2: as many as a float32 fraction holds."""
_ROW_ELEMENTS: Final = 2048
"""Longest row of the tiles that fill a tensor in HBM."""


def rand(shape: Sequence[int], dtype: Any, buffer: MemoryRegion | str = MemoryRegion.sbuf, name: str = "") -> NkiTensor:
    """A tensor of numbers uniform in [0, 1), drawn in float32 on the Vector Engine and then cast.

    Composition: nisa.rand2; before NeuronCore-v4, which has none, nisa.rng, the upper 24 bits times 2**-24. A tensor in
    HBM is filled tile by tile. Rounding to a narrow dtype may give 1.
    """
    tensor = ndarray(shape, dtype, buffer, name)
    if tensor.on_chip:
        _draw("nl.rand", tensor)
        return tensor
    rows = next(n for n in range(min(tensor.size, current("nl.rand").target.partitions), 0, -1) if tensor.size % n == 0)
    table = tensor.reshape((rows, tensor.size // rows))
    for start in range(0, table.shape[1], _ROW_ELEMENTS):
        part = table[:, start : min(start + _ROW_ELEMENTS, table.shape[1])]
        tile = new_tile("nl.rand", part.shape, tensor.dtype)
        _draw("nl.rand", tile)
        nisa.dma_copy(part, tile)
    return tensor


def _draw(subject: str, tile: NkiTensor) -> None:
    if current(subject).target.has(Feature.XORWOW):
        nisa.rand2(tile, 0.0, 1.0)
        return
    bits = new_tile(subject, tile.shape, uint32)
    nisa.rng(bits)
    nisa.tensor_scalar(bits, bits, op.right_shift, bits.dtype.format.bits - _FRACTION_BITS)
    nisa.tensor_scalar(tile, bits, op.multiply, 2.0**-_FRACTION_BITS)


def random_seed(seed: NkiTensor) -> None:
    """Seed the generators of the Vector Engine: the same seed gives the same numbers in `rand` and `dropout`.

    seed: a (1, 1) tensor of a 32-bit dtype in SBUF or PSUM
    """
    nisa.set_rng_seed(require_tensor("nl.random_seed", "seed", seed))


def dropout(x: NkiTensor, rate: float | NkiTensor, dtype: Any = None) -> NkiTensor:
    """0 with probability `rate`, else x, element by element, in a new tile; what is kept is not scaled.

    rate: a number from 0 to 1, or a tile (P, 1) with one for each partition

    Composition: nisa.dropout, then a copy if dtype differs.
    """
    tile = require_tile("nl.dropout", "x", x)
    result = new_tile("nl.dropout", tile.shape, tile.dtype)
    nisa.dropout(result, tile, rate)
    if result.dtype == as_element("nl.dropout", given(dtype, tile.dtype)):
        return result
    cast = new_tile("nl.dropout", tile.shape, dtype)
    nisa.tensor_copy(cast, result)
    return cast
