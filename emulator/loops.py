"""Structured loops while a kernel is traced: recorded once, replayed with run-time bounds when the trace executes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from types import CodeType
from typing import Any, Protocol

from trnlab.emulator.errors import KernelError
from trnlab.emulator.program import Loop, LoopKind, Signature
from trnlab.emulator.source import location_of
from trnlab.emulator.tensor import NkiTensor

Runner = Callable[[Sequence[NkiTensor], Sequence[float]], None]
"""Executes one signature on tensors that hold values."""


class Executor(Protocol):
    """Turns a signature into something that executes it on tensors that hold values."""

    def prepare(self, signature: Signature) -> Runner:
        """What executes every instruction of this signature."""
        ...


@dataclass(slots=True)
class Step:
    """One instruction of a loop body, kept for replay."""

    run: Runner
    tensors: list[NkiTensor]
    immediates: list[float]
    code: CodeType
    line: int

    def replay(self) -> None:
        """Execute the instruction; an error points at its line, not at the loop's."""
        try:
            self.run(self.tensors, self.immediates)
        except KernelError as error:
            where = location_of(self.code.co_filename, self.line, self.code.co_qualname)
            raise type(error)(replace(error.violation, location=where)) from None


def _value(bound: int | NkiTensor) -> int:
    return bound if isinstance(bound, int) else int(bound.numpy_view()[0])


@dataclass(slots=True, kw_only=True)
class LoopBody:
    """A loop being recorded; `lower` and `upper` are compile-time integers or registers.

    first_buffer: number of the first buffer allocated inside the body
    """

    kind: LoopKind
    begin: int
    register: NkiTensor
    lower: int | NkiTensor = 0
    upper: int | NkiTensor = 0
    step: int = 1
    first_buffer: int = 0
    steps: list[Step | LoopBody] = field(default_factory=list)

    def close(self, end: int) -> Loop:
        """The loop as data, its body ending before instruction `end`."""
        bounds: dict[str, Any] = {}
        for name in ("lower", "upper"):
            bound = getattr(self, name)
            if isinstance(bound, int):
                bounds[name] = bound
            else:
                bounds[f"{name}_register"] = bound._allocation.buffer.number
        number = self.register._allocation.buffer.number
        return Loop(kind=self.kind, begin=self.begin, end=end, register=number, step=self.step, **bounds)

    def replay(self) -> None:
        """Execute the recorded body with the values that the registers hold now."""
        if self.kind == "for":
            window = self.register.numpy_view()
            for value in range(_value(self.lower), _value(self.upper), self.step):
                window[...] = value
                self._run()
        else:
            while _value(self.register):
                self._run()

    def _run(self) -> None:
        for step in self.steps:
            step.replay()
