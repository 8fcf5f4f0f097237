"""The closed catalogue: every instruction of the engines' modules, by its published name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from trnlab.emulator.isa import (
    activate2,
    copy_fill,
    dma,
    dma_compute,
    gather,
    gpsimd,
    partition_reduce,
    positions,
    quantize,
    random_numbers,
    reduce,
    scalar,
    scan,
    search,
    select,
    statistics,
    sync,
    tensor,
    tensor_scalar,
    vector,
)
from trnlab.emulator.isa.registry import InstructionSpec

CATALOGUE: Final[Mapping[str, InstructionSpec]] = MappingProxyType(
    {
        spec.name: spec
        for module in (
            tensor,
            vector,
            tensor_scalar,
            copy_fill,
            reduce,
            select,
            quantize,
            scan,
            statistics,
            scalar,
            activate2,
            gpsimd,
            partition_reduce,
            search,
            positions,
            gather,
            random_numbers,
            dma,
            dma_compute,
            sync,
        )
        for spec in vars(module).values()
        if isinstance(spec, InstructionSpec)
    }
)
