"""Limits of nc_transpose on the Tensor Engine and on the Vector Engine.

Sources: NKI reference, nisa.nc_transpose; NKI Trainium2 architecture guide, built-in transpose support.
"""

from __future__ import annotations

from typing import Final

from trnlab.emulator import dtypes
from trnlab.emulator.dtypes import DType
from trnlab.emulator.errors import BufferError, DtypeError
from trnlab.emulator.isa.limits import Rule
from trnlab.emulator.isa.matmul_limits import SPREAD_BYTES, TRAINIUM2_GUIDE, dense_bytes, names
from trnlab.emulator.isa.registry import Call, Limit
from trnlab.emulator.memory import MemoryRegion
from trnlab.emulator.target import Engine, Feature

VECTOR_BLOCK: Final = 32


def choose_engine(call: Call) -> Engine:
    """The Vector Engine where the tile fits its 32 x 32 block, else the Tensor Engine (assumed)."""
    data = call["data"]
    fits = data.partitions <= VECTOR_BLOCK and data.free_elements <= VECTOR_BLOCK
    return Engine.VECTOR if fits else Engine.TENSOR


def on_tensor_engine(call: Call) -> bool:
    """Whether the call runs on the Tensor Engine."""
    return call.engine is Engine.TENSOR


def transposes_bits(call: Call) -> bool:
    """Whether nc_transpose moves bits: on the Vector Engine always, on the Tensor Engine where it has the mode."""
    return not on_tensor_engine(call) or call.target.has(Feature.BIT_ACCURATE_TRANSPOSE)


def _largest(call: Call) -> tuple[int, int]:
    if on_tensor_engine(call):
        return call.target.tensor_rows, call.target.tensor_columns
    return VECTOR_BLOCK, VECTOR_BLOCK


def _tile_too_large(call: Call) -> str | None:
    data, (rows, free) = call["data"], _largest(call)
    fits = data.partitions <= rows and data.free_elements <= free
    return None if fits else f"{data}, {data.partitions} x {data.free_elements}"


def _not_transposed(call: Call) -> str | None:
    dst, data = call["dst"], call["data"]
    good = (dst.partitions, dst.free_elements) == (data.free_elements, data.partitions)
    return None if good else f"{dst}, {dst.partitions} partitions of {dst.free_elements} elements"


def _wrong_spaces(call: Call) -> str | None:
    data, dst = call["data"], call["dst"]
    wrong = on_tensor_engine(call) and (data.region, dst.region) != (MemoryRegion.sbuf, MemoryRegion.psum)
    return f"data {data} to dst {dst}" if wrong else None


def _transposed_dtypes(call: Call) -> frozenset[DType]:
    same = frozenset({call["data"].dtype})
    return same if transposes_bits(call) else same | {dtypes.float32}


TRANSPOSE_LIMITS: Final[tuple[Limit, ...]] = (
    Rule(
        _tile_too_large,
        lambda call: "at most {} x {} on the {} engine".format(*_largest(call), call.engine),
        operand="data",
        words=lambda target: (
            f"at most {target.tensor_rows} x {target.tensor_columns} on the tensor engine, "
            f"{VECTOR_BLOCK} x {VECTOR_BLOCK} on the vector engine"
        ),
    ),
    Rule(_wrong_spaces, "data in sbuf and dst in psum on the tensor engine", operand="dst", error=BufferError),
    Rule(
        _not_transposed,
        lambda call: f"{call['data'].free_elements} partitions of {call['data'].partitions} elements",
        operand="dst",
        words="the shape of data transposed: a partition for each of its free elements",
    ),
    Rule(
        lambda call: None if call["dst"].dtype in _transposed_dtypes(call) else str(call["dst"]),
        lambda call: names(_transposed_dtypes(call)),
        operand="dst",
        error=DtypeError,
        words=lambda target: (
            "the dtype of data"
            if target.has(Feature.BIT_ACCURATE_TRANSPOSE)
            else "the dtype of data, or float32 on the tensor engine"
        ),
    ),
    Rule(
        lambda call: dense_bytes(call) if on_tensor_engine(call) and transposes_bits(call) else None,
        SPREAD_BYTES,
        operand="dst",
        source=TRAINIUM2_GUIDE,
        words=f"one-byte data on the tensor engine, from NeuronCore-v3 on: {SPREAD_BYTES}",
    ),
)
