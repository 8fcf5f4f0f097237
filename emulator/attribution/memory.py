"""The program's true memory while it is walked: bytes of every live buffer, and operands as tensors on them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

from trnlab.emulator.backends.addressing import WORDS, element_grid, place
from trnlab.emulator.backends.semantics import row_flags
from trnlab.emulator.dtypes import DType
from trnlab.emulator.memory import Allocation, uninitialised_bytes
from trnlab.emulator.program import Program, Signature
from trnlab.emulator.runtime_index import Indirection
from trnlab.emulator.tensor import NkiTensor
from trnlab.emulator.view_algebra import reaches_twice

Array = NDArray[Any]


class _Walk:
    """Owner of allocations that no kernel call owns any more."""

    is_open = True

    def assign(self, view: Any, value: Any) -> NoReturn:
        """Nothing assigns during a walk."""
        raise AssertionError("a view assigned while a program is walked")

    def condition(self, register: Any) -> NoReturn:
        """Nothing asks a register during a walk."""
        raise AssertionError("a register asked while a program is walked")


class Window(NamedTuple):
    """The elements of one operand: strides on its buffer, or every element by number where strides cannot say it.

    elements: element numbers in the operand's dtype, in its shape; None for a plain strided window
    kept:     of an operand that is written, flat flags of the elements that get there (None: all): not those of rows
              that are skipped, nor those that a later element of the same instruction overwrites
    """

    buffer: int
    dtype: DType
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int
    elements: Array | None = None
    kept: Array | None = None

    def of(self, flat: Array) -> Array:
        """The window's part of a row-major array with one entry (or one row of lanes) per element; a view or a copy.

        flat: [elements of the buffer in the operand's dtype, ...]
        """
        if self.elements is not None:
            return flat[self.elements]
        inner = flat.shape[1:]
        step = flat.strides[0]
        strides = (*(stride * step for stride in self.strides), *flat.strides[1:])
        return np.ndarray((*self.shape, *inner), flat.dtype, flat, self.offset * step, strides)

    def put(self, flat: Array, values: Array) -> None:
        """Write values of this window's shape, those that are kept."""
        if self.elements is None:
            self.of(flat)[...] = values
            return
        keep = slice(None) if self.kept is None else self.kept
        flat[self.elements.reshape(-1)[keep]] = values.reshape(self.elements.size, *flat.shape[1:])[keep]

    def written(self, values: Array) -> Array:
        """Of values in this window's shape (lanes of packed words behind it) those that are kept."""
        if self.kept is None:
            return values
        found: Array = values.reshape(self.kept.size, *values.shape[len(self.shape) :])[self.kept]
        return found


class Memory:
    """True bytes of the buffers that are live, by buffer number."""

    def __init__(self, program: Program, inputs: Sequence[Array]) -> None:
        self.program = program
        self._owner = _Walk()
        self._live: dict[int, Allocation] = {}
        for number, array in zip(program.inputs, inputs, strict=True):
            self._live[number] = self._allocation(number, np.array(array, order="C").reshape(-1).view(np.uint8))

    def _allocation(self, number: int, data: Array) -> Allocation:
        return Allocation(self.program.buffers[number], self._owner, data)

    def allocation(self, number: int) -> Allocation:
        """The buffer's bytes, fresh at first use."""
        if number not in self._live:
            buffer, constant = self.program.buffers[number], self.program.constants.get(number)
            data = uninitialised_bytes(buffer.dtype, buffer.nbytes)
            if constant is not None:
                data[...] = np.frombuffer(constant, np.uint8)
            self._live[number] = self._allocation(number, data)
        return self._live[number]

    def free(self, number: int) -> None:
        """Forget a buffer that nothing uses any more."""
        self._live.pop(number, None)

    def stored(self, number: int, dtype: DType) -> Array:
        """The buffer's elements in a dtype's storage, flat; the memory itself."""
        data = self.allocation(number).data
        assert data is not None
        found: Array = data.view(dtype.storage)
        return found

    def register(self, number: int) -> int:
        """The integer that a register holds."""
        return int(self.stored(number, self.program.buffers[number].dtype)[0])

    def set_register(self, number: int, value: int) -> None:
        """Write a loop's counter."""
        self.stored(number, self.program.buffers[number].dtype)[...] = value

    def tensors(self, number: int) -> list[NkiTensor]:
        """An instruction's operands as tensors, each followed by its run-time index where it has one."""
        signature, row = self.program.signature_of(number), self.program.row(number).tolist()
        found: list[NkiTensor] = []
        for operand, (buffer, offset) in zip(signature.operands, row, strict=True):
            base = self.allocation(buffer)
            found.append(NkiTensor(operand.shape, operand.dtype, base, strides=operand.strides, offset=offset))
        for position, operand in enumerate(signature.operands):
            how = operand.indirection
            if how is not None:
                index = found[position + 1]
                found[position].indirection = Indirection(how.kind, index, how.stride, how.extent)
        return found


def windows(signature: Signature, tensors: Sequence[NkiTensor]) -> dict[str, Window]:
    """Where every operand of an instruction lies now, by name; indices of run-time addresses left out."""
    skip = signature.attribute("oob_mode") == "skip"
    found: dict[str, Window] = {}
    flags: list[Array] = []
    for operand, tensor in zip(signature.operands, tensors, strict=True):
        if operand.name.endswith(".index"):
            continue
        elements = None
        if operand.indirection is not None:
            where = place(tensor, skip, f"nisa.{signature.opcode}", operand.indirection.group)
            elements = where.elements
            if where.valid is not None:
                flags.append(row_flags(signature, where.valid))
        elif operand.writes and reaches_twice(operand.shape, operand.strides):
            elements = tensor.offset + element_grid(operand.shape, operand.strides)
        buffer = tensor._allocation.buffer.number
        found[operand.name] = Window(buffer, operand.dtype, operand.shape, operand.strides, tensor.offset, elements)
    written = {operand.name for operand in signature.operands if operand.writes}
    return {name: _with_kept(window, flags) if name in written else window for name, window in found.items()}


def _with_kept(window: Window, flags: list[Array]) -> Window:
    """The window of a result with its kept elements, where these are not all: see `backends.reference`."""
    if window.elements is None and not flags:
        return window
    places = window.elements
    if places is None:
        places = window.offset + element_grid(window.shape, window.strides)
    allowed = np.ones(places.size, bool)
    for valid in flags:
        allowed &= np.repeat(valid, places.size // valid.size)
    candidates = np.flatnonzero(allowed)[::-1]
    _, from_end = np.unique(places.reshape(-1)[candidates], return_index=True)
    kept = np.zeros(places.size, bool)
    kept[candidates[from_end]] = True  # of writes to one place the last
    return window._replace(elements=places, kept=kept)


def words_of(memory: Memory, window: Window) -> Array:
    """The window's elements as a fresh array in its dtype's storage."""
    flat = memory.stored(window.buffer, window.dtype).view(WORDS[window.dtype.itemsize])
    found: Array = np.array(window.of(flat), order="C").view(window.dtype.storage)
    return found
