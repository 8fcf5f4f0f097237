"""Rows of the tables of conditional rules: a rule named by its instruction, operand and words, and calls around it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from tests.emulator.isa.limit_edges.calls import Altered, Case, limits_of
from tests.emulator.isa.limit_edges.edges import Edge
from tests.emulator.isa.limit_edges.examples import EXAMPLES
from trnlab.emulator.isa.limits import Rule
from trnlab.emulator.target import Target

Given = Case | Mapping[str, Any]
"""A call, or the arguments in which it differs from the instruction's example."""


class Row(NamedTuple):
    """Calls on both sides of one conditional rule, from its documentation.

    words: a part of the rule's text on the target, which tells it from other rules on the operand
    """

    instruction: str
    operand: str
    words: str
    accepted: tuple[Given, ...]
    rejected: tuple[Given, ...] = ()
    crowded: tuple[Given, ...] = ()


Table = Callable[[Target], Iterator[Row]]


def edge_of(row: Row, target: Target) -> Edge:
    """The row's calls, and the one rule that it names."""
    named = [
        limit
        for limit in limits_of(row.instruction, target)
        if isinstance(limit, Rule) and limit.operand == row.operand and row.words in limit.describe(target).allowed
    ]
    assert len(named) == 1, f"{len(named)} rules of {row.instruction} on {row.operand!r} say {row.words!r}"
    sides = [tuple(_case(row, given) for given in side) for side in (row.accepted, row.rejected, row.crowded)]
    return Edge(named[0], *sides)


def _case(row: Row, given: Given) -> Case:
    return EXAMPLES[row.instruction].having(**given) if isinstance(given, Mapping) else given


def as_data(given: Given, row: str, change: Callable[[Any], Any]) -> Altered:
    """A call that no published function makes: the example with `given`, changed as data."""
    assert isinstance(given, Mapping)
    return Altered(EXAMPLES[row].having(**given), change)
