"""The kernels that the bench measures, in public NKI, each in a style that people write.

Three matmuls of the same tiles (128 x 128 x 512) show whether speed depends on how a kernel's loops are written; the
others are the shapes of the speed table. `tests/bench/test_kernels.py` holds each against an oracle.
"""

from __future__ import annotations

from typing import Any

import trnlab.emulator  # noqa: F401  makes the next import possible

# isort: split
import nki
import nki.isa as nisa
import nki.language as nl

from trnlab.kernels.blocking import blocked_matmul
from trnlab.kernels.tiling import Tile, tiles

K_TILE, M_TILE, N_TILE = 128, 128, 512
K_BLOCK, N_BLOCK = 8, 2  # tiles to a block of the blocked style
MX_K_TILE, MX_K_BLOCK = 512, 8
LANES, SCALE_GROUP, QUADRANT, LIVE_SCALES = 4, 8, 32, 4


def _span(number: int, size: int) -> slice:
    return slice(number * size, (number + 1) * size)


def _loaded(matrix: Any, rows: slice, columns: slice) -> Any:
    tile = nl.ndarray((rows.stop - rows.start, columns.stop - columns.start), dtype=matrix.dtype, buffer=nl.sbuf)
    nisa.dma_copy(dst=tile, src=matrix[rows, columns])
    return tile


def _stored(result: Any, bank: Any, rows: slice, columns: slice) -> None:
    tile = nl.ndarray(bank.shape, dtype=result.dtype, buffer=nl.sbuf)
    nisa.tensor_copy(dst=tile, src=bank)
    nisa.dma_copy(dst=result[rows, columns], src=tile)


