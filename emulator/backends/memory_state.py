"""What every storage holds at one point of a compiled program, and what flowed into it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import reduce
from operator import or_

import jax.numpy as jnp
from jax import Array

from trnlab.emulator.backends import words as word_math
from trnlab.emulator.backends.layout import Plan
from trnlab.emulator.backends.positions import Scope, storage_shape
from trnlab.emulator.backends.storage import Family

FAULT = -1
"""The fault's place among the values by family."""

Sample = Callable[[], Array]
"""One word of a result, for whoever must wait for it."""


@dataclass
class Memory:
    """Values by family, and their history.

    words:   carried values by family number (see `words`); the fault is among them, under `FAULT`
    zero:    a uint32 zero that is computed at run time
    flows:   per family the set of families, as bits, from which its content was computed
    same:    per family the set of families whose very memory its value may still be: nothing but moves lay between
    readers: per family, results computed from it since it was last written
    """

    words: dict[int, Array]
    zero: Array
    flows: dict[int, int] = field(default_factory=dict)
    same: dict[int, int] = field(default_factory=dict)
    readers: dict[int, list[Sample]] = field(default_factory=dict)

    def sources(self, families: Sequence[int]) -> int:
        """The families that flow into what is computed from these."""
        return reduce(or_, (1 << number | self.flows.get(number, 0) for number in families), 0)

    def replace(self, number: int, value: Array, sources: int, *, moved: bool) -> None:
        """A write that covers the storage."""
        self.words[number] = value
        self.flows[number], self.same[number] = sources, sources if moved else 0
        self.readers.pop(number, None)

    def update(self, number: int, value: Array, sources: int) -> None:
        """A write to a part of the storage."""
        self.words[number] = value
        self.flows[number], self.same[number] = self.flows.get(number, 0) | sources, 0
        self.readers.pop(number, None)

    def forget(self, families: Iterable[int]) -> None:
        """Drop storages whose owner's iteration is over."""
        for number in families:
            for table in (self.words, self.flows, self.same, self.readers):
                table.pop(number, None)

    def depends_on_itself(self, number: int, sources: int) -> bool:
        """Whether what is computed from the sources may read the memory that a write to the storage changes.

        XLA on the CPU fuses such a read into the update slice that writes, in place, and loses track of the order when
        the two reshape the storage differently; writes by element number are not fused.
        """
        return bool((1 << number | self.same.get(number, 0)) & sources)

    def note_reader(self, families: Iterable[int], sample: Sample) -> None:
        """Remember that a result was computed from these storages."""
        for number in families:
            self.readers.setdefault(number, []).append(sample)

    def tie(self, number: int) -> Array:
        """An int32 zero that is known only when everybody who read the storage is done, and only at run time.

        Without it XLA may order the write before the read, and then copies the whole storage to keep both; and a
        write at a known place into memory filled with one value becomes a computation over all of it.
        """
        samples = [sample() for sample in self.readers.get(number, ())]
        zeros = [self.zero, *(word_math.run_time_zero(sample) for sample in samples)]
        return reduce(jnp.bitwise_or, zeros).astype(jnp.int32)


def value_of(plan: Plan, family: Family, scope: Scope, memory: Memory) -> Array:
    """The storage's value; fresh memory comes into being when first asked for."""
    if family.number not in memory.words:
        memory.words[family.number] = word_math.fresh(family.buffer, storage_shape(plan, family, scope), memory.zero)
    return memory.words[family.number]
