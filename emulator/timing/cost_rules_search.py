"""Cost rules of the instructions that search, find positions, gather and shuffle."""

from __future__ import annotations

from typing import Any, Final

from trnlab.emulator.isa.registry import Call
from trnlab.emulator.target import Engine, Generation
from trnlab.emulator.target.facts import ISA, ISA_COSTS
from trnlab.emulator.timing.cost_terms import CostRule, Price
from trnlab.emulator.timing.rule_parts import NOBODY, free, no_work, on, operations, rule

_PIECE: Final = 512  # elements of one hardware instruction of nc_n_gather (NKI reference, nisa.nc_n_gather)


def _topk(call: Call) -> Price:
    return Price(4.0 * call.attributes["n"] + call["val_dst"].free_elements)


def _topk_work(call: Call) -> dict[str, Any]:
    groups = call["src"].partitions // 16
    return {"elementwise_operations": groups * call.attributes["n"]}


def _local_gather(call: Call) -> float:
    run, count = call.attributes["num_elem_per_idx"], call.attributes["num_valid_indices"]
    per_element = (28 + 4 * run) / (4 * run) / min(4 / call["src_buffer"].dtype.itemsize, run)
    return float(count * run * per_element)


def _nc_n_gather(call: Call) -> float:
    elements = call["dst"].free_elements
    return elements + (-(-elements // _PIECE) - 1) * call.target.gpsimd_start_cycles


def _vector(operand: str, source: str = ISA_COSTS) -> CostRule:
    price = on(Engine.VECTOR, free(operand))
    return rule(f"max(64, N {operand})", price, operations(operand, extra=1), source)


def _gpsimd(operand: str) -> CostRule:
    price, work = on(Engine.GPSIMD, free(operand)), operations(operand, extra=1)
    return rule(f"150 + N {operand}", price, work, f"{NOBODY}; priced as iota is", documented=())


SEARCH: Final[dict[str, CostRule]] = {
    "max8": _vector("src"),
    "nc_find_index8": _vector("data"),
    "nc_match_replace8": _vector("data", f"{ISA_COSTS}, which prints min(64, N)"),
    "topk": rule(
        "4 n + K", _topk, _topk_work, f"{ISA}, nisa.topk", documented=(Generation.V2, Generation.V3, Generation.V4)
    ),
    "nonzero_with_count": _gpsimd("src"),
    "sequence_bounds": _gpsimd("segment_ids"),
    "local_gather": rule(
        "150 + num_valid_indices E C, C = (28 + 4 E) / (4 E) / min(4 / bytes of an element, E), E = num_elem_per_idx",
        on(Engine.GPSIMD, _local_gather),
        no_work,
        f"assumed: {ISA_COSTS}, prints a division by C, with which longer runs would cost more for each element",
        kind="move",
        documented=(),
    ),
    "nc_n_gather": rule(
        "150 ceil(N dst / 512) + N dst",
        on(Engine.GPSIMD, _nc_n_gather),
        no_work,
        f"{NOBODY}; one start for each of the ceil(N / 512) instructions that the reference counts",
        kind="move",
        documented=(),
    ),
    "nc_stream_shuffle": rule("max(64, N src)", on(Engine.VECTOR, free("src")), no_work, kind="move"),
}
"""The cost rule of every opcode of `isa.search`, `isa.positions` and `isa.gather`."""
