"""Weights packed on the host for `matmul_mx`: NumPy in, NumPy out."""

from __future__ import annotations

from typing import Any

import numpy as np

from trnlab.emulator import DType, dequantize_mx_host, quantize_mx_host
from trnlab.kernels.tiling import round_up, tiles

K_TILE = 512
K_MULTIPLE = 128  # 4 lanes x 32 partitions: the smallest step of an MX tile

Array = np.ndarray[Any, Any]


def _padded(weights: Array) -> Array:
    rows = round_up(weights.shape[0], K_MULTIPLE)
    return np.pad(np.asarray(weights, np.float32), ((0, rows - weights.shape[0]), (0, 0)))


def pack_weights(weights: Array, dtype: DType) -> tuple[Array, Array]:
    """(words, scales) of W[K, N] for `matmul_mxfp8_weights`, K padded with zeros to a multiple of 128.

    words: [round_up(K, 128) / 4, N] uint32 (MXFP8) or uint16 (MXFP4); scales: uint8 [round_up(K, 128) / 32, N].
    Every tile of 512 rows is interleaved on its own, as the kernel contracts it.
    """
    rows = _padded(weights)
    pieces = [quantize_mx_host(rows[k.start : k.stop], dtype) for k in tiles(len(rows), K_TILE)]
    return np.concatenate([words for words, _ in pieces]), np.concatenate([scales for _, scales in pieces])


def unpack_weights(words: Array, scales: Array, dtype: DType, rows: int) -> Array:
    """W[rows, N] in float32 that the packed words and scales stand for."""
    pieces = []
    for k in tiles(len(words), K_TILE // 4):
        groups = slice(k.start // 8, k.stop // 8)
        pieces.append(dequantize_mx_host(words[k.start : k.stop], scales[groups], dtype))
    return np.concatenate(pieces)[:rows]
