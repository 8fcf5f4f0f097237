"""Cost rule of dma_compute: a transfer of its sources at the rate of the DMA engines' arithmetic."""

from __future__ import annotations

from math import ceil, gcd
from typing import Any, Final

from trnlab.emulator.isa.dma_compute import sources
from trnlab.emulator.isa.registry import Call
from trnlab.emulator.memory import HBM_REGIONS, MemoryRegion
from trnlab.emulator.target.facts import GUIDES
from trnlab.emulator.target.features import Generation
from trnlab.emulator.timing.cost_terms import CostRule, Price, Transfer
from trnlab.emulator.timing.dma_cost import contiguous_elements, descriptor_seconds, queue_interval_seconds
from trnlab.emulator.timing.rule_parts import rule

_COMPUTE_RATE: Final = 0.5
"""Of the copy rate: the DMA engines' own arithmetic (AWS Trainium3 guide, SBUF read-add-write, before v4)."""


def _adds_near_memory(call: Call) -> bool:
    """Whether SBUF adds what a copy brings: tile += source, both bfloat16 or both float32."""
    dtypes = {view.dtype for view in (call["dst"], *sources(call))}
    in_sbuf = call["dst"].region is MemoryRegion.sbuf
    return bool(call.attributes["in_place"]) and in_sbuf and dtypes in ({"bfloat16"}, {"float32"})


def _price(call: Call) -> Price:
    """Descriptors for every source but the one that stays in place, at the rate of what adds them."""
    target, given = call.target, sources(call)
    near = _adds_near_memory(call)
    views = [call["dst"], *given]
    itemsize = max(view.dtype.itemsize for view in views)
    run = gcd(*(contiguous_elements(view) for view in views)) * itemsize
    operand = next((view for view in views if view.region not in HBM_REGIONS), None)
    partitions = 1 if operand is None else operand.partitions
    moved = max(1, len(given) - bool(call.attributes["in_place"]))
    factor = target.dma_accumulate_rate_factor if near else _COMPUTE_RATE
    transfer = Transfer(
        operand="" if operand is None else operand.name,
        partitions=partitions,
        descriptors=ceil(moved * call["dst"].elements * itemsize / (partitions * run)),
        descriptor_bytes=run,
        descriptor_seconds=descriptor_seconds(run, target, factor),
        overhead_seconds=target.dma_transfer_overhead_ns * 1e-9,
        queue_interval_seconds=queue_interval_seconds(run, target),
    )
    return Price(0.0, assumed=not near, transfer=transfer)


def _work(call: Call) -> dict[str, Any]:
    return {"elementwise_operations": call["dst"].elements * (len(sources(call)) - 1)}


DMA_COMPUTE: Final[dict[str, CostRule]] = {
    "dma_compute": rule(
        "as dma_copy of each source but dst itself, at half its rate; tile += bf16 or fp32 at the full rate from v4 on",
        _price,
        _work,
        f"{GUIDES}: SBUF read-add-write; assumed for other forms than tile += source",
        documented=(Generation.V2, Generation.V3, Generation.V4),
    ),
}
"""The cost rule of `isa.dma_compute`."""
