"""Vector Engine recurrences along the free dimensions: each element's result enters the next one's.

The state is one float32 per partition and runs through the elements of a partition in order. Every step rounds as the
engine's float32 operators do, and nothing is regrouped: results are those of the plain loop, bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import jax.numpy as jnp
from jax import Array, lax

from trnlab.emulator import dtypes
from trnlab.emulator.errors import ArgumentError
from trnlab.emulator.isa.accumulator import ACCUMULATOR, FLOAT32, begin
from trnlab.emulator.isa.limits import AttributeIn, NotAllIn, Rule, SameFree, SamePartitions
from trnlab.emulator.isa.operators import (
    ALU_SOURCE,
    ARITHMETIC,
    BINARY_ARITHMETIC,
    REFERENCE,
    OperandSuitsOperator,
    OperatorExists,
    apply,
)
from trnlab.emulator.isa.registry import Call, instruction, reads, writes
from trnlab.emulator.memory import MemoryRegion
from trnlab.emulator.numerics.sealing import seal
from trnlab.emulator.target import Engine

Step = Callable[..., Array]


def _recur(step: Step, start: Array, *rows: Array) -> Array:
    """result[:, i] = step(result[:, i - 1], row[:, i] of every row), with start [P, 1] before the first element."""

    def advance(state: Array, columns: tuple[Array, ...]) -> tuple[Array, Array]:
        after = seal(step(state, *columns))
        return after, after

    _, results = lax.scan(advance, seal(start)[:, 0], tuple(row.T for row in rows))
    return results.T


@instruction(
    engines=(Engine.VECTOR,),
    operands=(
        writes("dst"),
        reads("data0"),
        reads("data1"),
        reads("initial", immediate=True, per_partition=True),
    ),
    attributes=("op0", "op1", "reverse0", "reverse1"),
    limits=(
        AttributeIn("op0", BINARY_ARITHMETIC, source=REFERENCE + "tensor_tensor_scan"),
        AttributeIn("op1", BINARY_ARITHMETIC, source=REFERENCE + "tensor_tensor_scan"),
        OperatorExists(("op0", "op1")),
        SamePartitions("data0", "data1", "dst", "initial"),
        SameFree("data0", "data1", "dst"),
        NotAllIn(MemoryRegion.psum, ("data0", "data1"), source=REFERENCE + "tensor_tensor_scan"),
    ),
    source=REFERENCE + "tensor_tensor_scan",
    assumptions=(
        "the state stays float32: results enter the next step before they are rounded to the destination's dtype",
        "a tensor with several free dimensions is scanned through all of them in element order",
        "a tensor as initial may have any dtype, as the inputs",
    ),
)
def tensor_tensor_scan(
    data0: Array, data1: Array, initial: Array, op0: str, op1: str, reverse0: bool, reverse1: bool
) -> Array:
    """dst[i] = (data0[i] <op0> dst[i - 1]) <op1> data1[i] along each partition, with dst[-1] = initial."""

    def step(state: Array, first: Array, second: Array) -> Array:
        return apply(op1, seal(apply(op0, first, state, reverse0)), second, reverse1)

    start = jnp.broadcast_to(initial, (data0.shape[0], 1))
    return _recur(step, start, data0, data1)


_CUMULATIVE: Final = frozenset(
    {dtypes.bfloat16, dtypes.float16, dtypes.float32, dtypes.uint8, dtypes.uint16, dtypes.int8, dtypes.int16}
    | {dtypes.float8_e4m3, dtypes.float8_e4m3fn, dtypes.float8_e5m2}
)


def _unloaded(call: Call) -> str | None:
    loads = call.attributes["reduce_cmd"] == "load_reduce"
    is_given = "imm1" in call or "imm1" in call.immediates
    return "None" if loads and not is_given else None


@instruction(
    engines=(Engine.VECTOR,),
    operands=(
        writes("dst", dtypes=_CUMULATIVE),
        reads("src", dtypes=_CUMULATIVE),
        reads("imm0", dtypes=FLOAT32, immediate=True, optional=True, per_partition=True),
        reads("imm1", dtypes=FLOAT32, immediate=True, optional=True, per_partition=True),
        ACCUMULATOR,
    ),
    attributes=("op0", "op1", "reduce_cmd"),
    limits=(
        AttributeIn("op0", ARITHMETIC, source=ALU_SOURCE),
        AttributeIn(
            "op1",
            ("add", "subtract", "multiply", "maximum", "minimum"),
            source=REFERENCE + "tensor_scalar_cumulative",
        ),
        AttributeIn(
            "reduce_cmd", ("reset_reduce", "load_reduce", "reduce"), source=REFERENCE + "tensor_scalar_cumulative"
        ),
        OperatorExists(("op0",)),
        OperandSuitsOperator("op0", "imm0"),
        Rule(
            _unloaded,
            "a number or a (P, 1) float32 tensor with reduce_cmd.load_reduce",
            operand="imm1",
            error=ArgumentError,
            source=REFERENCE + "tensor_scalar_cumulative",
        ),
        SamePartitions("src", "dst", "imm0", "imm1"),
        SameFree("src", "dst"),
    ),
    source=REFERENCE + "tensor_scalar_cumulative",
    assumptions=(
        "op1 takes the new value first, as the reference's pseudocode does: subtract is value - register",
        "the register, float32, is not rounded to the destination's dtype between elements",
        "imm1 is not read without load_reduce (AWS's own example passes it to a following reduce)",
        "the registers of the source's partitions are used, and hold the last element's result afterwards",
    ),
)
def tensor_scalar_cumulative(
    src: Array,
    imm0: Array | None,
    imm1: Array | None,
    accumulator: Any,
    op0: str,
    op1: str,
    reduce_cmd: str,
) -> tuple[Array, Array]:
    """dst[i] = register = (src[i] <op0> imm0) <op1> register along each partition."""
    values = seal(apply(op0, src, imm0))
    result = _recur(lambda state, value: apply(op1, value, state), begin(accumulator, op1, reduce_cmd, imm1), values)
    return result, result[:, -1:]
