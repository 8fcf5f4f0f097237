"""More baseline kernels of NKIBench (GitHub zhang677/AccelOpt), rebuilt from loops and tiles; all float32 on trn1.

What the source leaves to the compiler is decided by the published counters:

- one-input instructions that may run anywhere are on the Scalar Engine: its active time is theirs;
- weights that fit are loaded once, those of `matmul` once for each block of 128 rows: the HBM bytes say so;
- a tile is transposed as often as the counted transposes say;
- one copy moves four transposes, a bank of PSUM: copies one by one would take Scalar a third longer than it was active
  in `matmul_add_rmsnorm`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from trnlab.emulator.nki import isa as nisa, language as nl

PARTITIONS, BANK = 128, 512


def _tile(width: int, rows: int = PARTITIONS, buffer: Any = None) -> Any:
    return nl.ndarray((rows, width), dtype=nl.float32, buffer=buffer or nl.sbuf)


def _loaded(source: Any) -> Any:
    tile = _tile(source.shape[1], source.shape[0])
    nisa.dma_copy(tile, source)
    return tile


def _activated(function: Any, source: Any, scale: Any = 1.0, buffer: Any = None) -> Any:
    result = _tile(source.shape[1], source.shape[0], buffer)
    nisa.activation(result, function, source, scale=scale)
    return result


def _binary(left: Any, right: Any, op: Any, into: Any = None) -> Any:
    result = _tile(left.shape[1], left.shape[0]) if into is None else into
    nisa.tensor_tensor(result, left, right, op)
    return result


def _result(rows: int, columns: int) -> Any:
    return nl.ndarray((rows, columns), dtype=nl.float32, buffer=nl.shared_hbm)


def _all_transposed(tile: Any, identity: Any) -> list[Any]:
    """The tile's [128, 128] parts, transposed; four share a bank of PSUM, which one copy moves."""
    width = tile.shape[1]
    turned = [_in_a_bank(tile[:, start : min(start + BANK, width)], identity) for start in range(0, width, BANK)]
    return [bank[:, k : k + PARTITIONS] for bank in turned for k in range(0, bank.shape[1], PARTITIONS)]


def _in_a_bank(tile: Any, identity: Any) -> Any:
    bank = _tile(tile.shape[1], buffer=nl.psum)
    for start in range(0, tile.shape[1], PARTITIONS):
        part = slice(start, start + PARTITIONS)
        nisa.nc_matmul(bank[:, part], tile[:, part], identity, is_moving_onezero=True, is_transpose=True)
    return _activated(nl.copy, bank)


def _columns_of(weights: Any, column: int, width: int) -> list[Any]:
    """The K tiles of `width` columns of the weights."""
    return [
        _loaded(weights[k : k + PARTITIONS, column : column + width]) for k in range(0, weights.shape[0], PARTITIONS)
    ]


def _product(left: Sequence[Any], right: Sequence[Any], into: Any) -> None:
    """The sum over K of left[k].T @ right[k], copied to SBUF."""
    bank = _tile(BANK, buffer=nl.psum)
    for number, (stationary, moving) in enumerate(zip(left, right, strict=True)):
        nisa.nc_matmul(bank, stationary, moving, accumulate=number > 0)
    nisa.activation(into, nl.copy, bank)


# -- AdamW ------------------------------------------------------------------------------------------------------------


def adamw(theta: Any, gradient: Any, first: Any, second: Any) -> Any:
    """One step of AdamW on [M, N], tiles of 128 x 1024 computed in halves.

    Three results of every half are in PSUM: the profile's `psum_write_bytes` are three times 2 KiB for each of the 344
    halves. They are taken to be those that meet an operand in SBUF next. Scalar's active time has no room for tables
    of sqrt and reciprocal in turn, so the reciprocal is Vector's.
    """
    rows, columns = theta.shape
    result = _result(rows, columns)
    for row in range(0, rows, PARTITIONS):
        for column in range(0, columns, 1024):
            place = (slice(row, min(row + PARTITIONS, rows)), slice(column, column + 1024))
            tiles = [_loaded(tensor[place]) for tensor in (theta, first, second, gradient)]
            updated = _tile(1024, tiles[0].shape[0])
            for start in range(0, 1024, BANK):
                _adamw_step(*(tile[:, start : start + BANK] for tile in (*tiles, updated)))
            nisa.dma_copy(result[place], updated)
    return result


def _adamw_step(theta: Any, first: Any, second: Any, gradient: Any, into: Any) -> None:
    kept = _binary(theta, _activated(nl.copy, theta, 1e-5, nl.psum), nl.subtract)
    mean = _binary(_activated(nl.copy, first, 0.9), _activated(nl.copy, gradient, 0.1, nl.psum), nl.add)
    squared = _binary(gradient, _activated(nl.copy, gradient, 0.001, nl.psum), nl.multiply)
    variance = _binary(_activated(nl.copy, second, 0.999), squared, nl.add)
    root = _activated(nl.sqrt, variance, 1000.0)
    denominator, inverse = _tile(BANK, theta.shape[0]), _tile(BANK, theta.shape[0])
    nisa.tensor_scalar(denominator, root, nl.add, 1e-8, engine=nisa.engine.scalar)
    nisa.reciprocal(inverse, denominator)
    step = _binary(_activated(nl.copy, mean, 0.01), inverse, nl.multiply)
    _binary(kept, step, nl.subtract, into)


# -- matmul of a row-major left operand, with and without RMSNorm -----------------------------------------------------


