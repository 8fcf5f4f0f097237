"""The matrix multiplications of AWS's NKI tutorials, rebuilt from the description of their loops and tiles.

All compute lhsT[K, M].T @ rhs[K, N] with tiles of 128 x 128 (stationary) by 128 x 512 (moving). Buffers have the sizes
that the tutorials declare, because those decide how many iterations SBUF holds at once.
"""

from __future__ import annotations

from typing import Any

from trnlab.emulator.nki import isa as nisa, language as nl

ROWS, COLUMNS, DEPTH = 128, 512, 128  # of a tile of M, N and K


def _load(matrix: Any, k: int, column: int, width: int, declared: int | None = None) -> Any:
    """Rows of K tile k, in a buffer of `declared` columns (default: as many as are loaded)."""
    tile = nl.ndarray((DEPTH, declared or width), dtype=matrix.dtype, buffer=nl.sbuf)
    nisa.dma_copy(tile[:, 0:width], matrix[k * DEPTH : (k + 1) * DEPTH, column : column + width])
    return tile


def _bank() -> Any:
    return nl.ndarray((ROWS, COLUMNS), dtype=nl.float32, buffer=nl.psum)


def _store(result: Any, bank: Any, row: int, column: int) -> None:
    tile = nl.ndarray((ROWS, COLUMNS), dtype=result.dtype, buffer=nl.sbuf)
    nisa.tensor_copy(tile, bank)
    nisa.dma_copy(result[row : row + ROWS, column : column + COLUMNS], tile)


def _result(lhs: Any, rhs: Any) -> Any:
    return nl.ndarray((lhs.shape[1], rhs.shape[1]), dtype=lhs.dtype, buffer=nl.shared_hbm)


