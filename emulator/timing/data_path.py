"""How fast operands stream through the Vector, Scalar and GpSimd Engines: floors, performance modes, strides.

    Vector:  max(64, elements * stretch / rate) + static overhead
    Scalar:  max(64, elements * stretch / rate)
             600 instead of 64 where an operand on chip has an address that is known at run time only
    GpSimd:  start-up + elements * stretch
    Sync:    64

in cycles of the engine; "elements" are per partition and already divided by the performance mode; stretch is 2 when an
operand's innermost stride reaches 16 bytes (AWS architecture guide, access patterns). The shortest interval between
instructions (64) and the GpSimd start-up are of the NKI reference 2.26, the static overhead of the performance guide.

What engines wait for at the memory ports that they share is the scheduler's (`ports`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from trnlab.emulator.dtypes import DType
from trnlab.emulator.errors import CostError
from trnlab.emulator.isa.registry import Call, OperandView
from trnlab.emulator.memory import ON_CHIP_REGIONS, MemoryRegion
from trnlab.emulator.target import Engine, Generation, Target
from trnlab.emulator.timing.cost_terms import Price

_TWO_BYTE: Final = frozenset({"bfloat16", "float16"})
_FP8: Final = frozenset({"float8_e3m4", "float8_e4m3", "float8_e4m3fn", "float8_e5m2"})


def is_fast(dtype: DType, target: Target) -> bool:
    """Whether performance modes take the dtype: bf16 and fp16, and FP8 from v4 on (AWS architecture guides)."""
    return dtype in _TWO_BYTE or (target.generation >= Generation.V4 and dtype in _FP8)


def _innermost_stride(view: OperandView) -> int:
    """Bytes between neighbours of the innermost free dimension that has more than one element; 0 when none has."""
    sizes = zip(reversed(view.shape[1:]), reversed(view.strides[1:]), strict=True)
    return next((abs(stride) * view.dtype.itemsize for count, stride in sizes if count > 1), 0)


def is_contiguous(view: OperandView) -> bool:
    """Whether the elements of the innermost free dimension are neighbours in memory."""
    return _innermost_stride(view) in (0, view.dtype.itemsize)


def stretch(call: Call) -> float:
    """1, or 2 when an on-chip operand has too long an innermost stride to stream at full rate."""
    limit = call.target.sbuf_full_rate_stride_bytes
    streamed = (view for view in call.operands.values() if view.region in ON_CHIP_REGIONS)
    slow = any(_innermost_stride(view) >= limit for view in streamed)
    return 1 / call.target.sbuf_strided_rate_factor if slow else 1.0


def copy_speedup(call: Call, source: str) -> float:
    """Elements per partition and cycle of tensor_copy and tensor_scalar, relative to the plain rate.

    Vector: 4 from v3 on when both sides are 2-byte floats, contiguous and in SBUF; 2 when only strided or only one
    side is in PSUM. Scalar: 2 from v4 on, under the conditions of the Vector Engine's 2. (AWS Trainium2 and Trainium3
    architecture guides.)
    """
    target, sides = call.target, [call[source], call["dst"]]
    in_psum = sum(view.region is MemoryRegion.psum for view in sides)
    contiguous = all(is_contiguous(view) for view in sides)
    doubles = in_psum == 0 or (in_psum == 1 and contiguous)
    if not doubles or not all(is_fast(view.dtype, target) for view in sides):
        return 1.0
    if call.engine is Engine.VECTOR:
        quadruples = contiguous and not in_psum
        return target.vector_contiguous_two_byte_speedup if quadruples else target.vector_two_byte_speedup
    return target.scalar_two_byte_speedup if call.engine is Engine.SCALAR else 1.0


def in_performance_mode(call: Call) -> bool:
    """Whether the Vector Engine runs the call faster than one element per cycle, over the bus it shares with GpSimd.

    From v3 on: what `copy_speedup` and `two_input_passes` say of tensor_copy, tensor_scalar and tensor_tensor; from v4
    on also quantize_mx and exponential (AWS Trainium2 and Trainium3 architecture guides).
    """
    if call.engine is not Engine.VECTOR or call.target.generation < Generation.V3:
        return False
    if call.opcode == "tensor_tensor":
        in_sbuf = all(call[name].region is MemoryRegion.sbuf for name in ("data1", "data2"))
        return in_sbuf and two_input_passes(call) < 2
    source = {"tensor_copy": "src", "tensor_scalar": "data"}.get(call.opcode)
    return call.opcode in ("quantize_mx", "exponential") if source is None else copy_speedup(call, source) > 1


def two_input_passes(call: Call) -> float:
    """Cycles per element of tensor_tensor: 1 or 2.

    1 when one input is in PSUM and one in SBUF, or both are in SBUF and everything is a 2-byte float (on v2 also:
    add, multiply or subtract on contiguous bf16); else 2. (NKI reference 2.26; AWS Trainium2 architecture guide.)
    """
    inputs = [call["data1"], call["data2"]]
    in_psum = sum(view.region is MemoryRegion.psum for view in inputs)
    if in_psum:
        return 1.0 if in_psum == 1 else 2.0
    views = [*inputs, call["dst"]]
    if call.target.generation > Generation.V2:
        return 2 / call.target.vector_two_byte_speedup if all(is_fast(v.dtype, call.target) for v in views) else 2.0
    plain = call.attributes.get("op") in ("add", "multiply", "subtract") and all(is_contiguous(v) for v in views)
    return 1.0 if plain and all(view.dtype == "bfloat16" for view in views) else 2.0


def has_run_time_address(call: Call) -> bool:
    """Whether an operand on chip lies where a register or a number in SBUF says."""
    return any(view.indirect == "scalar" and view.region in ON_CHIP_REGIONS for view in call.operands.values())


def _shortest(call: Call) -> float:
    """The shortest interval between two instructions of this kind."""
    if has_run_time_address(call):
        return call.target.run_time_address_interval_cycles
    return call.target.minimum_initiation_interval_cycles


def _vector(elements: float, call: Call) -> Price:
    cycles = elements / call.target.vector_elements_per_cycle
    padding = max(0.0, _shortest(call) - cycles)
    return Price(cycles + padding + call.target.vector_static_cycles, padding=padding)


def _scalar(elements: float, call: Call) -> Price:
    cycles = elements / call.target.scalar_elements_per_cycle
    # Part of the latency of an instruction alone (see `cost._latencies`).
    padding = max(0.0, _shortest(call) - cycles)
    return Price(cycles + padding, padding=padding)


def _gpsimd(elements: float, call: Call) -> Price:
    cycles = call.target.gpsimd_start_cycles + elements
    return Price(max(cycles, _shortest(call)) if has_run_time_address(call) else cycles)


_ENGINES: Final[Mapping[Engine, Callable[[float, Call], Price]]] = MappingProxyType(
    {Engine.VECTOR: _vector, Engine.SCALAR: _scalar, Engine.GPSIMD: _gpsimd}
)


def streamed(call: Call, elements: Mapping[Engine, float], *, readout: bool = False, assumed: bool = False) -> Price:
    """The price of streaming so many elements per partition through the call's engine.

    elements: for each engine that the rule prices
    readout:  whether the instruction also reads out the engine's accumulator registers, 64 cycles

    Raises:
        CostError: the rule has no price for the engine.
    """
    engine, target = call.engine, call.target
    if engine is None or engine not in elements:
        found, allowed = str(engine), ", ".join(elements)
        raise CostError(f"nisa.{call.opcode}", f"engine {found}", allowed, target.generation.label)
    price = _ENGINES[engine](elements[engine] * stretch(call), call)
    return price._replace(cycles=price.cycles + readout * target.reduce_readout_cycles, assumed=assumed)
