"""Which repeats of a folded program may run all their iterations at once, and how many at a time.

Iterations that neither read nor write what another one writes are independent: widening every instruction of the body
by one dimension computes the same values, and XLA gets one wide operation where there were many small ones. The bits
stay, because no arithmetic here depends on how many neighbours are computed beside it: elementwise operations
trivially, folds because their order is fixed (`numerics.reductions`), dots of up to 256 products because XLA on the
CPU adds them in the same order for every number of rows and columns (`numerics.arithmetic.matmul_f32`).
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from math import gcd, inf, prod
from typing import Final, NamedTuple

import numpy as np

from trnlab.emulator.backends.storage import Family, Storage
from trnlab.emulator.nest import Block
from trnlab.emulator.program import OperandSignature
from trnlab.emulator.repeats import Repeat

MERGED_BYTES: Final = 24 * 2**20
"""What the storage of all iterations merged together may take; more runs in rounds. Chosen by measurement."""


def parallel_blocks(storage: Storage) -> frozenset[Block]:
    """The repeats whose iterations may run together."""
    return frozenset(block for block in storage.paths if isinstance(block.loop, Repeat) and is_parallel(storage, block))


def merge_counts(
    storage: Storage, parallel: frozenset[Block], dims: Mapping[int, frozenset[Block]], budget: int = MERGED_BYTES
) -> dict[Block, int]:
    """For every repeat how many of its iterations run at a time; 1 where they must run one by one.

    dims: for every family the parallel repeats whose iterations have a part of their own
    """
    counts: dict[Block, int] = {}
    for block in reversed(storage.paths):  # inner ones first
        if not isinstance(block.loop, Repeat):
            continue
        wide = [family for family in storage.families if block in dims[family.number]]
        each = sum(f.nbytes * prod(counts.get(inner, 1) for inner in dims[f.number]) for f in wide)
        most = max(1, budget // max(1, each))
        counts[block] = _round_size(block.loop.trips, most) if block in parallel else 1
    return counts


def _round_size(trips: int, most: int) -> int:
    """At most `most` iterations at a time; a divisor of all of them where one is not much smaller."""
    if most >= trips:
        return trips
    rounds = -(-trips // most)
    even = next((r for r in range(rounds, 2 * rounds + 1) if trips % r == 0), None)
    return trips // even if even else -(-trips // rounds)


def is_parallel(storage: Storage, block: Block) -> bool:
    """Whether the repeat's iterations are independent and all of its instructions can be widened."""
    assert isinstance(block.loop, Repeat)
    if block.loop.trip_table is not None or _steers(storage, block) or _chooses_slots(storage, block):
        return False
    if not all(_widens(storage, number) for number in range(block.begin, block.end)):
        return False
    by_family: dict[int, list[int]] = {}
    for row in storage.rows(block):
        by_family.setdefault(int(storage.family_of[row]), []).append(row)
    if any(storage.advance(block, row).has_table for rows in by_family.values() for row in rows):
        return False
    return all(_is_independent(storage, block, storage.families[name], rows) for name, rows in by_family.items())


def _steers(storage: Storage, block: Block) -> bool:
    """Whether a table of a repeat inside depends on the iteration: of its trips, or of steps."""
    repeats = [b for b in storage.paths[block] if isinstance(b.loop, Repeat)]
    axis = len(repeats) - 1
    for inner in storage.program.repeats:
        if inner is block.loop or not block.begin <= inner.begin < inner.end <= block.end:
            continue
        tables = [table.values for table in inner.tables if table.values.ndim > 1]
        tables += [] if inner.trip_table is None else [inner.trip_table]
        if any(table.ndim > axis and table.shape[axis] > 1 for table in tables):
            return True
    return False


def _chooses_slots(storage: Storage, block: Block) -> bool:
    """Whether the slot of some operand inside, one of those taken in turns, depends on the iteration."""
    axis = sum(isinstance(around.loop, Repeat) for around in storage.paths[block]) - 1
    turns = (storage.turns.get(row) for row in storage.rows(block))
    return any(turn is not None and turn[1].ndim > axis and turn[1].shape[axis] > 1 for turn in turns)


def _widens(storage: Storage, number: int) -> bool:
    signature = storage.program.signature_of(number)
    return signature.opcode != "device_print" and not any(o.indirection for o in signature.operands)


