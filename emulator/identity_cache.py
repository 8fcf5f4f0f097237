"""Remembers what a function says of an object for as long as the object lives.

By identity, where `functools.lru_cache` goes by equality: code objects that differ in their file name alone compare
equal, and a metaclass may define `__eq__` as it likes. Nothing is kept alive by being remembered.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class IdentityCache(Generic[Key, Value]):
    """`compute`, called once for each object; what it says must hold for the object's whole life."""

    def __init__(self, compute: Callable[[Key], Value]) -> None:
        self._compute = compute
        self._known: dict[int, tuple[weakref.ref[Key], Value]] = {}

    def __call__(self, key: Key) -> Value:
        """What `compute` says of the object."""
        number = id(key)
        known = self._known.get(number)
        # The reference is asked too: an identity is given away again once its object has died.
        if known is not None and known[0]() is key:
            return known[1]
        value = self._compute(key)
        self._known[number] = weakref.ref(key, lambda _: self._known.pop(number, None)), value
        return value

    def __len__(self) -> int:
        return len(self._known)
