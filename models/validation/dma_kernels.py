"""Kernels that are mostly DMA: the examples of AWS's DMA overview, and additions of vectors tile by tile."""

from __future__ import annotations

from typing import Any

from trnlab.emulator.nki import isa as nisa, language as nl


def load_exp_store(x: Any) -> Any:
    """exp(x) of one tile, through two buffers in SBUF."""
    result = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
    loaded, power = (nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.sbuf) for _ in range(2))
    nisa.dma_copy(loaded, x)
    nisa.activation(power, nl.exp, loaded)
    nisa.dma_copy(result, power)
    return result


def chain_of_activations(x: Any, length: int = 1000) -> Any:
    """One element per partition, each activation reading what the one before it wrote."""
    tile = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.sbuf)
    nisa.dma_copy(tile, x)
    for _ in range(length):
        nisa.activation(tile, nl.copy, tile)
    return x


def addition(left: Any, right: Any, rows: int, columns: int) -> Any:
    """left + right of one shape, in tiles of rows x columns; a tile of one column is added by tensor_scalar."""
    result = nl.ndarray(left.shape, dtype=left.dtype, buffer=nl.shared_hbm)
    for row in range(0, left.shape[0], rows):
        for column in range(0, left.shape[1], columns):
            place = (slice(row, row + rows), slice(column, column + columns))
            one, other, total = (nl.ndarray((rows, columns), dtype=left.dtype, buffer=nl.sbuf) for _ in range(3))
            nisa.dma_copy(one, left[place])
            nisa.dma_copy(other, right[place])
            if columns == 1:
                nisa.tensor_scalar(total, one, nl.add, other, engine=nisa.engine.vector)
            else:
                nisa.tensor_tensor(total, one, other, nl.add)
            nisa.dma_copy(result[place], total)
    return result
