"""Vector Engine instructions that search each partition: its eight largest values, and where eight given values are.

nc_find_index8 and nc_match_replace8 pair each of the eight values with a position of its own: of equal values one takes
the first occurrence, the second the next one, and so on. They differ in which of the equal values counts as first.
"""

from __future__ import annotations

from typing import Final

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from trnlab.emulator import dtypes
from trnlab.emulator.isa.limits import ExactFree, MaxDims, MaxFree, MinFree, SameFree, SamePartitions
from trnlab.emulator.isa.operators import REFERENCE
from trnlab.emulator.isa.registry import instruction, reads, writes
from trnlab.emulator.numerics.ordering import LOWEST, equality_key, is_nan, order_key, value_of
from trnlab.emulator.target import Engine

WIDTH: Final = 8
"""Values found or searched for at once."""

MAX_ELEMENTS: Final = 16384
_INDICES: Final = frozenset({dtypes.uint16, dtypes.uint32})
_REFERENCE_2_26: Final = "NKI reference 2.26, nisa.nc_match_replace8"
_EQUALITY: Final = "values are compared as float32: -0.0 equals 0.0, a NaN equals nothing, subnormals are told apart"


def _first(places: Array) -> Array:
    """The column of the first place that holds, [P]; the number of columns where none does."""
    columns = lax.broadcasted_iota(jnp.int32, places.shape, 1)
    return jnp.where(places, columns, places.shape[1]).min(axis=1)


def _is_at(column: Array, shape: tuple[int, ...]) -> Array:
    """Whether a place [P, F] lies in the column [P] of its row."""
    return lax.broadcasted_iota(jnp.int32, shape, 1) == column[:, None]


@instruction(
    engines=(Engine.VECTOR,),
    operands=(writes("dst"), reads("src")),
    limits=(
        MaxDims("src", 3, source=REFERENCE + "max8"),
        MaxDims("dst", 2, source=REFERENCE + "max8"),
        MinFree("src", WIDTH, source=REFERENCE + "max8"),
        MaxFree("src", MAX_ELEMENTS, source=REFERENCE + "max8"),
        ExactFree("dst", WIDTH, source=REFERENCE + "max8"),
        SamePartitions("src", "dst", source=REFERENCE + "max8"),
    ),
    source=REFERENCE + "max8",
    assumptions=("NaNs rank above infinity, and 0.0 above -0.0",),
)
def max8(src: Array) -> Array:
    """dst = the 8 largest elements of each partition, in descending order; equal ones as often as they occur."""

    def take_largest(keys: Array, _: None) -> tuple[Array, Array]:
        largest = keys.max(axis=1)
        taken = _is_at(_first(keys == largest[:, None]), keys.shape)
        return jnp.where(taken, LOWEST, keys), largest

    _, found = lax.scan(take_largest, order_key(src), length=WIDTH)
    return value_of(found.T)


def _pair(data: Array, vals: Array, *, backwards: bool) -> tuple[Array, Array]:
    """Give each of the values, in their order or backwards, the first equal element that is still free.

    Returns their columns [P, 8], the number of columns where there is none, and which elements are left free.
    """
    elements = equality_key(data)

    def take_first(free: Array, value: tuple[Array, Array]) -> tuple[Array, Array]:
        wanted, is_number = value
        column = _first(free & is_number[:, None] & (elements == wanted[:, None]))
        return free & ~_is_at(column, free.shape), column

    values = equality_key(vals).T, ~is_nan(vals).T
    free, columns = lax.scan(take_first, jnp.ones(data.shape, bool), values, reverse=backwards)
    return columns.T, free


def _as_indices(columns: Array, count: int, target: jax.ShapeDtypeStruct) -> Array:
    """Columns as indices, all ones where there is none."""
    all_ones = jnp.asarray(np.iinfo(target.dtype).max, target.dtype)
    return jnp.where(columns < count, columns.astype(target.dtype), all_ones)


@instruction(
    engines=(Engine.VECTOR,),
    operands=(writes("dst", dtypes=_INDICES, raw=True), reads("data"), reads("vals")),
    limits=(
        MaxDims("data", 3, source=REFERENCE + "nc_find_index8"),
        MaxDims("vals", 3, source=REFERENCE + "nc_find_index8"),
        MaxDims("dst", 2, source=REFERENCE + "nc_find_index8"),
        MinFree("data", WIDTH, source=REFERENCE + "nc_find_index8"),
        MaxFree("data", MAX_ELEMENTS, source=REFERENCE + "nc_find_index8"),
        ExactFree("vals", WIDTH, source=REFERENCE + "nc_find_index8"),
        ExactFree("dst", WIDTH, source=REFERENCE + "nc_find_index8"),
        SamePartitions("data", "vals", "dst"),
    ),
    source=REFERENCE + "nc_find_index8; NKI 0.6.0 release notes, duplicates and unmatched slots",
    assumptions=(_EQUALITY, "a duplicate value beyond the last occurrence counts as not present"),
)
def nc_find_index8(dst: jax.ShapeDtypeStruct, data: Array, vals: Array) -> Array:
    """dst[p, k] = the index in data[p] of vals[p, k]; of equal values the n-th one finds the n-th occurrence.

    All ones where there is none.
    """
    columns, _ = _pair(data, vals, backwards=False)
    return _as_indices(columns, data.shape[1], dst)


@instruction(
    engines=(Engine.VECTOR,),
    operands=(
        writes("dst"),
        reads("data"),
        reads("vals"),
        writes("dst_idx", dtypes=_INDICES, optional=True, raw=True),
    ),
    immediates=("imm",),
    limits=(
        MaxDims("vals", 3, source=_REFERENCE_2_26),
        MaxFree("data", MAX_ELEMENTS, source=_REFERENCE_2_26),
        ExactFree("vals", WIDTH, source=REFERENCE + "nc_match_replace8"),
        ExactFree("dst_idx", WIDTH, source=REFERENCE + "nc_match_replace8"),
        SamePartitions("data", "dst", "vals", "dst_idx", source=_REFERENCE_2_26),
        SameFree("data", "dst", source=_REFERENCE_2_26),
    ),
    source=REFERENCE + "nc_match_replace8",
    assumptions=(
        _EQUALITY,
        "an element that was replaced is not matched again, even where imm is among vals",
        "dst_idx is all ones where nothing matches, as in nc_find_index8; it is uint16 or uint32",
        "dst_idx exists on every generation (the reference names none)",
    ),
)
def nc_match_replace8(
    data: Array, vals: Array, dst_idx: jax.ShapeDtypeStruct | None, *, imm: Array
) -> tuple[Array, ...]:
    """dst = data with one occurrence of each value of vals as imm; dst_idx[p, k] = the index of that of vals[p, k].

    Values are taken from the last to the first, each with the first occurrence that is left.
    """
    columns, free = _pair(data, vals, backwards=True)
    replaced = jnp.where(free, data, imm)
    return (replaced,) if dst_idx is None else (replaced, _as_indices(columns, data.shape[1], dst_idx))
