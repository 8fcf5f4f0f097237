"""Wide rules of instructions that move, copy, fill or pick elements: errors go where their elements go."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import numpy as np

from trnlab.emulator.attribution.rules_arithmetic import RULES as ARITHMETIC
from trnlab.emulator.attribution.rules_sums import RULES as SUMS
from trnlab.emulator.attribution.wide import Floats, Results, Rule, WideCall
from trnlab.emulator.isa.gather import sources_of
from trnlab.emulator.isa.positions import GROUP
from trnlab.emulator.isa.search import WIDTH


def _same_kind(call: WideCall, source: str) -> bool:
    """Whether elements keep their meaning on the way: bits of one dtype moved into another do not."""
    return call.math == "float32" or call.dtypes["dst"] == call.dtypes[source]


def _copy(source: str) -> Rule:
    """dst = source, element order kept."""

    def rule(call: WideCall) -> Results:
        found: Floats = call.needed(source)
        return (found.reshape(call.shapes["dst"]),) if _same_kind(call, source) else None

    return rule


def _memset(call: WideCall) -> Results:
    dtype = call.dtypes["dst"]
    if not dtype.is_float:
        return None
    return (np.full(call.shapes["dst"], call.immediates["value"]),)


def _nc_transpose(call: WideCall) -> Results:
    data = call.needed("data")
    return (np.swapaxes(data, 0, 1),) if _same_kind(call, "data") else None


def _dma_transpose(call: WideCall) -> Results:
    data = call.needed("src")
    axes = call.attributes["axes"]
    lanes = range(len(axes), data.ndim)  # packed words keep their elements together
    return (data.transpose(*axes, *lanes),) if _same_kind(call, "src") else None


def _nc_stream_shuffle(call: WideCall) -> Results:
    sources = sources_of(call.attributes["shuffle_mask"], call.shapes["dst"][0])
    rows = call.needed("src")[np.array([source or 0 for source in sources])]
    kept = np.array([source is None for source in sources])
    if kept.any():
        rows = np.where(kept.reshape(-1, *(1,) * (rows.ndim - 1)), call.needed("dst"), rows)
    return (rows,)


def _taken(data: Floats, places: Floats, call: WideCall) -> Floats:
    """data[p, places[p, j]]; out of bounds what the program itself left there, which is no arithmetic."""
    lanes = data.shape[2:]
    index = places.astype(np.int64)
    inside = index < data.shape[1]
    safe = np.where(inside, index, 0).reshape(*index.shape, *(1,) * len(lanes))
    picked = np.take_along_axis(data, np.broadcast_to(safe, (*index.shape, *lanes)), axis=1)
    return np.where(inside.reshape(safe.shape), picked, call.real["dst"])


def _nc_n_gather(call: WideCall) -> Results:
    return (_taken(call.needed("data"), call.needed("indices"), call),)


def _local_gather(call: WideCall) -> Results:
    data, index = call.needed("src_buffer"), call.needed("index")
    groups = index.reshape(-1, GROUP, index.shape[1]).swapaxes(1, 2).reshape(index.shape[0] // GROUP, -1)
    starts = groups[:, : call.attributes["num_valid_indices"], None]
    places = (starts + np.arange(call.attributes["num_elem_per_idx"])).reshape(len(groups), -1)
    return (_taken(data, np.repeat(places, GROUP, axis=0), call),)


def _max8(call: WideCall) -> Results:
    ordered = np.sort(call.needed("src"), axis=1)[:, ::-1]  # NaNs first, as the instruction ranks them
    return (ordered[:, :WIDTH],)


MOVES: Final[Mapping[str, Rule]] = MappingProxyType(
    {
        "tensor_copy": _copy("src"),
        "dma_copy": _copy("src"),
        "memset": _memset,
        "nc_transpose": _nc_transpose,
        "dma_transpose": _dma_transpose,
        "nc_stream_shuffle": _nc_stream_shuffle,
        "nc_n_gather": _nc_n_gather,
        "local_gather": _local_gather,
        "max8": _max8,
    }
)

RULES: Final[Mapping[str, Rule]] = MappingProxyType({**ARITHMETIC, **SUMS, **MOVES})
"""Every wide rule by opcode; what is missing here executes in its own precision."""
