"""The Tensor Engine instructions of nki.isa, as published."""

from __future__ import annotations

from typing import Any

from trnlab.emulator.errors import ArgumentError
from trnlab.emulator.isa import tensor
from trnlab.emulator.isa.tensor_indirection import COLUMNS
from trnlab.emulator.memory import MemoryRegion
from trnlab.emulator.nki.isa import enums
from trnlab.emulator.nki.isa.convert import engine_of, flag, integer, mode_name
from trnlab.emulator.nki.isa.operands import same_place
from trnlab.emulator.psum import accumulates
from trnlab.emulator.signing import index_tensor
from trnlab.emulator.source import fail
from trnlab.emulator.tensor import NkiTensor
from trnlab.emulator.trace import NkiInstruction, Trace, current

Pair = tuple[int, int]


def nc_matmul(
    dst: NkiTensor,
    stationary: NkiTensor,
    moving: NkiTensor,
    is_stationary_onezero: bool = False,
    is_moving_onezero: bool = False,
    is_transpose: bool = False,
    accumulate: bool | None = None,
    tile_position: tuple[int, ...] | None = (),
    tile_size: tuple[int, ...] | None = (),
    perf_mode: enums.matmul_perf_mode = enums.matmul_perf_mode.none,
    name: str | None = None,
) -> NkiInstruction:
    """dst = stationary.T @ moving, or dst += stationary.T @ moving, added up in float32 on the Tensor Engine.

    stationary: (K, M) in SBUF, K and M at most 128, or the tile's rows and columns
    moving:     (K, N) in SBUF, N at most 512; NeuronCore-v4 on 4096 for a float32 dst, 8192 for bfloat16
    dst:        (M, N) in PSUM, float32; NeuronCore-v4 on also bfloat16
    dtypes:     float8_e4m3, float8_e5m2, float8_e3m4, bfloat16, float16 in any pair, NeuronCore-v4 on float8_e4m3fn
                (not with float8_e4m3); float32 and tfloat32 with each other
    is_stationary_onezero, is_moving_onezero: hints that a float32 operand holds ones and zeros; they change no value
    is_transpose: dst = stationary.T with `moving` the identity; bits move from NeuronCore-v3 on, where dst has the
                dtype of the stationary; one-byte results then stand at every second byte
    accumulate: None overwrites where nothing was written to the place yet, and accumulates where something was
    tile_position, tile_size: (row, column) and (rows, columns) of a tile of the array: 128, 64, NeuronCore-v3 on 32
    perf_mode:  double_row, NeuronCore-v3 on, multiplies FP8 (K, 2, M) by (K, 2, N), a contraction of 2 K

    Raises:
        ShapeError, DtypeError, BufferError, PartitionError, GenerationError: see the instruction's limits.
        ArgumentError: a tile or mode the array does not have, or an accumulation that is undefined or ambiguous.
    """
    subject = "nisa.nc_matmul"
    trace = current(subject)
    position, size = _tile(subject, trace, tile_position, tile_size)
    attributes = (
        flag(subject, "is_stationary_onezero", is_stationary_onezero),
        flag(subject, "is_moving_onezero", is_moving_onezero),
        flag(subject, "is_transpose", is_transpose),
        _accumulates(subject, trace, dst, _asked(accumulate, is_transpose)),
        position,
        size,
        mode_name(subject, "perf_mode", perf_mode, enums.matmul_perf_mode),
    )
    return trace.emit(tensor.nc_matmul, (dst, stationary, moving), attributes, name=name)


