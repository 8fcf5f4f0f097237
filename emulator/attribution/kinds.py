"""The kinds of error that an instruction can add, and which instruction adds which."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType
from typing import Final

from trnlab.emulator.attribution.memory import Window
from trnlab.emulator.attribution.rules_moves import MOVES
from trnlab.emulator.dtypes import DType
from trnlab.emulator.program import Signature


class ErrorKind(Enum):
    """What makes the error that an instruction adds to what its operands carry already."""

    ROUNDING = "rounding"
    """The result's cast into a format narrower than float32."""
    QUANTISATION = "quantisation"
    """quantize_mx: elements of a block rounded under a shared scale."""
    ACCUMULATION = "accumulation"
    """Sums in float32, and the rounding of an accumulator that an instruction adds to."""
    FUNCTION = "function"
    """Activation functions and reciprocals, computed in float32."""
    ARITHMETIC = "arithmetic"
    """Other float32 arithmetic, and constants rounded to float32."""


_SUMS: Final = (
    "nc_matmul",
    "nc_matmul_mx",
    "tensor_reduce",
    "tensor_partition_reduce",
    "dma_compute",
    "tensor_tensor_scan",
    "tensor_scalar_cumulative",
    "bn_stats",
    "bn_aggr",
)
_FUNCTIONS: Final = ("activation", "activation_reduce", "activate2", "exponential", "reciprocal")

KINDS: Final[Mapping[str, ErrorKind]] = MappingProxyType(
    {
        **dict.fromkeys(_SUMS, ErrorKind.ACCUMULATION),
        **dict.fromkeys(_FUNCTIONS, ErrorKind.FUNCTION),
        **dict.fromkeys(MOVES, ErrorKind.ROUNDING),
        "quantize_mx": ErrorKind.QUANTISATION,
    }
)
"""By opcode, what an instruction's arithmetic adds before its result is cast; arithmetic where it is not here."""


def kinds_of(opcode: str, dtype: DType, accumulates: bool) -> tuple[ErrorKind, ErrorKind]:
    """(kind of the cast, kind of the rest) for a result of that dtype."""
    rest = KINDS.get(opcode, ErrorKind.ARITHMETIC)
    if rest is ErrorKind.QUANTISATION:
        return rest, rest
    if accumulates:
        return ErrorKind.ACCUMULATION, ErrorKind.ACCUMULATION
    return (rest if dtype == "float32" else ErrorKind.ROUNDING), rest


def accumulates(signature: Signature, windows: Mapping[str, Window], result: str) -> bool:
    """Whether the instruction does arithmetic on what the result's place held before."""
    if signature.opcode in MOVES or signature.opcode == "tensor_copy_predicated":
        return False
    target = windows[result]
    return any(
        operand.reads and operand.name in windows and _is_same(windows[operand.name], target)
        for operand in signature.operands
    )


def _is_same(one: Window, other: Window) -> bool:
    return one[:5] == other[:5]
