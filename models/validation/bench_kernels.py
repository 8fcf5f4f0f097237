"""Baseline kernels of NKIBench (GitHub zhang677/AccelOpt), rebuilt from their loops and tiles; all float32 on trn1.

Copies that may run anywhere are on the Scalar Engine: the batched matmul's published Scalar-active time, 0.373 of
4.611 ms, is that of all its copies, 4096 of 512 and 2048 of 128 elements per partition.
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

    The halves are multiplied by cos and sin [64, S] on 64 partitions each; the lower half is copied up first.
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
        _binary(odd_cos, even_sin, nl.add, rotated[half : 2 * half])
        nisa.dma_copy(result[:, part], rotated)
    return result


def batched_matmul(lhs: Any, rhs: Any) -> Any:
    """lhs [B, M, 64] @ rhs [B, 64, N]: lhs tiles transposed by the Tensor Engine, once for every 1024 columns."""
    batch, rows, depth = lhs.shape
    columns = rhs.shape[2]
    result = nl.ndarray((batch, rows, columns), dtype=lhs.dtype, buffer=nl.shared_hbm)
    identity = nl.shared_identity_matrix(PARTITIONS, dtype=nl.float32)
    for b in range(batch):
        for column in range(0, columns, 1024):
            moving = _loaded(rhs[b, :, column : column + 1024])
            for row in range(0, rows, 1024):
                turned = _tile((depth, 1024))
                for start in range(0, 1024, PARTITIONS):
                    _transpose(turned[:, start : start + 128], lhs[b, row + start : row + start + 128], identity)
                for start in range(0, 1024, PARTITIONS):
                    stripe = _row_of_products(turned[:, start : start + PARTITIONS], moving)
                    place = result[b, row + start : row + start + PARTITIONS, column : column + 1024]
                    nisa.dma_copy(place, stripe)
    return result


def _transpose(turned: Any, source: Any, identity: Any) -> None:
    bank = _tile((source.shape[1], source.shape[0]), nl.psum)
    nisa.nc_matmul(bank, _loaded(source), identity, is_moving_onezero=True, is_transpose=True)
    nisa.activation(turned, nl.copy, bank)


def _row_of_products(stationary: Any, moving: Any) -> Any:
    stripe = _tile((PARTITIONS, moving.shape[1]))
    for column in range(0, moving.shape[1], BANK):
        part, bank = slice(column, column + BANK), _tile((PARTITIONS, BANK), nl.psum)
        nisa.nc_matmul(bank, stationary, moving[:, part])
        nisa.activation(stripe[:, part], nl.copy, bank)
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

    The reciprocal is a power on the Vector Engine, whose active time is then right: the published 8 cycles per element
    of `reciprocal` would take longer than the measured kernel as a whole, and an activation a table load in every half.
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
    nisa.tensor_scalar(denominator, power, nl.add, 1.0, engine=nisa.engine.vector)
    nisa.tensor_scalar(inverse, denominator, nl.power, -1.0, engine=nisa.engine.vector)
    _binary(tile, inverse, nl.multiply, product)
