"""The loop nest that every matmul here shares: blocks of rows, columns and contraction, one PSUM bank at a time.

A block of stationary columns stays in SBUF while the moving columns go by. Where the contraction takes more than one
block, a row of result tiles accumulates in SBUF in float32. Tiles at the edges are simply smaller.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import nki.isa as nisa
import nki.language as nl

from trnlab.kernels.tiling import Tile, round_up, tiles

Load = Callable[[Tile, Tile], Any]
"""(rows of K, columns) -> one tile of an operand in SBUF, in whatever form its `Multiply` takes."""

Multiply = Callable[[Any, Any, Any, Tile, Tile, bool], None]
"""(bank, stationary, moving, m, n, accumulate): bank[:m.size] (+)= stationary[m].T @ moving[n]; the bank is even."""

BLOCK_M = 512
BLOCK_N = 2048


def blocked_matmul(
    result: nl.NkiTensor,
    K: int,
    k_tile: int,
    k_block: int,
    load_stationary: Load,
    load_moving: Load,
    multiply: Multiply,
    scale: float = 1.0,
    block_m: int = BLOCK_M,
    block_n: int = BLOCK_N,
) -> None:
    """result[M, N] = scale * stationary.T @ moving, contracting K in tiles of `k_tile`, `k_block` tiles at a time.

    block_m, block_n: columns of the stationary and of the moving operand that lie in SBUF at once
    """
    assert min(block_m, block_n, k_block) > 0, f"blocks of {block_m} x {block_n} x {k_block} tiles are not positive"
    M, N = result.shape
    k_blocks = [list(tiles(min(start + k_tile * k_block, K), k_tile, start)) for start in range(0, K, k_tile * k_block)]
    for mb in tiles(M, block_m):
        resident = [load_stationary(k, mb) for k in k_blocks[0]] if len(k_blocks) == 1 else None
        for nb in tiles(N, block_n):
            rows: dict[int, Any] = {}
            for number, block in enumerate(k_blocks):
                left = resident or [load_stationary(k, mb) for k in block]
                right = [load_moving(k, nb) for k in block]
                for m in tiles(mb.size, nl.tile_size.gemm_stationary_fmax):
                    if number == 0:
                        dtype = result.dtype if len(k_blocks) == 1 else nl.float32
                        rows[m.index] = nl.ndarray((m.size, nb.size), dtype=dtype, buffer=nl.sbuf)
                    _row(rows[m.index], left, right, m, multiply, scale, first=number == 0)
                    if number == len(k_blocks) - 1:
                        _store(result, rows.pop(m.index), mb.start + m.start, nb)


def _row(
    row: nl.NkiTensor, stationary: list[Any], moving: list[Any], m: Tile, multiply: Multiply, scale: float, first: bool
) -> None:
    """row[m, :] (+)= scale * stationary[m].T @ moving, one PSUM bank of columns at a time."""
    for n in tiles(row.shape[1], nl.tile_size.gemm_moving_fmax):
        # An even number of rows, which MX matmuls ask for; the last one may be padding.
        bank = nl.ndarray((round_up(m.size, 2), n.size), dtype=nl.float32, buffer=nl.psum)
        for k, (left, right) in enumerate(zip(stationary, moving, strict=True)):
            multiply(bank, left, right, m, n, k > 0)
        psum, columns = bank[0 : m.size, :], row[:, n.start : n.stop]
        if not first:
            nisa.scalar_tensor_tensor(
                dst=columns, data=psum, op0=nl.multiply, operand0=scale, op1=nl.add, operand1=columns
            )
        elif scale == 1.0:
            nisa.tensor_copy(dst=columns, src=psum)
        else:
            nisa.tensor_scalar(dst=columns, data=psum, op0=nl.multiply, operand0=scale)


def _store(result: nl.NkiTensor, row: nl.NkiTensor, m_start: int, nb: Tile) -> None:
    tile = row
    if row.dtype != result.dtype:
        tile = nl.ndarray(row.shape, dtype=result.dtype, buffer=nl.sbuf)
        nisa.tensor_copy(dst=tile, src=row)
    nisa.dma_copy(dst=result[m_start : m_start + row.shape[0], nb.start : nb.stop], src=tile)
