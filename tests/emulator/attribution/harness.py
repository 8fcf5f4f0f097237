"""Tiles, loads and stores of the kernels under test."""

from __future__ import annotations

from typing import Any

import nki.isa as nisa
import nki.language as nl


def tile(shape: tuple[int, ...], dtype: Any = nl.float32, buffer: Any = nl.sbuf) -> Any:
    return nl.ndarray(shape, dtype=dtype, buffer=buffer)


def load(x: Any) -> Any:
    found = tile(x.shape, x.dtype)
    nisa.dma_copy(dst=found, src=x)
    return found


def store(found: Any, dtype: Any = None) -> Any:
    """A copy in HBM, through SBUF where it lies in PSUM or changes its dtype."""
    dtype = dtype or found.dtype
    if found.buffer == nl.psum or found.dtype != dtype:
        copied = tile(found.shape, dtype)
        nisa.tensor_copy(dst=copied, src=found)
        found = copied
    out = tile(found.shape, dtype, nl.shared_hbm)
    nisa.dma_copy(dst=out, src=found)
    return out
