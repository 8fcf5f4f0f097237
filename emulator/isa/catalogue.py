"""The closed catalogue: every instruction of the engines' modules, by its published name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from trnlab.emulator.isa import (
    copy_fill,
    dma,
    gpsimd,
    quantize,
    reduce,
    scalar,
    select,
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
            scalar,
            gpsimd,
            dma,
            sync,
        )
        for spec in vars(module).values()
        if isinstance(spec, InstructionSpec)
    }
)
