"""From a limit's own facts to calls on both sides of it: limits on attributes, operators and engines."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.emulator.isa.limit_edges.calls import Altered, Case, Example
from tests.emulator.isa.limit_edges.edges import Edge
from tests.emulator.isa.limit_edges.examples import EXAMPLES
from trnlab.emulator.dtypes import DTYPES
from trnlab.emulator.isa import operators
from trnlab.emulator.isa.limits import AttributeIn
from trnlab.emulator.isa.registry import Call, InstructionSpec
from trnlab.emulator.nki import isa as nisa, language as nl
from trnlab.emulator.numerics.elementwise import ALU_OPS
from trnlab.emulator.target import Feature, Target

_SPELLINGS = {"max", "min"}  # of maximum and minimum, where the operator folds

OPERATORS = {
    name: value
    for name, value in vars(nl).items()
    if isinstance(getattr(value, "op_name", None), str) and name not in _SPELLINGS
}
"""Every operator and function of nki.language that an instruction may be given, by name."""

_COMMANDS = nisa.reduce_cmd.__members__
_OTHERS: dict[str, tuple[Any, ...]] = {
    "priority": (-1, 4),
    "num_elem_per_idx": (3, 31, 33, 64),
    "reverse0": (True,),
    "scale_rule": ("ocp", ""),
    "block_policy": ("device", ""),
}
"""Values beside those that attributes without a name of their own take."""

_NO_ARGUMENT = {
    ("activation_reduce", "reduce_cmd"),
    ("quantize_mx", "scale_rule"),
    ("quantize_mx", "block_policy"),
}
"""Attributes that no published argument sets: judged as data."""


def _published(attribute: str, value: Any) -> Any:
    """A value of an attribute as the published function takes it."""
    if attribute == "reduce_cmd":
        return _COMMANDS[value]
    return OPERATORS[value] if isinstance(value, str) and value in OPERATORS else value


def _universe(attribute: str, values: tuple[Any, ...]) -> tuple[Any, ...]:
    """Every value that the attribute could be given, listed or not."""
    if attribute == "reduce_cmd":
        return tuple(_COMMANDS)
    if attribute in _OTHERS:
        return (*values, *_OTHERS[attribute])
    assert set(values) <= set(OPERATORS), f"{attribute} takes values that nki.language does not name"
    return tuple(OPERATORS)


def with_value(spec: InstructionSpec, attribute: str, value: Any) -> Case:
    """The instruction's example with one attribute chosen, and everything that goes with the choice made to suit."""
    example = EXAMPLES[spec.name]
    if (spec.name, attribute) in _NO_ARGUMENT:
        return Altered(example, lambda call: replace(call, attributes={**call.attributes, attribute: value}))
    chosen = example.having(**{attribute: _published(attribute, value)})
    if attribute == "num_elem_per_idx":
        count = chosen.arguments["num_valid_indices"]
        return chosen.having(dst=chosen.tile("dst").with_free(count * value))
    return suited(spec, _suited_command(chosen, attribute, value), {attribute: value})


def suited(spec: InstructionSpec, example: Example, ops: dict[str, Any]) -> Example:
    """The example with operands and dtypes that its operators ask for; other operators are left out."""
    for rule in (limit for limit in spec.limits if isinstance(limit, operators.OperandSuitsOperator)):
        others = {"op0", "op1"} - set(ops)
        if spec.name == "tensor_scalar" and rule.attribute in others:
            example = example.having(**{rule.attribute: None, rule.operand: None})
        elif rule.attribute in ops:
            is_unary = operators.is_unary(ops[rule.attribute])
            example = example.having(**{rule.operand: None if is_unary else example.arguments[rule.operand]})
    names = [op for op in ops.values() if isinstance(op, str)]
    for when in (limit for limit in spec.limits if isinstance(limit, operators.DtypesWhen)):
        if any(map(operators.is_bitvec, names)):
            present = [name for name in when.operands if name in example.tiles]
            example = example.having(**{name: example.tile(name).of(dtype="int32") for name in present})
    if "reciprocal" in names and "bias" in example.arguments:
        example = example.having(bias=None)  # NeuronCore-v2 has none with it
    return example


