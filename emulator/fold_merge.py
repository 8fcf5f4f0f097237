"""Loops whose iterations differ in length: triangular ones, and those with parts that only some iterations have.

The search for constant steps leaves them unrolled, with inner loops found in every iteration. Here the sequence is read
as a word in which a loop is one symbol whatever its trip count (see `fold_words`); outer iterations are laid side by
side (see `fold_align`), and become one body with tables of trip counts. Then the same again, for the loops around.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from trnlab.emulator.fold_align import CONDITIONAL, best_alignments
from trnlab.emulator.fold_columns import Effort
from trnlab.emulator.fold_reading import Reading, first_reading
from trnlab.emulator.fold_tree import Item, Node, leaves_of, moved
from trnlab.emulator.fold_words import Stretch

_ROUNDS, _BRANCHING = 4, 2  # loops around loops; in so many rounds several alignments are tried
_WORTH, _LEAST = 3 / 4, 2  # what may be left of the instructions, at most; and what must be saved, at least
_UNROLLED = 3 / 5  # what may be left where loops were given up
_ALMOST, _GOOD = 5 / 4, 2  # instructions left for one that differs from the others: see `_Start`
_UNROLLINGS = 2  # times that loops are unrolled, at most
_CLUSTERS = 3  # groups of loops that are tried as parts of one outer loop
_FEW = 4  # trips of a loop that is given up although no other one is like it
_ALIKE = 1 / 2  # instructions that loops of one group have in common, at least


def merge_loops(items: Sequence[range | Node], stretch: Stretch, different: int, effort: Effort) -> tuple[Item, ...]:
    """The items with irregular loops found among them, or the same items where such save too little.

    different: how many instructions of the stretch are not equal to an earlier one
    """
    best, conditional = tuple[Item, ...](items), CONDITIONAL
    cost = left = leaves_of(items)
    for nodes, good, worth in _starts(items, stretch):
        reading_costs = Effort.WORD * len(stretch.keys) + Effort.BODY * len(nodes)
        if left < good * different or effort.left < reading_costs:
            break
        effort.spend(reading_costs)
        reading = _shortest(first_reading(stretch, nodes), effort)
        limit = min(cost * worth * (conditional if reading.conditions else 1), cost - _LEAST)
        found = reading.items() if reading.steps and reading.cost <= limit else None
        if found is not None:
            best, cost, left = found, reading.cost, leaves_of(found)
            conditional = 1 if reading.conditions else CONDITIONAL
    return best


def _shortest(reading: Reading, effort: Effort, depth: int = 0) -> Reading:
    """The reading with irregular loops in it, then such around these, as long as that pays."""
    if depth == _ROUNDS or effort.left < Effort.ALIGN or effort.share(Effort.SYMBOL) < len(reading.word):
        return reading
    effort.spend(Effort.ALIGN + Effort.SYMBOL * len(reading.word))
    limit = min(reading.cost * _WORTH, reading.cost - _LEAST)
    found = best_alignments(reading.symbols, limit)
    if depth >= _BRANCHING:
        found = sorted(found, key=lambda alignment: alignment.cost)[:1]
    tried = [_shortest(reading.replaced(alignment), effort, depth + 1) for alignment in found]
    return min([reading, *tried], key=lambda tried: tried.cost)


# -- the loops to begin with -----------------------------------------------------------------------------------------


class _Start(NamedTuple):
    """Loops to begin with.

    good:  when so few instructions are left for one that differs from the others, this is not tried
    worth: what may be left of the instructions: a loop is not lightly given up for another
    """

    nodes: list[Node]
    good: float
    worth: float


def _starts(items: Sequence[range | Node], stretch: Stretch) -> Iterator[_Start]:
    """The loops as they are, or some unrolled: that may be accidents, or iterations of one and the same loop.

    Any two stretches of equal keys make two trips, also such as reach from one iteration of an irregular loop into the
    next.
    """
    nodes = [item for item in items if isinstance(item, Node)]
    yield _Start(nodes, 1, _WORTH)
    pairs = {id(node) for node in nodes if node.trips == 2}
    longer = _without(nodes, pairs)
    if pairs:
        yield _Start(longer, _ALMOST, _WORTH)
    some = [nodes, longer] if pairs else [nodes]
    for _ in range(_UNROLLINGS):
        some = [_without(loops, cluster) for loops in some for cluster in _clusters(loops, stretch)]
        yield from (_Start(loops, _GOOD, _UNROLLED) for loops in some)


def _without(nodes: Sequence[Node], cluster: set[int]) -> list[Node]:
    """The loops when those of the cluster are unrolled."""
    return [part for node in nodes for part in (_unrolled(node) if id(node) in cluster else [node])]


def _clusters(nodes: Sequence[Node], stretch: Stretch) -> list[set[int]]:
    """Groups of loops that, but for inner loops, hardly differ from each other or from what is left."""
    clusters: list[_Cluster] = []
    free = np.ones(len(stretch.keys), bool)
    for node in nodes:
        free[node.start - stretch.begin :][: node.period * node.trips] = False
        own = {key for item in node.items if isinstance(item, range) for key in _keys(stretch, item)}
        cluster = next((some for some in clusters if len(some.keys & own) >= _ALIKE * len(some.keys | own)), None)
        if cluster is None:
            cluster = _Cluster(own)
            clusters.append(cluster)
        cluster.size += node.period * node.trips
        cluster.trips = max(cluster.trips, node.trips)
        cluster.members.add(id(node))
        cluster.bodies.add(_keys(stretch, range(node.start, node.start + node.period)))
    left = set(stretch.keys[free].tolist())
    clusters = [
        one
        for one in clusters
        if len(one.bodies) > 1 or (one.trips <= _FEW and len(one.keys & left) >= _ALIKE * len(one.keys))
    ]
    clusters.sort(key=lambda cluster: -cluster.size)
    return [cluster.members for cluster in clusters[:_CLUSTERS]]


@dataclass(slots=True)
class _Cluster:
    """keys: of the first loop; members, bodies: of all; trips: the most of any; size: instructions they execute."""

    keys: set[int]
    members: set[int] = field(default_factory=set)
    bodies: set[tuple[int, ...]] = field(default_factory=set)
    trips: int = 0
    size: int = 0


def _keys(stretch: Stretch, numbers: range) -> tuple[int, ...]:
    return tuple(stretch.keys[numbers.start - stretch.begin : numbers.stop - stretch.begin].tolist())


def _unrolled(node: Node) -> list[Node]:
    """The inner loops of all iterations."""
    inner = [item for item in node.items if isinstance(item, Node)]
    iterations = [[moved(item, node.period * number) for item in inner] for number in range(node.trips)]
    return [item for items in iterations for item in items if isinstance(item, Node)]
