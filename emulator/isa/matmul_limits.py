"""Limits of nc_matmul: tiles of the array, sizes, dtypes, double rows, the transpose mode; nc_matmul_mx shares some.

K is the contraction (partitions of both inputs), M the stationary's free size, N the moving's. In double-row mode the
first free dimension of both inputs, of size 2, belongs to the contraction.

Sources: NKI reference, nisa.nc_matmul; NKI architecture guides, Tensor Engine.
"""

from __future__ import annotations

from typing import Final

from trnlab.emulator import dtypes
from trnlab.emulator.dtypes import DType
from trnlab.emulator.errors import ArgumentError, DtypeError
from trnlab.emulator.isa.limits import Needs, Rule
from trnlab.emulator.isa.registry import Call, Limit, OperandView
from trnlab.emulator.target import Feature, Target

DOUBLE_ROW: Final = "double_row"
WIDE_INPUTS: Final = frozenset({dtypes.float32, dtypes.tfloat32})
DOUBLE_ROW_INPUTS: Final = frozenset({dtypes.float8_e4m3, dtypes.float8_e5m2, dtypes.float8_e4m3fn})
# float8_e3m4 is in the architecture guides (at the 16-bit rate), though not in the list of the nc_matmul page.
MATMUL_INPUTS: Final = WIDE_INPUTS | DOUBLE_ROW_INPUTS | {dtypes.bfloat16, dtypes.float16, dtypes.float8_e3m4}

TRAINIUM2_GUIDE: Final = "NKI Trainium2 architecture guide, Tensor Engine"


# ------------------------------------------------------------------------------------------------- what a call is


def is_double_row(call: Call) -> bool:
    """Whether the call is a matmul in double-row mode."""
    return call.attributes.get("perf_mode") == DOUBLE_ROW


def has_transpose_mode(call: Call) -> bool:
    """Whether the call runs in the transpose mode, which moves bits; without the mode a transpose is a matmul."""
    return bool(call.attributes["is_transpose"]) and call.target.has(Feature.BIT_ACCURATE_TRANSPOSE)


def columns(call: Call, operand: str) -> int:
    """M (operand "stationary") or N (operand "moving") of the matmul."""
    return call[operand].free_elements // (2 if is_double_row(call) else 1)


def moving_bound(call: Call) -> int:
    """The largest N, by the generation and the item size of the result."""
    narrow = call.target.matmul_moving_free_max_bf16
    return narrow if narrow and call["dst"].dtype.itemsize == 2 else call.target.matmul_moving_free_max_fp32


def _moving_bounds(target: Target) -> str:
    wide, narrow = target.matmul_moving_free_max_fp32, target.matmul_moving_free_max_bf16
    return f"at most {wide} columns" + (f" for a 4-byte dst, {narrow} for a 2-byte one" if narrow else "")