def nc_matmul_mx(
    dst: NkiTensor,
    stationary: NkiTensor,
    moving: NkiTensor,
    stationary_scale: NkiTensor,
    moving_scale: NkiTensor,
    tile_position: tuple[int, ...] | None = None,
    tile_size: tuple[int, ...] | None = None,
    accumulate: bool | None = None,
    name: str | None = None,
) -> NkiInstruction:
    """dst = (stationary * 2^s).T @ (moving * 2^t), or dst += the same, on MX blocks; NeuronCore-v4 on.

    stationary: (P, M) of a packed x4 dtype in SBUF: P a multiple of 32 up to 128, M even and at most 128
    moving:     (P, N) of a packed x4 dtype in SBUF, N at most 4096 for a float32 dst, 8192 for bfloat16
    dst:        (M, N) in PSUM, float32 or bfloat16
    stationary_scale, moving_scale: uint8 or float8_e8m0fnu in SBUF with the free size of their data; the scale of
                partitions 8 g to 8 g + 7 stands 32 (g // 4) + g % 4 partitions below the view's first, which may lie
                0, 4, 8 or 12 partitions into a quadrant
    accumulate: as for `nc_matmul`
    tile_position, tile_size: row tiles only, (row, 0) and (rows, 128)

    Raises:
        ShapeError, DtypeError, BufferError, PartitionError, GenerationError: see the instruction's limits.
        ArgumentError: a tile the array does not have, an accumulation that is undefined or ambiguous, or tensor
            indirection that data and scale do not share.
    """
    subject = "nisa.nc_matmul_mx"
    trace = current(subject)
    _check_pair(subject, "stationary_scale", stationary, stationary_scale)
    _check_pair(subject, "moving_scale", moving, moving_scale)
    position, size = _tile(subject, trace, tile_position, tile_size)
    attributes = (_accumulates(subject, trace, dst, accumulate), position, size)
    operands = (dst, stationary, moving, stationary_scale, moving_scale)
    return trace.emit(tensor.nc_matmul_mx, operands, attributes, name=name)


def nc_transpose(
    dst: NkiTensor, data: NkiTensor, engine: enums.engine = enums.engine.unknown, name: str | None = None
) -> NkiInstruction:
    """dst[j, i] = data[i, j], free dimensions flattened, on the Tensor or the Vector Engine.

    Tensor Engine: up to 128 x 128, SBUF to PSUM; bits move from NeuronCore-v3 on, where one-byte results stand at every
    second byte; on NeuronCore-v2 it is a product with the identity, through which NaN and infinities spread.
    Vector Engine: up to 32 x 32, SBUF or PSUM; bits move. Without an engine, tiles up to 32 x 32 go here.
    dst, data:     any dtype, the same

    Raises:
        ShapeError, DtypeError, BufferError, EngineError, PartitionError: see the instruction's limits.
    """
    subject = "nisa.nc_transpose"
    return current(subject).emit(tensor.nc_transpose, (dst, data), engine=engine_of(subject, engine), name=name)


def _check_pair(subject: str, argument: str, data: Any, scale: Any) -> None:
    """Data and scale are one logical tensor: where both are indirect, the index is one and the same."""
    if not (_takes_columns(data) and _takes_columns(scale)):
        return  # that both are indirect, or neither, is the instruction's own rule
    if not same_place(index_tensor(data), index_tensor(scale)):
        found, allowed = f"{scale.describe()} with an index of its own", "the index of its data"
        source = "NKI reference, nisa.nc_matmul_mx: tensor indirection"
        fail(ArgumentError, subject, operand=argument, found=found, allowed=allowed, source=source)


def _takes_columns(tensor: Any) -> bool:
    how = tensor.indirection if isinstance(tensor, NkiTensor) else None
    return how is not None and how.kind == COLUMNS


def _asked(accumulate: bool | None, is_transpose: bool) -> bool | None:
    """A transpose without a flag overwrites: there is nothing to sum up."""
    return False if accumulate is None and is_transpose else accumulate


def _accumulates(subject: str, trace: Trace, dst: Any, accumulate: bool | None) -> bool:
    asked = None if accumulate is None else flag(subject, "accumulate", accumulate)
    if not isinstance(dst, NkiTensor) or dst.buffer is not MemoryRegion.psum:
        return bool(asked)  # the instruction's own rules say what is wrong with it
    return accumulates(subject, dst, asked, trace.target, predates_loop=trace.predates_loop(dst))


def _tile(subject: str, trace: Trace, position: Any, size: Any) -> tuple[Pair, Pair]:
    """Start and size of the tile of the array; the whole array where neither is given."""
    without = [name for name, value in (("tile_position", position), ("tile_size", size)) if _is_absent(value)]
    if len(without) == 2:
        return (0, 0), (trace.target.tensor_rows, trace.target.tensor_columns)
    if without:
        missing = without[0]
        given = "tile_size" if missing == "tile_position" else "tile_position"
        fail(ArgumentError, subject, operand=given, found=f"{given} without {missing}", allowed="both, or neither")
    return _pair(subject, "tile_position", position), _pair(subject, "tile_size", size)


def _is_absent(value: Any) -> bool:
    return value is None or (isinstance(value, (tuple, list)) and not value)


def _pair(subject: str, argument: str, value: Any) -> Pair:
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        fail(ArgumentError, subject, operand=argument, found=repr(value), allowed="a pair of integers, (row, column)")
    return integer(subject, argument, value[0]), integer(subject, argument, value[1])
