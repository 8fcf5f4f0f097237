"""Limits of nc_matmul_mx beyond those it shares with nc_matmul: quadrants, even columns, row tiles, scale tiles.

Sources: NKI reference, nisa.nc_matmul_mx; NKI deep dive "MXFP Matrix Multiplication", scale tensor.
"""

from __future__ import annotations

from typing import Final

from trnlab.emulator.errors import ArgumentError
from trnlab.emulator.isa.limits import Rule
from trnlab.emulator.isa.matmul_limits import columns
from trnlab.emulator.isa.registry import Call, Limit
from trnlab.emulator.numerics.microscaling_layout import QUADRANT, SCALES_PER_QUADRANT


def _not_quadrants(call: Call) -> str | None:
    count = call["stationary"].partitions
    return None if count % QUADRANT == 0 else f"{call['stationary']}, {count} partitions"


def _odd_columns(call: Call) -> str | None:
    count = columns(call, "stationary")
    return None if count % 2 == 0 else f"{call['stationary']}, {count} columns"


def _tiles_columns(call: Call) -> str | None:
    position, size = call.attributes["tile_position"], call.attributes["tile_size"]
    whole = position[1] == 0 and size[1] == call.target.tensor_columns
    return None if whole else f"tile_position {position}, tile_size {size}"


def scale_rows(partitions: int) -> int:
    """Partitions from a scale tile's first live row to its last: 4 live rows at the head of each quadrant."""
    return partitions - QUADRANT + SCALES_PER_QUADRANT


def _bad_scale(scale: str, data: str) -> Rule:
    def found(call: Call) -> str | None:
        view, needed = call[scale], scale_rows(call[data].partitions)
        good = view.free_elements == call[data].free_elements and view.partitions >= needed
        return None if good else f"{view}, {view.partitions} partitions of {view.free_elements} elements"

    def allowed(call: Call) -> str:
        needed, free = scale_rows(call[data].partitions), call[data].free_elements
        return f"at least {needed} partitions of {free} elements, for {data} {call[data]}"

    words = (
        f"the free size of {data}, and partitions from the first live row to the last: those of {data} less "
        f"{QUADRANT - SCALES_PER_QUADRANT}"
    )
    return Rule(found, allowed, operand=scale, words=words)


MX_LIMITS: Final[tuple[Limit, ...]] = (
    Rule(_not_quadrants, f"a multiple of {QUADRANT} partitions", operand="stationary"),
    Rule(_odd_columns, "an even number of columns", operand="stationary"),
    Rule(_tiles_columns, "row tiles only: start column 0, 128 columns", operand="tile_size", error=ArgumentError),
    _bad_scale("stationary_scale", "stationary"),
    _bad_scale("moving_scale", "moving"),
)
