"""DMA Engine instructions: moves between HBM and SBUF, with casts, transposes and run-time offsets on the way.

Where the published pages disagree, the choice is named at the limit: pre-made descriptors (`dge_mode.none`) and
run-time offsets, the descriptor modes of a transpose, and the size of a hardware transpose.
"""

from __future__ import annotations

from collections.abc import Callable

import jax

from trnlab.emulator.errors import ArgumentError, DtypeError, ShapeError
from trnlab.emulator.isa.bits import from_words, to_words
from trnlab.emulator.isa.limits import AttributeIn, Needs, Rule, SameDtype, SameElements
from trnlab.emulator.isa.registry import (
    ANY_DTYPE,
    DMA_REACH,
    SBUF,
    Call,
    Limit,
    Math,
    OperandView,
    instruction,
    reads,
    writes,
)
from trnlab.emulator.target import Engine, Feature, Generation

_COPY = "NKI reference, nisa.dma_copy"
_TRANSPOSE = "NKI reference, nisa.dma_transpose"
_DGE = "NKI deep dive, Descriptor Generation Engine reference"
_GATHER = f"{_TRANSPOSE}: DMA indirect transpose constraints"
_GUIDE_V3 = "NKI Trainium2 architecture guide, DMA transpose"

TRANSPOSE_AXES = {2: (1, 0), 3: (2, 1, 0), 4: (3, 1, 2, 0)}
"""The permutation of a transpose by the number of dimensions of its source."""

_TRANSPOSED_BYTES = (2, 4)
_HARDWARE_ROWS = (1, 2, 4, 8, 16)


def _indirect(call: Call) -> list[OperandView]:
    return [view for view in call.present("dst", "src") if view.indirect]


def _uses_hardware_dge(call: Call) -> bool:
    return bool(call.attributes["dge_mode"] == "hwdge")


# -------------------------------------------------------------------------------------------------------- dma_copy


def moves_bits(call: Call) -> Math:
    """Equal dtypes move unchanged; different ones are cast through float32."""
    return "raw" if call["dst"].dtype == call["src"].dtype else "float32"


def _casts_packed(call: Call) -> str | None:
    source, target = call["src"].dtype, call["dst"].dtype
    mixed = source != target and (source.is_packed or target.is_packed)
    return f"{source} to {target}" if mixed else None


def _fixed_descriptors(call: Call) -> str | None:
    mode = call.attributes["dge_mode"]
    for view in _indirect(call):
        if mode == "none" or (view.indirect == "vector" and mode == "hwdge"):
            return f"{mode} with a {view.indirect} offset in {view.name} {view}"
    return None


def _misplaced_engine(call: Call) -> str | None:
    queue, mode = call.attributes["queue"], call.attributes["dge_mode"]
    good = queue is None or (mode == "hwdge" and queue in ("sync", "scalar"))
    return None if good else f"{queue} with dge_mode {mode}"


def _casts_in_hardware(call: Call) -> str | None:
    source, target = call["src"].dtype, call["dst"].dtype
    return f"{source} to {target} with hwdge" if source != target and _uses_hardware_dge(call) else None


_DESCRIPTORS: tuple[Limit, ...] = (
    AttributeIn("priority", (0, 1, 2, 3)),
    Needs(Feature.DMA_PRIORITY, "a DMA priority", lambda call: call.attributes["priority"] is not None),
    Needs(Feature.HARDWARE_DGE, "dge_mode.hwdge", _uses_hardware_dge),
    Rule(
        _fixed_descriptors,
        "swdge or unknown for a vector offset; these or hwdge for a scalar offset",
        operand="dge_mode",
        error=ArgumentError,
        source=f"{_DGE} (its summary admits none with a scalar offset, its text and nisa.dma_copy do not)",
    ),
)


