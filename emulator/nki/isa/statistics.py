"""The Vector Engine instructions of nki.isa for means and variances, as published."""

from __future__ import annotations

from trnlab.emulator.isa import statistics
from trnlab.emulator.tensor import NkiTensor
from trnlab.emulator.trace import NkiInstruction, current


def bn_stats(dst: NkiTensor, data: NkiTensor, name: str | None = None) -> NkiInstruction:
    """dst = (count, mean, variance * count) of each partition's even elements, then of its odd ones; in float32.

    data: a tensor in SBUF or PSUM with at most nl.tile_size.bn_stats_fmax (512) elements per partition
    dst:  a tensor in SBUF or PSUM of the same partition count, 6 elements per partition

    Raises:
        ArgumentError, ShapeError, DtypeError, BufferError: see the instruction's limits (`trnlab isa`).
    """
    return current("nisa.bn_stats").emit(statistics.bn_stats, (dst, data), name=name)


def bn_aggr(dst: NkiTensor, data: NkiTensor, name: str | None = None) -> NkiInstruction:
    """dst = (mean, variance) of everything that data's bn_stats results describe; in float32.

    data: a tensor in SBUF or PSUM with triples (count, mean, variance * count), as bn_stats writes two of
    dst:  a tensor in SBUF or PSUM of the same partition count, 2 elements per partition

    Raises:
        ArgumentError, ShapeError, DtypeError, BufferError: see the instruction's limits (`trnlab isa`).
    """
    return current("nisa.bn_aggr").emit(statistics.bn_aggr, (dst, data), name=name)
