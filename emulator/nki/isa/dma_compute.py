"""dma_compute, as published."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from trnlab.emulator.errors import ArgumentError
from trnlab.emulator.isa import dma_compute as family
from trnlab.emulator.nki.isa import enums
from trnlab.emulator.nki.isa.convert import flag, mode_name
from trnlab.emulator.nki.isa.operands import as_number, operator, same_place
from trnlab.emulator.source import fail
from trnlab.emulator.tensor import NkiTensor
from trnlab.emulator.trace import NkiInstruction, current

_SUBJECT = "nisa.dma_compute"
_SOURCE = "NKI reference, nisa.dma_compute"


def dma_compute(
    dst: NkiTensor,
    srcs: list[NkiTensor],
    reduce_op: Any,
    scales: Sequence[float] | None = None,
    unique_indices: bool = True,
    oob_mode: enums.oob_mode = enums.oob_mode.error,
    name: str | None = None,
) -> NkiInstruction:
    """dst = srcs[0] + srcs[1] + ..., element by element in float32, cast to dst, through the DMA engines.

    dst, srcs: tensors in HBM or SBUF with the same number of elements; one to 16 sources
    reduce_op: nl.add
    scales:    None, or 1.0 for each source
    unique_indices: True where a vector of indices takes part: no index occurs twice
    oob_mode:  what an out-of-bounds index does; skip leaves its row alone, only with a vector offset

    With a vector of indices it accumulates, and takes two sources: dst = dst + src, where dst is in SBUF and src in HBM
    has the vector offset (gather), or dst in HBM has it and src is in SBUF (scatter).

    Raises:
        ArgumentError: sources or scales that do not fit this description, another operator.
        ShapeError, DtypeError, BufferError: see the instruction's limits (`trnlab isa`).
        BoundsError: (when it runs) an index out of bounds under oob_mode.error.
    """
    sources = _sources(srcs)
    _check_scales(scales, len(sources))
    attributes = (
        operator(_SUBJECT, "reduce_op", reduce_op),
        flag(_SUBJECT, "unique_indices", unique_indices),
        mode_name(_SUBJECT, "oob_mode", oob_mode, enums.oob_mode),
        any(same_place(dst, source) for source in sources),
    )
    absent = [None] * (family.MAX_SOURCES - len(sources))
    return current(_SUBJECT).emit(family.dma_compute, (dst, *sources, *absent), attributes, name=name)


def _sources(srcs: Any) -> list[Any]:
    """The sources as a list of one to sixteen."""
    if not isinstance(srcs, (list, tuple)):
        fail(ArgumentError, _SUBJECT, operand="srcs", found=repr(srcs), allowed="a list of tensors", source=_SOURCE)
    if not 1 <= len(srcs) <= family.MAX_SOURCES:
        found, allowed = f"{len(srcs)} sources", f"1 to {family.MAX_SOURCES} sources"
        fail(ArgumentError, _SUBJECT, operand="srcs", found=found, allowed=allowed, source=_SOURCE)
    return list(srcs)


def _check_scales(scales: Any, count: int) -> None:
    if scales is None:
        return
    is_list = isinstance(scales, (list, tuple))
    if not is_list or len(scales) != count or any(as_number(scale) != 1 for scale in scales):
        allowed = f"None, or 1.0 for each of the {count} sources"
        fail(ArgumentError, _SUBJECT, operand="scales", found=repr(scales), allowed=allowed, source=_SOURCE)
