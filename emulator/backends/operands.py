"""The operands of one instruction, here and now: which storages they lie in, and what is there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from jax import Array

from trnlab.emulator.backends import indirection, words as word_math
from trnlab.emulator.backends.indirection import Rows
from trnlab.emulator.backends.layout import Plan
from trnlab.emulator.backends.memory_state import Memory, value_of
from trnlab.emulator.backends.positions import Placed, Scope
from trnlab.emulator.backends.storage import Family
from trnlab.emulator.backends.views import read
from trnlab.emulator.backends.widening import Axes
from trnlab.emulator.program import Signature


@dataclass(frozen=True, eq=False)
class Operands:
    """One instruction's operands; everything goes by their positions in its signature.

    placed:   each one's view of its storage
    families: the storage each one lies in
    inside:   the view that an indirect one has of its own buffer
    """

    plan: Plan
    signature: Signature
    placed: Sequence[Placed]
    families: Sequence[Family]
    inside: Callable[[int], Placed]
    scope: Scope
    memory: Memory

    def positions(self, *, reads: bool = False, writes: bool = False, index: bool = False) -> list[int]:
        """The positions of operands that are read, or written; run-time indices only when asked for."""
        return [
            position
            for position, operand in enumerate(self.signature.operands)
            if (index or not operand.name.endswith(".index"))
            and ((reads and operand.reads) or (writes and operand.writes))
        ]

    def axes(self, position: int) -> Axes:
        """What the axes of a view stand for when it is read or written."""
        placed = self.placed[position]
        return Axes(tuple(placed.loops[dim] if dim < placed.view.loops else None for dim in placed.view.arrangement()))

    def target(self, position: int) -> indirection.Target:
        """What the indirect accesses need to know of an operand."""
        return indirection.Target(self.signature.operands[position], self.placed[position])

    def storage(self, position: int) -> Array:
        """The value of an operand's storage: words of its own item size, not necessarily as its dtype travels.

        XLA converts all of a storage before it takes a part, so words of one size are converted when they are taken.
        """
        family, dtype = self.families[position], self.signature.operands[position].dtype
        value = value_of(self.plan, family, self.scope, self.memory)
        return value if dtype.itemsize == family.buffer.dtype.itemsize else word_math.recast(value, dtype)

    def words(self, position: int, rows: dict[int, Rows]) -> Array:
        """What an operand reads, as its dtype travels, arranged as its view says."""
        if position in rows:
            taken = indirection.read(self.storage(position), self.target(position), rows[position])
        else:
            placed = self.placed[position]
            taken = read(self.storage(position), placed.view, placed.moved)
        return word_math.recast(taken, self.signature.operands[position].dtype)

    def elements(self, position: int, rows: dict[int, Rows]) -> Array:
        """The same as elements of the operand's dtype."""
        return word_math.to_elements(self.words(position, rows), self.signature.operands[position].dtype)
