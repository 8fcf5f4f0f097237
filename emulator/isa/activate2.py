"""activate2, the Scalar Engine's pipeline of NeuronCore-v4: two operators, an activation function, a reduction."""

from __future__ import annotations

from typing import Any, Final

import jax
from jax import Array

from trnlab.emulator.errors import ArgumentError
from trnlab.emulator.isa.accumulator import ACCUMULATOR, ASSUMPTIONS, with_accumulator
from trnlab.emulator.isa.limits import AttributeIn, Rule, SameDtype, SameFree, SamePartitions
from trnlab.emulator.isa.operators import REFERENCE, OperandSuitsOperator, apply
from trnlab.emulator.isa.registry import Call, instruction, reads, writes
from trnlab.emulator.numerics.activations import ACTIVATIONS
from trnlab.emulator.numerics.sealing import seal
from trnlab.emulator.target import Engine, Feature, Generation

_SOURCE: Final = REFERENCE + "activate2"

STAGES: Final = (
    ("multiply", "add"),
    ("multiply", "subtract"),
    ("multiply", "bypass"),
    ("add", "bypass"),
    ("subtract", "bypass"),
    ("bypass", "bypass"),
)
"""The pairs (op0, op1) that the engine has."""


def takes_parameter(op: str) -> bool:
    """Whether the activation function reads relu_param; False for a name that is none."""
    return op in ACTIVATIONS and ACTIVATIONS[op].takes_parameter


def _is_no_pair(call: Call) -> str | None:
    pair = call.attributes["op0"], call.attributes["op1"]
    return None if pair in STAGES else f"op0={pair[0]} with op1={pair[1]}"


def _reverses_bypass(position: int) -> Rule:
    """reverse0 and reverse1 need the operator whose operands they swap."""
    operand = f"reverse{position}"

    def broken(call: Call) -> str | None:
        is_idle = call.attributes[f"op{position}"] == "bypass"
        return f"{operand}=True with op{position}=bypass" if is_idle and call.attributes[operand] else None

    allowed = f"{operand} with an operator as op{position}"
    return Rule(broken, allowed, operand=operand, error=ArgumentError, source=_SOURCE)


def _reduces_without_operator(call: Call) -> str | None:
    command = call.attributes["reduce_cmd"]
    return f"None with reduce_cmd.{command}" if command != "idle" and call.attributes["reduce_op"] is None else None


def _lacks_parameter(call: Call) -> str | None:
    is_given = "relu_param" in call or "relu_param" in call.immediates
    return "None" if takes_parameter(call.attributes["op"]) and not is_given else None


@instruction(
    engines=(Engine.SCALAR,),
    since=Generation.V4,
    feature=Feature.ACTIVATE2,
    operands=(
        writes("dst"),
        reads("data"),
        reads("imm0", immediate=True, optional=True, per_partition=True),
        reads("imm1", immediate=True, optional=True, per_partition=True),
        reads("relu_param", immediate=True, optional=True, per_partition=True),
        writes("reduce_res", optional=True, per_partition=True),
        ACCUMULATOR,
    ),
    attributes=("op", "op0", "op1", "reverse0", "reverse1", "reduce_op", "reduce_cmd"),
    limits=(
        AttributeIn("op", tuple(ACTIVATIONS), source="NKI reference, ISA API common fields, activation functions"),
        Rule(
            _is_no_pair,
            ", ".join(f"({op0}, {op1})" for op0, op1 in STAGES) + " as (op0, op1)",
            operand="op1",
            error=ArgumentError,
            source=_SOURCE,
        ),
        _reverses_bypass(0),
        _reverses_bypass(1),
        OperandSuitsOperator("op0", "imm0"),
        OperandSuitsOperator("op1", "imm1"),
        SameDtype("imm0", "imm1", source=_SOURCE),
        Rule(
            _lacks_parameter, "a number or a (P, 1) tensor", operand="relu_param", error=ArgumentError, source=_SOURCE
        ),
        AttributeIn("reduce_op", ("add", "maximum", "minimum", "abs_max", "abs_min"), source=_SOURCE),
        AttributeIn("reduce_cmd", ("idle", "reset", "reduce", "reset_reduce"), source=_SOURCE),
        Rule(
            _reduces_without_operator,
            "an operator with reduce_cmd reset, reduce and reset_reduce",
            operand="reduce_op",
            error=ArgumentError,
            source=_SOURCE,
        ),
        SamePartitions("data", "dst", "imm0", "imm1", "relu_param", "reduce_res"),
        SameFree("data", "dst"),
    ),
    source=_SOURCE,
    assumptions=(
        *ASSUMPTIONS,
        "an operand of a bypassed stage is not read, nor is relu_param but by prelu",
        "reset needs reduce_op too, whose identity it writes",
        "functions are exact ones rounded in float32, not the engine's piecewise polynomials; inputs outside the "
        "documented valid range are not refused",
    ),
)
def activate2(
    data: Array,
    imm0: Array | None,
    imm1: Array | None,
    relu_param: Array | None,
    reduce_res: jax.ShapeDtypeStruct | None,
    accumulator: Any,
    op: str,
    op0: str,
    op1: str,
    reverse0: bool,
    reverse1: bool,
    reduce_op: str | None,
    reduce_cmd: str,
) -> tuple[Array, ...]:
    """dst = op((data <op0> imm0) <op1> imm1); the registers, and reduce_res, gather the fold of <reduce_op>."""
    value = seal(apply(op0, data, imm0, reverse0))
    value = seal(apply(op1, value, imm1, reverse1))
    function = ACTIVATIONS[op].function
    result = function(value) if relu_param is None else function(value, relu_param)
    return with_accumulator(result, reduce_res, accumulator, reduce_op or "add", reduce_cmd)
