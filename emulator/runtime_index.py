"""What a view's address may depend on beyond compile-time integers: registers, dynamic slices, index tensors."""

from __future__ import annotations

from dataclasses import dataclass
from types import EllipsisType
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

import numpy as np

from trnlab.emulator.errors import TraceError
from trnlab.emulator.source import fail

if TYPE_CHECKING:
    from trnlab.emulator.tensor import NkiTensor


class NKIObject:
    """Base class for NKI kernel dataclasses and configuration objects; keywords become attributes."""

    def __init__(self, **kwargs: Any) -> None:
        for name, value in kwargs.items():
            setattr(self, name, value)


@dataclass(frozen=True, slots=True)
class DynamicSlice:
    """`nl.ds(start, size)`: `size` consecutive elements from `start`, which may be a register."""

    start: Any
    size: int


class VirtualRegister(NKIObject):
    """A 32-bit register of an engine's sequencer; its value exists only while the kernel runs.

    Raises:
        TraceError: on use in Python control flow or arithmetic, where the value would have to be known at trace time.
    """

    def __init__(self, tensor: NkiTensor) -> None:
        self.tensor = tensor

    def _unknown(self, use: str) -> NoReturn:
        fail(
            TraceError,
            "VirtualRegister",
            found=f"a register's run-time value used as {use}",
            allowed="a compile-time value here; nl.fori_loop, nl.while_loop or nl.dynamic_range for loops, "
            "nl.ds or scalar_offset for addressing",
            source="NKI reference, nki.isa.VirtualRegister",
        )

    def __bool__(self) -> bool:  # noqa: PLE0304 - always raises
        self._unknown("a condition")

    def __int__(self) -> int:
        self._unknown("an int")

    def __index__(self) -> int:  # noqa: PLE0305 - always raises
        self._unknown("an index")

    def __repr__(self) -> str:
        return f"VirtualRegister({self.tensor.name})"


@dataclass(frozen=True, slots=True)
class Indirection:
    """A run-time part of a view's address.

    kind "scalar": `index[0] * stride` is added to the offset of every element.
    kind "vector": partition p starts at `index[p] * stride`, in place of `p * strides[0]`.
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
