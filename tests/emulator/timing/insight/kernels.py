"""Small kernels whose timelines are easy to reason about."""

from __future__ import annotations

from typing import Any

import jax
import ml_dtypes
import numpy as np

import trnlab.emulator.nki.isa as nisa
import trnlab.emulator.nki.language as nl
from trnlab.emulator import trace
from trnlab.emulator.timing.timeline import Timeline, schedule

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
FLOAT32 = np.dtype(np.float32)


def array(shape: tuple[int, ...], dtype: Any = BFLOAT16) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, dtype)  # type: ignore[no-untyped-call]


def timed(kernel: Any, *arrays: jax.ShapeDtypeStruct, target: str = "trn2", **options: Any) -> Timeline:
    return schedule(trace(kernel, *arrays, target=target, **options), target)


def load(source: Any, **how: Any) -> Any:
    tile = nl.ndarray(source.shape, dtype=source.dtype, buffer=nl.sbuf)
    nisa.dma_copy(dst=tile, src=source, **how)
    return tile


def store(tile: Any) -> Any:
    result = nl.ndarray(tile.shape, dtype=tile.dtype, buffer=nl.shared_hbm)
    nisa.dma_copy(dst=result, src=tile)
    return result


def copy(x: Any) -> Any:
    """One load and one store."""
    return store(load(x))


def product(stationary: Any, moving: Any) -> Any:
    """stationary.T @ moving on tiles that fit."""
    left, right = load(stationary), load(moving)
    bank = nl.ndarray((stationary.shape[1], moving.shape[1]), dtype=nl.float32, buffer=nl.psum)
    nisa.nc_matmul(dst=bank, stationary=left, moving=right)
    result = nl.ndarray(bank.shape, dtype=moving.dtype, buffer=nl.sbuf)
    nisa.tensor_copy(dst=result, src=bank)
    return store(result)


def turned(x: Any) -> Any:
    """x.T by the Tensor Engine; seven more transposes before it are thrown away."""
    tile = load(x)
    result = nl.ndarray((x.shape[1], x.shape[0]), dtype=x.dtype, buffer=nl.sbuf)
    bank = nl.ndarray(result.shape, dtype=x.dtype, buffer=nl.psum)
    for _ in range(8):
        nisa.nc_transpose(dst=bank, data=tile)
    nisa.tensor_copy(dst=result, src=bank)
    return store(result)


def reloaded(x: Any, times: int = 16) -> Any:
    """A copy of x after many loads of it."""
    for _ in range(times):
        tile = load(x)
    return store(tile)
