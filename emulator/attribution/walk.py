"""The order in which a program's instructions execute, loops included, while their registers hold true values."""

from __future__ import annotations

from collections.abc import Iterator

from trnlab.emulator.attribution.memory import Memory
from trnlab.emulator.nest import Block, nest
from trnlab.emulator.program import Loop


def walk(memory: Memory) -> Iterator[int]:
    """Instruction numbers in the order of execution; the caller executes each before it asks for the next one."""
    return _run(nest(memory.program), memory)


def _run(block: Block, memory: Memory) -> Iterator[int]:
    for item in block.items:
        if isinstance(item, range):
            yield from item
            continue
        loop = item.loop
        assert isinstance(loop, Loop), "a flat program has no repeats"
        for _ in _iterations(loop, memory):
            yield from _run(item, memory)


def _iterations(loop: Loop, memory: Memory) -> Iterator[None]:
    if loop.kind == "while":
        while memory.register(loop.register):
            yield
        return
    lower = loop.lower if loop.lower_register is None else memory.register(loop.lower_register)
    upper = loop.upper if loop.upper_register is None else memory.register(loop.upper_register)
    for value in range(lower, upper, loop.step):
        memory.set_register(loop.register, value)
        yield
