"""Which DMA queue and which DMA engines carry each transfer of a program, and for how long (picoseconds).

Each DMA engine serves eight neighbouring partitions (AWS NKI DMA overview). Assumed, because a compiler decides it:

* every DMA site has a queue of its own: a source line of the kernel together with the HBM tensor it moves; where there
  are more sites than hardware queues, sites share them in turn;
* buffers without an address that fill at most 32 or 64 partitions start at the legal partitions in turn.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from trnlab.emulator.memory import HBM_REGIONS
from trnlab.emulator.program import IndexArray, Program, Signature
from trnlab.emulator.target import Target
from trnlab.emulator.timing.cost import Cost

GENERATORS: Final = ("hardware sync", "hardware scalar", "compiler")
"""The descriptor generators of a core (v3 on): two in hardware, and the one that a compiler uses by default.

Software's is the GpSimd Engine.
"""

Loads = tuple[tuple[int, int], ...]
"""(DMA engines as bits, picoseconds on each of them) of one transfer."""


class PlannedTransfer(NamedTuple):
    """One transfer.

    loads:    the DMA engines that carry it and how long each takes
    turn:     how long a DMA engine takes for one descriptor and its part of the rest, which is the queue's turn there
    queue:    where it waits for its turn
    interval: shortest time until the queue's next transfer starts
    hbm:      how long it takes what this core has of HBM; 0 without HBM
    hbm_turn: how long a turn of all its DMA engines takes that
    generators: the places in `GENERATORS` that can make its descriptors; none where none of them does
    generating: how long the making of its descriptors takes; 0 where they are made before the run
    written:  whether the GpSimd Engine makes them
    """

    loads: Loads
    turn: int
    queue: int
    interval: int
    hbm: int = 0
    hbm_turn: int = 1
    generators: tuple[int, ...] = ()
    generating: int = 0
    written: bool = False


class _Side(NamedTuple):
    """Where a signature says which partitions it moves: the operand's place and its elements per partition."""

    position: int
    partition_elements: int


def picoseconds(seconds: float) -> int:
    """The nearest whole number of picoseconds."""
    return round(seconds * 1e12)


def plan_transfers(
    program: Program, target: Target, costs: Sequence[Cost], steps: IndexArray, hbm_rate: float
) -> dict[int, PlannedTransfer]:
    """The transfers among the executed steps, by step number; hbm_rate: bytes per second of HBM for this core."""
    sites: dict[tuple[int, int], int] = {}
    known: dict[tuple[int, int, int], PlannedTransfer] = {}
    first = first_partitions(program, target)
    moves = np.array([cost.transfer is not None for cost in costs], bool)[program.signature_ids[steps]]
    sides = [_side(signature, cost) for signature, cost in zip(program.signatures, costs, strict=True)]
    memories = [_hbm_position(signature) for signature in program.signatures]
    planned = {}
    for step in np.flatnonzero(moves).tolist():
        number = int(steps[step])
        name, row = int(program.signature_ids[number]), program.row(number).tolist()
        tensor = -1 if memories[name] is None else row[memories[name]][0]
        site = (int(program.location_ids[number]), tensor)
        queue = sites.setdefault(site, len(sites)) % target.dma_queues_per_engine
        side, partition = sides[name], 0
        if side is not None:
            buffer, offset = row[side.position]
            partition = first[buffer] + offset // side.partition_elements
        key = (name, partition, queue)
        if key not in known:
            known[key] = _transfer(costs[name], partition, queue, target, hbm_rate)
        planned[step] = known[key]
    return planned


def first_partitions(program: Program, target: Target) -> list[int]:
    """The partition where each on-chip buffer starts, by buffer number."""
    turns = {target.quadrant_partitions: 0, 2 * target.quadrant_partitions: 0}
    result = []
    for buffer in program.buffers:
        start = buffer.address[0] if buffer.address else 0
        size = next((size for size in turns if buffer.on_chip and buffer.shape[0] <= size), 0)
        if size and buffer.address is None:
            start = turns[size]
            turns[size] = (start + size) % target.partitions
        result.append(start)
    return result


def _side(signature: Signature, cost: Cost) -> _Side | None:
    """The SBUF operand whose partitions choose the DMA engines; None when the transfer is spread over all."""
    transfer = cost.transfer
    if transfer is None or not transfer.operand:
        return None
    position = next(place for place, item in enumerate(signature.operands) if item.name == transfer.operand)
    operand = signature.operands[position]
    row_bytes = int(np.prod(operand.buffer_shape[1:])) * operand.buffer_dtype.itemsize
    return _Side(position, row_bytes // operand.dtype.itemsize)


def _hbm_position(signature: Signature) -> int | None:
    return next((place for place, item in enumerate(signature.operands) if item.region in HBM_REGIONS), None)


def _transfer(cost: Cost, partition: int, queue: int, target: Target, hbm_rate: float) -> PlannedTransfer:
    transfer = cost.transfer
    assert transfer is not None
    counts = transfer.descriptors_per_engine(partition, target)
    engines: dict[int, int] = {}
    for engine, count in counts.items():
        engines[count] = engines.get(count, 0) | 1 << engine
    # Whole turns, so that loops come back to the same picosecond: engines with fewer descriptors have less of the rest.
    turn = max(1, picoseconds(transfer.descriptor_seconds + transfer.overhead_seconds / max(counts.values())))
    hbm = picoseconds(cost.work.hbm_bytes / hbm_rate)
    return PlannedTransfer(
        loads=tuple((bits, count * turn) for count, bits in sorted(engines.items())),
        turn=turn,
        queue=queue,
        interval=picoseconds(transfer.queue_interval_seconds),
        hbm=hbm,
        hbm_turn=max(1, round(hbm / max(counts.values()))),
        generators=tuple(place for place, name in enumerate(GENERATORS) if name.startswith(transfer.generation)),
        generating=picoseconds(transfer.generating_seconds),
        written=transfer.generation == "software",
    )
