"""Scalar Engine instructions: an activation function of data * scale + bias, with a running sum."""

from __future__ import annotations

from typing import Any, Final

import jax
from jax import Array

from trnlab.emulator import dtypes
from trnlab.emulator.errors import ArgumentError
from trnlab.emulator.isa.accumulator import ACCUMULATOR, ASSUMPTIONS, FLOAT32, with_accumulator
from trnlab.emulator.isa.limits import AttributeIn, Needs, Rule, SameFree, SamePartitions
from trnlab.emulator.isa.operators import REFERENCE
from trnlab.emulator.isa.registry import UNPACKED_DTYPES, Call, instruction, reads, writes
from trnlab.emulator.numerics.activations import ACTIVATIONS
from trnlab.emulator.numerics.sealing import seal
from trnlab.emulator.target import Engine, Feature, Generation


def _reduces_without_add(call: Call) -> str | None:
    reduces = call.attributes["reduce_cmd"] in ("reduce", "reset_reduce")
    return "None" if reduces and call.attributes["reduce_op"] is None else None


def _biased_reciprocal(call: Call) -> str | None:
    biased = "bias" in call or "bias" in call.immediates
    old = call.target.generation < Generation.V3
    return "a bias with op=reciprocal" if biased and old and call.attributes["op"] == "reciprocal" else None


_FACTS: Final[dict[str, Any]] = {
    "engines": (Engine.SCALAR,),
    "operands": (
        writes("dst"),
        reads("data"),
        reads("bias", dtypes=UNPACKED_DTYPES - {dtypes.tfloat32}, immediate=True, optional=True, per_partition=True),
        reads("scale", dtypes=FLOAT32, immediate=True, per_partition=True),
        writes("reduce_res", optional=True, per_partition=True),
        ACCUMULATOR,
    ),
    "attributes": ("op", "reduce_op", "reduce_cmd"),
    "limits": (
        AttributeIn("op", tuple(ACTIVATIONS), source="NKI reference, ISA API common fields, activation functions"),
        AttributeIn("reduce_op", ("add",), source=REFERENCE + "activation"),
        AttributeIn("reduce_cmd", ("idle", "reset", "reduce", "reset_reduce"), source=REFERENCE + "activation"),
        Rule(_reduces_without_add, "add", operand="reduce_op", error=ArgumentError, source=REFERENCE + "activation"),
        Needs(
            Feature.ACTIVATION_SCALAR_BIAS,
            "a constant bias",
            lambda call: "bias" in call.immediates,
            source=REFERENCE + "activation, layout: NeuronCore-v2 takes a [N, 1] vector",
        ),
        Rule(
            _biased_reciprocal,
            "op=reciprocal without bias",
            operand="bias",
            error=ArgumentError,
            source="NKI reference, ISA API common fields, engine selection: reciprocal on NeuronCore-v2",
            words="none with op=reciprocal on NeuronCore-v2",
        ),
        SamePartitions("data", "dst", "bias", "scale", "reduce_res"),
        SameFree("data", "dst"),
    ),
    "assumptions": (
        *ASSUMPTIONS,
        "a bias left out adds nothing, so -0.0 stays -0.0",
        "functions are exact ones rounded in float32, not the engine's piecewise polynomials; inputs outside the "
        "documented valid range are not refused",
    ),
}


def _activate(
    data: Array,
    bias: Array | None,
    scale: Array,
    reduce_res: jax.ShapeDtypeStruct | None,
    accumulator: Array | None,
    op: str,
    reduce_cmd: str,
) -> tuple[Array, ...]:
    scaled = seal(data * scale)
    result = ACTIVATIONS[op].function(scaled if bias is None else seal(scaled + bias))
    return with_accumulator(result, reduce_res, accumulator, "add", reduce_cmd)


@instruction(**_FACTS, source=REFERENCE + "activation")
def activation(
    data: Array,
    bias: Array | None,
    scale: Array,
    reduce_res: jax.ShapeDtypeStruct | None,
    accumulator: Array | None,
    op: str,
    reduce_cmd: str,
) -> tuple[Array, ...]:
    """dst = op(data * scale + bias); the registers, and reduce_res, gather the sum of each partition's results."""
    return _activate(data, bias, scale, reduce_res, accumulator, op, reduce_cmd)


@instruction(**_FACTS, source=REFERENCE + "activation_reduce")
def activation_reduce(
    data: Array,
    bias: Array | None,
    scale: Array,
    reduce_res: jax.ShapeDtypeStruct | None,
    accumulator: Array | None,
    op: str,
    reduce_cmd: str,
) -> tuple[Array, ...]:
    """dst = op(data * scale + bias); reduce_res = sum of each partition's results."""
    return _activate(data, bias, scale, reduce_res, accumulator, op, reduce_cmd)
