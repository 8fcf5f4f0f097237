"""Instructions that move elements as indices say, or partitions as a mask says; every element keeps its bits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from trnlab.emulator import dtypes as formats
from trnlab.emulator.dtypes import DType
from trnlab.emulator.errors import ArgumentError
from trnlab.emulator.isa.bits import from_words, to_words
from trnlab.emulator.isa.limits import (
    AttributeIn,
    PartitionsMultipleOf,
    Rule,
    SameDtype,
    SameFree,
    SamePartitions,
)
from trnlab.emulator.isa.operators import REFERENCE
from trnlab.emulator.isa.positions import GROUP, from_snake
from trnlab.emulator.isa.registry import ANY_DTYPE, SBUF, Call, instruction, reads, writes
from trnlab.emulator.memory import uninitialised_bytes
from trnlab.emulator.program import Signature
from trnlab.emulator.target import Engine

_OUT_OF_BOUNDS: Final = "an index out of bounds, which is undefined, gives what fresh memory holds: NaN, or 4"


def taken(elements: Array, indices: Array, dtype: DType) -> Array:
    """elements[..., indices] along the last axis, as storage elements; out of bounds, what fresh memory holds."""
    words = to_words(elements)
    size = words.shape[-1]
    is_inside = indices < size
    picked = jnp.take_along_axis(words, jnp.where(is_inside, indices, 0).astype(jnp.int32), axis=-1)
    fresh = uninitialised_bytes(dtype, dtype.itemsize).view(words.dtype)[0]
    return from_words(jnp.where(is_inside, picked, fresh), elements.dtype)


# --------------------------------------------------------------------------------------------------- local_gather

_MAX_INDICES: Final = 4096
_CONTIGUOUS: Final = (1, 2, 4, 8, 16, 32)


def _bad_valid_indices(call: Call) -> str | None:
    count = call.attributes["num_valid_indices"]
    return None if 1 <= count <= min(_MAX_INDICES, _held(call)) else str(count)


def _held(call: Call) -> int:
    """Indices that one core reads from its 16 partitions."""
    return GROUP * call["index"].free_elements


def _gathered(call: Call) -> int:
    count: int = call.attributes["num_valid_indices"] * call.attributes["num_elem_per_idx"]
    return count


def _wrong_size(call: Call) -> str | None:
    dst = call["dst"]
    return None if dst.free_elements == _gathered(call) else f"{dst}, free size {dst.free_elements}"


@instruction(
    engines=(Engine.GPSIMD,),
    operands=(
        writes("dst", regions=SBUF, dtypes=ANY_DTYPE),
        reads("src_buffer", regions=SBUF, dtypes=ANY_DTYPE),
        reads("index", regions=SBUF, dtypes=frozenset({formats.uint16})),
    ),
    attributes=("num_elem_per_idx", "num_valid_indices"),
    limits=(
        PartitionsMultipleOf("src_buffer", GROUP, source=REFERENCE + "local_gather"),
        SamePartitions("src_buffer", "index", "dst", source=REFERENCE + "local_gather"),
        SameDtype("src_buffer", "dst", source=REFERENCE + "local_gather"),
        AttributeIn("num_elem_per_idx", _CONTIGUOUS, source=REFERENCE + "local_gather"),
        Rule(
            _bad_valid_indices,
            lambda call: (
                f"1 to {min(_MAX_INDICES, _held(call))}: at most {_MAX_INDICES} indices for each core, "
                f"whose 16 partitions of index hold {_held(call)}"
            ),
            operand="num_valid_indices",
            error=ArgumentError,
            words=f"1 to {_MAX_INDICES} for each core, and no more than its 16 partitions of index hold",
            source=REFERENCE + "local_gather",
        ),
        Rule(
            _wrong_size,
            lambda call: f"free size {_gathered(call)}, num_valid_indices * num_elem_per_idx",
            operand="dst",
            words="free size num_valid_indices * num_elem_per_idx",
            source="NKI 0.6.0 release notes, known issues: nisa.local_gather",
        ),
    ),
    math="raw",
    source=REFERENCE + "local_gather",
    assumptions=("an index counts elements of the flattened partition, as AWS's own example has it", _OUT_OF_BOUNDS),
)
def local_gather(
    src_buffer: Array, index: Array, *, num_elem_per_idx: int, num_valid_indices: int, dtypes: Mapping[str, DType]
) -> Array:
    """dst[p, j * E + e] = src_buffer[p, index_1d[j] + e] for each core, E = num_elem_per_idx and e < E.

    index_1d holds the indices in the core's 16 partitions, partitions first.
    """
    starts = from_snake(index)[:, :num_valid_indices, None].astype(jnp.uint32)
    places = (starts + jnp.arange(num_elem_per_idx, dtype=jnp.uint32)).reshape(starts.shape[0], 1, -1)
    groups = src_buffer.reshape(-1, GROUP, src_buffer.shape[1])
    everywhere = jnp.broadcast_to(places, (*groups.shape[:2], places.shape[2]))
    return taken(groups, everywhere, dtypes["src_buffer"]).reshape(src_buffer.shape[0], -1)


# ---------------------------------------------------------------------------------------------------- nc_n_gather


@instruction(
    engines=(Engine.GPSIMD,),
    operands=(
        writes("dst", regions=SBUF, dtypes=ANY_DTYPE),
        reads("data", regions=SBUF, dtypes=ANY_DTYPE),
        reads("indices", regions=SBUF, dtypes=frozenset({formats.uint32})),
    ),
    limits=(
        SameDtype("data", "dst", source=REFERENCE + "nc_n_gather"),
        SamePartitions("data", "indices", "dst", source=REFERENCE + "nc_n_gather"),
        SameFree("indices", "dst", source=REFERENCE + "nc_n_gather"),
    ),
    math="raw",
    source=REFERENCE + "nc_n_gather",
    assumptions=(_OUT_OF_BOUNDS,),
)
def nc_n_gather(data: Array, indices: Array, *, dtypes: Mapping[str, DType]) -> Array:
    """dst[p, j] = data[p, indices[p, j]], free dimensions flattened."""
    return taken(data, indices, dtypes["data"])


# ---------------------------------------------------------------------------------------------- nc_stream_shuffle

QUADRANT: Final = 32
KEEP: Final = 255
"""The mask entry that leaves a partition of dst as it is."""


def sources_of(mask: Sequence[int], partitions: int) -> list[int | None]:
    """For each partition of dst the partition of src that it copies; None where the mask keeps it."""
    entries = [(p - p % QUADRANT, mask[p % QUADRANT]) for p in range(partitions)]
    return [None if entry == KEEP else first + entry for first, entry in entries]


def _bad_mask(call: Call) -> str | None:
    mask = call.attributes["shuffle_mask"]
    if len(mask) != QUADRANT:
        return f"{len(mask)} entries"
    wrong = [entry for entry in mask if entry != KEEP and not 0 <= entry < QUADRANT]
    return f"entry {wrong[0]}" if wrong else None


def _reads_beyond(call: Call) -> str | None:
    if _bad_mask(call):
        return None
    sources = sources_of(call.attributes["shuffle_mask"], call["dst"].partitions)
    last = max((source for source in sources if source is not None), default=0)
    return f"{call['src']}, where the mask reads partition {last}" if last >= call["src"].partitions else None


def _shuffled(signature: Signature) -> Sequence[int]:
    """The partitions of src that the mask names."""
    partitions = next(operand.shape[0] for operand in signature.operands if operand.name == "dst")
    sources = sources_of(signature.attribute("shuffle_mask"), partitions)
    return sorted({source for source in sources if source is not None})


@instruction(
    engines=(Engine.VECTOR,),
    operands=(
        writes("dst", dtypes=ANY_DTYPE, update_if="keeps", keeps=True, starts_with=("src",)),
        reads("src", dtypes=ANY_DTYPE, starts_with=("dst",), partitions_read=_shuffled),
    ),
    attributes=("shuffle_mask", "keeps"),
    limits=(
        Rule(
            _bad_mask,
            f"{QUADRANT} integers: 0 to {QUADRANT - 1}, or {KEEP} to leave a partition of dst as it is",
            operand="shuffle_mask",
            error=ArgumentError,
            source=REFERENCE + "nc_stream_shuffle",
        ),
        SameDtype("src", "dst", source=REFERENCE + "nc_stream_shuffle"),
        SameFree("src", "dst", source=REFERENCE + "nc_stream_shuffle"),
        Rule(_reads_beyond, "a partition of src for each one that the mask reads, quadrant by quadrant", operand="src"),
    ),
    math="raw",
    source=REFERENCE + "nc_stream_shuffle",
    assumptions=("of the last quadrant, only the partitions that dst has are written",),
)
def nc_stream_shuffle(
    dst: Array | jax.ShapeDtypeStruct, src: Array, *, shuffle_mask: tuple[int, ...], keeps: bool
) -> Array:
    """dst[32 q + i] = src[32 q + shuffle_mask[i]] for each quadrant q; dst[32 q + i] stays where the entry is 255."""
    sources = sources_of(shuffle_mask, dst.shape[0])
    rows = to_words(src)[np.array([source or 0 for source in sources])]
    if keeps:
        assert not isinstance(dst, jax.ShapeDtypeStruct)
        is_kept = np.array([source is None for source in sources])[:, None]
        rows = jnp.where(is_kept, to_words(dst), rows)
    return from_words(rows, src.dtype)
