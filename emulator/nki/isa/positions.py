"""The GpSimd Engine instructions of nki.isa that find positions, as published."""

from __future__ import annotations

from trnlab.emulator.isa import positions
from trnlab.emulator.nki.isa.convert import int32, integer
from trnlab.emulator.tensor import NkiTensor
from trnlab.emulator.trace import NkiInstruction, current


def topk(val_dst: NkiTensor, idx_dst: NkiTensor, src: NkiTensor, n: int, name: str | None = None) -> NkiInstruction:
    """val_dst = the K largest of each group of 16 partitions, in ascending order; idx_dst = their indices.

    A group is one sequence of n elements, a snake: element i lies in partition i % 16 and column i // 16. Results lie
    the same way: the j-th smallest of the K, from 0, in partition j % 16 and column j // 16 of its group. The rest of
    val_dst and idx_dst keeps its content.

    src:     bfloat16 in SBUF, a multiple of 16 partitions, at least ceil(n / 16) elements per partition
    val_dst: bfloat16 in SBUF, (P, K) with 1 <= K < 32768 and K <= n
    idx_dst: uint32 in SBUF, (P, K); indices count from 0 along the snake
    n:       8 <= n < 65536

    Raises:
        ArgumentError, ShapeError, DtypeError, BufferError: see the instruction's limits (`trnlab isa`).
    """
    subject = "nisa.topk"
    attributes = (integer(subject, "n", n),)
    return current(subject).emit(positions.topk, (val_dst, idx_dst, src), attributes, name=name)


def nonzero_with_count(
    dst: NkiTensor, src: NkiTensor, index_offset: int = 0, padding_val: int = -1, name: str | None = None
) -> NkiInstruction:
    """dst = index_offset + the indices of the elements of src that are not zero, padding_val, and last their number.

    Only partitions 0, 16, 32, ... of src are read, and only those of dst are written. From NeuronCore-v3 on.

    src: float32 or int32 in SBUF
    dst: int32 in SBUF, as many partitions as src and one element per partition more
    index_offset, padding_val: int32

    Raises:
        GenerationError: before NeuronCore-v3.
        ArgumentError, ShapeError, DtypeError, BufferError: see the instruction's limits (`trnlab isa`).
    """
    subject = "nisa.nonzero_with_count"
    immediates = (int32(subject, "index_offset", index_offset), int32(subject, "padding_val", padding_val))
    return current(subject).emit(positions.nonzero_with_count, (dst, src), immediates=immediates, name=name)


def sequence_bounds(dst: NkiTensor, segment_ids: NkiTensor, name: str | None = None) -> NkiInstruction:
    """dst[0, 0] = where the segment of each element starts; dst[0, 1] = one past where it ends; n and -1 for ID 0.

    A segment is a run of neighbouring equal IDs.

    segment_ids: (1, n), float32 or int32 in SBUF, not negative
    dst:         (1, 2, n), float32 or int32 in SBUF

    Raises:
        ShapeError, DtypeError, BufferError: see the instruction's limits (`trnlab isa`).
    """
    return current("nisa.sequence_bounds").emit(positions.sequence_bounds, (dst, segment_ids), name=name)
