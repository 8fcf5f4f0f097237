"""Conditional rules of the Vector and the Scalar Engine, and of the random numbers.

Source: NKI reference, the pages of the instructions.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.emulator.isa.limit_edges.calls import Tile
from tests.emulator.isa.limit_edges.examples import EXAMPLES
from tests.emulator.isa.limit_edges.rules import Given, Row
from trnlab.emulator.nki import isa as nisa, language as nl
from trnlab.emulator.target import Target

CMD = nisa.reduce_cmd
INTEGERS = Tile((8, 8), "int32")
PACKED = Tile((8, 8), "float8_e4m3fn_x4")


# ---------------------------------------------------------------------------------------- operators and reductions


def operators(target: Target) -> Iterator[Row]:
    """tensor_scalar's two operators, and what tensor_copy does not cast."""
    alone = {"op0": None, "operand0": None}
    second = {"op1": None, "operand1": None}
    bits: dict[str, Any] = {"dst": INTEGERS, "data": INTEGERS, "operand0": 1, "operand1": 1}
    yield Row("tensor_scalar", "op0", "op0, op1 or both", ({}, alone, second), (alone | second,))
    yield Row(
        "tensor_scalar",
        "op1",
        "both bitvec or both arithmetic",
        ({}, bits | {"op0": nl.bitwise_and, "op1": nl.bitwise_or}),
        (bits | {"op0": nl.bitwise_and, "op1": nl.add}, bits | {"op0": nl.add, "op1": nl.bitwise_and}),
    )
    has_packed = target.generation >= 4
    words = Tile((8, 8), "uint32")
    casts = ({"dst": words, "src": PACKED}, {"dst": PACKED, "src": words})
    same = ({"dst": PACKED, "src": PACKED},) if has_packed else ()
    taken = ({"src": Tile((8, 8), "bfloat16")}, *same)
    yield Row("tensor_copy", "src", "packed x4 elements are not cast", taken, casts if has_packed else ())


def reductions(target: Target) -> Iterator[Row]:
    """tensor_reduce: axes, sign, result."""
    data = Tile((8, 2, 4))
    row, pair, triple = Tile((8, 1)), Tile((8, 2)), Tile((8, 3))
    yield Row(
        "tensor_reduce",
        "axis",
        "the last dimension, or several",
        ({"data": data, "dst": pair, "axis": 2}, {"data": data, "dst": row, "axis": (1, 2)}),
        (
            {"data": data, "dst": row, "axis": 1},
            {"dst": row, "axis": 0},
            {"dst": row, "axis": ()},
            {"data": data, "dst": row, "axis": (0, 1, 2)},
        ),
    )
    bits: dict[str, Any] = {"data": INTEGERS, "dst": Tile((8, 1), "int32"), "op": nl.bitwise_and}
    yield Row(
        "tensor_reduce",
        "negate",
        "negate with arithmetic",
        ({"negate": True}, bits),
        (bits | {"negate": True},),
    )
    at = {"data": data, "axis": 2}
    yield Row(
        "tensor_reduce", "dst", "one element for each", (at | {"dst": pair},), (at | {"dst": row}, at | {"dst": triple})
    )


def initial_values(target: Target) -> Iterator[Row]:
    """A value to load comes with load_reduce; where AWS's own example passes it along, only there."""
    for name, commands in (
        ("tensor_scalar_reduce", (CMD.reset_reduce, CMD.reduce)),
        ("exponential", (CMD.idle, CMD.reset_reduce, CMD.reduce)),
    ):
        without = tuple({"reduce_init": None, "reduce_cmd": command} for command in commands)
        given = tuple({"reduce_cmd": command} for command in commands)
        number = {"reduce_init": 1.0}
        yield Row(
            name, "reduce_init", "with reduce_cmd.load_reduce", ({}, number, *without), ({"reduce_init": None}, *given)
        )
    others = ({"imm1": None, "reduce_cmd": CMD.reduce}, {"reduce_cmd": CMD.reduce}, {"imm1": 1.0})
    yield Row("tensor_scalar_cumulative", "imm1", "with reduce_cmd.load_reduce", ({}, *others), ({"imm1": None},))


# --------------------------------------------------------------------------------------------------- quantize_mx


def quantisation(target: Target) -> Iterator[Row]:
    """A word and a scale for every four elements, and a row of scales for every eight partitions."""
    for name in ("dst", "dst_scale"):
        wider = {name: EXAMPLES["quantize_mx"].tile(name).with_free(2)}
        narrower = {other: EXAMPLES["quantize_mx"].tile(other).with_free(2) for other in ("dst", "dst_scale")}
        narrower = narrower | {"src": Tile((32, 8), "bfloat16")}
        yield Row(
            "quantize_mx",
            name,
            "a quarter of",
            ({}, narrower),
            (wider, narrower | {name: EXAMPLES["quantize_mx"].tile(name)}),
        )
    tall = {"src": Tile((64, 4), "bfloat16"), "dst": Tile((64, 1), "float8_e4m3fn_x4")}

    def scale(rows: int) -> dict[str, Tile]:
        return {"dst_scale": Tile((rows, 1), "uint8")}

    accepted = (scale(4), tall | scale(36))
    yield Row("quantize_mx", "dst_scale", "P - 28", accepted, (scale(3), tall | scale(35)))


