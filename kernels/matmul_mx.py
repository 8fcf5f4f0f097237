"""C[M, N] = lhsT[K, M].T @ rhs[K, N] on microscaled operands (NeuronCore-v4 and later), any M, N, K.

An MX tile contracts 512 rows of K: row k of the tile sits in partition k % P, lane k // P, with P = 128 (fewer in the
last tile, which is padded with zeros to a multiple of 128 rows). Activations are quantised on the core by
`quantize_mx`; weights may come packed from the host (`packing.pack_weights`), as MXFP8 or MXFP4. Those of a checkpoint
whose blocks are 32 consecutive K take lanes="consecutive", for both operands: row k in partition k // 4, lane k % 4.
"""

from __future__ import annotations

from typing import Any

import nki
import nki.isa as nisa
import nki.language as nl

from trnlab.kernels.blocking import Load, blocked_matmul
from trnlab.kernels.tiling import Tile, round_up, tiles

LANES = 4
QUADRANT = 32  # partitions
SCALES_PER_QUADRANT = 4
SCALE_GROUP = 8  # partitions that share a scale
K_TILE = 512
Quantised = tuple[Any, Any]  # (words, scales) of one tile in SBUF
K_BLOCK = 8  # tiles of the contraction held in SBUF at once: 8 x (512 + 2048) x 5 bytes = 100 KiB


@nki.jit
def matmul_mxfp8(
    lhsT: nl.NkiTensor, rhs: nl.NkiTensor, element: Any = nl.float8_e4m3fn_x4, out_dtype: Any = nl.bfloat16
) -> nl.NkiTensor:
    """lhsT.T @ rhs with both operands quantised to MXFP8 on the core.

    lhsT: [K, M], rhs: [K, N], bfloat16 or float16 in HBM; returns [M, N] of `out_dtype`.
    """
    (K, M), (K_, N) = lhsT.shape, rhs.shape
    assert K == K_, f"lhsT and rhs differ in K: {K} and {K_}"
    result = nl.ndarray((M, N), dtype=out_dtype, buffer=nl.shared_hbm)

    def quantised(matrix: nl.NkiTensor) -> Load:
        return lambda k, columns: _quantised(matrix, k, columns, element)

    blocked_matmul(result, K, K_TILE, K_BLOCK, quantised(lhsT), quantised(rhs), _multiply)
    return result


@nki.jit
def matmul_mxfp8_weights(
    lhsT: nl.NkiTensor,
    weights: nl.NkiTensor,
    scales: nl.NkiTensor,
    weight_dtype: Any = nl.float4_e2m1fn_x4,
    element: Any = nl.float8_e4m3fn_x4,
    out_dtype: Any = nl.bfloat16,
    lanes: str = "strided",
) -> nl.NkiTensor:
    """lhsT.T @ W with activations quantised to MXFP8 on the core and weights packed on the host, MXFP4 by default.

    lhsT: [K, M] bfloat16 or float16; weights: words [round_up(K, 128) / 4, N] of `weight_dtype` (uint16 for MXFP4,
    uint32 for MXFP8); scales: uint8 [round_up(K, 128) / 32, N]; both as `pack_weights` lays them out, or with
    lanes="consecutive" as a checkpoint's blocks lie (`trnlab.emulator.pack_checkpoint`). Returns [M, N].
    """
    assert lanes in LANE_LOADS, f"lanes={lanes!r}, not one of {list(LANE_LOADS)}"
    (K, M), (rows, N) = lhsT.shape, weights.shape
    expected = round_up(K, LANES * QUADRANT) // LANES
    assert rows == expected, f"K={K} takes {expected} rows of packed weights, found {rows}"
    result = nl.ndarray((M, N), dtype=out_dtype, buffer=nl.shared_hbm)
    packed = weights.view(weight_dtype)
    blocked_matmul(
        result,
        K,
        K_TILE,
        K_BLOCK,
        lambda k, columns: _quantised(lhsT, k, columns, element, lanes),
        lambda k, columns: _loaded(packed, scales, k, columns),
        _multiply,
    )
    return result


