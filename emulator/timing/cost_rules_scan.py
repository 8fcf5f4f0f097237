"""Cost rules of scans, statistics, predicated copies, the fold over partitions, and activate2."""

from __future__ import annotations

from typing import Any, Final

from trnlab.emulator.isa.registry import Call
from trnlab.emulator.memory import MemoryRegion
from trnlab.emulator.target import Engine
from trnlab.emulator.timing.cost_terms import CostRule
from trnlab.emulator.timing.rule_parts import NOBODY, free, no_work, on, operations, reads_out, rule

_AGGREGATION: Final = 13 / 3
"""Cycles for each element that bn_aggr reads: 13 for each triple."""


def _predicated(call: Call) -> float:
    """One pass where an input is in PSUM, or where there is one input only; two where both are in SBUF."""
    inputs = call.present("src", "predicate")
    in_sbuf = all(view.region is MemoryRegion.sbuf for view in inputs)
    return call["dst"].free_elements * (2 if in_sbuf and len(inputs) == 2 else 1)


def _has_one_input(call: Call) -> bool:
    return "src" not in call


def _pipeline(call: Call) -> dict[str, Any]:
    """The function, the stages that are not bypassed, and the reduction."""
    stages = sum(call.attributes[name] != "bypass" for name in ("op0", "op1"))
    reduces = call.attributes["reduce_cmd"] in ("reduce", "reset_reduce")
    return {"elementwise_operations": call["data"].elements * (1 + stages + reduces)}


SCAN: Final[dict[str, CostRule]] = {
    "tensor_tensor_scan": rule("max(64, 2 N dst)", on(Engine.VECTOR, free("dst", 2)), operations("dst", "op0", "op1")),
    "tensor_scalar_cumulative": rule(
        "max(64, 2 N dst)",
        on(Engine.VECTOR, free("dst", 2)),
        operations("dst", "op0", "op1"),
        f"{NOBODY}; priced as tensor_tensor_scan is",
        documented=(),
    ),
    "bn_stats": rule("max(64, N data)", on(Engine.VECTOR, free("data")), operations("data", extra=4)),
    "bn_aggr": rule(
        "max(64, 13 N data / 3)", on(Engine.VECTOR, free("data", _AGGREGATION)), operations("data", extra=2)
    ),
    "tensor_copy_predicated": rule(
        "max(64, N dst) with src or predicate in PSUM, or a number as src; max(64, 2 N dst) with both in SBUF",
        on(Engine.VECTOR, _predicated, assumed=_has_one_input),
        no_work,
        kind="move",
    ),
    "tensor_partition_reduce": rule(
        "150 + N data",
        on(Engine.GPSIMD, free("data")),
        operations("data", extra=1),
        f"{NOBODY}; priced as iota is",
        documented=(),
    ),
    "activate2": rule(
        "max(64, N data) + 64 when reduce_res is read out",
        on(Engine.SCALAR, free("data"), reads_out),
        _pipeline,
        f"{NOBODY}; priced as activation is",
        documented=(),
    ),
}
"""The cost rule of every opcode of `isa.scan`, `isa.statistics`, `isa.partition_reduce` and `isa.activate2`, and of
tensor_copy_predicated."""
