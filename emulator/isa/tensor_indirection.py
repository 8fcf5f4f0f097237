"""Tensor indirection: which operands of compute instructions may be `.indirect()` views, where, and under which rules.

Column i of such a view lies at the free offset `index[i % G, i // G]`, the same in every partition: a read gathers
columns, a write scatters them. G is 32 on the Tensor Engine and 16 on the others.

Source: NKI reference 2.32, NkiTensor.indirect, and "Tensor indirection" on the pages of the instructions in `USES`.
Assumed: every partition takes the offsets of the first group of G (AWS's formula names no other); an offset beyond the
row is an error; of columns scattered to one offset the last stays; the dtypes that nc_matmul asks of its indirect
operands bind its inputs, as PSUM holds the result.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from trnlab.emulator import dtypes
from trnlab.emulator.errors import ArgumentError, BufferError, DtypeError, EngineError, PartitionError, ShapeError
from trnlab.emulator.isa.limits import Needs, Rule
from trnlab.emulator.isa.operators import chosen, is_bitvec
from trnlab.emulator.isa.registry import Breach, Call, Limit, OperandView
from trnlab.emulator.memory import MemoryRegion
from trnlab.emulator.target import Engine, Feature

COLUMNS: Final = "columns"
"""The kind of run-time address that tensor indirection is."""

_REFERENCE: Final = "NKI reference, tensor indirection"


def offset_group(engine: Engine) -> int:
    """G: the partitions over which the offsets run before they go on in the next column of the index."""
    return 32 if engine is Engine.TENSOR else 16


class Use(NamedTuple):
    """How one instruction takes tensor indirection.

    operands: the operands that may be indirect: dst, then the input whose start partition aligns with dst's index,
              then others
    engines:  the engines that can run it
    limits:   rules of this instruction alone, judged where an operand is indirect
    """

    operands: tuple[str, ...]
    engines: tuple[Engine, ...]
    limits: tuple[Limit, ...] = ()


def columns(call: Call) -> list[OperandView]:
    """The operands that are views with tensor indirection."""
    return [view for view in call.operands.values() if view.indirect == COLUMNS]


# ------------------------------------------------------------------------------------- rules of single instructions

_TENSOR_FLOATS: Final = frozenset(
    {dtypes.float16, dtypes.bfloat16, dtypes.float8_e4m3, dtypes.float8_e5m2, dtypes.float8_e4m3fn}
)
_ADDRESS_DTYPES: Final = frozenset({dtypes.int32, dtypes.uint32})


def _tiled(call: Call) -> str | None:
    position, size = call.attributes["tile_position"], call.attributes["tile_size"]
    whole = (call.target.tensor_rows, call.target.tensor_columns)
    return None if (position, size) == ((0, 0), whole) else f"tile_position {position}, tile_size {size}"


def _moving_transpose(call: Call) -> str | None:
    return str(call["moving"]) if call.attributes["is_transpose"] and call["moving"].indirect == COLUMNS else None


def _other_float(call: Call) -> str | None:
    inputs = [call[name] for name in ("stationary", "moving")]
    wrong = [view for view in inputs if view.indirect == COLUMNS and view.dtype not in _TENSOR_FLOATS]
    return f"{wrong[0].name} {wrong[0]}" if wrong else None


def _unpaired(data: str) -> Rule:
    def found(call: Call) -> str | None:
        scale = call[f"{data}_scale"]
        return None if scale.indirect == call[data].indirect else f"{scale} beside {data} {call[data]}"

    return Rule(found, f"{data} and {data}_scale both indirect, or neither", f"{data}_scale", ArgumentError, _REFERENCE)


def _computes_addresses(call: Call) -> str | None:
    ops = chosen(call, "op0", "op1")
    kept = all(call[name].dtype in _ADDRESS_DTYPES for name in ("dst", "data"))
    return f"{' and '.join(ops)} on {call['data']}" if kept and not all(map(is_bitvec, ops)) else None


_WHOLE_ARRAY: Final = Rule(
    _tiled, "no tiles of the array: tile_position (0, 0), or unset", "tile_position", ArgumentError, _REFERENCE
)
_MATMUL: Final = (
    _WHOLE_ARRAY,
    Rule(_moving_transpose, "a direct view with is_transpose", "moving", ArgumentError, _REFERENCE),
    Rule(_other_float, ", ".join(sorted(_TENSOR_FLOATS)), error=DtypeError, source=_REFERENCE),
)
_MATMUL_MX: Final = (_WHOLE_ARRAY, _unpaired("stationary"), _unpaired("moving"))
_TENSOR_SCALAR: Final = (
    Rule(
        _computes_addresses,
        "bitvec operators where data and dst are int32 or uint32: arithmetic on them is tensor_scalar_addr (assumed)",
        operand="data",
        error=DtypeError,
        source=_REFERENCE,
    ),
)

_V, _S, _G, _T = (Engine.VECTOR,), (Engine.SCALAR,), (Engine.GPSIMD,), (Engine.TENSOR,)

USES: Final[Mapping[str, Use]] = MappingProxyType(
    {
        "tensor_copy": Use(("dst", "src"), _V + _S),
        "tensor_copy_predicated": Use(("dst", "predicate"), _V),
        "tensor_tensor": Use(("dst", "data1"), _V + _G),
        "tensor_scalar": Use(("dst", "data"), _V + _S + _G, _TENSOR_SCALAR),
        "tensor_scalar_reduce": Use(("dst", "data"), _V),
        "tensor_scalar_cumulative": Use(("dst", "src"), _V),
        "tensor_reduce": Use(("dst", "data"), _V),
        "exponential": Use(("dst", "src"), _V),
        "activation": Use(("dst", "data"), _S),
        "activation_reduce": Use(("dst", "data"), _S),
        "activate2": Use(("dst", "data"), _S),
        "nc_matmul": Use(("dst", "stationary", "moving"), _T, _MATMUL),
        "nc_matmul_mx": Use(("dst", "stationary", "moving", "stationary_scale", "moving_scale"), _T, _MATMUL_MX),
    }
)
"""The instructions that take tensor indirection."""


# ------------------------------------------------------------------------------------------------- rules of all


def breaches(call: Call) -> Iterator[Breach]:
    """Every rule of tensor indirection that a call with indirect operands breaks, most basic first."""
    indirect = columns(call)
    if not indirect:
        return
    use = USES.get(call.opcode, Use((), ()))
    misplaced = list(_misplaced(use, indirect))
    yield from misplaced
    if misplaced:
        return
    for limit in (Needs(Feature.TENSOR_INDIRECTION, ".indirect()", lambda _: True, _REFERENCE), *use.limits):
        breach = limit.check(call)
        if breach is not None:
            yield breach
    yield from _wrong_engine(call, use)
    for view in indirect:
        yield from _short_index(call, view)


def _misplaced(use: Use, indirect: list[OperandView]) -> Iterator[Breach]:
    for view in indirect:
        if view.name not in use.operands:
            allowed = f".indirect() for {', '.join(use.operands)}" if use.operands else "no .indirect() view"
            found = f"{view} with tensor indirection"
            yield Breach(error=ArgumentError, operand=view.name, found=found, allowed=allowed, source=_REFERENCE)


def _wrong_engine(call: Call, use: Use) -> Iterator[Breach]:
    if call.engine not in use.engines:
        yield Breach(
            error=EngineError,
            operand="engine",
            found=str(call.engine.value if call.engine else None),
            allowed=f"{', '.join(engine.value for engine in use.engines)} with tensor indirection",
            source=_REFERENCE,
        )
    dst = call["dst"]
    if call.engine is Engine.SCALAR and dst.indirect == COLUMNS and dst.region is MemoryRegion.psum:
        found, allowed = f"{dst}, scattered on the scalar engine", "a scattered dst in sbuf on the scalar engine"
        yield Breach(error=BufferError, operand="dst", found=found, allowed=allowed, source=_REFERENCE)


def _short_index(call: Call, view: OperandView) -> Iterator[Breach]:
    """The index holds an offset for every column, as the engine of the call walks it."""
    index, count = call[f"{view.name}.index"], view.free_elements
    group = offset_group(call.engine or Engine.VECTOR)
    rows, places = min(group, index.partitions), index.free_elements
    held = rows * places if rows == group else rows
    if count > held:
        yield Breach(
            error=ShapeError,
            operand=view.name,
            found=f"{count} offsets from index {index}",
            allowed=f"at most {held}: offset i is index[i % {group}, i // {group}] on the {call.engine} engine",
            source=_REFERENCE,
        )


# -------------------------------------------------------------------------------------------- start partitions


def start_breaches(opcode: str, regions: Mapping[str, MemoryRegion], starts: Mapping[str, int]) -> Iterator[Breach]:
    """The rules on where operands and indices start together, for those whose start partition is decided.

    That an index starts on a quadrant follows from the start rule of every operand (`validate.start_breach`).

    regions: of the operands that are present; starts: by operand and "<operand>.index", where known
    """
    use = USES[opcode]
    source = use.operands[1]
    for name in use.operands[1:3]:
        yield from _apart(f"{name}.index", name, starts)
    if regions[source] is MemoryRegion.sbuf:
        yield from _apart("dst.index", source, starts)
    else:
        yield from _apart("dst.index", f"{source}.index", starts)


def _apart(index: str, other: str, starts: Mapping[str, int]) -> Iterator[Breach]:
    if index in starts and other in starts and starts[index] != starts[other]:
        yield Breach(
            error=PartitionError,
            operand=index.partition(".")[0],
            found=f"{index} at partition {starts[index]}, {other} at {starts[other]}",
            allowed=f"{index} and {other} at the same start partition",
            source=_REFERENCE,
        )
