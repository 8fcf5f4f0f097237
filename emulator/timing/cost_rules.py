"""One cost rule per opcode: formula in words, source, price and work. What is not in the table has no price.

N is the number of elements per partition of the named operand. Formulas are those of the NKI reference 2.26 (the last
one that prints them, written for v2 and v3) unless the source says otherwise; `data_path` adds floors, performance
modes and the Vector Engine's static overhead. On the GpSimd Engine only iota and affine_select are published.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from trnlab.emulator.isa.registry import Call
from trnlab.emulator.target import Engine, Generation
from trnlab.emulator.target.facts import DMA_GUIDE, DMA_OVERVIEW, GUIDES, ISA_COSTS
from trnlab.emulator.timing import dma_cost, matmul_cost
from trnlab.emulator.timing.cost_terms import CostRule, Price
from trnlab.emulator.timing.data_path import copy_speedup, is_fast, streamed, two_input_passes

_V2, _V3, _V4 = Generation.V2, Generation.V3, Generation.V4
_MEASURED_ERA: Final = frozenset({_V2, _V3})
_NOBODY: Final = "assumed: AWS publishes no cost"

PriceRule = Callable[[Call], Price]
WorkRule = Callable[[Call], dict[str, Any]]


def _nothing(call: Call) -> dict[str, Any]:
    return {}


def _operations(operand: str, *operators: str, extra: int = 0) -> WorkRule:
    """Elements of the operand times the operators present: the named attributes that are set, and `extra` ones."""

    def work(call: Call) -> dict[str, Any]:
        count = extra + sum(call.attributes.get(name) is not None for name in operators)
        return {"elementwise_operations": call[operand].elements * count}

    return work


def _reads_out(call: Call) -> bool:
    return "reduce_res" in call


def _every_engine(call: Call, elements: float, *, gpsimd: float | None = None, **options: Any) -> Price:
    """The same number of elements on each engine; GpSimd, whose rates are not published, counts as assumed."""
    table = {Engine.VECTOR: elements, Engine.SCALAR: elements, Engine.GPSIMD: elements if gpsimd is None else gpsimd}
    return streamed(call, table, assumed=call.engine is Engine.GPSIMD, **options)


def _copy(operand: str) -> PriceRule:
    return lambda call: _every_engine(call, call[operand].free_elements / copy_speedup(call, operand))


def _tensor_tensor(call: Call) -> Price:
    count = call["dst"].free_elements
    return _every_engine(call, count * two_input_passes(call), gpsimd=2 * count)


def _on(engine: Engine, count: Callable[[Call], float], readout: Callable[[Call], bool] | None = None) -> PriceRule:
    return lambda call: streamed(call, {engine: count(call)}, readout=readout is not None and readout(call))


def _free(operand: str, factor: float = 1.0) -> Callable[[Call], float]:
    return lambda call: call[operand].free_elements * factor


def _tensor_reduce(call: Call) -> float:
    halved = call.attributes.get("op") in ("add", "max", "maximum")
    halved &= call["data"].dtype == "bfloat16" and call["dst"].dtype == "bfloat16"
    return call["data"].free_elements / (2 if halved else 1)


def _scalar_tensor_tensor(call: Call) -> float:
    count = call["dst"].free_elements
    views = call.present("data", "operand0", "operand1", "dst")
    ops = (call.attributes.get("op0"), call.attributes.get("op1"))
    single = ops == ("subtract", "multiply") and count % 2 == 0 and all(view.dtype == "bfloat16" for view in views)
    return count * (1 if single else 2)


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
    return _on(Engine.GPSIMD, _free(operand))


def _rule(formula: str, price: PriceRule, work: WorkRule, source: str = ISA_COSTS, **facts: Any) -> CostRule:
    documented = frozenset(facts.pop("documented", _MEASURED_ERA))
    return CostRule(formula=formula, source=source, price=price, work=work, documented=documented, **facts)


_ALL: Final = (_V2, _V3, _V4)
_MODES: Final = f"{ISA_COSTS}; performance modes of {GUIDES}"

_TENSOR: Final[dict[str, CostRule]] = {
    "nc_matmul": _rule(
        "max(min(64, N stationary), N moving); fp32 x4, x2 from v3 on for transposes and 0/1 operands; tiles overlap",
        matmul_cost.price_matmul,
        matmul_cost.matmul_work,
        f"{ISA_COSTS}; {GUIDES}: FP8 double-row, transpose mode, array tiling",
        kind="matmul",
        documented=_ALL,
    ),
    "nc_matmul_mx": _rule(
        "max(min(64, N stationary), N moving) for a contraction of 4 x 128",
        matmul_cost.price_matmul,
        matmul_cost.matmul_work,
        f"{GUIDES}: MX matmul, K = 512 in the time of K = 128",
        kind="matmul",
        documented=(_V4,),
    ),
    "nc_transpose": _rule(
        "Tensor: max(P, min(64, N data)), fp32 as nc_matmul; Vector: max(64, N data)",
        _nc_transpose,
        matmul_cost.transpose_work,
        kind="transpose",
    ),
}

_VECTOR: Final[dict[str, CostRule]] = {
    "tensor_copy": _rule(
        "max(64, N src); N/2 or N/4 in the performance modes", _copy("src"), _nothing, _MODES, kind="move"
    ),
    # The reference halves a 2-byte zero; the value is an immediate, which instructions of one signature need not share.
    "memset": _rule(
        "max(64, N dst)", lambda call: _every_engine(call, call["dst"].free_elements), _nothing, kind="move"
    ),
    "tensor_tensor": _rule(
        "max(64, N dst) with one input in PSUM, or 2-byte floats in SBUF; else max(64, 2 N)",
        _tensor_tensor,
        _operations("dst", extra=1),
        _MODES,
    ),
    "tensor_scalar": _rule(
        "max(64, N data); N/2 or N/4 in the performance modes", _copy("data"), _operations("dst", "op0", "op1"), _MODES
    ),
    "tensor_reduce": _rule(
        "max(64, N data); N/2 when bf16 in and out, and add or maximum",
        _on(Engine.VECTOR, _tensor_reduce),
        _operations("data", extra=1),
    ),
    "tensor_scalar_reduce": _rule(
        "max(64, N data) + 64 when reduce_res is read out",
        _on(Engine.VECTOR, _free("data"), _reads_out),
        _operations("dst", extra=2),
    ),
    "scalar_tensor_tensor": _rule(
        "max(64, 2 N dst); N when all bf16, N even, op0 subtract and op1 multiply",
        _on(Engine.VECTOR, _scalar_tensor_tensor),
        _operations("dst", extra=2),
    ),
    "reciprocal": _rule("max(64, 8 N data)", _on(Engine.VECTOR, _free("data", 8)), _operations("dst", extra=1)),
    "exponential": _rule(
        "max(64, N dst / 4) + 64 when reduce_res is read out",
        _on(Engine.VECTOR, _exponential, _reads_out),
        _operations("dst", extra=2),
        f"{GUIDES}: four times the Scalar Engine's exp",
        documented=(_V4,),
    ),
    "quantize_mx": _rule(
        "max(64, N src / 4)",
        _on(Engine.VECTOR, _quantize_mx),
        _operations("src", extra=1),
        f"{GUIDES}: four elements per partition and cycle",
        documented=(_V4,),
    ),
    "range_select": _rule(
        "max(64, N on_true_tile)",
        _on(Engine.VECTOR, _free("on_true_tile")),
        _operations("dst", extra=3),
        documented=(_V3,),
    ),
    "select_reduce": _rule(
        "max(64, 2 N dst) + 64 when reduce_res is read out",
        _on(Engine.VECTOR, _free("dst", 2), _reads_out),
        _operations("dst", extra=1),
        f"{_NOBODY}; taken as two SBUF inputs of tensor_copy_predicated",
        documented=(),
    ),
}

_SCALAR_AND_GPSIMD: Final[dict[str, CostRule]] = {
    "activation": _rule(
        "max(64, N data) + 64 when reduce_res is read out",
        _on(Engine.SCALAR, _free("data"), _reads_out),
        _operations("data", "reduce_op", extra=1),
    ),
    "activation_reduce": _rule(
        "max(64, N data) + 64", _on(Engine.SCALAR, _free("data"), lambda call: True), _operations("data", extra=2)
    ),
    "iota": _rule("150 + N dst", _gpsimd_only("dst"), _operations("dst", extra=1)),
    "affine_select": _rule("150 + N on_true_tile", _gpsimd_only("on_true_tile"), _operations("dst", extra=1)),
}

_MOVES: Final[dict[str, CostRule]] = {
    "dma_copy": _rule(
        "descriptors x max(35 ns, bytes / (rate x max(0.42, curve))) on each DMA engine",
        dma_cost.price_copy,
        _nothing,
        f"{DMA_GUIDE}; {DMA_OVERVIEW}",
        kind="move",
        documented=_ALL,
    ),
    "dma_transpose": _rule(
        "as dma_copy, at 0.9 of its rate from HBM and 0.5 from SBUF",
        dma_cost.price_transpose,
        _nothing,
        f"{GUIDES}: DMA transpose, at best",
        kind="transpose",
        documented=(_V3,),
    ),
    **{
        name: _rule("64", _sequencer, _nothing, f"{_NOBODY}; one initiation interval", kind="move", documented=())
        for name in ("register_move", "register_load", "register_store")
    },
    "device_print": _rule(
        "0", lambda call: Price(0.0), _nothing, "a debugging aid of the host", kind="move", documented=_ALL
    ),
}

RULES: Final[Mapping[str, CostRule]] = MappingProxyType(_TENSOR | _VECTOR | _SCALAR_AND_GPSIMD | _MOVES)
"""The cost rule of every opcode that has a price."""