# ---------------------------------------------------------------------------------------------------- activations


def activations(target: Target) -> Iterator[Row]:
    """The functions of the Scalar Engine: reductions and biases."""
    idle = {"reduce_op": None, "reduce_res": None, "reduce_cmd": CMD.idle}
    without = tuple({"reduce_op": None, "reduce_cmd": command} for command in (CMD.reduce, CMD.reset_reduce))
    yield Row("activation", "reduce_op", "add", ({}, idle), without)
    yield Row("activation_reduce", "reduce_op", "add", ({},), ({"reduce_op": None},))
    for name in ("activation", "activation_reduce"):
        biased, plain = {"op": nl.reciprocal}, {"op": nl.reciprocal, "bias": None}
        old = target.generation < 3
        accepted = ({}, plain) if old else ({}, plain, biased)
        yield Row(name, "bias", "none with op=reciprocal", accepted, (biased,) if old else ())


def pipeline(target: Target) -> Iterator[Row]:
    """activate2: pairs of stages, reversals, the slope, the reduction."""
    stages = ("multiply", "add", "subtract", "bypass", "maximum")
    good = {("multiply", "add"), ("multiply", "subtract"), ("multiply", "bypass")}
    good |= {("add", "bypass"), ("subtract", "bypass"), ("bypass", "bypass")}

    def pair(first: str, second: str, **more: Any) -> dict[str, Any]:
        return {"op0": getattr(nl, first), "op1": getattr(nl, second), **more}

    every = [(first, second) for first in stages for second in stages]
    yield Row(
        "activate2",
        "op1",
        "as (op0, op1)",
        tuple(pair(*ops) for ops in every if ops in good),
        tuple(pair(*ops) for ops in every if ops not in good),
    )
    reversed0, reversed1 = {"reverse0": True}, {"reverse1": True}
    yield Row("activate2", "reverse0", "with an operator", (reversed0,), (pair("bypass", "bypass", reverse0=True),))
    yield Row("activate2", "reverse1", "with an operator", (reversed1,), (pair("multiply", "bypass", reverse1=True),))
    other = {"op": nl.exp, "relu_param": None}
    yield Row(
        "activate2", "relu_param", "a number or a (P, 1)", ({}, {"relu_param": 0.1}, other), ({"relu_param": None},)
    )
    reducing = (CMD.reset, CMD.reduce, CMD.reset_reduce)
    yield Row(
        "activate2",
        "reduce_op",
        "an operator with reduce_cmd",
        ({"reduce_op": None, "reduce_cmd": CMD.idle}, *({"reduce_cmd": command} for command in reducing)),
        tuple({"reduce_op": None, "reduce_cmd": command} for command in reducing),
    )


# -------------------------------------------------------------------------------------- shuffles and random numbers


def shuffles(target: Target) -> Iterator[Row]:
    """nc_stream_shuffle: 32 entries of 0 to 31 or 255."""

    def mask(*entries: int) -> dict[str, Any]:
        return {"shuffle_mask": [*entries, *[0] * (32 - len(entries))]}

    long, short = {"shuffle_mask": [0] * 33}, {"shuffle_mask": [0] * 31}
    wrong = tuple(mask(entry) for entry in (32, -1, 254, 256))
    yield Row("nc_stream_shuffle", "shuffle_mask", "32 integers", (mask(31), mask(255), mask(0)), (*wrong, long, short))
    fewer: dict[str, Any] = {"src": Tile((31, 8))}
    kept: dict[str, Any] = {"src": Tile((1, 8)), "shuffle_mask": [255] * 32}
    accepted: tuple[Given, ...] = (mask(31), fewer | mask(30), kept)
    yield Row("nc_stream_shuffle", "src", "a partition of src", accepted, (fewer | mask(31),))


def random_numbers(target: Target) -> Iterator[Row]:
    """Probabilities, one seed, and six words of state for each generator."""
    integers = {"dst": INTEGERS, "data": INTEGERS}
    narrow = {"prob": Tile((8, 1), "bfloat16")}
    yield Row(
        "dropout",
        "prob",
        "float32 for integer data",
        (integers, narrow, integers | {"prob": 0.5}),
        (integers | narrow,),
    )
    shapes = ((1, 2), (2, 1), (1, 1, 1))
    yield Row(
        "set_rng_seed", "src_seeds", "shape (1, 1)", ({},), tuple({"src_seeds": Tile(s, "uint32")} for s in shapes)
    )
    for name, operand in (("rand_set_state", "src_seeds"), ("rand_get_state", "dst")):

        def state(count: int, engine: str, operand: str = operand) -> dict[str, Any]:
            return {operand: Tile((8, count), "uint32"), "engine": nisa.engine[engine]}

        taken, refused = [state(6, "gpsimd")], [state(5, "gpsimd"), state(7, "gpsimd")]
        if target.generation >= 4:
            taken.append(state(24, "vector"))
            refused += [state(23, "vector"), state(25, "vector"), state(6, "vector")]
        yield Row(name, operand, "for each word of a lane", tuple(taken), tuple(refused))


TABLES = (
    operators,
    reductions,
    initial_values,
    quantisation,
    activations,
    pipeline,
    shuffles,
    random_numbers,
)
