"""The accumulator registers of the Vector and the Scalar Engine: one float32 in each lane, kept between instructions.

An instruction with a `reduce_cmd` folds its float32 results along the free dimensions, before they are rounded to
the destination's dtype, and combines the fold with the register:

    idle           registers stay as they are
    reset          registers = identity
    reduce         registers = registers <op> fold(result)
    reset_reduce   registers = identity <op> fold(result)
    load_reduce    registers = reduce_init <op> fold(result)

`reduce_res` receives the registers as the instruction leaves them. The registers are a hidden operand "accumulator",
present only where the instruction uses them: the lanes are those of the partitions that the data is read from.

Documented: the commands, the identities (0, 1, -inf, inf), and that the fold is not of the rounded results
(range_select, note on numerical stability: FP32 reduce_res of a bfloat16 row of FP32_MIN is FP32_MIN, not -inf).
Assumed: that idle leaves the registers alone (AWS calls them unknown then), which lanes are used, and that the fold
joins the register in one operation at the end.
Source: NKI reference, nisa.activation, nisa.tensor_scalar_reduce, nisa.exponential, nisa.reduce_cmd.
"""

from __future__ import annotations

from typing import Any, Final

import jax.numpy as jnp
from jax import Array

from trnlab.emulator import dtypes
from trnlab.emulator.dtypes import DType
from trnlab.emulator.errors import ArgumentError
from trnlab.emulator.isa.limits import Rule
from trnlab.emulator.isa.operators import apply, fold
from trnlab.emulator.isa.registry import REGISTER, Call, Operand, writes
from trnlab.emulator.numerics.elementwise import ALU_OPS
from trnlab.emulator.numerics.sealing import seal

FLOAT32: Final[frozenset[DType]] = frozenset({dtypes.float32})
ACCUMULATOR: Final[Operand] = writes(
    "accumulator",
    regions=REGISTER,
    dtypes=FLOAT32,
    optional=True,
    update_if="reduce_cmd",
    update_values=frozenset({"idle", "reduce"}),
)
ASSUMPTIONS: Final = (
    "idle leaves the accumulator registers as they are",
    "the registers of the data's partitions are used",
    "results are folded before they are rounded to the destination's dtype, then combined with the register once",
)


def begin(registers: Any, op: str, command: str, initial: Any = None) -> Array:
    """The registers [P, 1] before the first element of an instruction with this command that is not idle."""
    start: Any = {"reduce": registers, "load_reduce": initial}.get(command, ALU_OPS[op].identity)
    # Sealed, so that the compiler cannot drop the combination with an identity, which decides the sign of a zero.
    return seal(jnp.broadcast_to(jnp.asarray(start, jnp.float32), registers.shape))


def accumulate(registers: Any, result: Array, op: str, command: str, initial: Any = None) -> Array:
    """The registers [P, 1] after an instruction with this command whose float32 results are [P, F]."""
    if command == "idle":
        kept: Array = registers
        return kept
    begun = begin(registers, op, command, initial)
    if command == "reset":
        return begun
    return seal(apply(op, begun, seal(fold(op, result))[:, None]))


def with_accumulator(
    result: Array,
    reduce_res: Any,
    accumulator: Any,
    op: str,
    command: str,
    initial: Any = None,
    negate: bool = False,
) -> tuple[Array, ...]:
    """What a body returns: the result, then reduce_res and the registers where they are operands of the call."""
    if accumulator is None:
        return (result,)
    after = accumulate(accumulator, seal(result), op, command, initial)
    read_out = () if reduce_res is None else (-after if negate else after,)
    return (result, *read_out, after)


def _misplaced_initial(call: Call) -> str | None:
    loads = call.attributes["reduce_cmd"] == "load_reduce"
    is_given = "reduce_init" in call or "reduce_init" in call.immediates
    if loads == is_given:
        return None
    return f"{'a value' if is_given else 'None'} with reduce_cmd.{call.attributes['reduce_cmd']}"


def initial_only_loads(source: str) -> Rule:
    """reduce_init comes with load_reduce and only with it."""
    return Rule(
        _misplaced_initial,
        "reduce_init with reduce_cmd.load_reduce, and only then",
        operand="reduce_init",
        error=ArgumentError,
        source=source,
    )


def uses_registers(command: str, reduce_res: Any) -> bool:
    """Whether a call touches the accumulator registers."""
    return command != "idle" or reduce_res is not None
