"""Worlds: float64 shadows of the program's memory in which some source lines err and the others do not.

In the *twin*, nothing errs: every result is what wide arithmetic gives from wide operands. In the world *without* a
line, each instruction adds to its wide result the error that it made in the program itself, except those of that line.
With every line's errors added a world is the program: that is the identity which attribution rests on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trnlab.emulator.attribution.memory import Memory, Window, words_of
from trnlab.emulator.dtypes import DType
from trnlab.emulator.memory import MemoryRegion
from trnlab.emulator.testing.formats import decode

Floats = NDArray[np.float64]
Line = Any
"""A source line, as the measurement keys it."""


@dataclass(slots=True)
class Shadow:
    """One buffer in one world: a float64 per element of `dtype`, or four per packed word."""

    dtype: DType
    values: Floats


@dataclass(slots=True)
class World:
    """A shadow of every live buffer. `errs` says whether a line's instructions make their errors here."""

    errs: Callable[[Line], bool]
    _shadows: dict[int, Shadow] = field(default_factory=dict)

    def read(self, memory: Memory, window: Window) -> tuple[Floats, bool]:
        """What the operand holds in this world, and whether an error had to be dropped to say so.

        That happens where bytes are read as another dtype than they were written as: the bits are then the program's.
        """
        if memory.program.buffers[window.buffer].region is MemoryRegion.register and window.dtype.is_integer:
            return decode(words_of(memory, window), window.dtype), False  # loops count in them, the same in all worlds
        shadow, dropped = self._shadow(memory, window)
        return np.array(window.of(shadow.values)), dropped

    def prepare(self, memory: Memory, window: Window) -> bool:
        """Make room for a result before the program writes it; returns whether errors beside it had to be dropped."""
        return self._shadow(memory, window)[1]

    def write(self, window: Window, values: Floats) -> None:
        """Put the operand's new content, for which `prepare` has made room."""
        window.put(self._shadows[window.buffer].values, values)

    def value(self, memory: Memory, window: Window) -> Floats:
        """What a view holds in this world when the walk is over."""
        return self.read(memory, window)[0]

    def _shadow(self, memory: Memory, window: Window) -> tuple[Shadow, bool]:
        shadow = self._shadows.get(window.buffer)
        dropped = False
        if shadow is None or shadow.dtype != window.dtype:
            true = decode(memory.stored(window.buffer, window.dtype), window.dtype)
            if shadow is not None:
                old = decode(memory.stored(window.buffer, shadow.dtype), shadow.dtype)
                dropped = not np.array_equal(old, shadow.values, equal_nan=True)
            shadow = self._shadows[window.buffer] = Shadow(window.dtype, true)
        return shadow, dropped

    def free(self, number: int) -> None:
        """Forget a buffer that nothing uses any more."""
        self._shadows.pop(number, None)
