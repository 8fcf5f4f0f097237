"""Where in the user's kernel we are, and the one way to raise a `KernelError`."""

from __future__ import annotations

import contextlib
import inspect
import linecache
import os
import sys
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any, Final, NoReturn

import jax

from trnlab.emulator.errors import KernelError, SourceLocation, Violation

# Where code is not the user's: the emulator; contextlib, which calls back into the emulator's context managers; JAX,
# which calls the kernels that it transforms.
_INTERNAL = (
    os.path.dirname(os.path.abspath(__file__)) + os.sep,
    contextlib.contextmanager.__code__.co_filename,
    os.path.dirname(jax.__file__) + os.sep,
)
_SHOWN: Final = 80  # characters of a value's text in a message
_internal: dict[CodeType, bool] = {}  # pure cache: does this code object belong to the emulator?


def caller_frame(depth: int = 1) -> FrameType:
    """The innermost frame on the stack that is not the emulator's own code."""
    frame: FrameType = sys._getframe(depth)
    while True:
        code = frame.f_code
        internal = _internal.get(code)
        if internal is None:
            internal = _internal[code] = code.co_filename.startswith(_INTERNAL)
        if not internal or frame.f_back is None:
            return frame
        frame = frame.f_back


def location_of(file: str, line: int, function: str) -> SourceLocation:
    """The location with the text of its line, when the file can be read."""
    return SourceLocation(file, line, function, linecache.getline(file, line).strip())


def caller() -> SourceLocation:
    """The user's source line that led here."""
    frame = caller_frame(2)
    code = frame.f_code
    return location_of(code.co_filename, frame.f_lineno, code.co_qualname)


def definition_of(function: Callable[..., Any]) -> SourceLocation | None:
    """The line where a function's `def` stands; None for a callable that has no Python code of its own."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    if code is None:
        return None
    line = code.co_firstlineno
    while linecache.getline(code.co_filename, line).lstrip().startswith("@"):  # where decorators begin, code does
        line += 1
    return location_of(code.co_filename, line, code.co_qualname)


def shown(value: object) -> str:
    """A value for messages, on one line: its type, with an array's dtype and shape, or the beginning of its text."""
    kind, shape = type(value).__name__, getattr(value, "shape", None)
    if shape and isinstance(shape, tuple):
        return f"{kind} {getattr(value, 'dtype', '')}{list(shape)}"
    text = " ".join(repr(value).split())
    return f"{kind} {text if len(text) <= _SHOWN else f'{text[: _SHOWN - 3]}...'}"


def fail(
    error: type[KernelError],
    subject: str,
    *,
    found: str,
    allowed: str,
    operand: str = "",
    generation: str = "",
    source: str = "",
    location: SourceLocation | None = None,
) -> NoReturn:
    """Raise `error` with a `Violation` that points at `location`, else at the user's line."""
    raise error(
        Violation(
            subject=subject,
            operand=operand,
            found=found,
            allowed=allowed,
            generation=generation,
            location=location or caller(),
            source=source,
        )
    )
