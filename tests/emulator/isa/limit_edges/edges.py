"""From a limit's own facts to calls on both sides of it: limits on numbers, on equality, on memory and on features."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from tests.emulator.isa.limit_edges.calls import Case, Example, Tile
from tests.emulator.isa.limit_edges.examples import EXAMPLES
from trnlab.emulator.dtypes import DType
from trnlab.emulator.isa import limits as kinds
from trnlab.emulator.isa.registry import InstructionSpec, Limit
from trnlab.emulator.target import Target


class Edge(NamedTuple):
    """Calls on both sides of one limit on one target.

    rejected: calls that break this limit and no other rule
    crowded:  calls just past the limit that cannot but break another rule too; this one is the first to be named
    """

    limit: Limit
    accepted: tuple[Case, ...]
    rejected: tuple[Case, ...]
    crowded: tuple[Case, ...] = ()


Change = Callable[[Tile], Tile]

# ------------------------------------------------------------------------------------------------ limits on numbers

_ONE_MORE: Callable[[int], tuple[int, ...]] = lambda bound: (bound + 1,)  # noqa: E731 - an entry of the table below

PAST: dict[type, Callable[[int], tuple[int, ...]]] = {
    kinds.MaxFree: _ONE_MORE,
    kinds.MinFree: lambda bound: (bound - 1,),
    kinds.ExactFree: lambda bound: (bound - 1, bound + 1),
    kinds.FreeMultipleOf: _ONE_MORE,
    kinds.MaxPartitions: _ONE_MORE,
    kinds.PartitionsMultipleOf: _ONE_MORE,
    kinds.MaxDims: _ONE_MORE,
}
"""The numbers just past a bound."""

_SIZED: dict[type, Callable[[Tile, int], Tile]] = {
    kinds.MaxFree: Tile.with_free,
    kinds.MinFree: Tile.with_free,
    kinds.ExactFree: Tile.with_free,
    kinds.FreeMultipleOf: Tile.with_free,
    kinds.MaxPartitions: Tile.with_partitions,
    kinds.PartitionsMultipleOf: Tile.with_partitions,
    kinds.MaxDims: Tile.with_dimensions,
}
_TIED: dict[Callable[[Tile, int], Tile], type[kinds.SameFree] | type[kinds.SamePartitions]] = {
    Tile.with_free: kinds.SameFree,
    Tile.with_partitions: kinds.SamePartitions,
}


def measured_edges(spec: InstructionSpec, limit: Any, target: Target) -> Edge:
    """The operand with the bound itself, and with the numbers just past it; what must be equal follows."""
    size = _SIZED[type(limit)]
    bound = limit.bound(target) if callable(limit.bound) else limit.bound
    return Edge(
        limit,
        (_sized(spec, limit.operand, size, bound),),
        tuple(_sized(spec, limit.operand, size, number) for number in PAST[type(limit)](bound)),
    )


def _sized(spec: InstructionSpec, operand: str, size: Callable[[Tile, int], Tile], number: int) -> Example:
    example = EXAMPLES[spec.name]
    kind = _TIED.get(size)
    tied = {operand}.union(
        *(limit.operands for limit in spec.limits if kind and isinstance(limit, kind) and operand in limit.operands)
    )
    return example.having(**{name: size(tile, number) for name, tile in example.tiles.items() if name in tied})


# ----------------------------------------------------------------------------------------------- limits on equality


def _one_partition_off(tile: Tile) -> Tile:
    count = tile.shape[0]
    return tile.with_partitions(count - 1 if count > 1 else count + 1)


def _one_element_off(tile: Tile) -> Tile:
    return tile.with_free(tile.free + 1)


def _other_dtype(allowed: frozenset[DType], target: Target) -> Change:
    def change(tile: Tile) -> Tile:
        size = next(dtype for dtype in allowed if dtype == tile.dtype).itemsize
        others = [d for d in sorted(allowed) if d != tile.dtype and d.itemsize == size and target.has_dtype(d)]
        return tile.of(dtype=others[0])

    return change


def compared_edges(spec: InstructionSpec, limit: Any, target: Target) -> Edge:
    """The operands alike; and each of them but the first one step off alone."""
    example = EXAMPLES[spec.name]
    present = [name for name in limit.operands if name in example.tiles]
    assert present == list(limit.operands), f"the example of {spec.name} lacks an operand of {limit.operands}"
    changes: dict[type, Change] = {
        kinds.SamePartitions: _one_partition_off,
        kinds.SameFree: _one_element_off,
        kinds.SameElements: _one_element_off,
    }
    rejected = []
    for name in present[1:]:
        change = changes.get(type(limit)) or _other_dtype(spec.operand(name).dtypes, target)
        rejected.append(example.having(**{name: change(example.tile(name))}))
    return Edge(limit, (example,), tuple(rejected))


# ----------------------------------------------------------------------------------- limits on memory, on features


def region_edges(spec: InstructionSpec, limit: kinds.NotAllIn, target: Target) -> Edge:
    """All but one of the operands in the region, whichever one; and all of them."""
    example = EXAMPLES[spec.name]

    def placed(names: Iterable[str]) -> Example:
        return example.having(**{name: example.tile(name).of(region=limit.region.value) for name in names})

    each = tuple(placed(name for name in limit.operands if name != spared) for spared in limit.operands)
    return Edge(limit, each, (placed(limit.operands),))


def _paired(example: Example) -> Example:
    shapes = {"stationary": (32, 2, 8), "moving": (32, 2, 16)}
    tiles = {name: Tile(shape, dtype="float8_e5m2") for name, shape in shapes.items()}
    return example.having(**tiles, perf_mode="double_row")


USES: dict[str, Callable[[Example], Example]] = {
    "perf_mode double_row": _paired,
    "a DMA priority": lambda example: example.having(priority=3),
    "dge_mode.hwdge": lambda example: example.having(dge_mode=2),
    "a constant bias": lambda example: example.having(bias=0.5),
}
"""Calls that make the uses of instructions that not every generation has."""


def feature_edges(spec: InstructionSpec, limit: kinds.Needs, target: Target) -> Edge:
    """The use, taken where the target has the feature and refused where not; there the call without it is taken."""
    using = USES[limit.what](EXAMPLES[spec.name])
    if target.has(limit.feature):
        return Edge(limit, (using,), ())
    return Edge(limit, (EXAMPLES[spec.name],), (using,))
