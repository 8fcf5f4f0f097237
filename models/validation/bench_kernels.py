"""Baseline kernels of NKIBench (GitHub zhang677/AccelOpt), rebuilt from their loops and tiles; all float32 on trn1.

What the sources leave to the compiler is decided by the published counters: `sbuf_read_bytes` and the like count the
instructions with one input (and not those with two), the engines' active times say where they ran.
"""

from __future__ import annotations

from typing import Any

from trnlab.emulator.nki import isa as nisa, language as nl

PARTITIONS, BANK = 128, 512


def _tile(shape: tuple[int, ...], buffer: Any = None) -> Any:
    return nl.ndarray(shape, dtype=nl.float32, buffer=buffer or nl.sbuf)


def _loaded(source: Any) -> Any:
    tile = _tile(source.shape)
    nisa.dma_copy(tile, source)
    return tile


def _binary(left: Any, right: Any, op: Any, into: Any = None) -> Any:
    result = _tile(left.shape) if into is None else into
    nisa.tensor_tensor(result, left, right, op)
    return result


def rope(x: Any, cos: Any, sin: Any, width: int = 512) -> Any:
    """Rotary embedding of x [128, S]: halves of the head dimension on partitions 0..63 and 64..127.

    The halves are multiplied by cos and sin [64, S] on 64 partitions each; the lower half is copied up first, and its
    result down last: the counters know two instructions with one input for each tile.
    """
    result = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
    half = x.shape[0] // 2
    for start in range(0, x.shape[1], width):
        part = slice(start, start + width)
        tile, factors = _loaded(x[:, part]), (_loaded(cos[:, part]), _loaded(sin[:, part]))
        odd, rotated = _tile((half, width)), _tile((2 * half, width))
        nisa.activation(odd, nl.copy, tile[half : 2 * half])
        products = [[_binary(side, factor, nl.multiply) for factor in factors] for side in (tile[0:half], odd)]
        (even_cos, even_sin), (odd_cos, odd_sin) = products
        _binary(even_cos, odd_sin, nl.subtract, rotated[0:half])
        nisa.activation(rotated[half : 2 * half], nl.copy, _binary(odd_cos, even_sin, nl.add))
        nisa.dma_copy(result[:, part], rotated)
    return result


def batched_matmul(lhs: Any, rhs: Any) -> Any:
    """lhs [B, M, 64] @ rhs [B, 64, N] in blocks of 1024 by 1024; lhs transposed by the Tensor Engine.

    The source transposes lhs for every 1024 columns. By `transpose_flops` and `psum_read_bytes` that was done for the
    first ones alone; by `spill_save_bytes` all but a quarter of it went to HBM, to be loaded again for the others.
    """
    batch, rows, depth = lhs.shape
    result = nl.ndarray((batch, rows, rhs.shape[2]), dtype=lhs.dtype, buffer=nl.shared_hbm)
    saved = nl.ndarray((batch, depth, rows), dtype=lhs.dtype, buffer=nl.private_hbm)
    identity = nl.shared_identity_matrix(PARTITIONS, dtype=nl.float32)
    kept: int = rows - 1024
    stays: Any = None
    for b in range(batch):
        for column in range(0, rhs.shape[2], 1024):
            moving = _loaded(rhs[b, :, column : column + 1024])
            for row in range(0, rows, 1024):
                if column:
                    turned = stays if row == kept else _loaded(saved[b, :, row : row + 1024])
                else:
                    turned = stays = _transposed(lhs[b, row : row + 1024], identity)
                    if row < kept:
                        nisa.dma_copy(saved[b, :, row : row + 1024], turned)
                for start in range(0, 1024, PARTITIONS):
                    stripe = _row_of_products(turned[:, start : start + PARTITIONS], moving)
                    place = result[b, row + start : row + start + PARTITIONS, column : column + 1024]
                    nisa.dma_copy(place, stripe)
    return result