def matmul(lhs: Any, rhs: Any) -> Any:
    """lhs [M, K] @ rhs [K, N], blocks of 128 by 1024; lhs tiles transposed once for each block."""
    (rows, depth), columns = lhs.shape, rhs.shape[1]
    result, identity = _result(rows, columns), nl.shared_identity_matrix(PARTITIONS, dtype=nl.float32)
    for column in range(0, columns, 1024):
        for row in range(0, rows, PARTITIONS):
            pieces = [_loaded(lhs[row : row + PARTITIONS, k : k + 1024]) for k in range(0, depth, 1024)]
            left = [tile for piece in pieces for tile in _all_transposed(piece, identity)]
            _stripe(left, _columns_of(rhs, column, 1024), result[row : row + PARTITIONS, column : column + 1024])
    return result


def _stripe(left: Sequence[Any], right: Sequence[Any], place: Any) -> None:
    stripe = _tile(1024)
    for start in range(0, 1024, BANK):
        part = slice(start, start + BANK)
        _product(left, [tile[:, part] for tile in right], stripe[:, part])
    nisa.dma_copy(place, stripe)


def rmsnorm_matmul(x: Any, weights: Any) -> Any:
    """RMSNorm(x [M, 1024]) @ weights [1024, N]; eight row blocks of 128 normalised and transposed, then multiplied."""
    (rows, _), columns = x.shape, weights.shape[1]
    result, identity = _result(rows, columns), nl.shared_identity_matrix(PARTITIONS, dtype=nl.float32)
    for block in range(0, rows, 8 * PARTITIONS):
        starts = range(block, block + 8 * PARTITIONS, PARTITIONS)
        left = [_normalised_in_halves(_loaded(x[row : row + PARTITIONS]), identity) for row in starts]
        for column in range(0, columns, 1024):
            right = _columns_of(weights, column, 1024)
            for row, tiles in zip(starts, left, strict=True):
                _stripe(tiles, right, result[row : row + PARTITIONS, column : column + 1024])
    return result


def _normalised_in_halves(tile: Any, identity: Any) -> list[Any]:
    """The K tiles, transposed, of a row block over its root mean square."""
    halves, sums = [tile[:, 0:BANK], tile[:, BANK : 2 * BANK]], _tile(2)
    for number, half in enumerate(halves):
        squares = _activated(nl.copy, _activated(nl.square, half), 1 / 1024)
        nisa.tensor_reduce(sums[:, number : number + 1], nl.add, squares, axis=1)
    inverse = _activated(nl.rsqrt, _binary(sums[:, 0:1], sums[:, 1:2], nl.add))
    scaled = [_activated(nl.copy, half, inverse) for half in halves]
    return [turned for half in scaled for turned in _all_transposed(half, identity)]


def _over_root_mean_square(tile: Any) -> Any:
    total = _tile(1)
    nisa.tensor_reduce(total, nl.add, _activated(nl.square, tile), axis=1)
    return _activated(nl.copy, tile, _activated(nl.rsqrt, total, 1 / tile.shape[1]))


def _repeated(vector: Any) -> Any:
    """A row [1, N] on every partition."""
    tile = _tile(vector.shape[1])
    nisa.dma_copy(tile, vector.broadcast(0, PARTITIONS))
    return tile


def add_rmsnorm_matmul(x: Any, weights: Any, z: Any, scale: Any) -> Any:
    """(RMSNorm(x + z) * scale) @ weights, of x, z [M, K], weights [K, N], scale [1, K].

    The left operand is transposed anew for each block of 512 columns.
    """
    rows, columns = x.shape[0], weights.shape[1]
    result, identity = _result(rows, columns), nl.shared_identity_matrix(PARTITIONS, dtype=nl.float32)
    factors, right = _repeated(scale), [_columns_of(weights, column, BANK) for column in range(0, columns, BANK)]
    for row in range(0, rows, PARTITIONS):
        part = slice(row, row + PARTITIONS)
        total = _binary(_loaded(x[part]), _loaded(z[part]), nl.add)
        normalised = _binary(_over_root_mean_square(total), factors, nl.multiply)
        for number, tiles in enumerate(right):
            product = _tile(BANK)
            _product(_all_transposed(normalised, identity), tiles, product)
            nisa.dma_copy(result[part, number * BANK : (number + 1) * BANK], product)
    return result


def matmul_add_rmsnorm(x: Any, weights: Any, z: Any, scale: Any) -> Any:
    """RMSNorm(x @ weights + z) * scale, of x [M, K], weights [K, N], z [M, N], scale [1, N].

    The left operand is transposed anew for each block of 512 columns.
    """
    rows, columns = x.shape[0], weights.shape[1]
    result, identity = _result(rows, columns), nl.shared_identity_matrix(PARTITIONS, dtype=nl.float32)
    factors, right = _repeated(scale), [_columns_of(weights, column, BANK) for column in range(0, columns, BANK)]
    for row in range(0, rows, PARTITIONS):
        part = slice(row, row + PARTITIONS)
        tile, products, addend = _loaded(x[part]), _tile(columns), _loaded(z[part])
        for number, tiles in enumerate(right):
            _product(_all_transposed(tile, identity), tiles, products[:, number * BANK : (number + 1) * BANK])
        normalised = _over_root_mean_square(_binary(products, addend, nl.add))
        nisa.dma_copy(result[part], _binary(normalised, factors, nl.multiply))
    return result
