"""Prices of the Tensor Engine: matmuls in all their modes, and transposes as matmuls with an identity.

    cycles = max(min(64, N_stationary), N_moving) * multiply-accumulates per row / multiply-accumulates per cycle

with N the free sizes, so bf16 takes N_moving cycles, fp32 four times that (NKI reference 2.26, nc_matmul), an FP8
double-row matmul N_moving for twice the contraction (AWS Trainium2 guide) and an MX matmul N_moving for four times
(AWS Trainium3 guide). Loading the stationary operand is four times faster and double buffered: it is hidden behind what
the engine does before, unless that is nothing; N_stationary / 4 cycles then come on top (`Price.load`).
Rates are the target's, so a projection's faster array needs no rule of its own.
"""

from __future__ import annotations

from typing import Any

from trnlab.emulator.isa.registry import Call
from trnlab.emulator.target import Engine, Target, matmul_rate
from trnlab.emulator.timing.cost_terms import ArrayTile, Price
from trnlab.emulator.timing.data_path import stretch

_SLOWEST_FIRST = ("fp32", "bf16", "fp8", "mxfp8", "mxfp4")


def _double_row(call: Call) -> bool:
    return bool(call.attributes.get("perf_mode") == "double_row")


def rate_class(call: Call) -> str:
    """The rate class of a matmul's operands: that of the slower dtype."""
    classes = [matmul_rate(view.dtype) for view in call.present("stationary", "moving", "data")]
    return min(classes, key=_SLOWEST_FIRST.index)


def _macs_per_row(call: Call, rate: str) -> int:
    """Multiply-accumulates of one processing element for one moving row."""
    return 4 if rate in ("mxfp8", "mxfp4") else 2 if _double_row(call) else 1


def _cycles_per_row(call: Call, rate: str) -> float:
    """Cycles of the array for one moving row; FP8 without double-row runs at the bf16 rate."""
    if rate == "fp32" and _is_exact_in_two_passes(call):
        return call.target.tensor_fp32_exact_cycles_per_row
    macs = _macs_per_row(call, rate)
    speed = "bf16" if rate == "fp8" and macs == 1 else rate
    return macs / float(getattr(call.target, f"tensor_{speed}_macs_per_cycle"))


def _is_exact_in_two_passes(call: Call) -> bool:
    """Whether fp32 may need fewer passes: a transpose, or an fp32 operand that holds only zeros and ones."""
    hints = ("stationary", "moving")
    onezero = any(call.attributes.get(f"is_{name}_onezero") and call[name].dtype == "float32" for name in hints)
    return onezero or call.opcode == "nc_transpose" or bool(call.attributes.get("is_transpose"))


def _cycles(call: Call, stationary: int, moving: int) -> float:
    """The slower of two overlapping streams: the moving rows, and the load of the stationary columns."""
    floor = min(call.target.minimum_initiation_interval_cycles, stationary)
    rows = max(floor, moving, stationary / call.target.tensor_fast_load_speedup)
    return rows * _cycles_per_row(call, rate_class(call)) * stretch(call)


def _load_cycles(call: Call, stationary: int) -> float:
    return stationary / call.target.tensor_fast_load_speedup * _cycles_per_row(call, rate_class(call))


def array_tile(call: Call, target: Target) -> ArrayTile | None:
    """The cells of the array that a tiled matmul occupies; None when it takes the whole array.

    Tiles of different cells run at the same time (AWS Trainium2 guide, row and column tiling).
    """
    size = call.attributes.get("tile_size") or ()
    if not size:
        return None
    grain = target.tensor_tile_minimum
    rows, columns = target.tensor_rows // grain, target.tensor_columns // grain
    first_row, first_column = call.attributes.get("tile_position") or (0, 0)
    covered_rows = range(first_row // grain, -(-(first_row + size[0]) // grain))
    covered_columns = range(first_column // grain, -(-(first_column + size[1]) // grain))
    cells = tuple(row * columns + column for row in covered_rows for column in covered_columns)
    return ArrayTile(cells, rows * columns) if len(cells) < rows * columns else None


def price_matmul(call: Call) -> Price:
    """nc_matmul and nc_matmul_mx."""
    halves = 2 if _double_row(call) else 1
    stationary, moving = call["stationary"].free_elements // halves, call["moving"].free_elements // halves
    load = _load_cycles(call, stationary)
    return Price(_cycles(call, stationary, moving), load=load, tile=array_tile(call, call.target))


def matmul_work(call: Call) -> dict[str, Any]:
    """2 * K * M * N, by rate class; a transpose's count is kept apart."""
    stationary, moving = call["stationary"], call["moving"]
    rate = rate_class(call)
    macs = _macs_per_row(call, rate)
    halves = 2 if _double_row(call) else 1
    columns, rows = stationary.free_elements // halves, moving.free_elements // halves
    flops = 2 * moving.partitions * macs * columns * rows
    return {"transpose_flops": flops} if call.attributes.get("is_transpose") else {"matmul_flops": {rate: flops}}


def price_transpose(call: Call) -> Price:
    """nc_transpose on the Tensor Engine: data [P, F] stationary, an identity [P, P] moving."""
    data = call["data"]
    return Price(_cycles(call, data.free_elements, data.partitions), load=_load_cycles(call, data.free_elements))


def transpose_work(call: Call) -> dict[str, Any]:
    """2 * P * F * P for the multiplication by an identity; nothing on the Vector Engine, which only moves."""
    if call.engine is not Engine.TENSOR:
        return {}
    data = call["data"]
    return {"transpose_flops": 2 * data.partitions * data.partitions * data.free_elements}
