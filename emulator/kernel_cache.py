"""Traced kernels kept for the next call with the same shapes, dtypes, static arguments, target and options.

The key holds everything that tracing can depend on, the kernel's code and what it reaches included (see `fingerprint`):
nothing is ever invalidated, a changed kernel has another key. A kernel whose key cannot be told is traced every time.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Final, Generic, TypeVar

Entry = TypeVar("Entry")

_ENTRIES: Final = 256


class KernelCache(Generic[Entry]):
    """The entries used last, by key; safe to use from several threads."""

    def __init__(self, size: int = _ENTRIES) -> None:
        self.size = size
        self.entries: OrderedDict[Hashable, Entry] = OrderedDict()
        self.lock = Lock()

    def get(self, key: Hashable) -> Entry | None:
        """The entry of the key, or None."""
        with self.lock:
            if key in self.entries:
                self.entries.move_to_end(key)
            return self.entries.get(key)

    def put(self, key: Hashable, entry: Entry) -> None:
        """Keep an entry; the one that was unused for longest gives way."""
        with self.lock:
            self.entries[key] = entry
            self.entries.move_to_end(key)
            while len(self.entries) > self.size:
                self.entries.popitem(last=False)

    def clear(self) -> None:
        """Forget everything."""
        with self.lock:
            self.entries.clear()

    def get_or_make(self, key: Callable[[], Hashable], make: Callable[[], Entry]) -> Entry:
        """The entry of the key, made now if there is none; kept only if making it did not change the key.

        key: gives the key, or None where nothing may be kept
        """
        before = key()
        found = None if before is None else self.get(before)
        if found is not None:
            return found
        made = make()
        if before is not None and key() == before:
            self.put(before, made)
        return made
