"""DMA transfers: from access patterns to descriptors, and from descriptors to time.

Two rules that together follow the published throughput curve (`DMA_EFFICIENCY_CURVE`), exactly on v2 and within 6 % on
v3 and v4, and hold beside other queues:

1. One DMA engine spends max(m, b / (rate * max(floor, curve(b))) + d) on a descriptor of b contiguous bytes, and up to
   t more on its part of a transfer. v2: m = 35 ns, floor 0.42, d = t = 0; 0.42 is the curve at 1 KiB: below, the curve
   shows one stream of small transfers on one queue, not an engine's limit. v3: floor 1, m = 16, d = 5, t = 90 ns;
   published profiles print the time of all descriptors, and the curve's loss is not there but between transfers.
2. Transfers of one queue start no closer than 128 descriptors take by the curve itself, all engines together, of at
   most 1 KiB each. Where the curve is below 0.42 this is the longer time; above, the engines' own time takes over.

Rates are the effective ones of AWS's DMA bandwidth guide; all else is derived or assumed (see `Target.provenance`).

Descriptors that the device makes keep a generator busy: 600 ns of one of two hardware generators, or the GpSimd Engine,
whose own instructions wait meanwhile; a transfer's data follow its first descriptors, not its last (assumed).
Where the kernel leaves the choice to the compiler, gathers take software (AWS DGE reference) and run-time addresses
hardware where there is any (assumed). Copies of static addresses take descriptors made before the run on v2; from v3 on
one generator for all of a core, 485 ns and 0.9 ns a descriptor: profiles of AWS's kernel optimization tutorial count
dynamic packets alone, none of the hardware's, and version 2 takes 604 ns a transfer whatever its size.
"""

from __future__ import annotations

from itertools import takewhile
from math import ceil, gcd, prod
from typing import Final

import numpy as np

from trnlab.emulator.errors import CostError
from trnlab.emulator.isa.registry import Call, OperandView
from trnlab.emulator.memory import HBM_REGIONS, MemoryRegion
from trnlab.emulator.target import DMA_EFFICIENCY_CURVE, Feature, Target
from trnlab.emulator.timing.cost_terms import Price, Transfer

_TRANSPOSE_ROWS: Final = 16  # elements of a result partition that the DMA engines write together

_BYTES: Final = tuple(size for size, _ in DMA_EFFICIENCY_CURVE)
_FRACTIONS: Final = tuple(fraction for _, fraction in DMA_EFFICIENCY_CURVE)


def efficiency(nbytes: float) -> float:
    """Fraction of the DMA plateau at so many bytes per partition: linear between the curve's points, 1 above them.

    Below the first point time is constant, as it is between the first points: the fraction is proportional to bytes.
    """
    if nbytes < _BYTES[0]:
        return _FRACTIONS[0] * nbytes / _BYTES[0]
    return float(np.interp(nbytes, _BYTES, _FRACTIONS))


def descriptor_seconds(nbytes: int, target: Target, factor: float = 1.0) -> float:
    """Time of one DMA engine for a descriptor: max(minimum, bytes / (rate * factor * max(floor, curve)) + overhead)."""
    sustained = max(target.dma_sustained_efficiency_floor, efficiency(nbytes))
    rate = target.dma_bytes_per_second_per_engine * factor * sustained
    return max(target.dma_minimum_descriptor_ns * 1e-9, nbytes / rate + target.dma_descriptor_overhead_ns * 1e-9)


def queue_interval_seconds(nbytes: int, target: Target) -> float:
    """Shortest time between transfers of one queue: 128 descriptors by the curve, of at most 1 KiB each."""
    small = min(nbytes, 1024)
    return target.partitions * small / (target.dma_bytes_per_second_per_core * efficiency(small))


def contiguous_elements(view: OperandView) -> int:
    """Length of the runs of neighbouring elements that the view visits; runs stay inside a partition on chip."""
    fixed = 1 if view.region is MemoryRegion.sbuf or view.indirect else 0
    dims = [(n, s) for n, s in zip(reversed(view.shape[fixed:]), reversed(view.strides[fixed:]), strict=True) if n > 1]
    dense, run = [], 1
    for count, stride in dims:
        dense.append(stride == run)
        run *= count
    return prod(count for (count, _), _ in takewhile(lambda item: item[1], zip(dims, dense, strict=True)))


