"""`tensor[key] = value`: which instruction writes it."""

from __future__ import annotations

from typing import Any

import trnlab.emulator.nki.isa as nisa
from trnlab.emulator.errors import ArgumentError
from trnlab.emulator.nki.language.creation import fill
from trnlab.emulator.nki.language.tiles import is_number
from trnlab.emulator.source import fail, shown
from trnlab.emulator.tensor import NkiTensor


def assign(view: NkiTensor, value: Any) -> None:
    """view = value: dma_copy where either lives in HBM, tensor_copy on chip, memset from a number.

    Raises:
        ArgumentError: neither a tensor nor a number.
        ShapeError, BufferError, DtypeError: see the instruction.
    """
    if is_number(value):
        fill(view, value)
    elif not isinstance(value, NkiTensor):
        found = shown(value)
        fail(ArgumentError, "NkiTensor.__setitem__", operand="value", found=found, allowed="a tensor or a number")
    elif view.on_chip and value.on_chip:
        nisa.tensor_copy(view, value)
    else:
        nisa.dma_copy(view, value)
