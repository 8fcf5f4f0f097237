"""Which engines take which calls: the documented table, and calls on every engine of the instruction."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tests.emulator.isa.limit_edges.calls import Case, Example
from tests.emulator.isa.limit_edges.edges import Edge
from tests.emulator.isa.limit_edges.examples import EXAMPLES
from tests.emulator.isa.limit_edges.value_edges import OPERATORS, is_there, with_value
from trnlab.emulator.isa.limits import AttributeIn
from trnlab.emulator.isa.operators import RunsHere, RunsOn
from trnlab.emulator.isa.registry import InstructionSpec, Limit
from trnlab.emulator.nki import isa as nisa
from trnlab.emulator.target import Target

Engines = set[str]

HERE: dict[str, dict[int, Engines]] = {
    "tensor_copy": {2: {"vector", "gpsimd"}},
    "rng": {2: {"vector"}},
    "rand_set_state": {3: {"gpsimd"}},
    "rand_get_state": {3: {"gpsimd"}},
}
"""Engines by generation where the instruction has more elsewhere: NKI reference, the pages of the instructions."""

_WORDS = {"gpsimd": 6, "vector": 24}  # of generator state in each lane: NKI reference, nisa.rand_set_state


def _edge(limit: Limit, every: Iterable[str], uses: Iterable[tuple[Example, Engines]]) -> Edge:
    taken: list[Case] = []
    refused: list[Case] = []
    for example, able in uses:
        for engine in sorted(every):
            (taken if engine in able else refused).append(_on(example, engine))
    return Edge(limit, tuple(taken), tuple(refused))


def _on(example: Example, engine: str) -> Example:
    if example.instruction.startswith("rand_"):
        example = example.having(**{name: tile.with_free(_WORDS[engine]) for name, tile in example.tiles.items()})
    return example.having(engine=nisa.engine[engine])


def here_edges(spec: InstructionSpec, limit: RunsHere, target: Target) -> Edge:
    """The instruction on each of its engines: those of the generation take it."""
    every = {engine.value for engine in spec.engines}
    able = HERE[spec.name].get(int(target.generation), every)
    return _edge(limit, every, [(EXAMPLES[spec.name], able)])


def call_edges(spec: InstructionSpec, limit: RunsOn, target: Target) -> Edge:
    """Every operator of the instruction, and pairs of them, on each engine."""
    every = {engine.value for engine in spec.engines}
    return _edge(limit, every, _USES[spec.name](spec, target))


def _is_bitvec(name: str) -> bool:
    return name.startswith("bitwise_") or name.endswith("_shift") or name == "invert"


def _chosen(spec: InstructionSpec, attribute: str, target: Target) -> Iterator[tuple[str, Example]]:
    listed = next(rule for rule in spec.limits if isinstance(rule, AttributeIn) and rule.attribute == attribute)
    for name in listed.values:
        if is_there(name, target):
            example = with_value(spec, attribute, name)
            assert isinstance(example, Example)
            yield name, example


def _tensor_tensor(spec: InstructionSpec, target: Target) -> Iterator[tuple[Example, Engines]]:
    """NKI reference, nisa.tensor_tensor, and supported math operators."""
    for name, example in _chosen(spec, "op", target):
        yield example, {"gpsimd"} if name == "power" else {"vector"} if _is_bitvec(name) else {"vector", "gpsimd"}


def _tensor_scalar(spec: InstructionSpec, target: Target) -> Iterator[tuple[Example, Engines]]:
    """NKI reference, nisa.tensor_scalar; NeuronCore-v4 guide: the Scalar Engine takes what the Vector Engine takes."""
    pairs = {("multiply", "add"), ("multiply", None), ("add", None)}
    uses: list[tuple[tuple[str, str | None], Example]] = [
        ((name, None), example) for name, example in _chosen(spec, "op0", target)
    ]
    for first, second in (("multiply", "add"), ("add", "multiply"), ("multiply", "subtract"), ("multiply", "rsqrt")):
        given = None if second == "rsqrt" else EXAMPLES[spec.name].tile("operand1")
        example = EXAMPLES[spec.name].having(op0=OPERATORS[first], op1=OPERATORS[second], operand1=given)
        uses.append(((first, second), example))
    for ops, example in uses:
        on_scalar = target.generation >= 4 or ops in pairs
        arithmetic = {"gpsimd"} if "rsqrt" in ops else {"vector", "scalar"} if on_scalar else {"vector"}
        yield example, {"vector"} if _is_bitvec(ops[0]) else arithmetic


_USES = {"tensor_tensor": _tensor_tensor, "tensor_scalar": _tensor_scalar}
