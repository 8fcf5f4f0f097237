"""Weights packed on the host for `matmul_mx`: NumPy in, NumPy out."""

from __future__ import annotations

from typing import Any

import numpy as np

from trnlab.emulator import DType, pack_operand, unpack_operand

Array = np.ndarray[Any, Any]


def pack_weights(weights: Array, dtype: DType) -> tuple[Array, Array]:
    """(words, scales) of W[K, N] for `matmul_mxfp8_weights`, K padded with zeros to a multiple of 128.

    words: [round_up(K, 128) / 4, N] uint32 (MXFP8) or uint16 (MXFP4); scales: uint8 [round_up(K, 128) / 32, N].
    """
    return pack_operand(np.asarray(weights, np.float32), dtype)


def unpack_weights(words: Array, scales: Array, dtype: DType, rows: int) -> Array:
    """W[rows, N] in float32 that the packed words and scales stand for."""
    return unpack_operand(words, scales, dtype, rows=rows)