def _transposed(rows: Any, identity: Any) -> Any:
    """Rows of 64 elements as columns: four transposes into a bank of PSUM, moved by one copy."""
    turned = _tile((rows.shape[1], rows.shape[0]))
    for first in range(0, rows.shape[0], BANK):
        bank = _tile((rows.shape[1], BANK), nl.psum)
        for start in range(0, BANK, PARTITIONS):
            part, source = slice(start, start + PARTITIONS), rows[first + start : first + start + PARTITIONS]
            nisa.nc_matmul(bank[:, part], _loaded(source), identity, is_moving_onezero=True, is_transpose=True)
        nisa.activation(turned[:, first : first + BANK], nl.copy, bank)
    return turned


def _row_of_products(stationary: Any, moving: Any) -> Any:
    """Both halves in PSUM, moved by one copy: Scalar's active time has no room for the start of one for each."""
    stripe, banks = _tile((PARTITIONS, moving.shape[1])), _tile((PARTITIONS, moving.shape[1]), nl.psum)
    for column in range(0, moving.shape[1], BANK):
        part = slice(column, column + BANK)
        nisa.nc_matmul(banks[:, part], stationary, moving[:, part])
    nisa.activation(stripe, nl.copy, banks)
    return stripe


def transposed_matmul(lhs: Any, rhs: Any) -> Any:
    """lhs [K, M].T @ rhs [K, N], blocks of 1024 by 1024, all of K at once; N need not be a multiple of the block."""
    (depth, rows), columns = lhs.shape, rhs.shape[1]
    result = nl.ndarray((rows, columns), dtype=lhs.dtype, buffer=nl.shared_hbm)
    depths = range(0, depth, PARTITIONS)
    for row in range(0, rows, 1024):
        left = [_loaded(lhs[k : k + PARTITIONS, row : row + 1024]) for k in depths]
        for column in range(0, columns, 1024):
            stop = min(column + 1024, columns)
            right = [_loaded(rhs[k : k + PARTITIONS, column:stop]) for k in depths]
            for start in range(0, 1024, PARTITIONS):
                stripe = _accumulated(left, right, start)
                nisa.dma_copy(result[row + start : row + start + PARTITIONS, column:stop], stripe)
    return result


def _accumulated(left: list[Any], right: list[Any], start: int) -> Any:
    width = right[0].shape[1]
    stripe = _tile((PARTITIONS, width))
    for column in range(0, width, BANK):
        part = slice(column, min(column + BANK, width))
        bank = _tile((PARTITIONS, part.stop - part.start), nl.psum)
        for number, (stationary, moving) in enumerate(zip(left, right, strict=True)):
            nisa.nc_matmul(bank, stationary[:, start : start + PARTITIONS], moving[:, part], accumulate=number > 0)
        nisa.activation(stripe[:, part], nl.copy, bank)
    return stripe


def silu(x: Any) -> Any:
    """x / (1 + exp(-x)) of x [M, N] in tiles of 128 by 1024, computed in halves.

    The counters know three instructions with one input. Scalar's active time is that of two of them; four profiles of
    this kernel and its variants, with one to four such instructions, leave Vector the reciprocal and the product.
    """
    result = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
    for row in range(0, x.shape[0], PARTITIONS):
        for column in range(0, x.shape[1], 1024):
            place = (slice(row, row + PARTITIONS), slice(column, column + 1024))
            tile, product = _loaded(x[place]), _tile((PARTITIONS, 1024))
            for start in range(0, 1024, BANK):
                _sigmoid_times(tile[:, start : start + BANK], product[:, start : start + BANK])
            nisa.dma_copy(result[place], product)
    return result


def _sigmoid_times(tile: Any, product: Any) -> None:
    power, denominator, inverse = (_tile(tile.shape) for _ in range(3))
    nisa.activation(power, nl.exp, tile, scale=-1.0)
    nisa.tensor_scalar(denominator, power, nl.add, 1.0, engine=nisa.engine.scalar)
    nisa.reciprocal(inverse, denominator)
    _binary(tile, inverse, nl.multiply, product)
