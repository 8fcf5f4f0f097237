"""Data between memories and layouts: load, store, copy, transpose, broadcast, and the matrix product of two tiles.

Source: NKI reference, nki.language (tensor operations, tensor manipulation operations).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import trnlab.emulator.nki.isa as nisa
from trnlab.emulator.dtypes import float32
from trnlab.emulator.errors import ShapeError
from trnlab.emulator.memory import MemoryRegion, as_element, as_sizes
from trnlab.emulator.nki.isa.convert import flag
from trnlab.emulator.nki.language.operators import as_operator
from trnlab.emulator.nki.language.tiles import given, new_tile, require_hbm, require_tensor, require_tile, spread
from trnlab.emulator.source import fail
from trnlab.emulator.target import Feature
from trnlab.emulator.tensor import DynamicSlice, NkiTensor
from trnlab.emulator.trace import current


def ds(start: Any, size: int) -> DynamicSlice:
    """An index of `size` consecutive elements from `start`, an integer or a register."""
    return DynamicSlice(start, size)


def load(src: NkiTensor, dtype: Any = None) -> NkiTensor:
    """A new tile in SBUF with the values of a tensor in HBM; its first dimension becomes the partition dimension."""
    source = require_hbm("nl.load", "src", src)
    tile = new_tile("nl.load", source.shape, given(dtype, source.dtype))
    nisa.dma_copy(tile, source)
    return tile


def store(dst: NkiTensor, value: NkiTensor) -> None:
    """dst = value, from a tile in SBUF to a tensor in HBM; a cast goes through float32."""
    nisa.dma_copy(require_hbm("nl.store", "dst", dst), require_tile("nl.store", "value", value))


def load_transpose2d(src: NkiTensor, dtype: Any = None) -> NkiTensor:
    """A new tile in SBUF with the transpose of a 2-D tensor in HBM.

    Composition: nisa.dma_transpose, then a copy if dtype differs. NeuronCore-v2 has no transposing DMA: there the
    tensor is loaded and transposed on chip.
    """
    subject = "nl.load_transpose2d"
    source = require_hbm(subject, "src", src)
    if source.ndim != 2:
        fail(ShapeError, subject, operand="src", found=source.describe(), allowed="a 2-D tensor")
    if not current(subject).target.has(Feature.DMA_TRANSPOSE):
        return copy(transpose(load(source)), dtype)
    tile = new_tile(subject, source.shape[::-1], source.dtype)
    nisa.dma_transpose(tile, source)
    return tile if tile.dtype == as_element(subject, given(dtype, tile.dtype)) else copy(tile, dtype)


def copy(x: NkiTensor, dtype: Any = None) -> NkiTensor:
    """A new tile in SBUF with the values of a tile in SBUF or PSUM."""
    tile = require_tile("nl.copy", "x", x)
    result = new_tile("nl.copy", tile.shape, given(dtype, tile.dtype))
    nisa.tensor_copy(result, tile)
    return result


as_operator("copy", copy)


def _transpose(subject: str, tile: NkiTensor) -> NkiTensor:
    result = new_tile(subject, tile.shape[::-1], tile.dtype, MemoryRegion.psum)
    nisa.nc_transpose(result, tile)
    return result


def transpose(x: NkiTensor, dtype: Any = None) -> NkiTensor:
    """A new tile in PSUM with partition and free dimension of a 2-D tile swapped; a cast comes before the transpose."""
    tile = require_tile("nl.transpose", "x", x)
    if tile.ndim != 2:
        fail(ShapeError, "nl.transpose", operand="x", found=tile.describe(), allowed="a 2-D tile")
    if tile.dtype != as_element("nl.transpose", given(dtype, tile.dtype)):
        tile = copy(tile, dtype)
    return _transpose("nl.transpose", tile)


def matmul(x: NkiTensor, y: NkiTensor, transpose_x: bool = False) -> NkiTensor:
    """x @ y, or x.T @ y with transpose_x, in a new float32 tile in PSUM.

    x: (M, K), or (K, M) with transpose_x; y: (K, N). Both in SBUF, K <= 128, M <= 128, N <= 512.
    Without transpose_x, x is first transposed through PSUM: nc_transpose, tensor_copy, nc_matmul.
    """
    left, right = require_tile("nl.matmul", "x", x), require_tile("nl.matmul", "y", y)
    for operand, tile in (("x", left), ("y", right)):
        if tile.ndim != 2:
            fail(ShapeError, "nl.matmul", operand=operand, found=tile.describe(), allowed="a 2-D tile")
    stationary = left if flag("nl.matmul", "transpose_x", transpose_x) else copy(_transpose("nl.matmul", left))
    result = new_tile("nl.matmul", (stationary.shape[1], right.shape[1]), float32, MemoryRegion.psum)
    nisa.nc_matmul(result, stationary, right)
    return result


def expand_dims(x: NkiTensor, axis: int) -> NkiTensor:
    """A view with a dimension of size 1 inserted at `axis`; not before the partition dimension of a tile."""
    return require_tensor("nl.expand_dims", "x", x).expand_dim(axis)


def broadcast_to(x: NkiTensor, shape: Sequence[int], dtype: Any = None) -> NkiTensor:
    """A tile of that shape, dimensions of size 1 repeated; x itself when shape and dtype are already right.

    Free dimensions are repeated by a copy of a broadcast view. One partition is repeated to many by a DMA copy inside
    SBUF, since no engine but DMA reads one partition for many.

    Raises:
        ShapeError: another number of dimensions, or a dimension that is neither equal nor 1.
    """
    subject = "nl.broadcast_to"
    tile = require_tile(subject, "x", x)
    sizes = as_sizes(subject, shape)
    fits = len(sizes) == tile.ndim and all(have in (1, want) for have, want in zip(tile.shape, sizes, strict=True))
    if not fits:
        allowed = f"{tile.ndim} dimensions, each that of {tile.describe()} or repeated from 1"
        fail(ShapeError, subject, operand="shape", found=f"{sizes}", allowed=allowed)
    element = as_element(subject, given(dtype, tile.dtype))
    free = (tile.shape[0], *sizes[1:])
    repeats_partition = sizes[0] != tile.shape[0]
    # DMA cannot read PSUM, and casts and free repeats are cheaper on one partition.
    if tile.shape != free or tile.dtype != element or (repeats_partition and tile.buffer is MemoryRegion.psum):
        result = new_tile(subject, free, element)
        nisa.tensor_copy(result, spread(tile, free))
        tile = result
    if repeats_partition:
        result = new_tile(subject, sizes, element)
        nisa.dma_copy(result, tile.ap([[0, sizes[0]], *tile.get_pattern()[1:]]))
        tile = result
    return tile