def _multiply(bank: nl.NkiTensor, left: Quantised, right: Quantised, m: Tile, n: Tile, accumulate: bool) -> None:
    """bank (+)= left[:, m].T @ right[:, n]; the instruction takes an even number of stationary columns."""
    stationary, stationary_scale = left
    moving, moving_scale = right
    even = round_up(m.size, 2)
    nisa.nc_matmul_mx(
        dst=bank,
        stationary=stationary[:, m.start : m.start + even],
        moving=moving[:, n.start : n.stop],
        stationary_scale=stationary_scale[:, m.start : m.start + even],
        moving_scale=moving_scale[:, n.start : n.stop],
        accumulate=accumulate,
    )


def _partitions(k: Tile) -> int:
    """Partitions of a K tile: a quarter of its rows, padded to whole quadrants."""
    return round_up(k.size, LANES * QUADRANT) // LANES


def _scale_tile(partitions: int, columns: int) -> nl.NkiTensor:
    """Scales of a tile: dense when it lies in one quadrant, else four live rows at the start of each quadrant."""
    rows = partitions // SCALE_GROUP if partitions <= QUADRANT else partitions
    return nl.ndarray((rows, columns), dtype=nl.uint8, buffer=nl.sbuf)


def _load_strided(rows: nl.NkiTensor, matrix: nl.NkiTensor, k: Tile, columns: Tile) -> None:
    """rows[p, lane] = matrix[k.start + lane * P + p], P the partitions of rows."""
    for lane in tiles(k.size, rows.shape[0]):
        source = matrix[k.start + lane.start : k.start + lane.stop, columns.start : columns.stop]
        nisa.dma_copy(dst=rows[0 : lane.size, lane.index, 0 : columns.size], src=source)


def _load_consecutive(rows: nl.NkiTensor, matrix: nl.NkiTensor, k: Tile, columns: Tile) -> None:
    """rows[p, lane] = matrix[k.start + 4 p + lane]; the last partition may get fewer than four rows."""
    whole, rest = divmod(k.size, LANES)
    for first, count, lanes in ((0, whole, LANES), (whole, 1, rest)):
        if count * lanes:
            start = k.start + LANES * first
            source = matrix[start : start + count * lanes, columns.start : columns.stop]
            target = rows[first : first + count, 0:lanes, 0 : columns.size]
            nisa.dma_copy(dst=target, src=source.reshape_dim(0, (count, lanes)))


LANE_LOADS = {"strided": _load_strided, "consecutive": _load_consecutive}


def _quantised(matrix: nl.NkiTensor, k: Tile, columns: Tile, element: Any, order: str = "strided") -> Quantised:
    """Rows k of the matrix, interleaved by lanes and quantised on the core: (words, scales)."""
    partitions, width = _partitions(k), round_up(columns.size, 2)
    rows = nl.ndarray((partitions, LANES, width), dtype=matrix.dtype, buffer=nl.sbuf)
    if k.size != partitions * LANES or width != columns.size:
        nisa.memset(dst=rows, value=0.0)
    LANE_LOADS[order](rows, matrix, k, columns)
    lanes = nl.ndarray((partitions, width, LANES), dtype=matrix.dtype, buffer=nl.sbuf)
    nisa.tensor_copy(dst=lanes, src=rows.permute((0, 2, 1)))
    words = nl.ndarray((partitions, width), dtype=element, buffer=nl.sbuf)
    scales = _scale_tile(partitions, width)
    nisa.quantize_mx(dst=words, src=lanes.reshape((partitions, width * LANES)), dst_scale=scales)
    return words, scales


def _loaded(packed: nl.NkiTensor, scales: nl.NkiTensor, k: Tile, columns: Tile) -> Quantised:
    """Words and scales of K tile k that the host packed, the scales spread over the quadrants."""
    partitions, width, first = _partitions(k), columns.size, k.start // LANES
    words = nl.ndarray((partitions, width), dtype=packed.dtype, buffer=nl.sbuf)
    nisa.dma_copy(dst=words, src=packed[first : first + partitions, columns.start : columns.stop])
    source = scales[first // SCALE_GROUP : (first + partitions) // SCALE_GROUP, columns.start : columns.stop]
    tile = _scale_tile(partitions, width)
    if partitions <= QUADRANT:
        nisa.dma_copy(dst=tile, src=source)
        return words, tile
    quadrants = partitions // QUADRANT
    live_rows = [[QUADRANT * width, quadrants], [width, SCALES_PER_QUADRANT], [1, width]]
    nisa.dma_copy(dst=tile.ap(live_rows), src=source.reshape_dim(0, (quadrants, SCALES_PER_QUADRANT)))
    return words, tile
