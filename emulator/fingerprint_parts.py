"""The parts that fingerprints are made of, and what every reader of values uses to append them."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from typing import Any, NoReturn, Protocol


class Same:
    """Equal only for the very same object, which stays alive so that its identity is not given to another."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return type(other) is Same and other.value is self.value

    def __hash__(self) -> int:
        return id(self.value)

    def __repr__(self) -> str:
        return f"Same({self.value!r})"


class Walk(Protocol):
    """What readers ask of the walk."""

    parts: list[Any]

    def note(self, value: Any) -> None:
        """Append a plain value, or the number of an object that is read later."""
        ...

    def refuse(self, what: str) -> NoReturn:
        """Raise Uncacheable."""
        ...


Reader = Callable[[Walk, Any], None]


def float_bits(value: float) -> bytes:
    """The bits of a float: NaN equals itself, and -0.0 is not 0.0."""
    return struct.pack("<d", value)


def read_items(walk: Walk, items: Iterable[Any]) -> None:
    """How many items there are, then each; taken at once, for others may be adding to the container."""
    taken = tuple(items)
    walk.parts.append(len(taken))
    for item in taken:
        walk.note(item)


def read_pairs(walk: Walk, pairs: Iterable[tuple[Any, Any]]) -> None:
    """How many pairs there are, then each; the pairs are taken at once, for others may be adding to a dict."""
    taken = tuple(pairs)
    walk.parts.append(len(taken))
    for key, value in taken:
        walk.note(key)
        walk.note(value)


def members(*names: str) -> Reader:
    """The reader of values that their members of these names define."""

    def read(walk: Walk, value: Any) -> None:
        walk.parts.append(type(value))
        for name in names:
            walk.note(getattr(value, name))

    return read
