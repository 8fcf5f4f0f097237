"""A program as text: header, arguments and results, then one line per instruction, structured loops indented.

    matmul for trn3: 6 instructions (4 dma_copy, 1 nc_matmul, 1 tensor_copy)
    input   x: bfloat16[128, 512] in private_hbm
    output  y: float32[128, 512] in shared_hbm

    0  dma     dma_copy   dst=a:bfloat16[sbuf][0 + 512x128 1x512] src=x:bfloat16[private_hbm][0 + 512x128 1x512]  k.py:7

An operand is `name=buffer:dtype[space][offset + stride x count ...]`, outermost dimension first, in elements. A
run-time address adds `+ scalar@index*stride` (or `vector@`), with the buffer of the index.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from trnlab.emulator.errors import shown_file
from trnlab.emulator.program import Instruction, Loop, OperandRecord, Program

_UNREMARKABLE: tuple[Any, ...] = (None, False, (), "none", "unknown")
_DEFAULTS = {"oob_mode": "error"}
_INDENT = "    "
_WIDEST_COLUMN = 120  # longer operand lists push only their own source line


def listing(program: Program, limit: int | None = None) -> str:
    """The program as text.

    limit: at most this many instructions are shown; those in the middle are left out and counted.
    """
    shown = _shown(len(program), limit)
    depths = _depths(program)
    rows = [_columns(program[number], depths[number]) for number in shown]
    widths = [min(max((len(row[column]) for row in rows), default=0), _WIDEST_COLUMN) for column in range(4)]
    texts = {number: _line(row, widths) for number, row in zip(shown, rows, strict=True)}
    margin = " " * (widths[0] + 2)
    return "\n".join([*_header(program), "", *_body(program, texts, depths, margin)]).rstrip() + "\n"


def _shown(count: int, limit: int | None) -> list[int]:
    if limit is None or count <= limit:
        return list(range(count))
    head = (limit + 1) // 2
    return [*range(head), *range(count - (limit - head), count)]


def _depths(program: Program) -> list[int]:
    """How many structured loops are around each instruction."""
    depths = [0] * len(program)
    for loop in program.loops:
        for number in range(loop.begin, loop.end):
            depths[number] += 1
    return depths


def _header(program: Program) -> Iterator[str]:
    counts = ", ".join(f"{count} {opcode}" for opcode, count in program.count_by_opcode().items())
    plural = "" if len(program) == 1 else "s"
    yield f"{program.kernel} for {program.target_name}: {len(program)} instruction{plural}" + (
        f" ({counts})" if counts else ""
    )
    for kind, numbers in (("input", program.inputs), ("output", program.outputs)):
        for number in numbers:
            buffer = program.buffers[number]
            yield f"{kind:<7} {buffer.name}: {buffer.dtype}{list(buffer.shape)} in {buffer.region.value}"


def _body(program: Program, texts: dict[int, str], depths: list[int], margin: str) -> Iterator[str]:
    """The instruction lines, with a line where each loop begins and where instructions were left out."""
    opening: dict[int, list[Loop]] = {}
    for loop in reversed(program.loops):  # recorded when they close: outer loops last
        opening.setdefault(loop.begin, []).append(loop)
    expected = 0
    for number, text in [*texts.items(), (len(program), "")]:
        if number > expected:
            yield f"{margin}... {number - expected} more ..."
        loops = opening.get(number, []) if number < len(program) else []
        for depth, loop in enumerate(loops, depths[number] - len(loops) if loops else 0):
            yield f"{margin}{_INDENT * depth}{_loop(program, loop)}"
        yield text
        expected = number + 1


def _loop(program: Program, loop: Loop) -> str:
    name = program.buffers[loop.register].name
    if loop.kind == "while":
        return f"while {name}:"
    lower, upper = (
        str(number) if register is None else program.buffers[register].name
        for number, register in ((loop.lower, loop.lower_register), (loop.upper, loop.upper_register))
    )
    return f"for {name} in {lower}..{upper}" + (f" step {loop.step}:" if loop.step != 1 else ":")


def _columns(instruction: Instruction, depth: int) -> tuple[str, str, str, str, str]:
    """Number, engine, opcode (indented), the rest, source line."""
    where = instruction.location
    line = "" if where is None else f"{os.path.basename(shown_file(where.file))}:{where.line}"
    return (
        str(instruction.number),
        _INDENT * depth + instruction.engine.value,
        instruction.opcode,
        " ".join(_details(instruction)),
        line,
    )


def _line(row: tuple[str, str, str, str, str], widths: list[int]) -> str:
    number, engine, opcode, details, line = row
    left = f"{number:>{widths[0]}}  {engine:<{widths[1]}}  {opcode:<{widths[2]}}  {details:<{widths[3]}}"
    return f"{left}  {line}".rstrip()


def _details(instruction: Instruction) -> Iterator[str]:
    operands = iter(instruction.operands)
    for operand in operands:
        index = next(operands) if operand.signature.indirection is not None else None
        yield f"{operand.signature.name}={_operand(operand, index)}"
    for name, value in instruction.immediates.items():
        yield f"{name}={value:g}"
    for name, value in instruction.signature.attributes:
        if value not in _UNREMARKABLE and value != _DEFAULTS.get(name):
            yield f"{name}={_value(value)}"
    if instruction.name:
        yield f"# {instruction.name}"


def _operand(operand: OperandRecord, index: OperandRecord | None) -> str:
    signature = operand.signature
    pairs = " ".join(f"{stride}x{count}" for stride, count in zip(signature.strides, signature.shape, strict=True))
    moved = ""
    if signature.indirection is not None and index is not None:
        moved = f" + {signature.indirection.kind}@{index.buffer.name}*{signature.indirection.stride}"
    return f"{operand.buffer.name}:{signature.dtype}[{operand.buffer.region.value}][{operand.offset}{moved} + {pairs}]"


def _value(value: Any) -> str:
    if isinstance(value, tuple):
        return f"({', '.join(map(_value, value))})"
    return f"{value:g}" if isinstance(value, float) else str(value)
