"""What would make a kernel faster, worst first: rules that play the timeline again without the thing they object to.

A rule has a condition, which is cheap, and a remedy, which is a change of prices or of the target. Its gain is the time
that the remedy saves in this model: the most that curing the cause can bring, since no cure is free.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from trnlab.emulator.memory import HBM_REGIONS
from trnlab.emulator.target import Engine, Fact
from trnlab.emulator.target.facts import DGE_GUIDE, OPTIMIZATION_TUTORIAL, SMALL_TRANSFERS
from trnlab.emulator.timing.cost import Cost
from trnlab.emulator.timing.dma_cost import descriptor_seconds
from trnlab.emulator.timing.insight.signatures import source_lines
from trnlab.emulator.timing.insight.transfers import SOURCE as DMA_SIZES, grade_of
from trnlab.emulator.timing.insight.what_if import less_traffic, scaled_transfer, seconds_if

if TYPE_CHECKING:
    from trnlab.emulator.timing.timeline import Timeline

SHOWN_LINES: Final = 5
_LEAST_GAIN: Final = 0.01
"""Fraction of the total time below which a gain is not worth a line (assumed)."""
_LARGE: Final = 4096
"""Bytes of a descriptor that the advice on small ones asks for."""

_PERFORMANCE_GUIDE: Final = "AWS NKI performance guide"
_EXPLORER: Final = "AWS Neuron Explorer, summary recommendations"
_DMA_OVERVIEW: Final = "AWS NKI DMA overview"


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """One finding: what was seen, what to do, how many seconds its cause costs at most, where, and the rule's source.

    rule: its short name, stable for tests and tools
    """

    rule: str
    found: str
    remedy: str
    gain_seconds: float
    gain_percent: float
    lines: tuple[str, ...]
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rule:
    """applies: which costs the rule objects to; price: what they would be without their fault."""

    name: str
    found: str
    remedy: str
    source: str
    applies: Callable[[Cost, Timeline], bool]
    price: Callable[[Cost, Timeline], Cost]
    least_share: float = 0.0


def _is_small(cost: Cost, _: Timeline) -> bool:
    return cost.transfer is not None and grade_of(cost.transfer.descriptor_bytes) in ("very poor", "below peak")


def _at_full_rate(cost: Cost, timeline: Timeline) -> Cost:
    """Its bytes as part of a transfer of 128 descriptors of 4 KiB: by the engines' time, and by that of its queue."""
    transfer, target = cost.transfer, timeline.target
    assert transfer is not None
    ideal = transfer.descriptor_bytes / _LARGE * descriptor_seconds(_LARGE, target)
    descriptors = transfer.partitions * transfer.descriptors
    part = min(1.0, descriptors * transfer.descriptor_bytes / (target.partitions * _LARGE))
    interval = descriptors * transfer.descriptor_bytes / target.dma_bytes_per_second_per_core
    faster = replace(
        transfer,
        descriptor_seconds=min(ideal, transfer.descriptor_seconds),
        overhead_seconds=part * transfer.overhead_seconds,
        generating_seconds=part * transfer.generating_seconds,
        queue_interval_seconds=min(interval, transfer.queue_interval_seconds),
    )
    return replace(cost, transfer=faster)


def _waits_for_descriptors(cost: Cost, _: Timeline) -> bool:
    return cost.transfer is not None and cost.transfer.generation == "compiler"


def _with_descriptors(cost: Cost, _: Timeline) -> Cost:
    assert cost.transfer is not None
    return replace(cost, transfer=replace(cost.transfer, generating_seconds=0.0))


def _engines_used(cost: Cost, timeline: Timeline) -> int:
    return 0 if cost.transfer is None else len(cost.transfer.descriptors_per_engine(0, timeline.target))


def _is_narrow(cost: Cost, timeline: Timeline) -> bool:
    return 0 < _engines_used(cost, timeline) <= timeline.target.dma_engines // 2


def _spread(cost: Cost, timeline: Timeline) -> Cost:
    return scaled_transfer(cost, _engines_used(cost, timeline) / timeline.target.dma_engines)


def _is_tensor_transpose(cost: Cost, _: Timeline) -> bool:
    return cost.engine is Engine.TENSOR and cost.kind == "transpose"


def _free(cost: Cost, _: Timeline) -> Cost:
    return replace(cost, seconds=0.0, cycles=0.0)


def _multiplies_float32(cost: Cost, _: Timeline) -> bool:
    return cost.kind == "matmul" and cost.work.matmul_flops.get("fp32", 0) > 0


def _at_two_byte_rate(cost: Cost, timeline: Timeline) -> Cost:
    target = timeline.target
    factor = target.tensor_fp32_flops_per_second / target.tensor_bf16_flops_per_second
    return replace(cost, seconds=cost.seconds * factor, cycles=cost.cycles * factor)


