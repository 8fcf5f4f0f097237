"""Memory ports that engines share: which of them an instruction holds for as long as it runs.

    NeuronCore-v2   Vector and GpSimd Engine take turns at SBUF, Vector and Scalar Engine at PSUM
    NeuronCore-v3   a Vector instruction in a performance mode and a GpSimd instruction take turns at the bus that they
    and later       share; Vector and Scalar Engine take turns at one bank of PSUM

(AWS architecture guides for Trainium/Inferentia2 and Trainium2.) The guides say that these accesses are serialised, or
arbitrated, not how finely: whole instructions is an assumption. GpSimd's writing of a transfer's descriptors is one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from trnlab.emulator.memory import MemoryRegion
from trnlab.emulator.program import IndexArray, Program, Signature
from trnlab.emulator.target import Engine, Feature, Target
from trnlab.emulator.timing.cost import Cost

SBUF_PORT: Final = 0
"""Of Vector and GpSimd Engine: SBUF on v2, the bus of the performance modes from v3 on."""
PSUM_PORT: Final = 1
"""Of Vector and Scalar Engine, v2 only."""
FIRST_BANK: Final = 2
"""PSUM bank i is port FIRST_BANK + i, v3 on."""

_AT_SBUF: Final = (Engine.VECTOR, Engine.GPSIMD)
_AT_PSUM: Final = (Engine.VECTOR, Engine.SCALAR)

Ports = tuple[int, ...]


def touches(signature: Signature, region: MemoryRegion) -> bool:
    """Whether an operand lies in the memory."""
    return any(operand.region is region for operand in signature.operands)


def sbuf_ports(signature: Signature, cost: Cost, target: Target) -> Ports:
    """The SBUF port, when the instruction holds it; GpSimd writes descriptors to SBUF (AWS Trainium2 guide, DGE)."""
    if _is_written(cost):
        return (SBUF_PORT,)
    if cost.engine not in _AT_SBUF or not touches(signature, MemoryRegion.sbuf):
        return ()
    alone = target.has(Feature.VECTOR_GPSIMD_SHARE_SBUF)
    return () if alone and cost.engine is Engine.VECTOR and not cost.fast else (SBUF_PORT,)


def engines_used(costs: Sequence[Cost]) -> set[Engine]:
    """The engines that instructions occupy; GpSimd's also where it only writes the descriptors of transfers."""
    written = {Engine.GPSIMD for cost in costs if _is_written(cost)}
    return written | {cost.engine for cost in costs}


def _is_written(cost: Cost) -> bool:
    return cost.transfer is not None and cost.transfer.generation == "software"


def holds_psum(signature: Signature, cost: Cost) -> bool:
    """Whether the instruction takes turns with others at PSUM."""
    return cost.engine in _AT_PSUM and touches(signature, MemoryRegion.psum)


def ports_of(
    program: Program, target: Target, costs: Sequence[Cost], steps: IndexArray, banks: dict[int, range]
) -> list[Ports]:
    """The ports of every step; both kinds only where two engines of the program meet at them."""
    used = engines_used(costs)
    pairs = zip(program.signatures, costs, strict=True)
    fixed = [sbuf_ports(signature, cost, target) if used >= set(_AT_SBUF) else () for signature, cost in pairs]
    at_psum = [holds_psum(signature, cost) for signature, cost in zip(program.signatures, costs, strict=True)]
    meet = {cost.engine for cost, holds in zip(costs, at_psum, strict=True) if holds} >= set(_AT_PSUM)
    ids = program.signature_ids[steps].tolist()
    if not meet:
        return [fixed[name] for name in ids]
    if not target.has(Feature.VECTOR_SCALAR_SHARE_PSUM):
        whole = [ports + (PSUM_PORT,) * holds for ports, holds in zip(fixed, at_psum, strict=True)]
        return [whole[name] for name in ids]
    return [
        fixed[name] + _banks(program, int(steps[place]), banks) if at_psum[name] else fixed[name]
        for place, name in enumerate(ids)
    ]


def _banks(program: Program, number: int, banks: dict[int, range]) -> Ports:
    """The banks of an instruction's PSUM operands."""
    found: dict[int, None] = {}
    for operand, (buffer, _) in zip(program.signature_of(number).operands, program.row(number).tolist(), strict=True):
        if operand.region is MemoryRegion.psum:
            found.update(dict.fromkeys(banks.get(buffer, ())))
    return tuple(FIRST_BANK + bank for bank in found)
