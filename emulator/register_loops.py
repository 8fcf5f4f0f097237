"""`while register:` as a structured loop: the body is recorded once, as it is by `nl.while_loop`.

Python asks the register for its truth before each iteration. The first time, the loop is opened and the answer is yes,
so that the body is recorded; the second time, at the same `while`, the loop is closed and the answer is no. A register
asked anywhere else (`if`, `not`, `and`, ...) has no value to give.

Source: NKI language guide, dynamic control flow; NKI 0.6.0 migration guide, which deprecates this spelling.
"""

from __future__ import annotations

import ast
import linecache
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice
from types import CodeType, FrameType
from typing import NoReturn, TypeAlias

from trnlab.emulator.errors import TraceError
from trnlab.emulator.loops import LoopBody
from trnlab.emulator.runtime_index import VirtualRegister
from trnlab.emulator.source import caller_frame, fail

Span: TypeAlias = tuple[int, int, int, int]
"""First line, last line, first column, last column of a piece of source."""

OpenLoop: TypeAlias = Callable[[LoopBody], AbstractContextManager[None]]


@dataclass(frozen=True, slots=True)
class _Running:
    """A `while register:` whose body is being recorded."""

    frame: FrameType
    loop: Span
    register: VirtualRegister
    recording: AbstractContextManager[None]


@dataclass(slots=True)
class RegisterLoops:
    """The `while register:` loops of one kernel call that are being recorded, outermost first."""

    running: list[_Running] = field(default_factory=list)

    def ask(self, register: VirtualRegister, open_loop: OpenLoop) -> bool:
        """Whether Python shall go into the body: yes to record it, no once it is recorded.

        Raises:
            RuntimeValueError: the question is no `while register:`.
            TraceError: the loop was left by `break` or `return`, or goes on with another register.
        """
        frame = caller_frame()
        loop = _asking_loop(frame)
        if loop is None or not register.tensor._allocation.owner.is_open:
            register.refuse("a condition")
        if self.running and self._was_left(frame, loop):
            self._fail_left()
        if self.running and self.running[-1].frame is frame and self.running[-1].loop == loop:
            self._close(register)
            return False
        recording = open_loop(LoopBody(kind="while", begin=0, register=register.tensor))
        recording.__enter__()
        self.running.append(_Running(frame, loop, register, recording))
        return True

    def _close(self, register: VirtualRegister) -> None:
        loop = self.running.pop()
        if loop.register is not register:
            found = f"another register, {register!r}, after the first iteration of `while` on {loop.register!r}"
            fail(TraceError, "while", found=found, allowed="one register, which the body writes (nisa.register_load)")
        loop.recording.__exit__(None, None, None)

    def _was_left(self, frame: FrameType, asking: Span) -> bool:
        """Whether the innermost loop was left early: by `return`, or by `break` to a loop that is not inside it."""
        innermost = self.running[-1]
        if innermost.frame is not frame:
            return innermost.frame not in _stack(frame)
        return asking != innermost.loop and not _is_inside(asking, innermost.loop)

    def require_closed(self) -> None:
        """Raise TraceError where the kernel ended inside a loop."""
        if self.running:
            self._fail_left()

    def _fail_left(self) -> NoReturn:
        loop = self.running[-1]
        found = f"the loop on {loop.register!r} (line {loop.loop[0]}), left by break or return"
        fail(TraceError, "while", found=found, allowed="a body that always runs to its end")


def _stack(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


@lru_cache(maxsize=256)
def _while_loops(code: CodeType) -> dict[Span, Span]:
    """The `while <name>:` loops in the file of the code, by their own span and by that of their condition.

    Which of the two Python gives to the instruction that asks for the truth depends on its version.
    """
    try:
        tree = ast.parse("".join(linecache.getlines(code.co_filename)))
    except SyntaxError:
        return {}
    plain = (ast.Name, ast.Attribute, ast.Subscript)
    loops = [node for node in ast.walk(tree) if isinstance(node, ast.While) and isinstance(node.test, plain)]
    return {_span(part): _span(node) for node in loops for part in (node, node.test)}


def _span(node: ast.expr | ast.stmt) -> Span:
    return node.lineno, node.end_lineno or node.lineno, node.col_offset, node.end_col_offset or 0


def _asking_loop(frame: FrameType) -> Span | None:
    """The `while` whose whole condition the frame is evaluating; None for any other use of a truth."""
    where = next(islice(frame.f_code.co_positions(), frame.f_lasti // 2, None))
    return next((loop for part, loop in _while_loops(frame.f_code).items() if part == where), None)


def _is_inside(inner: Span, outer: Span) -> bool:
    return outer[0] < inner[0] <= outer[1]