def _peak_seconds(cost: Cost, timeline: Timeline) -> float:
    rates = cost.work.matmul_flops
    return sum(flops / timeline.target.matmul_flops_per_second(rate) for rate, flops in rates.items())


def _wastes_array(cost: Cost, timeline: Timeline) -> bool:
    share = cost.tile.share if cost.tile else 1.0
    return cost.kind == "matmul" and 0 < _peak_seconds(cost, timeline) < 0.9 * cost.seconds * share


def _at_peak(cost: Cost, timeline: Timeline) -> Cost:
    factor = _peak_seconds(cost, timeline) / (cost.seconds * (cost.tile.share if cost.tile else 1.0))
    return replace(cost, seconds=cost.seconds * factor, cycles=cost.cycles * factor)


_RULES: Final = (
    _Rule(
        name="small-dma",
        found="{share:.0%} of the DMA time goes into descriptors below 2 KiB",
        remedy="move at least 2 KiB contiguous bytes per partition in one dma_copy, better 4 KiB",
        source=DMA_SIZES,
        applies=_is_small,
        price=_at_full_rate,
    ),
    _Rule(
        name="descriptor-generation",
        found="{share:.0%} of the DMA time goes into transfers whose descriptors one generator makes, each in its turn",
        remedy="move more in one dma_copy, or ask for dge_mode.none, or for hwdge by two engines in turn",
        source=f"{DGE_GUIDE}; {OPTIMIZATION_TUTORIAL}; {SMALL_TRANSFERS}",
        applies=_waits_for_descriptors,
        price=_with_descriptors,
    ),
    _Rule(
        name="few-dma-engines",
        found="{share:.0%} of the DMA time goes into transfers that use at most half of the DMA engines",
        remedy="spread a transfer over all 128 partitions: each DMA engine serves eight neighbouring ones",
        source=_DMA_OVERVIEW,
        applies=_is_narrow,
        price=_spread,
    ),
    _Rule(
        name="tensor-transposes",
        found="{share:.0%} of the Tensor Engine's time goes into transposes",
        remedy="load transposed (dma_transpose), transpose on the Vector Engine, or lay the operand out transposed",
        source=_EXPLORER,
        applies=_is_tensor_transpose,
        price=_free,
        least_share=0.1,
    ),
    _Rule(
        name="float32-matmul",
        found="{share:.0%} of the Tensor Engine's time goes into float32 matmuls, four passes each",
        remedy="cast the operands to bfloat16, or use tfloat32, where the accuracy allows",
        source="AWS NKI reference 2.26, nki.isa.nc_matmul, cost",
        applies=_multiplies_float32,
        price=_at_two_byte_rate,
    ),
    _Rule(
        name="array-underused",
        found="{share:.0%} of the Tensor Engine's time goes into matmuls that fill less than 90 % of the array",
        remedy="use 128 contraction rows, 128 stationary columns and 512 moving columns, or tile the array",
        source=f"{_PERFORMANCE_GUIDE}, Tensor Engine",
        applies=_wastes_array,
        price=_at_peak,
    ),
)


def advice(timeline: Timeline) -> tuple[Advice, ...]:
    """Every rule that objects to something worth at least one percent of the total time, largest gain first."""
    found = [_by_price(rule, timeline) for rule in _RULES]
    found += [_repeated_loads(timeline), *_by_target(timeline)]
    worth = [item for item in found if item is not None and item.gain_percent >= 100 * _LEAST_GAIN]
    return tuple(sorted(worth, key=lambda item: -item.gain_seconds))


def _occupied(cost: Cost) -> float:
    if cost.transfer is not None:
        return cost.transfer.packet_seconds
    return cost.seconds * (cost.tile.share if cost.tile else 1.0)


def _by_price(rule: _Rule, timeline: Timeline) -> Advice | None:
    counts = timeline.executions
    hit = [bool(times) and rule.applies(cost, timeline) for cost, times in zip(timeline.costs, counts, strict=True)]
    if not any(hit):
        return None
    engine = timeline.costs[hit.index(True)].engine
    occupied = [times * _occupied(cost) for cost, times in zip(timeline.costs, counts, strict=True)]
    all_of_it = sum(time for cost, time in zip(timeline.costs, occupied, strict=True) if cost.engine is engine)
    share = sum(time for time, is_hit in zip(occupied, hit, strict=True) if is_hit) / (all_of_it or 1.0)
    if share < rule.least_share:
        return None
    seconds = seconds_if(timeline, lambda c: rule.price(c, timeline) if rule.applies(c, timeline) else c)
    places = source_lines(timeline)
    lines = dict.fromkeys(line for number, is_hit in enumerate(hit) if is_hit for line in places[number])
    return _advice(timeline, rule.name, rule.found.format(share=share), rule.remedy, seconds, rule.source, tuple(lines))


