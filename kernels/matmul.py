"""C[M, N] = lhsT[K, M].T @ rhs[K, N] for any M, N, K: plain dtypes and FP8 double-row."""

from __future__ import annotations

from typing import Any

import nki
import nki.isa as nisa
import nki.language as nl

from trnlab.kernels.blocking import BLOCK_M, BLOCK_N, Load, blocked_matmul
from trnlab.kernels.tiling import Tile, round_up, tiles

# Tiles of the contraction held in SBUF at once: 16 x (512 + 2048) x 2 bytes = 80 KiB; float32 takes half as many.
K_BLOCK = 16


@nki.jit
def matmul(
    lhsT: nl.NkiTensor,
    rhs: nl.NkiTensor,
    out_dtype: Any = None,
    block_m: int = BLOCK_M,
    block_n: int = BLOCK_N,
    block_k: int | None = None,
) -> nl.NkiTensor:
    """lhsT.T @ rhs with float32 accumulation.

    lhsT: [K, M], rhs: [K, N], both bfloat16, float16 or float32 in HBM; returns [M, N] of `out_dtype` (default:
    lhsT's). What lies in SBUF at once: block_m and block_n columns, block_k tiles of 128 contraction rows (default:
    16, for float32 8).
    """
    (K, M), N = lhsT.shape, _columns(lhsT, rhs)
    result = nl.ndarray((M, N), dtype=out_dtype or lhsT.dtype, buffer=nl.shared_hbm)
    if block_k is None:
        block_k = K_BLOCK // 2 if lhsT.dtype == nl.float32 else K_BLOCK

    def multiply(bank: nl.NkiTensor, left: Any, right: Any, m: Tile, n: Tile, accumulate: bool) -> None:
        nisa.nc_matmul(
            dst=bank[0 : m.size, :],
            stationary=left[:, m.start : m.stop],
            moving=right[:, n.start : n.stop],
            accumulate=accumulate,
        )

    def load(matrix: nl.NkiTensor) -> Load:
        return lambda k, columns: _load(matrix, k, columns)

    blocks = {"block_m": block_m, "block_n": block_n}
    blocked_matmul(result, K, nl.tile_size.pmax, block_k, load(lhsT), load(rhs), multiply, **blocks)
    return result


@nki.jit
def matmul_fp8(lhsT: nl.NkiTensor, rhs: nl.NkiTensor, scale: float = 1.0, out_dtype: Any = nl.bfloat16) -> nl.NkiTensor:
    """scale * lhsT.T @ rhs on FP8 operands in double-row mode: 256 contraction rows at a time.

    lhsT: [K, M], rhs: [K, N], float8_e4m3, float8_e5m2 or (NeuronCore-v4) float8_e4m3fn; returns [M, N].
    NeuronCore-v3 and later. `scale` is the product of the operands' dequantisation scales.
    """
    (K, M), N = lhsT.shape, _columns(lhsT, rhs)
    result = nl.ndarray((M, N), dtype=out_dtype, buffer=nl.shared_hbm)

    def multiply(bank: nl.NkiTensor, left: Any, right: Any, m: Tile, n: Tile, accumulate: bool) -> None:
        nisa.nc_matmul(
            dst=bank[0 : m.size, :],
            stationary=left[:, :, m.start : m.stop],
            moving=right[:, :, n.start : n.stop],
            accumulate=accumulate,
            perf_mode=nisa.matmul_perf_mode.double_row,
        )

    def load(matrix: nl.NkiTensor) -> Load:
        return lambda k, columns: _load_double_rows(matrix, k, columns)

    blocked_matmul(result, K, 2 * nl.tile_size.pmax, K_BLOCK, load(lhsT), load(rhs), multiply, scale)
    return result


def _columns(lhsT: nl.NkiTensor, rhs: nl.NkiTensor) -> int:
    assert lhsT.shape[0] == rhs.shape[0], f"lhsT and rhs differ in K: {lhsT.shape[0]} and {rhs.shape[0]}"
    columns: int = rhs.shape[1]
    return columns


def _load(matrix: nl.NkiTensor, k: Tile, columns: Tile) -> nl.NkiTensor:
    """Rows k of the matrix in SBUF, the contraction on the partitions."""
    tile = nl.ndarray((k.size, columns.size), dtype=matrix.dtype, buffer=nl.sbuf)
    nisa.dma_copy(dst=tile, src=matrix[k.start : k.stop, columns.start : columns.stop])
    return tile


def _load_double_rows(matrix: nl.NkiTensor, k: Tile, columns: Tile) -> nl.NkiTensor:
    """Rows k as [partitions, 2, columns]: the two halves of the contraction side by side on a free dimension."""
    partitions = round_up(k.size, 2) // 2
    tile = nl.ndarray((partitions, 2, columns.size), dtype=matrix.dtype, buffer=nl.sbuf)
    if k.size % 2:
        nisa.memset(dst=tile, value=0.0)
    for half in tiles(k.size, partitions):
        source = matrix[k.start + half.start : k.start + half.stop, columns.start : columns.stop]
        nisa.dma_copy(dst=tile[0 : half.size, half.index, :], src=source)
    return tile
