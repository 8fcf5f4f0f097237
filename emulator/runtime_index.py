"""What a view's address may depend on beyond compile-time integers: registers, dynamic slices, index tensors."""

from __future__ import annotations

from dataclasses import dataclass
from types import EllipsisType
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

import numpy as np

from trnlab.emulator.errors import RuntimeValueError
from trnlab.emulator.nki_object import NKIObject
from trnlab.emulator.source import fail
from trnlab.emulator.usage import refuse_conversions, refuse_operators

if TYPE_CHECKING:
    from trnlab.emulator.tensor import NkiTensor


@dataclass(frozen=True, slots=True)
class DynamicSlice:
    """`nl.ds(start, size)`: `size` consecutive elements from `start`, which may be a register."""

    start: Any
    size: int


class VirtualRegister(NKIObject):
    """A 32-bit register of an engine's sequencer; its value exists only while the kernel runs.

    state:  the one-element tensor in register memory behind it; `nisa.register_alloc` makes one
    frozen: whether instructions may not write it, as the index of `nl.dynamic_range`

    Raises:
        RuntimeValueError: on use in Python control flow or arithmetic, where the value would have to be known at trace
            time. `while register:` is the exception: a structured loop.
    """

    def __init__(self, state: NkiTensor, frozen: bool = False) -> None:
        self.tensor = state
        self.frozen = frozen

    def refuse(self, use: str) -> NoReturn:
        """Raise the error that says the register was put to that use."""
        fail(
            RuntimeValueError,
            "VirtualRegister",
            found=f"a register's run-time value used as {use}",
            allowed="a compile-time value here; nl.fori_loop, nl.while_loop or nl.dynamic_range for loops, "
            "nl.ds or scalar_offset for addressing, nisa.register_store and a tile for arithmetic",
            source="NKI reference, nki.isa.VirtualRegister",
        )

    def __bool__(self) -> bool:
        return self.tensor._allocation.owner.condition(self)

    def __repr__(self) -> str:
        return f"VirtualRegister({self.tensor.name})"


refuse_conversions(VirtualRegister, VirtualRegister.refuse, "int", "float", "index")
refuse_operators(VirtualRegister, lambda register, symbol, _: register.refuse(f"an operand of {symbol}"))


@dataclass(frozen=True, slots=True)
class Indirection:
    """A run-time part of a view's address.

    kind "scalar": `index[0] * stride` is added to the offset of every element.
    kind "vector": partition p starts at `index[p] * stride`, in place of `p * strides[0]`.
    kind "columns": column i lies at `index[i % G, i // G] * stride`, in place of `i * strides[1]`; G is the engine's.
    extent:        how many index values are in bounds
    dim:           the view's dimension that takes part, or None when an integer index removed it
    """

    kind: str
    index: NkiTensor | VirtualRegister
    stride: int
    extent: int
    dim: int | None = None


Index: TypeAlias = "int | slice | EllipsisType | DynamicSlice | VirtualRegister | NkiTensor"
INTEGERS = (int, np.integer)