def _suited_command(example: Example, attribute: str, value: Any) -> Example:
    """The initial value goes with load_reduce alone."""
    has_initial = attribute == "reduce_cmd" and "reduce_init" in example.arguments
    return example.having(reduce_init=None) if has_initial and value != "load_reduce" else example


def is_there(value: Any, target: Target) -> bool:
    """Whether the generation has the operator; every other value counts as there."""
    return not isinstance(value, str) or value not in ALU_OPS or operators.first_generation(value) <= target.generation


def attribute_edges(spec: InstructionSpec, limit: AttributeIn, target: Target) -> Edge:
    """Every listed value that the generation has is taken, every other one refused."""
    there = [value for value in _universe(limit.attribute, limit.values) if is_there(value, target)]
    taken = tuple(with_value(spec, limit.attribute, value) for value in there if value in limit.values)
    refused = tuple(with_value(spec, limit.attribute, value) for value in there if value not in limit.values)
    if limit.attribute == "priority" and not target.has(Feature.DMA_PRIORITY):
        return Edge(limit, (EXAMPLES[spec.name],), (), refused)  # none is taken: the feature is missing too
    return Edge(limit, taken, refused)


def generation_edges(spec: InstructionSpec, limit: operators.OperatorExists, target: Target) -> Edge:
    """Every operator of the instruction, on the generation that first has it and before."""
    listed = {rule.attribute: rule.values for rule in spec.limits if isinstance(rule, AttributeIn)}
    cases = [(name, value) for name in limit.attributes for value in listed[name]]
    return Edge(
        limit,
        tuple(with_value(spec, *case) for case in cases if is_there(case[1], target)),
        tuple(with_value(spec, *case) for case in cases if not is_there(case[1], target)),
    )


def operand_edges(spec: InstructionSpec, limit: operators.OperandSuitsOperator, target: Target) -> Edge:
    """A binary operator with its operand and without; a unary one without and with."""
    if spec.name == "activate2":
        return _stage_edges(limit)
    values = next(
        rule.values for rule in spec.limits if isinstance(rule, AttributeIn) and rule.attribute == limit.attribute
    )
    taken: list[Case] = []
    refused: list[Case] = []
    for value in values:
        if not is_there(value, target):
            continue
        good = with_value(spec, limit.attribute, value)
        assert isinstance(good, Example)
        is_given = good.arguments[limit.operand] is not None
        given = EXAMPLES[spec.name].tile(limit.operand)
        wrong = None if is_given else given.of(dtype="int32") if operators.is_bitvec(value) else given
        taken.append(good)
        refused.append(good.having(**{limit.operand: wrong}))
    return Edge(limit, tuple(taken), tuple(refused))


def _stage_edges(limit: operators.OperandSuitsOperator) -> Edge:
    """activate2 drops what a bypassed stage is given: that call is made as data."""
    example = EXAMPLES["activate2"]
    without = example.having(op0=nl.bypass, op1=nl.bypass)

    def with_operand(call: Call) -> Call:
        return replace(call, immediates=(*call.immediates, limit.operand))

    return Edge(limit, (example, without), (example.having(**{limit.operand: None}), Altered(without, with_operand)))


# -------------------------------------------------------------------------------------------------------- dtypes


def dtype_edges(spec: InstructionSpec, limit: operators.DtypesWhen, target: Target) -> Edge:
    """Each operand with every dtype that it takes at all: those of the limit are taken, the others refused."""
    bitvec = limit.dtypes == frozenset(d for d in DTYPES if d.is_integer)
    attribute = "op" if "op" in spec.attributes else "op0"
    base = with_value(spec, attribute, "bitwise_and" if bitvec else "multiply")
    assert isinstance(base, Example)
    taken: list[Case] = []
    refused: list[Case] = []
    for name in limit.operands:
        if name not in base.tiles:
            continue
        for dtype in sorted(spec.operand(name).dtypes):
            if target.has_dtype(dtype) and dtype != "float4_e2m1fn":
                case = base.having(**{name: base.tile(name).of(dtype=dtype)})
                (taken if dtype in limit.dtypes else refused).append(case)
    return Edge(limit, tuple(taken), tuple(refused))