@nki.jit
def matmul_naive(lhsT: Any, rhs: Any) -> Any:
    """lhsT.T @ rhs: both tiles are loaded where they are used, inside the innermost loop.

    lhsT: [K, M], rhs: [K, N] of one dtype, K and M multiples of 128, N of 512; returns [M, N] of that dtype.
    """
    (K, M), N = lhsT.shape, rhs.shape[1]
    result = nl.ndarray((M, N), dtype=lhsT.dtype, buffer=nl.shared_hbm)
    for m in nl.affine_range(M // M_TILE):
        for n in nl.affine_range(N // N_TILE):
            bank = nl.ndarray((M_TILE, N_TILE), dtype=nl.float32, buffer=nl.psum)
            for k in nl.affine_range(K // K_TILE):
                left = _loaded(lhsT, _span(k, K_TILE), _span(m, M_TILE))
                right = _loaded(rhs, _span(k, K_TILE), _span(n, N_TILE))
                nisa.nc_matmul(dst=bank, stationary=left, moving=right)
            _stored(result, bank, _span(m, M_TILE), _span(n, N_TILE))
    return result


@nki.jit
def matmul_hoisted(lhsT: Any, rhs: Any) -> Any:
    """lhsT.T @ rhs with the loads lifted out of the innermost loop into Python lists of tiles.

    Arguments and result as in `matmul_naive`.
    """
    (K, M), N = lhsT.shape, rhs.shape[1]
    result = nl.ndarray((M, N), dtype=lhsT.dtype, buffer=nl.shared_hbm)
    for m in nl.affine_range(M // M_TILE):
        left = [_loaded(lhsT, _span(k, K_TILE), _span(m, M_TILE)) for k in range(K // K_TILE)]
        for n in nl.affine_range(N // N_TILE):
            right = [_loaded(rhs, _span(k, K_TILE), _span(n, N_TILE)) for k in range(K // K_TILE)]
            bank = nl.ndarray((M_TILE, N_TILE), dtype=nl.float32, buffer=nl.psum)
            for stationary, moving in zip(left, right, strict=True):
                nisa.nc_matmul(dst=bank, stationary=stationary, moving=moving)
            _stored(result, bank, _span(m, M_TILE), _span(n, N_TILE))
    return result


@nki.jit
def matmul_blocked(lhsT: Any, rhs: Any) -> Any:
    """lhsT.T @ rhs with all three dimensions blocked: rows of the result accumulate in SBUF in float32.

    As `matmul_naive`, but K is a multiple of 1024 and N too. Wide tiles hold a block's K tiles side by side.
    """
    (K, M), N = lhsT.shape, rhs.shape[1]
    result = nl.ndarray((M, N), dtype=lhsT.dtype, buffer=nl.shared_hbm)
    for n in nl.affine_range(N // (N_BLOCK * N_TILE)):
        columns = _span(n, N_BLOCK * N_TILE)
        sums = [_zeros((M_TILE, N_BLOCK, N_TILE)) for _ in nl.affine_range(M // M_TILE)]
        for block in nl.sequential_range(K // (K_BLOCK * K_TILE)):
            right = _loaded_block(rhs, block, columns)
            left = _loaded_block(lhsT, block, slice(0, M))
            for j in nl.affine_range(N_BLOCK):
                for m in nl.affine_range(M // M_TILE):
                    _accumulate(sums[m][:, j, :], left[:, :, _span(m, M_TILE)], right[:, :, _span(j, N_TILE)])
        for m, total in enumerate(sums):
            _stored(result, total.reshape((M_TILE, N_BLOCK * N_TILE)), _span(m, M_TILE), columns)
    return result


def _zeros(shape: tuple[int, ...]) -> Any:
    tile = nl.ndarray(shape, dtype=nl.float32, buffer=nl.sbuf)
    nisa.memset(dst=tile, value=0.0)
    return tile


def _loaded_block(matrix: Any, block: int, columns: slice) -> Any:
    """[128, K_BLOCK, columns]: the K tiles of one block side by side."""
    wide = nl.ndarray((K_TILE, K_BLOCK, columns.stop - columns.start), dtype=matrix.dtype, buffer=nl.sbuf)
    for k in nl.affine_range(K_BLOCK):
        nisa.dma_copy(dst=wide[:, k, :], src=matrix[_span(block * K_BLOCK + k, K_TILE), columns])
    return wide


def _accumulate(total: Any, left: Any, right: Any) -> None:
    """total += left.T @ right over the K tiles of a block."""
    bank = nl.ndarray((M_TILE, N_TILE), dtype=nl.float32, buffer=nl.psum)
    for k in nl.affine_range(K_BLOCK):
        nisa.nc_matmul(dst=bank, stationary=left[:, k, :], moving=right[:, k, :])
    nisa.tensor_tensor(dst=total, data1=total, data2=bank, op=nl.add)


@nki.jit
def matmul_mx_packed(left: Any, left_scales: Any, right: Any, right_scales: Any) -> Any:
    """lhsT.T @ rhs on MXFP8 operands that the host packed (`trnlab.kernels.packing.pack_weights`).

    left: words of lhsT[K, M], uint32 [K / 4, M] with scales uint8 [K / 32, M]; right likewise for rhs[K, N]; K a
    multiple of 512, M even. Returns bfloat16 [M, N].
    """
    K, M, N = LANES * left.shape[0], left.shape[1], right.shape[1]
    result = nl.ndarray((M, N), dtype=nl.bfloat16, buffer=nl.shared_hbm)

    def load(words: Any, scales: Any) -> Any:
        packed = words.view(nl.float8_e4m3fn_x4)
        return lambda k, columns: _loaded_packed(packed, scales, k, columns)

    stationary, moving = load(left, left_scales), load(right, right_scales)
    blocked_matmul(result, K, MX_K_TILE, MX_K_BLOCK, stationary, moving, _multiply_packed)
    return result


def _loaded_packed(packed: Any, scales: Any, k: Tile, columns: Tile) -> tuple[Any, Any]:
    """Words [128, columns] of one K tile, and their scales in the first four partitions of each quadrant."""
    rows, groups = slice(k.start // LANES, k.stop // LANES), k.size // LANES // SCALE_GROUP
    words = _loaded(packed, rows, slice(columns.start, columns.stop))
    spread = nl.ndarray((k.size // LANES, columns.size), dtype=nl.uint8, buffer=nl.sbuf)
    first = rows.start // SCALE_GROUP
    source = scales[first : first + groups, columns.start : columns.stop]
    width, quadrants = columns.size, groups // LIVE_SCALES
    live = spread.ap([[QUADRANT * width, quadrants], [width, LIVE_SCALES], [1, width]])
    nisa.dma_copy(dst=live, src=source.reshape_dim(0, (quadrants, LIVE_SCALES)))
    return words, spread


def _multiply_packed(bank: Any, left: Any, right: Any, m: Tile, n: Tile, accumulate: bool) -> None:
    nisa.nc_matmul_mx(
        dst=bank,
        stationary=left[0][:, m.start : m.stop],
        moving=right[0][:, n.start : n.stop],
        stationary_scale=left[1][:, m.start : m.stop],
        moving_scale=right[1][:, n.start : n.stop],
        accumulate=accumulate,
    )


@nki.jit
def softmax(x: Any) -> Any:
    """exp(x - max) / sum of it, row by row; x: [rows, columns] float32, any number of rows; the last tile is ragged."""
    rows, columns = x.shape
    result = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
    for tile in tiles(rows, nl.tile_size.pmax):
        span, size = slice(tile.start, tile.stop), tile.size
        data = _loaded(x, span, slice(0, columns))
        lowered, total, inverse = (nl.ndarray((size, 1), dtype=nl.float32, buffer=nl.sbuf) for _ in range(3))
        nisa.tensor_reduce(dst=lowered, op=nl.maximum, data=data, axis=1, negate=True)
        weights = nl.ndarray((size, columns), dtype=nl.float32, buffer=nl.sbuf)
        nisa.activation_reduce(
            dst=weights, op=nl.exp, data=data, reduce_op=nl.add, reduce_res=total, bias=lowered, scale=1.0
        )
        nisa.reciprocal(dst=inverse, data=total)
        scaled = nl.ndarray((size, columns), dtype=x.dtype, buffer=nl.sbuf)
        nisa.tensor_scalar(dst=scaled, data=weights, op0=nl.multiply, operand0=inverse)
        nisa.dma_copy(dst=result[span, :], src=scaled)
    return result
