"""fingerprint(f) now == fingerprint(f) before only if tracing f yields the same program: the key of cached programs.

A kernel's program depends on its code, and on every function, class and value that the code can reach: through global
names, attributes of modules, closures, defaults, and the objects found there. All of it is read again at each call, by
value, so nothing has to be invalidated; only what follows from an immutable code object is remembered. What each kind
of object is read by stands in `fingerprint_code` and `fingerprint_values`.

The walk never recurses: whatever is not a plain value gets a number when it is first met, and is read when its turn
comes. So cycles end, and two walks are equal only when the same objects are shared at the same places.

Not seen: changes to the libraries that `provenance` takes at their word (a method put on a class of NumPy's), and what
code reaches through memory addresses or foreign functions.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from types import EllipsisType, FunctionType, ModuleType, NoneType, NotImplementedType
from typing import Any, Final, NoReturn

from trnlab.emulator.errors import TrnlabError
from trnlab.emulator.fingerprint_code import CODE_READERS, Scopes, read_other
from trnlab.emulator.fingerprint_parts import float_bits
from trnlab.emulator.fingerprint_values import READERS
from trnlab.emulator.instance_state import Absent

_PLAIN: Final = frozenset({int, str, bool, bytes, NoneType, EllipsisType, NotImplementedType, Absent})
_MOST_OBJECTS: Final = 20_000  # a kernel that reaches more is sooner traced than fingerprinted


class Uncacheable(TrnlabError):  # noqa: N818  # no error of the kernel: the caller traces it again
    """Tracing may depend on something that cannot be compared with what it was; `reason` says on what."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"a kernel that must be traced at every call: it reaches {reason}")
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What a walk read, in order: hashable, and equal only where everything read was the same."""

    parts: tuple[Hashable, ...]

    def __repr__(self) -> str:
        return f"<fingerprint of {len(self.parts)} parts>"


def fingerprint(function: Callable[..., Any], *static: Any) -> Fingerprint:
    """The key under which a program traced from `function` with these static arguments may be kept.

    function: a function, kernel, bound method, partial, or object with `__call__`
    static:   the arguments that are no arrays, in any form; read together with the function, so that `argument is
              GLOBAL` inside the kernel has one answer per fingerprint

    A kernel may change, while it is traced, what it reads. Whoever keeps its program compares the fingerprint taken
    after tracing with the one before, and keeps nothing when they differ.

    Raises:
        Uncacheable: it reaches a random state, a file, an iterator, a clock, `print`, ...
    """
    return _walk((function, *static))


def static_key(value: Any) -> Fingerprint:
    """The key of one static argument by itself: by value, whatever its identity.

    Raises:
        Uncacheable: see `fingerprint`.
    """
    return _walk((value,))


def _walk(roots: tuple[Any, ...]) -> Fingerprint:
    walk = _Walk()
    for root in roots:
        walk.note(root)
    walk.drain()
    return Fingerprint(tuple(walk.parts))


class _Walk:
    """One reading of everything that the roots reach."""

    __slots__ = ("_at", "_numbers", "_objects", "_parents", "parts", "scopes")

    def __init__(self) -> None:
        self.parts: list[Any] = []
        self.scopes = Scopes()
        self._objects: list[Any] = []  # keeps them alive, so that no number is given twice
        self._numbers: dict[int, int] = {}
        self._parents: list[int] = []
        self._at = -1

    def note(self, value: Any) -> None:
        """Append a plain value with its type, or the number of an object that is read later."""
        kind = type(value)
        if kind in _PLAIN:
            self.parts += (kind, value)
        elif kind is float:
            self.parts += (float, float_bits(value))
        else:
            number = self._numbers.get(id(value))
            if number is None:
                number = self._numbers[id(value)] = len(self._objects)
                self._objects.append(value)
                self._parents.append(self._at)
            self.parts.append(number)

    def drain(self) -> None:
        """Read the objects noted, and those noted on the way."""
        for number, value in enumerate(self._objects):
            self._at = number
            if number > _MOST_OBJECTS:
                self.refuse(f"more than {_MOST_OBJECTS} objects")
            _READERS.get(type(value), read_other)(self, value)

    def refuse(self, what: str) -> NoReturn:
        """Raise Uncacheable, naming the function, class or module that led here."""
        at = self._at
        while at >= 0 and not isinstance(self._objects[at], (FunctionType, type, ModuleType)):
            at = self._parents[at]
        raise Uncacheable(f"{what} (from {getattr(self._objects[at], '__name__', '?')})" if at >= 0 else what)


_READERS: Final[dict[type, Callable[[_Walk, Any], None]]] = {**READERS, **CODE_READERS}