def tiled(lhs: Any, rhs: Any) -> Any:
    """Both operands loaded tile by tile in the innermost loop, which runs over K."""
    result, (depth, rows) = _result(lhs, rhs), lhs.shape
    for row in range(0, rows, ROWS):
        for column in range(0, rhs.shape[1], COLUMNS):
            bank = _bank()
            for k in range(depth // DEPTH):
                left = _load(lhs, k, row, ROWS)
                right = _load(rhs, k, column, COLUMNS)
                nisa.nc_matmul(bank, left, right, accumulate=k > 0)
            _store(result, bank, row, column)
    return result


def hoisted(lhs: Any, rhs: Any, declared: int = ROWS) -> Any:
    """A row block's lhsT tiles loaded once, a column block's rhs tiles once for each of them.

    declared: columns of the buffers that hold lhsT tiles; the tutorial for Trainium1 declares 512 and uses 128
    """
    result, (depth, rows) = _result(lhs, rhs), lhs.shape
    for row in range(0, rows, ROWS):
        left = [_load(lhs, k, row, ROWS, declared) for k in range(depth // DEPTH)]
        for column in range(0, rhs.shape[1], COLUMNS):
            right = [_load(rhs, k, column, COLUMNS) for k in range(depth // DEPTH)]
            _accumulate(result, left, right, row, column)
    return result


def _accumulate(result: Any, left: list[Any], right: list[Any], row: int, column: int) -> None:
    bank = _bank()
    for k, (stationary, moving) in enumerate(zip(left, right, strict=True)):
        nisa.nc_matmul(bank, stationary[:, 0:ROWS], moving, accumulate=k > 0)
    _store(result, bank, row, column)


def blocked_free(lhs: Any, rhs: Any, tiles: int = 2) -> Any:
    """Blocks of `tiles` tiles of M and of N: each loaded tile serves `tiles` matmuls."""
    result, (depth, rows) = _result(lhs, rhs), lhs.shape
    depths = range(depth // DEPTH)
    for block in range(0, rows, tiles * ROWS):
        mine = [block + m * ROWS for m in range(tiles)]
        left = {row: [_load(lhs, k, row, ROWS) for k in depths] for row in mine}
        for start in range(0, rhs.shape[1], tiles * COLUMNS):
            columns = [start + n * COLUMNS for n in range(tiles)]
            right = {column: [_load(rhs, k, column, COLUMNS) for k in depths] for column in columns}
            for row in mine:
                for column in columns:
                    _accumulate(result, left[row], right[column], row, column)
    return result


def blocked(lhs: Any, rhs: Any, tiles_m: int = 16, tiles_n: int = 2, tiles_k: int = 8, *, spilled: int = 0) -> Any:
    """All three dimensions blocked; sums over K blocks are kept in SBUF, in the dtype of the operands.

    spilled: how many of the rows of sums wait in HBM instead, between blocks of K
    """
    result, (depth, rows) = _result(lhs, rhs), lhs.shape
    width, kept = tiles_n * COLUMNS, rows // ROWS - spilled
    for start in range(0, rhs.shape[1], width):
        sums = [nl.ndarray((ROWS, width), dtype=lhs.dtype, buffer=nl.sbuf) for _ in range(kept)]
        waiting = [nl.ndarray((ROWS, width), dtype=lhs.dtype, buffer=nl.private_hbm) for _ in range(spilled)]
        for place in (total[:, column : column + COLUMNS] for total in sums for column in range(0, width, COLUMNS)):
            nisa.memset(place, 0.0)
        for block in range(depth // DEPTH // tiles_k):
            depths = range(block * tiles_k, (block + 1) * tiles_k)
            right = [_load(rhs, k, start, width) for k in depths]
            for m in range(0, rows // ROWS, tiles_m):
                left = [_load(lhs, k, m * ROWS, tiles_m * ROWS) for k in depths]
                mine = [*sums, *waiting][m : m + tiles_m]
                _multiply_block(left, right, mine, first=block == 0, zeros=True, spilled=max(0, m + len(mine) - kept))
        for m, total in enumerate([*sums, *waiting]):
            packed = nl.ndarray((ROWS, width), dtype=result.dtype, buffer=nl.sbuf)
            for column in range(0, width, COLUMNS):
                part = total[:, column : column + COLUMNS]
                nisa.tensor_copy(packed[:, column : column + COLUMNS], part if m < kept else _back(part))
            nisa.dma_copy(result[m * ROWS : (m + 1) * ROWS, start : start + width], packed)
    return result


def _back(place: Any) -> Any:
    """A tile that waited in HBM."""
    tile = nl.ndarray(place.shape, dtype=place.dtype, buffer=nl.sbuf)
    nisa.dma_copy(tile, place)
    return tile


def _multiply_block(
    left: list[Any], right: list[Any], sums: list[Any], *, first: bool, zeros: bool = False, spilled: int = 0
) -> None:
    """Add the product of two blocks to the sums.

    first: there are none to add to yet; zeros: but for zeros, which are added to; spilled: the last so many are in HBM
    """
    for column in range(0, right[0].shape[1], COLUMNS):
        for m, total in enumerate(sums):
            bank, place = _bank(), total[:, column : column + COLUMNS]
            for k, (stationary, moving) in enumerate(zip(left, right, strict=True)):
                rows, columns = slice(m * ROWS, (m + 1) * ROWS), slice(column, column + COLUMNS)
                nisa.nc_matmul(bank, stationary[:, rows], moving[:, columns], accumulate=k > 0)
            in_hbm = m >= len(sums) - spilled
            tile = _sum(place, bank, first=first and (in_hbm or not zeros), in_hbm=in_hbm)
            if in_hbm:
                nisa.dma_copy(place, tile)


def _sum(place: Any, bank: Any, *, first: bool, in_hbm: bool) -> Any:
    tile = place
    if in_hbm:
        tile = nl.ndarray(place.shape, dtype=place.dtype, buffer=nl.sbuf) if first else _back(place)
    if first:
        nisa.tensor_copy(tile, bank)
    else:
        nisa.tensor_tensor(tile, tile, bank, nl.add)
    return tile


def result_stationary(lhs: Any, rhs: Any, tiles_m: int = 4, tiles_n: int = 4, tiles_k: int = 8) -> Any:
    """Blocks of the result stay in SBUF, in the dtype of the operands, until all of K is summed."""
    result, (depth, rows) = _result(lhs, rhs), lhs.shape
    height, width = tiles_m * ROWS, tiles_n * COLUMNS
    for column in range(0, rhs.shape[1], width):
        for row in range(0, rows, height):
            sums = [nl.ndarray((ROWS, width), dtype=lhs.dtype, buffer=nl.sbuf) for _ in range(tiles_m)]
            for start in range(0, depth // DEPTH, tiles_k):
                depths = range(start, start + tiles_k)
                left = [_load(lhs, k, row, height) for k in depths]
                right = [_load(rhs, k, column, width) for k in depths]
                _multiply_block(left, right, sums, first=start == 0)
            for m, total in enumerate(sums):
                nisa.dma_copy(result[row + m * ROWS : row + (m + 1) * ROWS, column : column + width], total)
    return result
