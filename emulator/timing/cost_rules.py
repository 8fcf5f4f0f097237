"""One cost rule per opcode: formula in words, source, price and work. What is not in the table has no price.

N is the number of elements per partition of the named operand. Formulas are those of the NKI reference 2.26 (the last
one that prints them, written for v2 and v3) unless the source says otherwise; `data_path` adds floors, performance
modes and the Vector Engine's static overhead. On the GpSimd Engine only iota and affine_select are published.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from trnlab.emulator.isa.registry import Call
from trnlab.emulator.target import Engine, Generation
from trnlab.emulator.target.facts import (
    ACTIVE_TIMES,
    DMA_GUIDE,
    DMA_OVERVIEW,
    GUIDES,
    ISA,
    ISA_COSTS,
    PACKET_TIMES,
    SMALL_TRANSFERS,
)
from trnlab.emulator.timing import dma_cost, matmul_cost
from trnlab.emulator.timing.cost_rules_dma_compute import DMA_COMPUTE
from trnlab.emulator.timing.cost_rules_random_numbers import RANDOM_NUMBERS
from trnlab.emulator.timing.cost_rules_scan import SCAN
from trnlab.emulator.timing.cost_rules_search import SEARCH
from trnlab.emulator.timing.cost_terms import CostRule, Price
from trnlab.emulator.timing.data_path import copy_speedup, is_fast, streamed, two_input_passes
from trnlab.emulator.timing.rule_parts import NOBODY, PriceRule, free, no_work, on, operations, reads_out, rule

_V2, _V3, _V4 = Generation.V2, Generation.V3, Generation.V4


def _every_engine(call: Call, elements: float, *, gpsimd: float | None = None, **options: Any) -> Price:
    """The same number of elements on each engine; GpSimd, whose rates are not published, counts as assumed."""
    table = {Engine.VECTOR: elements, Engine.SCALAR: elements, Engine.GPSIMD: elements if gpsimd is None else gpsimd}
    return streamed(call, table, assumed=call.engine is Engine.GPSIMD, **options)


def _copy(operand: str) -> PriceRule:
    return lambda call: _every_engine(call, call[operand].free_elements / copy_speedup(call, operand))


def _tensor_scalar(call: Call) -> Price:
    """As a copy; GpSimd runs rsqrt alone, and that at a published rate."""
    if call.engine is not Engine.GPSIMD:
        return _copy("data")(call)
    cycles = call["data"].free_elements * call.target.gpsimd_rsqrt_cycles_per_element
    return streamed(call, {Engine.GPSIMD: cycles})


def _memset(call: Call) -> Price:
    """N, or half of it for zeros in bf16 or fp16; `value` is known where all memsets of the signature share it."""
    count = call["dst"].free_elements
    halved = call.attributes.get("value") == 0 and call["dst"].dtype in ("bfloat16", "float16")
    return _every_engine(call, count / 2 if halved else count, gpsimd=count)


def _tensor_tensor(call: Call) -> Price:
    count = call["dst"].free_elements
    return _every_engine(call, count * two_input_passes(call), gpsimd=2 * count)


def _tensor_reduce(call: Call) -> float:
    halved = call.attributes.get("op") in ("add", "max", "maximum")
    halved &= call["data"].dtype == "bfloat16" and call["dst"].dtype == "bfloat16"
    return call["data"].free_elements / (2 if halved else 1)


def _scalar_tensor_tensor(call: Call) -> float:
    count = call["data"].free_elements
    ops = (call.attributes.get("op0"), call.attributes.get("op1"))
    halves = all(call[name].dtype == "bfloat16" for name in ("data", "operand1"))
    return count * (1 if halves and ops == ("subtract", "multiply") and count % 2 == 0 else 2)


def _reciprocal(call: Call) -> float:
    return call["data"].free_elements * call.target.vector_reciprocal_cycles_per_element


def _exponential(call: Call) -> float:
    """Elements divided by the speed-up over the Scalar Engine, in cycles of the Vector Engine."""
    target = call.target
    scalar_rate = target.scalar_elements_per_cycle * target.scalar_clock_hz / target.vector_clock_hz
    return call["dst"].free_elements / ((target.vector_exponential_speedup or 1.0) * scalar_rate)


def _quantize_mx(call: Call) -> float:
    speedup = call.target.vector_contiguous_two_byte_speedup if is_fast(call["src"].dtype, call.target) else 1.0
    return call["src"].free_elements / speedup


def _nc_transpose(call: Call) -> Price:
    if call.engine is Engine.TENSOR:
        return matmul_cost.price_transpose(call)
    return streamed(call, {Engine.VECTOR: call["data"].free_elements})


def _sequencer(call: Call) -> Price:
    return Price(call.target.minimum_initiation_interval_cycles, assumed=True)


def _gpsimd_only(operand: str) -> PriceRule:
    return on(Engine.GPSIMD, free(operand))


_ALL: Final = (_V2, _V3, _V4)
_MODES: Final = f"{ISA_COSTS}; performance modes of {GUIDES}"

_TENSOR: Final[dict[str, CostRule]] = {
    "nc_matmul": rule(
        "max(min(64, N stationary), N moving); fp32 x4, x2 from v3 on for transposes and 0/1 operands; tiles overlap",
        matmul_cost.price_matmul,
        matmul_cost.matmul_work,
        f"{ISA_COSTS}; {GUIDES}: FP8 double-row, transpose mode, array tiling",
        kind="matmul",
        documented=_ALL,
    ),
    "nc_matmul_mx": rule(
        "max(min(64, N stationary), N moving) for a contraction of 4 x 128",
        matmul_cost.price_matmul,
        matmul_cost.matmul_work,
        f"{GUIDES}: MX matmul, K = 512 in the time of K = 128",
        kind="matmul",
        documented=(_V4,),
    ),
    "nc_transpose": rule(
        "Tensor: max(P, min(64, N data)), fp32 as nc_matmul; Vector: max(64, N data)",
        _nc_transpose,
        matmul_cost.transpose_work,
        f"{ISA_COSTS}, for any dtype; fp32: {GUIDES}",
        kind="transpose",
    ),
}

_VECTOR: Final[dict[str, CostRule]] = {
    "tensor_copy": rule(
        "max(64, N src); N/2 or N/4 in the performance modes", _copy("src"), no_work, _MODES, kind="move"
    ),
    "memset": rule("max(64, N dst); N/2 for zeros in bf16 or fp16 on Vector", _memset, no_work, kind="move"),
    "tensor_tensor": rule(
        "max(64, N dst) with one input in PSUM, or 2-byte floats in SBUF; else max(64, 2 N)",
        _tensor_tensor,
        operations("dst", extra=1),
        _MODES,
    ),
    "tensor_scalar": rule(
        "max(64, N data); N/2 or N/4 in the performance modes; GpSimd, rsqrt alone: 150 + 4 N",
        _tensor_scalar,
        operations("dst", "op0", "op1"),
        f"{_MODES}; {ISA}, engine selection",
    ),
    "tensor_reduce": rule(
        "max(64, N data); N/2 when bf16 in and out, and add or maximum",
        on(Engine.VECTOR, _tensor_reduce),
        operations("data", extra=1),
    ),
    "tensor_scalar_reduce": rule(
        "max(64, N data) + 64 when reduce_res is read out",
        on(Engine.VECTOR, free("data"), reads_out),
        operations("dst", extra=2),
    ),
    "scalar_tensor_tensor": rule(
        "max(64, 2 N data); N when data and operand1 are bf16, N even, op0 subtract and op1 multiply",
        on(Engine.VECTOR, _scalar_tensor_tensor),
        operations("dst", extra=2),
    ),
    "reciprocal": rule(
        "max(64, 8 N data); 2.25 N on v2",
        on(Engine.VECTOR, _reciprocal),
        operations("dst", extra=1),
        f"{ISA_COSTS}; v2: {ACTIVE_TIMES}",
        documented=(_V3,),
    ),
    "exponential": rule(
        "max(64, N dst / 4) + 64 when reduce_res is read out",
        on(Engine.VECTOR, _exponential, reads_out),
        operations("dst", extra=2),
        f"{GUIDES}: four times the Scalar Engine's exp",
        documented=(_V4,),
    ),
    "quantize_mx": rule(
        "max(64, N src / 4)",
        on(Engine.VECTOR, _quantize_mx),
        operations("src", extra=1),
        f"{GUIDES}: four elements per partition and cycle",
        documented=(_V4,),
    ),
    "range_select": rule(
        "max(64, N on_true_tile)",
        on(Engine.VECTOR, free("on_true_tile")),
        operations("dst", extra=3),
        documented=(_V3,),
    ),
    "select_reduce": rule(
        "max(64, 2 N dst) + 64 when reduce_res is read out",
        on(Engine.VECTOR, free("dst", 2), reads_out),
        operations("dst", extra=1),
        f"{NOBODY}; taken as two SBUF inputs of tensor_copy_predicated",
        documented=(),
    ),
}

_SCALAR_AND_GPSIMD: Final[dict[str, CostRule]] = {
    "activation": rule(
        "max(64, N data) + 64 when reduce_res is read out",
        on(Engine.SCALAR, free("data"), reads_out),
        operations("data", "reduce_op", extra=1),
    ),
    "activation_reduce": rule(
        "max(64, N data) + 64", on(Engine.SCALAR, free("data"), lambda call: True), operations("data", extra=2)
    ),
    "iota": rule("150 + N dst", _gpsimd_only("dst"), operations("dst", extra=1)),
    "affine_select": rule("150 + N on_true_tile", _gpsimd_only("on_true_tile"), operations("dst", extra=1)),
}

_MOVES: Final[dict[str, CostRule]] = {
    "dma_copy": rule(
        "descriptors x max(35 ns, bytes / (rate x max(0.42, curve))) on each DMA engine; v3: x max(16 ns, bytes / rate "
        "+ 5 ns), + 90 ns, and 485 ns + 0.9 ns x descriptors to make them",
        dma_cost.price_copy,
        no_work,
        f"{DMA_GUIDE}; {DMA_OVERVIEW}; v3: {PACKET_TIMES}; {SMALL_TRANSFERS}",
        kind="move",
        documented=_ALL,
    ),
    "dma_transpose": rule(
        "as dma_copy, at 0.9 of its rate from HBM and 0.5 from SBUF",
        dma_cost.price_transpose,
        no_work,
        f"{GUIDES}: DMA transpose, at best",
        kind="transpose",
        documented=(_V3,),
    ),
    **{
        name: rule("64", _sequencer, no_work, f"{NOBODY}; one initiation interval", kind="move", documented=())
        for name in ("register_move", "register_load", "register_store")
    },
    "device_print": rule(
        "0", lambda call: Price(0.0), no_work, "a debugging aid of the host", kind="move", documented=_ALL
    ),
}

RULES: Final[Mapping[str, CostRule]] = MappingProxyType(
    _TENSOR | _VECTOR | _SCALAR_AND_GPSIMD | _MOVES | SEARCH | RANDOM_NUMBERS | DMA_COMPUTE | SCAN
)
"""The cost rule of every opcode that has a price."""