@instruction(
    engines=(Engine.DMA,),
    operands=(writes("dst", regions=DMA_REACH, dtypes=ANY_DTYPE), reads("src", regions=DMA_REACH, dtypes=ANY_DTYPE)),
    attributes=("priority", "oob_mode", "dge_mode", "queue"),
    limits=(
        SameElements("dst", "src", source=f"{_COPY}: tile size"),
        Rule(
            _casts_packed,
            "equal dtypes: packed x4 elements are not cast by DMA",
            operand="src",
            error=DtypeError,
        ),
        *_DESCRIPTORS,
        Rule(
            _casts_in_hardware,
            "equal dtypes with hwdge; .view() reinterprets one",
            operand="src",
            error=DtypeError,
            source="NKI 0.3.0 release notes, dma_copy: matching element types with dge_mode.hwdge",
        ),
        Rule(_misplaced_engine, "sync or scalar, with dge_mode.hwdge", operand="engine", error=ArgumentError),
    ),
    math=moves_bits,
    layout="view",
    moves=True,
    source=_COPY,
)
def dma_copy(dst: jax.ShapeDtypeStruct, src: jax.Array) -> jax.Array:
    """dst = src, element order kept; a cast goes through float32."""
    return src.reshape(dst.shape)


# --------------------------------------------------------------------------------------------------- dma_transpose


def _no_permutation(call: Call) -> str | None:
    dimensions = len(call["src"].shape)
    return None if dimensions in TRANSPOSE_AXES else f"{call['src']}, {dimensions} dimensions"


def _other_axes(call: Call) -> str | None:
    axes = call.attributes["axes"]
    return None if axes == TRANSPOSE_AXES.get(len(call["src"].shape)) else f"{axes} for src {call['src']}"


def _permuted(call: Call) -> tuple[int, ...]:
    return tuple(call["src"].shape[axis] for axis in call.attributes["axes"])


def _not_permuted(call: Call) -> str | None:
    if _other_axes(call):
        return None  # no permutation of the source
    return None if call["dst"].shape == _permuted(call) else str(call["dst"])


def _gathers(call: Call) -> bool:
    return call["src"].indirect == "vector"


def _item_sizes(call: Call) -> tuple[int, ...]:
    return (2,) if _uses_hardware_dge(call) or _gathers(call) else _TRANSPOSED_BYTES


def _item_size_rule(call: Call) -> str:
    mode = "a vector of indices" if _gathers(call) else "hwdge"
    return f"a dtype of 2 bytes with {mode}" if _item_sizes(call) == (2,) else "a dtype of 2 or 4 bytes"


def _wrong_item_size(call: Call) -> str | None:
    return None if call["src"].dtype.itemsize in _item_sizes(call) else str(call["src"])


def _wrong_hardware_shape(call: Call) -> str | None:
    if not _uses_hardware_dge(call):
        return None
    shape = call["src"].shape
    rows = (16,) if len(shape) == 2 else _HARDWARE_ROWS
    good = shape[0] in rows and (len(shape) == 2 or shape[0] * shape[-2] % 16 == 0) and shape[-1] <= 128
    return None if good else str(call["src"])


def _software_without_index(call: Call) -> str | None:
    return "swdge" if call.attributes["dge_mode"] == "swdge" and not call["src"].indirect else None


def _gather(broken: Callable[[OperandView, OperandView], bool], allowed: str, operand: str = "src") -> Rule:
    """A rule on the source and its vector of indices, where it has one."""

    def found(call: Call) -> str | None:
        if not _gathers(call) or not broken(call["src"], call["src.index"]):
            return None
        return str(call["src"]) if operand == "src" else f"{call['src.index']}"

    return Rule(found, f"{allowed}, for a src gathered by indices", operand=operand, source=_GATHER)


def _not_in_sixteens(count: int, most: int) -> bool:
    return count % _HARDWARE_ROWS[-1] != 0 or not _HARDWARE_ROWS[-1] <= count <= most