def _advice(
    timeline: Timeline, rule: str, found: str, remedy: str, seconds: float, source: str, lines: tuple[str, ...] = ()
) -> Advice:
    gain = timeline.total_seconds - seconds
    return Advice(
        rule=rule,
        found=found,
        remedy=remedy,
        gain_seconds=gain,
        gain_percent=100 * gain / (timeline.total_seconds or 1.0),
        lines=lines[:SHOWN_LINES],
        source=source,
    )


# -- loading the same bytes again ------------------------------------------------------------------------------------


def _repeated_loads(timeline: Timeline) -> Advice | None:
    """HBM reads beyond once each byte of the tensors that are read."""
    program = timeline.program
    sizes = {buffer.number: buffer.nbytes for buffer in program.buffers if buffer.region in HBM_REGIONS}
    counts, starts = np.bincount(timeline.steps, minlength=len(program)), program.operand_starts
    reads, read_buffers, loads = 0, set[int](), set[int]()
    for name, signature in enumerate(program.signatures):
        positions = [p for p, o in enumerate(signature.operands) if o.reads and o.region in HBM_REGIONS]
        if timeline.costs[name].transfer is None or not positions:
            continue
        numbers = np.flatnonzero(program.signature_ids == name)
        reads += int(counts[numbers].sum()) * timeline.costs[name].work.hbm_read_bytes
        for position in positions:
            read_buffers.update(np.unique(program.operands[starts[numbers] + position, 0]).tolist())
        loads.add(name)
    once = sum(sizes[number] for number in read_buffers)
    if not once or reads <= 1.1 * once:
        return None
    objected = {id(timeline.costs[name]) for name in loads}
    seconds = seconds_if(timeline, lambda c: less_traffic(c, once / reads) if id(c) in objected else c)
    places = source_lines(timeline)
    lines = dict.fromkeys(line for name in sorted(loads) for line in places[name])
    found = (
        f"{reads / 2**20:.1f} MiB are read from HBM out of tensors of {once / 2**20:.1f} MiB: {reads / once:.1f} times"
    )
    remedy = "keep tiles in SBUF across iterations (hoist the load, block the loops)"
    source = f"{_PERFORMANCE_GUIDE}, arithmetic intensity"
    return _advice(timeline, "repeated-loads", found, remedy, seconds, source, tuple(lines))


# -- latencies of the target -----------------------------------------------------------------------------------------

_LATENCIES: Final = (
    (
        "dma-latency",
        ("dma_start_latency_ns", "dma_completion_latency_ns"),
        "the kernel waits for the latency of DMA transfers",
        "start loads earlier: allocate tiles inside the loop so that two or more are in flight (double buffering)",
        "AWS NKI DMA bandwidth guide, latency",
    ),
    (
        "table-loads",
        ("activation_table_load_seconds",),
        "the Scalar Engine reloads activation tables",
        "group activations of one function, or use a function of the table that is loaded",
        "AWS NKI DMA overview, profile figures (Trainium2)",
    ),
    (
        "semaphores",
        ("semaphore_latency_ns", "access_latency_cycles"),
        "engines wait for one another in turn",
        "give each engine independent work: interleave tiles, so that one is computed while the next is prepared",
        _PERFORMANCE_GUIDE,
    ),
)


def _by_target(timeline: Timeline) -> list[Advice]:
    found = []
    for rule, names, seen, remedy, source in _LATENCIES:
        facts = {name: _zero(timeline.target.provenance[name]) for name in names}
        target = timeline.target.with_facts(f"{timeline.target.variant}, without {rule}", **facts)
        seconds = seconds_if(timeline, target=target) + (_ends(timeline) if rule == "dma-latency" else 0.0)
        found.append(_advice(timeline, rule, seen, remedy, seconds, source))
    return found


def _ends(timeline: Timeline) -> float:
    """What no buffering hides: the latencies of the first load and of the last store, where there are any."""
    target, used = timeline.target, [cost.work for cost in timeline.costs if cost.transfer is not None]
    ends = any(work.hbm_read_bytes for work in used) + any(work.hbm_write_bytes for work in used)
    completion = target.dma_completion_latency_ns - target.dma_transfer_overhead_ns  # the rest is the engines' time
    return ends * 1e-9 * (target.dma_start_latency_ns + max(0.0, completion))


def _zero(fact: Fact) -> Fact:
    return replace(fact, value=0.0, low=None, high=None)
