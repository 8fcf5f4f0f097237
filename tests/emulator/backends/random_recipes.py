"""Recipes of random kernels: which instructions on which places, in nests of which loops (see `random_kernels`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import numpy as np
from hypothesis import strategies as st

import trnlab.emulator.nki.language as nl

BINARY = (nl.add, nl.multiply, nl.maximum, nl.subtract)
KINDS: tuple[str, ...] = (
    *("load", "store", "gather", "scatter", "fill", "copy", "copy", "whole", "halves", "spread", "turn"),
    *("combine", "combine", "scale", "scale", "fold", "activate", "multiply"),
)

ORDERED = {
    *("gather", "scatter", "activate", "cumulate", "select", "reduced", "random_numbers", "exponentiate", "moved"),
    *("add_in_memory", "narrow"),
}
"""Instructions that no loop runs for several iterations at once: they use run-time addresses, or leave state behind."""


@dataclass(frozen=True)
class Index:
    """(start + sum(step * counter)) modulo the number of places, looked up in a permutation of them or not."""

    start: int
    steps: tuple[int, ...]
    permuted: bool = False

    def __call__(self, counters: list[int], places: int) -> int:
        number = self.start + sum(s * c for s, c in zip(self.steps, reversed(counters), strict=False))
        order = np.random.default_rng(places).permutation(places) if self.permuted else range(places)
        return int(order[number % places])


@dataclass(frozen=True)
class Place:
    """A window of a tile: kept outside all loops, from the list of tiles, or fresh in a loop around.

    aligned: columns in steps of the window's width; step: every second column; rows: a ragged last iteration has half
    """

    tile: str
    number: Index
    column: Index
    aligned: bool
    step: int = 1


@dataclass(frozen=True)
class Operation:
    """One instruction.

    own:    it stores to rows that no other iteration stores to
    varies: what that means depends on the kind
    ragged: it takes half the rows in the last iteration of the innermost loop
    """

    kind: str
    places: tuple[Place, ...]
    row: Index
    operator: Any
    value: float
    own: bool
    varies: bool
    ragged: bool


@dataclass(frozen=True)
class Repeated:
    """A loop: "range", "triangle" (as often as the counter around it says, and once), or "fori", which stays a loop.

    fresh:  dtypes of the tiles that every iteration allocates
    bank:   every iteration allocates a PSUM bank
    filled: the tiles are loaded at once; otherwise they hold what uninitialised memory holds
    """

    kind: str
    trips: int
    fresh: tuple[Any, ...]
    bank: bool
    filled: bool
    body: tuple[Operation | Repeated, ...]


Recipe = tuple[Operation | Repeated, ...]


# -- drawing a recipe ------------------------------------------------------------------------------------------------


def random_recipe(random: Random, executed: int = 120, kinds: Sequence[str] = KINDS) -> Recipe:
    """Nests of loops that execute at most about `executed` statements."""
    body: list[Repeated] = []
    while not body or (len(body) < 3 and _executed(body) < executed // 2):
        apart = random.random() < 0.6
        body.append(_random_loop(random, 1, executed - _executed(body), apart, kinds))
    return tuple(body)


def _executed(body: Sequence[Operation | Repeated]) -> int:
    return sum(
        item.trips * (_executed(item.body) + len(item.fresh)) if isinstance(item, Repeated) else 1 for item in body
    )


def _random_loop(random: Random, depth: int, executed: int, apart: bool, kinds: Sequence[str]) -> Repeated:
    """apart: nothing that outlives an iteration is written twice, so that the loop may run all of them at once."""
    trips = random.choice([2, 3, 3, 4, 5])
    body: list[Operation | Repeated] = []
    for _ in range(random.randint(1, 4)):
        left = executed // trips - _executed(body)
        if depth < 4 and left > 8 and random.random() < 0.4:
            body.append(_random_loop(random, depth + 1, left, apart and random.random() < 0.7, kinds))
        elif left > 0 or not body:
            body.append(_random_operation(random, apart, kinds))
    return Repeated(
        random.choice(["range"] * 12 + ([] if apart else ["triangle"] * 2 + ["fori"] * 2)),
        trips,
        tuple(random.choice([nl.float32, nl.float32, nl.bfloat16]) for _ in range(random.randint(apart, 2))),
        apart or random.random() < 0.3,
        random.random() < 0.8,
        tuple(body),
    )


def _random_operation(random: Random, apart: bool, kinds: Sequence[str]) -> Operation:
    kind = random.choice([kind for kind in kinds if not apart or kind not in ORDERED])
    return Operation(
        kind,
        (_random_place(random, apart, kind != "store"), _random_place(random, apart), _random_place(random, apart)),
        _random_index(random, apart),
        random.choice(BINARY),
        random.choice([0.5, 1.25, -0.75]),
        apart,
        random.random() < 0.5,
        random.random() < 0.2,
    )


def _random_place(random: Random, apart: bool, written: bool = False) -> Place:
    return Place(
        "fresh" if apart and written else random.choice(["fresh", "fresh", "kept", "list"]),
        _random_index(random, apart),
        _random_index(random, apart),
        random.random() < 0.7,
        random.choice([1, 1, 1, 2]),
    )


def _random_index(random: Random, apart: bool) -> Index:
    """What steps alike in all iterations, or anything: tables of steps keep a loop from running them at once."""
    if apart and random.random() < 0.95:
        return Index(random.choice([0, 0, 1]), tuple(random.choice([0, 0, 0, 1]) for _ in range(3)))
    steps = tuple(random.choice([0, 0, 0, 1, 1, 2, 4, -1]) for _ in range(3))
    return Index(random.randint(0, 7), steps, random.random() < 0.2)


def recipes(executed: int = 120, kinds: Sequence[str] = KINDS) -> st.SearchStrategy[Recipe]:
    """The same as a strategy: every random choice is hypothesis's, so that failures shrink."""
    return st.randoms(use_true_random=False).map(lambda random: random_recipe(random, executed, kinds))
