"""One instruction as the wide rules see it: float64 operands in, float64 results out.

A rule is a pure function of a `WideCall`. It returns one array per written operand, in operand order, or None where
the call has no wide form (bit patterns, integers, random numbers): then the twin takes over the program's own results,
and the report says so if an error was dropped that way.

Operands have the shapes that instruction bodies see. An integer stands for itself; a packed word is its four elements,
on a last axis, without their scale; a scale keeps the form it is stored in (a code, or a power of two).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trnlab.emulator.dtypes import DType

Floats = NDArray[np.float64]
Results = tuple[Floats, ...] | None
Rule = Callable[["WideCall"], Results]


@dataclass(frozen=True, slots=True)
class WideCall:
    """An instruction with operands in float64.

    values:     what it reads, by operand name
    shapes:     of what it writes, by operand name, lanes of packed words included; in operand order
    dtypes:     of every operand present
    attributes, immediates: as the program has them; immediates stay unrounded
    math:       "float32" or "raw", as the catalogue decided
    real:       what the program itself wrote, for choices that the twin shares with it (block scales)
    """

    opcode: str
    values: Mapping[str, Floats]
    shapes: Mapping[str, tuple[int, ...]]
    dtypes: Mapping[str, DType]
    attributes: Mapping[str, Any]
    immediates: Mapping[str, float]
    math: str
    real: Mapping[str, Floats]

    def get(self, name: str) -> Any:
        """An operand's values or immediate; None where the call has neither."""
        found = self.values.get(name)
        return self.immediates.get(name) if found is None else found

    def needed(self, name: str) -> Any:
        """As `get`, for what the call must have."""
        found = self.get(name)
        if found is None:
            raise AssertionError(f"{self.opcode} without {name}")
        return found

    def __contains__(self, name: str) -> bool:
        return name in self.dtypes