def _is_independent(storage: Storage, block: Block, family: Family, rows: list[int]) -> bool:
    if storage.owns(block, family):
        return True
    operands = [storage.operand(row) for row in rows]
    if not any(operand.writes for operand in operands):
        return True
    if len({_drift(storage, block, row, operand) for row, operand in zip(rows, operands, strict=True)}) > 1:
        return False  # how they lie to each other differs from one iteration of a repeat around to the next
    reaches = [_reach(storage, block, row, operand) for row, operand in zip(rows, operands, strict=True)]
    return None not in reaches and _apart(block, [reach for reach in reaches if reach is not None])


def _drift(storage: Storage, block: Block, row: int, operand: OperandSignature) -> tuple[Hashable, ...]:
    """By how many bytes the repeats around the block move an operand: steps, and entries of tables."""
    item, slot = operand.dtype.itemsize, storage.families[int(storage.family_of[row])].buffer.nbytes
    moves: list[Hashable] = []
    for around in storage.paths[block][:-1]:
        if isinstance(around.loop, Repeat):
            advance = storage.advance(around, row)
            moves.append(advance.offset * item + advance.slot * slot)
            for table, unit in ((advance.offset_table, item), (advance.slot_table, slot)):
                moves.append(None if table is None else (table.shape, (table * unit).tobytes()))
    return tuple(moves)


class _Reach(NamedTuple):
    """The bytes that one iteration touches through one operand: a base and (count, stride) of every dimension.

    step: by how many bytes the next iteration lies further
    """

    base: int
    dims: tuple[tuple[int, int], ...]
    step: int


def _reach(storage: Storage, block: Block, row: int, operand: OperandSignature) -> _Reach | None:
    """None when a table moves the operand inside an iteration."""
    item, buffer = operand.dtype.itemsize, storage.families[int(storage.family_of[row])].buffer
    base = storage.offset(row) * item + int(storage.slot_of[row]) * buffer.nbytes
    dims = [(item, 1), *((n, s * item) for n, s in zip(operand.shape, operand.strides, strict=True))]
    step = 0
    for around in storage.paths[storage.block_of(row)]:
        if not isinstance(around.loop, Repeat) or around not in _from(storage, block, row):
            continue
        advance = storage.advance(around, row)
        moved = advance.offset * item + advance.slot * buffer.nbytes
        if advance.has_table:
            return None
        if around is block:
            step = moved
        else:
            dims.append((around.loop.trips, moved))
    for position, (count, stride) in enumerate(dims):
        if stride < 0:
            base += (count - 1) * stride
            dims[position] = (count, -stride)
    return _Reach(base, tuple((n, s) for n, s in dims if n > 1 and s > 0), step)


def _from(storage: Storage, block: Block, row: int) -> tuple[Block, ...]:
    """The block and those between it and the row."""
    path = storage.paths[storage.block_of(row)]
    return path[path.index(block) :]


def _apart(block: Block, reaches: list[_Reach]) -> bool:
    """Whether iterations of the block touch different bytes.

    Every operand must step alike, by s. What an iteration touches, modulo the common stride of all dimensions that
    are not smaller than s, must lie in a window shorter than s, and all windows together inside that stride.
    """
    assert isinstance(block.loop, Repeat)
    step = abs(reaches[0].step)
    if step == 0 or any(reach.step != reaches[0].step for reach in reaches):
        return False
    period: float = gcd(*(stride for reach in reaches for _, stride in reach.dims if stride >= step)) or inf
    starts = [reach.base % period if period < inf else reach.base for reach in reaches]
    ends = [
        start + sum((count - 1) * stride for count, stride in reach.dims if stride < step)
        for start, reach in zip(starts, reaches, strict=True)
    ]
    window = max(ends) - min(starts)
    return window < step and (block.loop.trips - 1) * step + window < period


def written_families(storage: Storage, block: Block) -> Iterator[Family]:
    """What an iteration of the block writes and leaves behind."""
    rows = storage.rows(block)
    names = np.unique(storage.family_of[rows.start : rows.stop][storage.writes[rows.start : rows.stop]])
    for name in names.tolist():
        family = storage.families[name]
        if not storage.owns(block, family):
            yield family
