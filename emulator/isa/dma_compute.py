"""dma_compute: the sum of up to 16 tensors on the way through the DMA engines, and read-modify-write of gathered rows.

Where a source is addressed by a vector of indices, the instruction accumulates, in one of two forms: *gather*,
tile = tile + HBM[indices], or *scatter*, HBM[indices] = HBM[indices] + tile.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import jax
from jax import Array

from trnlab.emulator.errors import ArgumentError
from trnlab.emulator.isa.limits import AttributeIn, Rule, SameElements
from trnlab.emulator.isa.operators import apply
from trnlab.emulator.isa.registry import (
    DMA_REACH,
    HBM,
    UNPACKED_DTYPES,
    Call,
    OperandView,
    instruction,
    reads,
    writes,
)
from trnlab.emulator.memory import MemoryRegion
from trnlab.emulator.numerics.sealing import seal
from trnlab.emulator.target import Engine

MAX_SOURCES: Final = 16
SOURCES: Final = tuple(f"src{number}" for number in range(MAX_SOURCES))
"""The sources by position in `srcs`."""

_SOURCE: Final = "NKI reference, nisa.dma_compute"
_FACTS: Final = {"regions": DMA_REACH, "dtypes": UNPACKED_DTYPES}


def sources(call: Call) -> list[OperandView]:
    """The sources given."""
    return call.present(*SOURCES)


def uses_vector(call: Call) -> bool:
    """Whether a vector of indices addresses an operand."""
    return any(view.indirect == "vector" for view in call.present("dst", *SOURCES))


def _moves_at_run_time(call: Call) -> str | None:
    moved = [view for view in call.present("dst", *SOURCES) if view.indirect == "scalar"]
    return f"{moved[0].name} {moved[0]} with a scalar offset" if moved else None


def _skips_without_vector(call: Call) -> str | None:
    return "skip without a vector offset" if call.attributes["oob_mode"] == "skip" and not uses_vector(call) else None


def _repeats_indices(call: Call) -> str | None:
    return "False with a vector offset" if uses_vector(call) and not call.attributes["unique_indices"] else None


def _wrong_accumulation(call: Call) -> str | None:
    return next(_accumulation_faults(call), None) if uses_vector(call) else None


def _accumulation_faults(call: Call) -> Iterator[str]:
    given, dst = sources(call), call["dst"]
    rows = [view for view in given if view.indirect]
    if len(given) != 2:
        yield f"{len(given)} sources"
    if len(rows) != 1:
        yield f"{len(rows)} sources with a vector offset"
    if not call.attributes["in_place"]:
        yield "no source that is dst itself"
    scatters, tiles = bool(dst.indirect), [view for view in (dst, *given) if not view.indirect]
    misplaced = [view for view in tiles if view.region is not MemoryRegion.sbuf]
    misplaced += [view for view in rows if view.region not in HBM]
    if misplaced:
        yield f"{misplaced[0].name} {misplaced[0]} in a {'scatter' if scatters else 'gather'}"


@instruction(
    engines=(Engine.DMA,),
    operands=(
        writes("dst", **_FACTS),
        reads("src0", **_FACTS),
        *(reads(name, optional=True, **_FACTS) for name in SOURCES[1:]),
    ),
    attributes=("reduce_op", "unique_indices", "oob_mode", "in_place"),
    limits=(
        AttributeIn("reduce_op", ("add",), source=_SOURCE),
        SameElements("dst", *SOURCES, source=f"{_SOURCE}: tile size"),
        Rule(
            _moves_at_run_time,
            "addresses known at compile time, or a vector_offset",
            error=ArgumentError,
            source=f"{_SOURCE}: memory types",
        ),
        Rule(
            _wrong_accumulation,
            "two sources: dst in sbuf and a src in HBM with a vector offset, or dst in HBM with one and a src in sbuf",
            operand="srcs",
            error=ArgumentError,
            source=f"{_SOURCE}: read-modify-write with vector_offset",
        ),
        Rule(
            _repeats_indices,
            "True with a vector offset: indices that repeat are not supported by NKI yet",
            operand="unique_indices",
            error=ArgumentError,
            source=_SOURCE,
        ),
        Rule(
            _skips_without_vector,
            "oob_mode.error, or a vector offset",
            operand="oob_mode",
            error=ArgumentError,
            source="NKI 0.4.0 release notes, dma_compute oob_mode",
        ),
    ),
    layout="view",
    source=_SOURCE,
    assumptions=(
        "sources are added in their order, each sum rounded to float32",
        "of rows whose indices repeat, against the promise of unique_indices, the last one stays",
    ),
)
def dma_compute(
    dst: jax.ShapeDtypeStruct,
    src0: Array,
    src1: Array | None,
    src2: Array | None,
    src3: Array | None,
    src4: Array | None,
    src5: Array | None,
    src6: Array | None,
    src7: Array | None,
    src8: Array | None,
    src9: Array | None,
    src10: Array | None,
    src11: Array | None,
    src12: Array | None,
    src13: Array | None,
    src14: Array | None,
    src15: Array | None,
    *,
    reduce_op: str,
) -> Array:
    """dst = src0 + src1 + ..., element by element in float32."""
    others = (src1, src2, src3, src4, src5, src6, src7, src8, src9, src10, src11, src12, src13, src14, src15)
    total = src0.reshape(dst.shape)
    for source in others:
        total = total if source is None else seal(apply(reduce_op, total, source.reshape(dst.shape)))
    return total