def tile_sizes(target: Target) -> list[int]:
    """The row and column sizes a tile of the array may have, largest first."""
    sizes = [target.tensor_rows]
    while sizes[-1] > target.tensor_tile_minimum:
        sizes.append(sizes[-1] // 2)
    return sizes


def result_dtypes(target: Target) -> frozenset[DType]:
    """What a matmul may write to PSUM."""
    return frozenset({dtypes.float32, dtypes.bfloat16} if target.has(Feature.PSUM_BFLOAT16) else {dtypes.float32})


def names(found: frozenset[DType]) -> str:
    """The dtypes by name, for messages."""
    return " or ".join(sorted(found))


# ------------------------------------------------------------------------------------------------ tiles of the array


def _bad_tile_size(call: Call) -> str | None:
    size = call.attributes["tile_size"]
    return None if set(size) <= set(tile_sizes(call.target)) else f"{size}"


def _bad_tile_position(call: Call) -> str | None:
    position, size = call.attributes["tile_position"], call.attributes["tile_size"]
    array = (call.target.tensor_rows, call.target.tensor_columns)
    good = all(
        at >= 0 and extent > 0 and at % extent == 0 and at + extent <= end
        for at, extent, end in zip(position, size, array, strict=True)
    )
    return None if good else f"{position} with tile_size {size}"


TILE_LIMITS: Final[tuple[Limit, ...]] = (
    Rule(
        _bad_tile_size,
        lambda call: f"(rows, columns), each one of {', '.join(map(str, tile_sizes(call.target)))}",
        operand="tile_size",
        error=ArgumentError,
        words=lambda target: f"(rows, columns), each one of {', '.join(map(str, tile_sizes(target)))}",
    ),
    Rule(
        _bad_tile_position,
        "multiples of tile_size, the tile inside the array of 128 rows and 128 columns",
        operand="tile_position",
        error=ArgumentError,
    ),
)


# ------------------------------------------------------------------------------------------------------ K, M and N


def _too_long(call: Call) -> str | None:
    stationary = call["stationary"]
    fits = stationary.partitions <= call.attributes["tile_size"][0]
    return None if fits else f"{stationary}, contraction {stationary.partitions}"


def _too_many_columns(call: Call) -> str | None:
    count = columns(call, "stationary")
    return None if count <= call.attributes["tile_size"][1] else f"{call['stationary']}, {count} columns"


def _too_much_moving(call: Call) -> str | None:
    count = columns(call, "moving")
    return None if count <= moving_bound(call) else f"{call['moving']}, {count} columns"


def _contractions_differ(call: Call) -> str | None:
    same = call["moving"].partitions == call["stationary"].partitions
    return None if same else f"{call['moving']}, contraction {call['moving'].partitions}"


def _result_shape(call: Call) -> str | None:
    dst = call["dst"]
    good = dst.partitions == columns(call, "stationary") and dst.free_elements == columns(call, "moving")
    return None if good else f"{dst}, {dst.partitions} partitions of {dst.free_elements} elements"


def _expected_result(call: Call) -> str:
    stationary, moving = call["stationary"], call["moving"]
    return (
        f"{columns(call, 'stationary')} partitions of {columns(call, 'moving')} elements, "
        f"for stationary {stationary} and moving {moving}"
    )


SIZE_LIMITS: Final[tuple[Limit, ...]] = (
    Rule(
        _contractions_differ,
        lambda call: f"{call['stationary'].partitions}, as the stationary has",
        operand="moving",
        words="the contraction (partitions) of the stationary",
    ),
    Rule(
        _too_long,
        lambda call: f"at most {call.attributes['tile_size'][0]} (the tile's rows)",
        operand="stationary",
        words=lambda target: f"contraction of at most the tile's rows: {target.tensor_rows} without tiles",
    ),
    Rule(
        _too_many_columns,
        lambda call: f"at most {call.attributes['tile_size'][1]} (the tile's columns)",
        operand="stationary",
        words=lambda target: f"at most the tile's columns: {target.tensor_columns} without tiles",
    ),
    Rule(
        _too_much_moving,
        lambda call: f"at most {moving_bound(call)} for a {call['dst'].dtype} dst",
        operand="moving",
        words=_moving_bounds,
    ),
    Rule(
        _result_shape,
        _expected_result,
        operand="dst",
        words="a partition for each column of the stationary, an element for each column of the moving",
    ),
)


# ---------------------------------------------------------------------------------------------------------- dtypes


def _mixes_wide_inputs(call: Call) -> str | None:
    stationary, moving = call["stationary"].dtype, call["moving"].dtype
    return f"{stationary} with {moving}" if (stationary in WIDE_INPUTS) != (moving in WIDE_INPUTS) else None


def _mixes_e4m3(call: Call) -> str | None:
    pair = {call["stationary"].dtype, call["moving"].dtype}
    mixed = pair == {dtypes.float8_e4m3, dtypes.float8_e4m3fn}
    return f"{call['stationary'].dtype} with {call['moving'].dtype}" if mixed else None


def _matmul_results(call: Call) -> frozenset[DType]:
    if call.attributes.get("is_transpose") and has_transpose_mode(call):
        return frozenset({call["stationary"].dtype})
    return result_dtypes(call.target)


def _results_in_words(target: Target) -> str:
    mode = "; the dtype of stationary with is_transpose" if target.has(Feature.BIT_ACCURATE_TRANSPOSE) else ""
    return names(result_dtypes(target)) + mode


def _bad_result_dtype(call: Call) -> str | None:
    return None if call["dst"].dtype in _matmul_results(call) else str(call["dst"])


RESULT_DTYPE: Final = Rule(
    _bad_result_dtype,
    lambda call: names(_matmul_results(call)),
    operand="dst",
    error=DtypeError,
    words=_results_in_words,
)
INPUT_DTYPES: Final[tuple[Limit, ...]] = (
    Rule(
        _mixes_wide_inputs,
        "float32 or tfloat32 with float32 or tfloat32, or neither",
        operand="moving",
        error=DtypeError,
    ),
    Rule(
        _mixes_e4m3,
        "float8_e4m3 with another dtype than float8_e4m3fn, and the other way round",
        operand="moving",
        error=DtypeError,
    ),
)


# ------------------------------------------------------------------------------------------------------ double rows


def _not_paired(call: Call) -> str | None:
    unpaired = [view for view in call.present("stationary", "moving") if len(view.shape) < 3 or view.shape[1] != 2]
    return f"{unpaired[0].name} {unpaired[0]}" if is_double_row(call) and unpaired else None


def _not_double_row_dtype(call: Call) -> str | None:
    wrong = [view for view in call.present("stationary", "moving") if view.dtype not in DOUBLE_ROW_INPUTS]
    return f"{wrong[0].name} {wrong[0]}" if is_double_row(call) and wrong else None


def _combined(call: Call) -> str | None:
    if not is_double_row(call):
        return None
    if call.attributes["is_transpose"]:
        return "is_transpose=True with double_row"
    tile = call.attributes["tile_size"]
    return f"tile_size {tile} with double_row" if tile[1] != call.target.tensor_columns else None


DOUBLE_ROW_LIMITS: Final[tuple[Limit, ...]] = (
    Needs(Feature.DOUBLE_ROW, "perf_mode double_row", is_double_row),
    Rule(
        _not_double_row_dtype,
        f"{names(DOUBLE_ROW_INPUTS)} in double_row mode",
        operand="perf_mode",
        error=DtypeError,
        words=lambda target: f"{names(frozenset(filter(target.has_dtype, DOUBLE_ROW_INPUTS)))} in double_row mode",
    ),
    Rule(
        _not_paired,
        "shape (K, 2, columns): the first free dimension of size 2",
        operand="perf_mode",
        words="stationary and moving of shape (K, 2, columns) in double_row mode",
    ),
    Rule(
        _combined,
        "double_row without column tiling and without transpose mode",
        operand="perf_mode",
        error=ArgumentError,
        source=TRAINIUM2_GUIDE,
    ),
)


# ------------------------------------------------------------------------------------------------------- transposes


def _innermost_step(view: OperandView) -> int | None:
    steps = [stride for size, stride in zip(view.shape[1:], view.strides[1:], strict=True) if size > 1]
    return steps[-1] if steps else None


def dense_bytes(call: Call) -> str | None:
    """A one-byte result of the transpose mode that is not spread over 16-bit elements."""
    dst = call["dst"]
    step = _innermost_step(dst)
    return f"{dst}, step {step}" if dst.dtype.itemsize == 1 and step not in (None, 2) else None


def _dense_transposed_bytes(call: Call) -> str | None:
    return dense_bytes(call) if has_transpose_mode(call) else None


def _adds_to_transpose(call: Call) -> str | None:
    return (
        "accumulate=True with is_transpose=True" if call.attributes["accumulate"] and has_transpose_mode(call) else None
    )


SPREAD_BYTES: Final = "a step of 2: the transpose mode writes one-byte data as 16-bit elements"
TRANSPOSE_MODE_LIMITS: Final[tuple[Limit, ...]] = (
    Rule(
        _dense_transposed_bytes,
        SPREAD_BYTES,
        operand="dst",
        source=TRAINIUM2_GUIDE,
        words=f"with is_transpose and one-byte data, from NeuronCore-v3 on: {SPREAD_BYTES}",
    ),
    Rule(
        _adds_to_transpose,
        "accumulate=False or None: the transpose mode moves bits and adds nothing",
        operand="accumulate",
        error=ArgumentError,
        words="False or None with is_transpose, from NeuronCore-v3 on: the transpose mode moves bits and adds nothing",
    ),
)
