"""Every limit of every instruction on a target, with its calls on both sides."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from tests.emulator.isa.limit_edges import (
    dma_rules,
    edges,
    engine_edges,
    gpsimd_rules,
    indirection_rules,
    tensor_rules,
    value_edges,
    vector_rules,
)
from tests.emulator.isa.limit_edges.calls import exists
from tests.emulator.isa.limit_edges.edges import Edge
from tests.emulator.isa.limit_edges.rules import edge_of
from trnlab.emulator.isa import limits, operators
from trnlab.emulator.isa.catalogue import CATALOGUE
from trnlab.emulator.target import get_target

GENERATORS: dict[type, Callable[..., Edge]] = {
    **dict.fromkeys(edges.PAST, edges.measured_edges),
    limits.SamePartitions: edges.compared_edges,
    limits.SameFree: edges.compared_edges,
    limits.SameElements: edges.compared_edges,
    limits.SameDtype: edges.compared_edges,
    limits.NotAllIn: edges.region_edges,
    limits.Needs: edges.feature_edges,
    limits.AttributeIn: value_edges.attribute_edges,
    operators.OperatorExists: value_edges.generation_edges,
    operators.OperandSuitsOperator: value_edges.operand_edges,
    operators.DtypesWhen: value_edges.dtype_edges,
    operators.RunsHere: engine_edges.here_edges,
    operators.RunsOn: engine_edges.call_edges,
}
"""Limits whose facts are enough to find their edges; a `Rule` has rows in a table instead."""

TABLES = (
    *tensor_rules.TABLES,
    *vector_rules.TABLES,
    *gpsimd_rules.TABLES,
    *dma_rules.TABLES,
    *indirection_rules.TABLES,
)


@cache
def edges_on(target_name: str) -> dict[str, list[Edge]]:
    """By instruction, for the instructions that the target has."""
    target = get_target(target_name)
    found: dict[str, list[Edge]] = {name: [] for name in CATALOGUE if exists(name, target)}
    for name, collected in found.items():
        spec = CATALOGUE[name]
        for limit in spec.limits:
            generate: Any = GENERATORS.get(type(limit))
            if generate is not None:
                collected.append(generate(spec, limit, target))
    for table in TABLES:
        for row in table(target):
            if row.instruction in found:
                found[row.instruction].append(edge_of(row, target))
    return found
