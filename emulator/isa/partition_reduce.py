"""The GpSimd Engine instruction that folds over partitions."""

from __future__ import annotations

from typing import Final

import jax
from jax import Array

from trnlab.emulator.isa.limits import AttributeIn, MaxPartitions, SameFree
from trnlab.emulator.isa.operators import REFERENCE, DtypesWhen, fold, from_pattern, is_bitvec, pattern_of, uses_bitvec
from trnlab.emulator.isa.registry import INTEGER_DTYPES, SBUF, instruction, reads, writes
from trnlab.emulator.target import Engine

OPERATORS: Final = ("add", "average", "maximum", "bitwise_or", "bitwise_and")


@instruction(
    engines=(Engine.GPSIMD,),
    operands=(writes("dst", regions=SBUF), reads("data", regions=SBUF)),  # GpSimd cannot reach PSUM
    attributes=("op",),
    limits=(
        AttributeIn("op", OPERATORS, source=REFERENCE + "tensor_partition_reduce"),
        DtypesWhen(uses_bitvec("op"), ("dst", "data"), INTEGER_DTYPES, "for a bitvec operator"),
        MaxPartitions("dst", 1, REFERENCE + "tensor_partition_reduce, example: dst of shape (1, ...)"),
        SameFree("data", "dst"),
    ),
    math=lambda call: "raw" if is_bitvec(call.attributes["op"]) else "float32",
    source=REFERENCE + "tensor_partition_reduce",
    assumptions=(
        "arithmetic is in float32, as on the other engines; partitions are added by halves",
        "average divides the float32 sum by the number of partitions",
        "bitvec operators see zero-extended 32-bit patterns; dst keeps the low-order bits",
    ),
)
def tensor_partition_reduce(dst: jax.ShapeDtypeStruct, data: Array, op: str) -> Array:
    """dst[0, i] = fold of <op> over data[p, i] of all partitions p."""
    columns = data.T
    if is_bitvec(op):
        return from_pattern(fold(op, pattern_of(columns)), dst.dtype).reshape(dst.shape)
    return fold(op, columns).reshape(dst.shape)
