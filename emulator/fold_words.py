"""What loops iterate, whatever their trip counts: bodies, copies of them, and which are rotations of each other."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from trnlab.emulator.fold_periods import Hashes
from trnlab.emulator.fold_tree import Item, Node
from trnlab.emulator.repeats import Integers


class Stretch(NamedTuple):
    """Consecutive instructions from `begin` on: keys, equal where they may be iterations of one, and row hashes."""

    begin: int
    keys: Integers
    hashes: Hashes


class Body(NamedTuple):
    """What loops iterate: its keys, its items as if it began at 0, and how an iteration moves the row hashes."""

    keys: Integers
    items: tuple[Item, ...]
    step: Hashes


class Copies(NamedTuple):
    """Copies of a body that follow each other: positions start .. start + trips * period of the stretch."""

    start: int
    period: int
    trips: int
    body: int

    @property
    def end(self) -> int:
        """The position behind it."""
        return self.start + self.period * self.trips


def families_of(stretch: Stretch, nodes: Iterable[Node]) -> list[list[Node]]:
    """Nodes whose bodies are rotations of each other, longest bodies first."""
    alike: dict[tuple[int, bytes], list[tuple[bytes, list[Node]]]] = defaultdict(list)
    for node in nodes:
        keys = stretch.keys[node.start - stretch.begin :][: node.period]
        families = alike[node.period, np.sort(keys).tobytes()]
        body = keys.tobytes()
        for doubled, family in families:
            if rotation(doubled, body, keys.itemsize) is not None:
                family.append(node)
                break
        else:
            families.append((body + body, [node]))
    found = [family for families in alike.values() for _, family in families]
    return sorted(found, key=lambda family: (-family[0].period, family[0].start))


def rotation(doubled: bytes, body: bytes, itemsize: int) -> int | None:
    """By how many keys a body is rotated against another one, which is given twice in a row."""
    place = doubled.find(body)
    while place >= 0 and place % itemsize:
        place = doubled.find(body, place + 1)
    return place // itemsize if place >= 0 else None
