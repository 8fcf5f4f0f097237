"""The examples of AWS's DMA overview: load, exp, store of one tile."""

from __future__ import annotations

from typing import Any

from trnlab.emulator.nki import isa as nisa, language as nl


def load_exp_store(x: Any) -> Any:
    """exp(x) of one tile, through two buffers in SBUF."""
    result = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
    loaded, power = (nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.sbuf) for _ in range(2))
    nisa.dma_copy(loaded, x)
    nisa.activation(power, nl.exp, loaded)
    nisa.dma_copy(result, power)
    return result


def chain_of_activations(x: Any, length: int = 1000) -> Any:
    """One element per partition, each activation reading what the one before it wrote."""
    tile = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.sbuf)
    nisa.dma_copy(tile, x)
    for _ in range(length):
        nisa.activation(tile, nl.copy, tile)
    return x
