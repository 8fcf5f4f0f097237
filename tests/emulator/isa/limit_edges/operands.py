"""What the tests of shared rules have in common: the operands that a caller gives, and calls with one changed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.emulator.isa.limit_edges.calls import TARGETS, Example, Tile, broken_rules, exists
from tests.emulator.isa.limit_edges.examples import EXAMPLES
from trnlab.emulator.errors import KernelError
from trnlab.emulator.isa.catalogue import CATALOGUE
from trnlab.emulator.isa.registry import Breach, Call, Operand
from trnlab.emulator.nki import isa as nisa
from trnlab.emulator.target import get_target

every_instruction = pytest.mark.parametrize(
    ("target", "name"), [(target, name) for target in TARGETS for name in CATALOGUE if exists(name, get_target(target))]
)


def tensors(name: str) -> Iterator[tuple[str, Operand, Tile]]:
    """The operands that a caller gives as tensors in memory, with their facts."""
    for operand, tile in EXAMPLES[name].tiles.items():
        if tile.region != "register":
            yield operand, CATALOGUE[name].operand(operand), tile


def breaches_on(call: Call, operand: str, error: type[KernelError]) -> list[Breach]:
    """The rules about an operand that the call breaks, by the class of their error."""
    return [breach for breach in broken_rules(call) if breach.operand == operand and breach.error is error]


def small_transpose(**tiles: Tile) -> Example:
    """nc_transpose of a tile that the Vector Engine can take, in any memory and dtype."""
    both = {"dst": Tile((32, 32)), "data": Tile((32, 32))}
    return EXAMPLES["nc_transpose"].having(**both | tiles)


def placed(name: str, operand: str, region: str) -> Iterator[Example]:
    """The example with the operand in another memory, and others whose rules between operands leave it that place."""
    example = EXAMPLES[name]
    yield example.having(**{operand: example.tile(operand).of(region=region)})
    if name == "nc_transpose":
        yield small_transpose(**{operand: Tile((32, 32), region=region)})
    if name == "rand_get_state":
        yield example.having(dst=Tile((8, 24), "uint32", region), engine=nisa.engine.vector)


def retyped(name: str, operand: str, dtype: str) -> Iterator[Example]:
    """The example with another dtype of the operand, and others where operands that must be alike have it too."""
    example = EXAMPLES[name]
    yield example.having(**{operand: example.tile(operand).of(dtype=dtype)})
    takers = {other: tile for other, facts, tile in tensors(name) if dtype in facts.dtypes}
    yield example.having(**{other: tile.of(dtype=dtype) for other, tile in takers.items()})
    read = {other: tile for other, tile in takers.items() if CATALOGUE[name].operand(other).access == "read"}
    yield example.having(**{other: tile.of(dtype=dtype) for other, tile in read.items()})
    if name == "nc_transpose":
        yield small_transpose(dst=Tile((32, 32), dtype), data=Tile((32, 32), dtype))
