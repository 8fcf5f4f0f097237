"""The memories a tensor can live in, and questions about them.

Source: NKI reference, nki.language (memory hierarchy).
"""

from __future__ import annotations

from typing import Final

from trnlab.emulator.memory import HBM_REGIONS, ON_CHIP_REGIONS, MemoryRegion, as_region

sbuf: Final = MemoryRegion.sbuf
"""State Buffer: 128 partitions on chip, read and written by every engine."""

psum: Final = MemoryRegion.psum
"""Partial-sum buffer: where the Tensor Engine writes and accumulates."""

private_hbm: Final = MemoryRegion.private_hbm
"""Device memory seen by one core of a logical NeuronCore."""

hbm: Final = private_hbm
"""Alias of private_hbm, as published."""

shared_hbm: Final = MemoryRegion.shared_hbm
"""Device memory seen by every core of a logical NeuronCore; kernels return tensors that live here."""


def is_hbm(buffer: MemoryRegion | str) -> bool:
    """Whether the memory is HBM of either kind."""
    return as_region(buffer) in HBM_REGIONS


def is_on_chip(buffer: MemoryRegion | str) -> bool:
    """Whether the memory is SBUF or PSUM."""
    return as_region(buffer) in ON_CHIP_REGIONS


def is_psum(buffer: MemoryRegion | str) -> bool:
    """Whether the memory is PSUM."""
    return as_region(buffer) is psum


def is_sbuf(buffer: MemoryRegion | str) -> bool:
    """Whether the memory is SBUF."""
    return as_region(buffer) is sbuf