def generation_of(call: Call) -> str:
    """How the descriptors of a transfer are made; see `Transfer.generation`."""
    mode, queue = call.attributes.get("dge_mode", "unknown"), call.attributes.get("queue")
    kinds = {view.indirect for view in call.operands.values() if view.indirect}
    if mode == "hwdge":
        return f"hardware {queue}" if queue in ("sync", "scalar") else "hardware"
    if mode == "swdge" or "vector" in kinds:
        return "software"
    if mode == "none":
        return "none"
    if not kinds:
        by_default = call.opcode == "dma_copy" and call.target.dma_dynamic_start_ns is not None
        return "compiler" if by_default else "none"
    return "hardware" if call.target.has(Feature.HARDWARE_DGE) else "software"


def _generating_seconds(generation: str, descriptors: int, target: Target) -> float:
    """Time of the generator: 600 ns in hardware; in software GpSimd's start and a cycle per descriptor (assumed)."""
    if generation == "none":
        return 0.0
    if generation == "compiler":
        start, each = target.dma_dynamic_start_ns or 0.0, target.dma_dynamic_descriptor_ns or 0.0
        return (start + each * descriptors) * 1e-9
    if generation.startswith("hardware"):
        return (target.dma_hardware_descriptor_ns or 0.0) * 1e-9
    return (target.gpsimd_start_cycles + descriptors) / target.gpsimd_clock_hz


def transfer_of(call: Call, factor: float = 1.0) -> Transfer:
    """The descriptors of a move from `src` to `dst`: one for each run that is contiguous on both sides.

    Between two HBM tensors a run is cut into pieces of at most 32 KiB, where the curve ends (assumed).
    """
    source, target_view, target = call["src"], call["dst"], call.target
    itemsize = max(source.dtype.itemsize, target_view.dtype.itemsize)
    run = gcd(contiguous_elements(source), contiguous_elements(target_view)) * itemsize
    operand = next((name for name in ("dst", "src") if call[name].region not in HBM_REGIONS), "")
    nbytes = target_view.elements * itemsize
    if not operand:
        run = min(run, _BYTES[-1])
    partitions = call[operand].partitions if operand else 1
    generation, descriptors = generation_of(call), ceil(nbytes / (partitions * run))
    return Transfer(
        operand=operand,
        partitions=partitions,
        descriptors=descriptors,
        descriptor_bytes=run,
        descriptor_seconds=descriptor_seconds(run, target, factor),
        overhead_seconds=target.dma_transfer_overhead_ns * 1e-9,
        queue_interval_seconds=queue_interval_seconds(run, target),
        generation=generation,
        generating_seconds=_generating_seconds(generation, partitions * descriptors, target),
    )


def price_copy(call: Call) -> Price:
    """A move; a cast on the way costs nothing extra (assumed), its bytes are those of the wider side."""
    cast = call["src"].dtype != call["dst"].dtype
    return Price(0.0, assumed=cast, transfer=transfer_of(call))


def price_transpose(call: Call) -> Price:
    """A transposing move: descriptors are the source's rows, at 90 % of the copy rate from HBM and 50 % from SBUF.

    All engines work on one tile together, so neither the length of its rows nor its partitions matter; the rates hold
    for tiles of 128 result partitions by 16 elements, and others take the time of the tile they fill (assumed). They
    are published for 2-byte elements; other sizes are assumed to reach them too. (AWS Trainium2 guide, DMA transpose.)
    What a copy takes for each transfer comes on top; descriptors made before the run are assumed.
    """
    target, source = call.target, call["src"]
    from_hbm = source.region in HBM_REGIONS
    factor = target.dma_transpose_hbm_rate_factor if from_hbm else target.dma_transpose_sbuf_rate_factor
    if factor is None:
        found, allowed = "a transposing transfer", "a generation with DMA transpose (v3 on)"
        raise CostError("nisa.dma_transpose", found, allowed, target.generation.label)
    row = source.shape[-1]
    rows, itemsize = source.elements // row, source.dtype.itemsize
    filled = _padded(row, target.partitions) * _padded(rows, _TRANSPOSE_ROWS) / (row * rows)
    generation = generation_of(call)
    transfer = Transfer(
        operand="",
        partitions=1,
        descriptors=rows,
        descriptor_bytes=row * itemsize,
        descriptor_seconds=filled * row * itemsize / (target.dma_bytes_per_second_per_engine * factor),
        overhead_seconds=target.dma_transfer_overhead_ns * 1e-9,
        queue_interval_seconds=queue_interval_seconds(row * itemsize, target),
        generation=generation,
        generating_seconds=_generating_seconds(generation, rows, target),
    )
    return Price(0.0, assumed=itemsize != 2 or filled > 1, transfer=transfer)


def _padded(count: int, unit: int) -> int:
    return -(-count // unit) * unit
