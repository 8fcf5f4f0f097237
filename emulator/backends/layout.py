"""How merged iterations share a storage: which of them need a part of their own, and how the parts lie.

A value that no merged iteration changes is kept once. Where iterations differ, their parts lie in front of everything
or inside the partitions, [outer iterations, slot, partition, inner iterations, free]: as the instruction that writes
them finds them, so that tiles side by side are one wide matrix and nothing is transposed only to be stored.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from trnlab.emulator.backends.merging import merge_counts, parallel_blocks
from trnlab.emulator.backends.storage import Advance, Storage
from trnlab.emulator.backends.storage_plan import plan_storage
from trnlab.emulator.isa.catalogue import CATALOGUE
from trnlab.emulator.nest import Block
from trnlab.emulator.program import OperandSignature, Program
from trnlab.emulator.repeats import Repeat

Dims = dict[int, frozenset[Block]]


@dataclass(frozen=True, eq=False)
class Plan:
    """A folded program ready to be lowered.

    counts: how many iterations of each repeat run at a time
    dims:   for every family the merged repeats whose iterations have a part each
    inner:  for every family those of its dims whose parts lie inside the partitions
    """

    storage: Storage
    counts: dict[Block, int]
    dims: Dims
    inner: Dims


def plan_layout(program: Program) -> Plan:
    """The plan of a folded program."""
    storage = plan_storage(program)
    parallel = parallel_blocks(storage)
    dims = _dims(storage, parallel)
    counts = merge_counts(storage, parallel, dims)
    return Plan(storage, counts, dims, _inner(storage, dims))


def _dims(storage: Storage, merged: frozenset[Block]) -> Dims:
    """The least sets such that what is computed from something that differs between iterations does too."""
    dims: Dims = {family.number: frozenset() for family in storage.families}
    numbers = [number for number in range(len(storage.program)) if merged.intersection(storage.path_of(number))]
    varying = {number: _own_dims(storage, number, merged) for number in numbers}
    changed = True
    while changed:
        changed = False
        for number in numbers:
            reads, writes = storage.reads_and_writes(number)
            found = varying[number].union(*(dims[name] for name in reads)) if reads else varying[number]
            for name in writes:
                mine = frozenset(block for block in found if storage.owns(block, storage.families[name]))
                if not mine <= dims[name]:
                    dims[name] |= mine
                    changed = True
    return dims


def _own_dims(storage: Storage, number: int, merged: frozenset[Block]) -> frozenset[Block]:
    """The merged repeats that move an operand of the instruction or vary its immediates."""
    program = storage.program
    path = [block for block in storage.path_of(number) if block in merged]
    found = set()
    rows = range(int(program.operand_starts[number]), int(program.operand_starts[number + 1]))
    for block in path:
        advances = [storage.advance(block, row) for row in rows]
        if any(advance.offset or advance.slot or advance.has_table for advance in advances):
            found.add(block)
    first, last = int(program.immediate_starts[number]), int(program.immediate_starts[number + 1])
    repeats = [block for block in storage.path_of(number) if isinstance(block.loop, Repeat)]
    for repeat in program.repeats if first < last else ():
        for table in repeat.immediates:
            if first <= table.number < last:
                found.update(b for b, size in zip(repeats, table.values.shape, strict=True) if size > 1 and b in merged)
    return frozenset(found)


# ------------------------------------------------------------------------------------------------- outer and inner


def _inner(storage: Storage, dims: Dims) -> Dims:
    """For every family the dims that its first writer finds, or leaves, inside the partitions."""
    crossing = _crossing(storage)
    inner: Dims = {}
    for number in range(len(storage.program)):
        _, writes = storage.reads_and_writes(number)
        for name in writes:
            if name not in inner:
                family = storage.families[name]
                fits = family.depth > 0 and family.buffer.on_chip and name not in crossing
                inner[name] = _found_inner(storage, number, dims, inner) & dims[name] if fits else frozenset()
    return {family.number: inner.get(family.number, frozenset()) for family in storage.families}


def _found_inner(storage: Storage, number: int, dims: Dims, inner: Dims) -> frozenset[Block]:
    """The merged repeats that lie inside the partitions of what the instruction writes, as it finds or leaves them.

    Only what moves elements keeps them there, on their way to a dot. Arithmetic computes with iterations in front,
    which is where `jax.vmap` brings them sooner or later.
    """
    signature = storage.program.signature_of(number)
    if signature.opcode == "nc_transpose":
        return frozenset(storage.path_of(number))  # they are moved in any case; as a stationary operand wants them
    if not CATALOGUE[signature.opcode].moves or len({operand.dtype for operand in signature.operands}) > 1:
        return frozenset()
    first = int(storage.program.operand_starts[number])
    found = set()
    for position, operand in enumerate(signature.operands):
        name = int(storage.family_of[first + position])
        for block in storage.path_of(number) if operand.reads else ():
            if block in dims[name]:
                found.update([block] if block in inner.get(name, ()) else [])
            elif isinstance(block.loop, Repeat) and (step := abs(storage.advance(block, first + position).offset)):
                found.update([block] if step < abs(operand.strides[0]) else [])
    return frozenset(found)


def _crossing(storage: Storage) -> set[int]:
    """Families with a view that is not whole partitions times a pattern inside the partition."""
    found = set()
    for number in range(len(storage.program)):
        first = int(storage.program.operand_starts[number])
        for position, operand in enumerate(storage.program.signature_of(number).operands):
            row = first + position
            advances = [storage.advance(b, row) for b in storage.path_of(number) if isinstance(b.loop, Repeat)]
            if not _keeps_partitions(operand, storage.offset(row), advances):
                found.add(int(storage.family_of[row]))
    return found


def free_elements(operand: OperandSignature) -> int:
    """Elements of the operand's dtype in one partition of its buffer; 0 where they are not whole."""
    nbytes = prod(operand.buffer_shape[1:]) * operand.buffer_dtype.itemsize
    return 0 if nbytes % operand.dtype.itemsize else nbytes // operand.dtype.itemsize


def _keeps_partitions(operand: OperandSignature, offset: int, advances: list[Advance]) -> bool:
    free = free_elements(operand)
    if not free or any(a.offset_table is not None for a in advances):
        return False
    if operand.indirection is not None:
        return False
    inside = offset % free
    for count, stride in zip(operand.shape, operand.strides, strict=True):
        if stride < 0:
            return False
        if count > 1 and stride % free:
            inside += (count - 1) * stride
    steps = [advance.offset for advance in advances if advance.offset % free]
    return inside < free and all(0 < step < free for step in steps)


def spread_stride(stride: int, free: int, parts: int) -> int:
    """A stride or step of a view when every partition holds `parts` parts side by side."""
    return stride * parts if stride % free == 0 else stride


def spread_offset(offset: int, free: int, parts: int) -> int:
    """The same for an offset."""
    return offset // free * free * parts + offset % free
