"""The price of instructions: `cost_of(call)` for one, `signature_costs(program, target)` for a program's.

A program repeats few signatures, so pricing it takes as long as pricing those. An opcode without a rule is an error.
Tensor cycles are those of the clock that the engine sustains (`Target.tensor_sustained_clock_factor`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Final

from trnlab.emulator.errors import CostError
from trnlab.emulator.isa.registry import Call
from trnlab.emulator.isa.tensor_indirection import columns
from trnlab.emulator.isa.validate import call_of
from trnlab.emulator.memory import MemoryRegion
from trnlab.emulator.program import Program
from trnlab.emulator.target import Engine, Target
from trnlab.emulator.timing.cost_rules import RULES
from trnlab.emulator.timing.cost_terms import ArrayTile, Cost, CostRule, Price, Transfer, Work, WorkKind
from trnlab.emulator.timing.data_path import has_run_time_address, in_performance_mode

__all__ = [
    "RULES",
    "ArrayTile",
    "Cost",
    "CostRule",
    "Price",
    "Transfer",
    "Work",
    "WorkKind",
    "cost_of",
    "rule_of",
    "signature_costs",
]

_MEMORY_NAMES = {
    MemoryRegion.private_hbm: "hbm",
    MemoryRegion.shared_hbm: "hbm",
    MemoryRegion.sbuf: "sbuf",
    MemoryRegion.psum: "psum",
}
# A table holds a set of functions. AWS's page on NEFF files names four sets, as "natural_log_exp_and_others" and
# "reciprocal_and_small", and lists none; what takes no interpolation is assumed to be in all.
_IN_EVERY_TABLE: Final = frozenset({"copy", "identity", "square", "abs", "sign", "relu"})
_TABLES: Final[Mapping[str, str]] = MappingProxyType({"exp": "exp and log", "log": "exp and log"})


def rule_of(opcode: str) -> CostRule:
    """The cost rule of an opcode.

    Raises:
        CostError: there is none.
    """
    if opcode not in RULES:
        raise CostError(f"nisa.{opcode}", "no cost rule", f"one of {', '.join(sorted(RULES))}")
    return RULES[opcode]


def cost_of(call: Call) -> Cost:
    """What one call takes and does on its target and engine.

    Raises:
        CostError: the opcode has no rule, or the rule has no price for this engine or generation.
    """
    rule = rule_of(call.opcode)
    price, target = rule.price(call), call.target
    engine = call.engine or Engine.DMA
    work = Work(**rule.work(call), **_traffic(call), **_transferred(price))
    seconds = _engine_seconds(price.cycles, price, engine, target)
    beyond = price.assumed or bool(columns(call)) or (price.transfer is None and _addressed_beyond_copies(call))
    latency, chain = _latencies(price, engine, target)
    return Cost(
        opcode=call.opcode,
        engine=engine,
        cycles=price.cycles,
        seconds=seconds,
        latency_seconds=latency,
        chain_seconds=chain,
        kind="transpose" if call.attributes.get("is_transpose") else rule.kind,
        work=work,
        formula=rule.formula,
        source=rule.source,
        assumed=beyond or rule.assumed_on(target),
        band=rule.band_on(target, beyond),
        table=_table(call),
        load_seconds=_engine_seconds(price.load, price, engine, target),
        fast=in_performance_mode(call),
        tile=price.tile,
        transfer=price.transfer,
    )


def signature_costs(program: Program, target: Target) -> tuple[Cost, ...]:
    """The cost of each of the program's signatures on a target, which need not be the one it was traced for."""
    return tuple(cost_of(_with_value(program, number, target)) for number in range(len(program.signatures)))


def _with_value(program: Program, number: int, target: Target) -> Call:
    """The call of a signature; of memset with the value as an attribute when all its instructions write the same."""
    call = call_of(program.signatures[number], target)
    if call.opcode != "memset":
        return call
    places = program.immediate_starts[:-1][program.signature_ids == number]
    values = {float(value) for value in program.immediates[places]}
    tables = [table for repeat in program.repeats for table in repeat.immediates]
    if len(values) != 1 or {table.number for table in tables} & set(places.tolist()):
        return call
    return replace(call, attributes={**call.attributes, "value": values.pop()})


def _addressed_beyond_copies(call: Call) -> bool:
    """Whether it has a run-time address; the reference prints the interval of those for copies alone."""
    return has_run_time_address(call) and call.opcode != "tensor_copy"


def _engine_seconds(cycles: float, price: Price, engine: Engine, target: Target) -> float:
    if price.transfer is not None or not cycles:
        return 0.0
    sustained = target.tensor_sustained_clock_factor if engine is Engine.TENSOR else 1.0
    return cycles / (target.clock_hz(engine) * sustained)


def _latencies(price: Price, engine: Engine, target: Target) -> tuple[float, float]:
    """Seconds until other engines see the result, and until this engine can use it.

    Every engine pays the start-up of a memory access, the Tensor Engine its own start and the filling and draining of
    its array as well. The Scalar Engine takes N + 350 cycles alone (v3; N + 264 on v2), less in a pipeline: the
    difference is latency, for itself too.
    Accumulating matmuls and dependent Vector instructions pay no more than their static overhead. The latency of a
    transfer counts from its last byte, so what its engines spend on it afterwards is part of it.
    """
    if price.transfer is not None:
        latency = max(0.0, target.dma_completion_latency_ns * 1e-9 - price.transfer.overhead_seconds)
        return latency, latency
    if not price.cycles:
        return 0.0, 0.0
    if engine is Engine.SCALAR:
        latency = max(0.0, target.scalar_dependent_latency_cycles - price.padding) / target.clock_hz(engine)
        return latency, latency
    cycles = target.access_latency_cycles
    if engine is Engine.TENSOR:
        cycles += target.tensor_start_cycles + target.tensor_fill_and_drain_cycles
    return cycles / target.clock_hz(engine), 0.0


def _traffic(call: Call) -> dict[str, Any]:
    """Bytes read and written by memory."""
    totals: dict[str, int] = {}
    for view in call.operands.values():
        memory = _MEMORY_NAMES.get(view.region)
        if memory is None:
            continue
        nbytes = view.elements * view.dtype.itemsize
        for way, counts in (("read", view.access != "write"), ("write", view.access != "read")):
            if counts:
                key = f"{memory}_{way}_bytes"
                totals[key] = totals.get(key, 0) + nbytes
    return totals


def _transferred(price: Price) -> dict[str, Any]:
    transfer = price.transfer
    if transfer is None:
        return {}
    descriptors = transfer.partitions * transfer.descriptors
    return {"dma_bytes": descriptors * transfer.descriptor_bytes, "dma_descriptors": descriptors}


def _table(call: Call) -> str:
    """The activation table that a call needs, named after its functions; "" when any will do."""
    name = call.attributes.get("op") if call.opcode in ("activation", "activation_reduce", "activate2") else None
    return "" if name is None or name in _IN_EVERY_TABLE else _TABLES.get(str(name), str(name))