# That there are as many indices as rows, in SBUF, is asked of the view: see `NkiTensor.ap`.
_GATHER_LIMITS: tuple[Limit, ...] = (
    _gather(lambda src, _: len(src.shape) == 4 and 1 not in src.shape[1:3], "dimension 1 or 2 of size 1 in 4-D"),
    _gather(lambda src, _: src.shape[-1] > 128, "a last dimension of at most 128"),
    _gather(lambda src, _: src.shape[0] % 16 != 0, "a multiple of 16 rows"),
    _gather(lambda _, index: len(index.shape) != 2, "2-D indices", "src.index"),
    _gather(
        lambda _, index: _not_in_sixteens(index.shape[0], 128),
        "indices in 16 to 128 partitions, a multiple of 16",
        "src.index",
    ),
    _gather(
        lambda _, index: index.free_elements > 1 and index.shape[0] != 128,
        "128 partitions of indices where there is more than one column",
        "src.index",
    ),
    Rule(
        lambda call: str(call["src.index"]) if _gathers(call) and call["src.index"].dtype != "uint32" else None,
        "uint32 indices",
        operand="src.index",
        error=DtypeError,
        source=_GATHER,
    ),
)


def _skips_without_index(call: Call) -> str | None:
    skips = call.attributes["oob_mode"] == "skip" and not call["src"].indirect
    return f"oob_mode.skip with src {call['src']}" if skips else None


@instruction(
    engines=(Engine.DMA,),
    operands=(writes("dst", regions=SBUF, dtypes=ANY_DTYPE), reads("src", regions=DMA_REACH, dtypes=ANY_DTYPE)),
    attributes=("axes", "priority", "dge_mode", "oob_mode"),
    limits=(
        Rule(_no_permutation, "2, 3 or 4 dimensions", operand="src"),
        Rule(
            _other_axes,
            f"{', '.join(map(str, TRANSPOSE_AXES.values()))}, by the number of dimensions",
            operand="axes",
            error=ArgumentError,
        ),
        SameDtype("dst", "src"),
        Rule(
            _wrong_item_size,
            _item_size_rule,
            operand="src",
            error=DtypeError,
            source=_GUIDE_V3,
            words="a dtype of 2 or 4 bytes; of 2 bytes with hwdge or a vector of indices",
        ),
        *_GATHER_LIMITS,
        Rule(
            _not_permuted,
            lambda call: f"shape {_permuted(call)}",
            operand="dst",
            words="the shape of src, its dimensions permuted as axes say",
        ),
        Rule(
            _software_without_index,
            "unknown, none or hwdge, or a src with a run-time index",
            operand="dge_mode",
            error=ArgumentError,
            source=f"{_DGE}; the page of nisa.dma_transpose leaves none out",
        ),
        *_DESCRIPTORS,
        Rule(
            _wrong_hardware_shape,
            "16 rows in 2-D; else 1, 2, 4, 8 or 16 with rows x shape[-2] a multiple of 16; last dimension at most 128",
            operand="src",
            error=ShapeError,
            source=f"{_TRANSPOSE} (the DGE reference asks for a last dimension that is a multiple of 128 instead)",
            words="with hwdge: 16 rows in 2-D; else 1, 2, 4, 8 or 16 with rows x shape[-2] a multiple of 16; "
            "a last dimension of at most 128",
        ),
        Rule(
            _skips_without_index,
            "oob_mode.error, or a src with a run-time index",
            operand="oob_mode",
            error=ArgumentError,
        ),
    ),
    feature=Feature.DMA_TRANSPOSE,
    since=Generation.V3,
    math="raw",
    layout="view",
    rows="last",
    source=_TRANSPOSE,
    assumptions=("of a row skipped because its index is out of bounds, the elements of dst stay as they are",),
)
def dma_transpose(src: jax.Array, *, axes: tuple[int, ...]) -> jax.Array:
    """dst = src.transpose(axes): (1, 0), (2, 1, 0) or (3, 1, 2, 0) by the number of dimensions; bits move."""
    return from_words(to_words(src).transpose(axes), src.dtype)
