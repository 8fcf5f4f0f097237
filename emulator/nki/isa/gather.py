"""The instructions of nki.isa that move elements by indices, or partitions by a mask, as published."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from trnlab.emulator.errors import ArgumentError
from trnlab.emulator.isa import gather
from trnlab.emulator.isa.positions import GROUP
from trnlab.emulator.nki.isa.convert import integer
from trnlab.emulator.source import fail
from trnlab.emulator.tensor import NkiTensor
from trnlab.emulator.trace import NkiInstruction, current


def local_gather(
    dst: NkiTensor,
    src_buffer: NkiTensor,
    index: NkiTensor,
    num_elem_per_idx: int = 1,
    num_valid_indices: int | None = None,
    name: str | None = None,
) -> NkiInstruction:
    """dst[p, j * E + e] = src_buffer[p, index_1d[j] + e] with E = num_elem_per_idx, in each group of 16 partitions.

    index_1d are the first num_valid_indices of the indices in the group's partitions of index, partitions first:
    index_1d[16 * f + q] is that of column f of the group's partition q. An index counts elements of the flattened
    partition; out of bounds, which is undefined, it gives what fresh memory holds. On the GpSimd Engine.

    src_buffer: in SBUF, a multiple of 16 partitions, any dtype
    index:      uint16 in SBUF, as many partitions
    dst:        in SBUF, as many partitions, the dtype of src_buffer, num_valid_indices * E elements per partition
    num_elem_per_idx: 1, 2, 4, 8, 16 or 32
    num_valid_indices: 1 to 4096 and at most 16 times the elements per partition of index; None takes all of these

    Raises:
        ArgumentError, ShapeError, DtypeError, BufferError: see the instruction's limits (`trnlab isa`).
    """
    subject = "nisa.local_gather"
    attributes = (
        integer(subject, "num_elem_per_idx", num_elem_per_idx),
        _valid_indices(subject, index, num_valid_indices),
    )
    return current(subject).emit(gather.local_gather, (dst, src_buffer, index), attributes, name=name)


def _valid_indices(subject: str, index: Any, count: int | None) -> int:
    if count is not None:
        return integer(subject, "num_valid_indices", count)
    # Anything but a tensor is refused as the operand that it is not.
    return GROUP * index.size // index.shape[0] if isinstance(index, NkiTensor) else 0


def nc_n_gather(dst: NkiTensor, data: NkiTensor, indices: NkiTensor, name: str | None = None) -> NkiInstruction:
    """dst[p, j] = data[p, indices[p, j]], free dimensions flattened, each partition on its own. On the GpSimd Engine.

    data:    in SBUF, any dtype
    indices: uint32 in SBUF; out of bounds, which is undefined, they give what fresh memory holds
    dst:     in SBUF, the dtype of data, as many elements per partition as indices

    Raises:
        ShapeError, DtypeError, BufferError: see the instruction's limits (`trnlab isa`).
    """
    return current("nisa.nc_n_gather").emit(gather.nc_n_gather, (dst, data, indices), name=name)


def nc_stream_shuffle(
    dst: NkiTensor, src: NkiTensor, shuffle_mask: Sequence[int], name: str | None = None
) -> NkiInstruction:
    """dst[32 q + i] = src[32 q + shuffle_mask[i]] for each quadrant q of 32 partitions. On the Vector Engine.

    Where shuffle_mask[i] is 255, the partitions dst[32 q + i] stay as they are. src and dst may be the same tensor.

    dst, src: in SBUF or PSUM, the same dtype and elements per partition. src holds every partition that the mask reads;
              both start where the larger of their partition counts may (0; 0 or 64; 0, 32, 64 or 96)
    shuffle_mask: 32 integers, 0 to 31 or 255

    Raises:
        ArgumentError, ShapeError, DtypeError, PartitionError: see the instruction's limits (`trnlab isa`).
    """
    subject = "nisa.nc_stream_shuffle"
    mask = _mask(subject, shuffle_mask)
    attributes = (mask, _keeps(mask, dst))
    return current(subject).emit(gather.nc_stream_shuffle, (dst, src), attributes, name=name)


def _mask(subject: str, shuffle_mask: Any) -> tuple[int, ...]:
    if not isinstance(shuffle_mask, (tuple, list)):
        allowed = f"a list of {gather.QUADRANT} integers"
        fail(ArgumentError, subject, operand="shuffle_mask", found=repr(shuffle_mask), allowed=allowed)
    return tuple(integer(subject, "shuffle_mask", entry) for entry in shuffle_mask)


def _keeps(mask: tuple[int, ...], dst: Any) -> bool:
    """Whether a partition of dst stays as it is, so that the instruction depends on what dst holds."""
    partitions = min(dst.shape[0], gather.QUADRANT) if isinstance(dst, NkiTensor) else gather.QUADRANT
    return gather.KEEP in mask[:partitions]
