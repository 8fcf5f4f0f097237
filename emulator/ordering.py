"""`instruction.depends_on(...)` and `kernel.with_schedule(...)`: orderings beyond those that the data demands.

Source: NKI reference, nki.isa.NkiInstruction; NKI guide, scheduling APIs.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trnlab.emulator.errors import ArgumentError, TraceError
from trnlab.emulator.source import fail
from trnlab.emulator.usage import nearest

if TYPE_CHECKING:
    from trnlab.emulator.trace import Trace

Schedule = Iterable[tuple[str, str | Sequence[str]]]
"""(name of an instruction, name or names of those it waits for)."""


@dataclass(frozen=True, slots=True)
class NkiInstruction:
    """Handle of an instruction just recorded; `depends_on` adds orderings beyond those of the data."""

    trace: Trace
    number: int

    def depends_on(self, *producers: NkiInstruction) -> NkiInstruction:
        """Order this instruction after every producer; returns itself, so calls chain.

        Raises:
            ArgumentError: a producer that is no instruction of this kernel call, or was recorded after this one.
            TraceError: a producer inside a structured loop that this instruction is not in.
        """
        for producer in producers:
            if not isinstance(producer, NkiInstruction) or producer.trace is not self.trace:
                allowed = "what an instruction of this kernel call returned"
                fail(ArgumentError, "depends_on", operand="producers", found=repr(producer), allowed=allowed)
            if any(loop.begin <= producer.number < loop.end <= self.number for loop in self.trace._loops):
                found, allowed = "a producer in a loop that the consumer is not in", "both in one loop body"
                fail(TraceError, "depends_on", operand="producers", found=found, allowed=allowed)
            self.trace.add_edge(producer.number, self.number)
        return self

    def __repr__(self) -> str:
        return f"NkiInstruction({self.number} of kernel {self.trace.kernel})"


def scheduled(function: Callable[..., Any], schedule: Schedule) -> Callable[..., Any]:
    """The kernel function with more orderings: each pair's first instruction waits for the second ones.

    Raises:
        ArgumentError: a schedule that is no pairs of names.

    Raises (the function made):
        ArgumentError: a name that no instruction has, or several have; a producer recorded after its consumer.
        TraceError: a producer inside a structured loop that the consumer is not in.
    """
    from trnlab.emulator.trace import current

    edges = tuple(edge for pair in schedule for edge in _edges(pair))

    @functools.wraps(function)
    def ordered(*args: Any, **kwargs: Any) -> Any:
        trace = current("with_schedule")
        begin = len(trace._signature_ids)
        returned = function(*args, **kwargs)
        for consumer, producer in edges:
            _named(trace, begin, consumer).depends_on(_named(trace, begin, producer))
        return returned

    return ordered


def _edges(pair: Any) -> list[tuple[str, str]]:
    """(consumer, producer) of a pair whose second part is a name or a list of names."""
    consumer, producers = pair if isinstance(pair, tuple | list) and len(pair) == 2 else (None, None)
    names = list(producers) if isinstance(producers, tuple | list) else [producers]
    if not all(isinstance(name, str) for name in (consumer, *names)):
        allowed = "(name of an instruction, name or list of names of those it waits for)"
        fail(ArgumentError, "with_schedule", operand="schedule", found=repr(pair), allowed=allowed)
    return [(str(consumer), str(name)) for name in names]


def _named(trace: Trace, begin: int, name: str) -> NkiInstruction:
    """The one instruction of that name from `begin` on."""
    named = {number: label for number, label in trace._names.items() if number >= begin}
    numbers = [number for number, label in named.items() if label == name]
    if len(numbers) != 1:
        found = f"{name!r}, the name of {len(numbers)} instructions"
        allowed = f"a name that one instruction of the kernel has{nearest(name, tuple(named.values()))}"
        fail(ArgumentError, "with_schedule", operand="schedule", found=found, allowed=allowed)
    return NkiInstruction(trace, numbers[0])
