"""The DMA instructions of nki.isa, as published."""

from __future__ import annotations

from trnlab.emulator.errors import ArgumentError
from trnlab.emulator.isa import dma
from trnlab.emulator.nki.isa import enums
from trnlab.emulator.nki.isa.convert import engine_of, integer, mode_name
from trnlab.emulator.source import fail
from trnlab.emulator.tensor import NkiTensor
from trnlab.emulator.trace import NkiInstruction, current


def dma_copy(
    dst: NkiTensor,
    src: NkiTensor,
    priority: int | None = None,
    oob_mode: enums.oob_mode = enums.oob_mode.error,
    dge_mode: enums.dge_mode = enums.dge_mode.unknown,
    engine: enums.engine = enums.engine.unknown,
    name: str | None = None,
) -> NkiInstruction:
    """dst = src through the DMA engines, in element order; a cast goes through float32.

    dst, src:  tensors in HBM or SBUF with the same number of elements; either may be indirect (gather, scatter)
    priority:  0 (highest) to 3, NeuronCore-v4 on
    oob_mode:  what an out-of-bounds run-time index does
    dge_mode:  how descriptors are made; hwdge from NeuronCore-v3 on; a vector offset needs swdge or unknown
    engine:    whose queue triggers a hwdge transfer (sync or scalar)

    Raises:
        ShapeError, DtypeError, BufferError, ArgumentError, GenerationError: see the instruction's limits.
        BoundsError: (when it runs) a run-time index out of bounds under oob_mode.error.
    """
    subject = "nisa.dma_copy"
    queue = engine_of(subject, engine)
    attributes = (
        _priority(subject, priority),
        mode_name(subject, "oob_mode", oob_mode, enums.oob_mode),
        mode_name(subject, "dge_mode", dge_mode, enums.dge_mode),
        None if queue is None else queue.value,
    )
    return current(subject).emit(dma.dma_copy, (dst, src), attributes, name=name)


def dma_transpose(
    dst: NkiTensor,
    src: NkiTensor,
    axes: tuple[int, ...] | None = None,
    priority: int | None = None,
    dge_mode: enums.dge_mode = enums.dge_mode.unknown,
    oob_mode: enums.oob_mode = enums.oob_mode.error,
    name: str | None = None,
) -> NkiInstruction:
    """dst = src.transpose(axes) through the DMA engines, bits unchanged; NeuronCore-v3 on.

    src:       in HBM or SBUF, of 2, 3 or 4 dimensions and a dtype of 2 or 4 bytes; may be indirect
    dst:       in SBUF, of src's dtype and permuted shape
    axes:      (1, 0), (2, 1, 0) or (3, 1, 2, 0) by the number of dimensions, the only ones and the default
    priority:  0 (highest) to 3, NeuronCore-v4 on
    dge_mode:  unknown, none or hwdge; hwdge takes 2-byte dtypes, a last dimension of at most 128, and 16 rows in 2-D or
               1, 2, 4, 8 or 16 with rows x shape[-2] a multiple of 16; a vector offset needs swdge or unknown
    oob_mode:  skip only where src has a run-time index

    A src gathered by a vector of uint32 indices has a dtype of 2 bytes, a multiple of 16 rows, and a last dimension of
    at most 128; the indices lie in 16 to 128 partitions and are walked column by column: src[indices.T.flatten()].T.

    Raises:
        ShapeError, DtypeError, BufferError, ArgumentError, GenerationError: see the instruction's limits.
        BoundsError: (when it runs) a run-time index out of bounds under oob_mode.error.
    """
    subject = "nisa.dma_transpose"
    attributes = (
        _axes(subject, src, axes),
        _priority(subject, priority),
        mode_name(subject, "dge_mode", dge_mode, enums.dge_mode),
        mode_name(subject, "oob_mode", oob_mode, enums.oob_mode),
    )
    return current(subject).emit(dma.dma_transpose, (dst, src), attributes, name=name)


def _priority(subject: str, priority: int | None) -> int | None:
    return None if priority is None else integer(subject, "priority", priority)


def _axes(subject: str, src: NkiTensor, axes: tuple[int, ...] | None) -> tuple[int, ...]:
    """The axes as given, or those that belong to the number of dimensions."""
    if axes is None:
        return dma.TRANSPOSE_AXES.get(src.ndim, ()) if isinstance(src, NkiTensor) else ()
    if not isinstance(axes, (tuple, list)):
        fail(ArgumentError, subject, operand="axes", found=repr(axes), allowed="a tuple of integers, or None")
    return tuple(integer(subject, "axes", axis) for axis in axes)
