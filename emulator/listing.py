"""A program as text: header, arguments and results, then one line per instruction, structured loops indented.

    matmul for trn3: 6 instructions (4 dma_copy, 1 nc_matmul, 1 tensor_copy)
    input   x: bfloat16[128, 512] in private_hbm
    output  y: float32[128, 512] in shared_hbm

    0  dma     dma_copy   dst=a:bfloat16[sbuf][0 + 512x128 1x512] src=x:bfloat16[private_hbm][0 + 512x128 1x512]  k.py:7

An operand is `name=buffer:dtype[space][offset + stride x count ...]`, outermost dimension first, in elements. A
run-time address adds `+ scalar@index*stride` (or `vector@`), with the buffer of the index.

A folded program shows every body once, under `repeat 8 times (i):`. What advances says so: `t5(+1i)` is a buffer, one
further in the class of t5 with every i (see `repeats`), `0 +512i` an offset, `table(i)` what has no constant step.
Where the trip count is a table it is shown: `repeat table(i) [0 1 2 3] times (j):`, and for what runs at most once
`if table(i) [0 1 1 0]:`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import numpy as np

from trnlab.emulator.errors import shown_file
from trnlab.emulator.program import Instruction, Loop, OperandRecord, Program
from trnlab.emulator.repeats import BUFFER, OFFSET, Repeat, depths as repeat_depths, outermost_first

_UNREMARKABLE: tuple[Any, ...] = (None, False, (), "none", "unknown")
_DEFAULTS = {"oob_mode": "error"}
_INDENT = "    "
_COUNTERS = "ijklmnopqrstuvwxyz"
_TABLE_ENTRIES = 16  # of a trip table; longer ones end in "..."
_WIDEST_COLUMN = 120  # longer operand lists push only their own source line


def listing(program: Program, limit: int | None = None) -> str:
    """The program as text.

    limit: at most this many instructions are shown; those in the middle are left out and counted.
    """
    shown = _shown(len(program), limit)
    depths = _depths(program)
    advances = _Advances(program)
    rows = [_columns(program[number], depths[number], advances) for number in shown]
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
    """How many loops and repeats are around each instruction."""
    depths = [0] * len(program)
    for begin, end in [(loop.begin, loop.end) for loop in program.loops] + [(r.begin, r.end) for r in program.repeats]:
        for number in range(begin, end):
            depths[number] += 1
    return depths


def _header(program: Program) -> Iterator[str]:
    flat = program.flat
    counts = ", ".join(f"{count} {opcode}" for opcode, count in flat.count_by_opcode().items())
    plural = "" if len(flat) == 1 else "s"
    folded = f", folded to {len(program)}" if program.repeats else ""
    yield f"{program.kernel} for {program.target_name}: {len(flat)} instruction{plural}{folded}" + (
        f" ({counts})" if counts else ""
    )
    for kind, numbers in (("input", program.inputs), ("output", program.outputs)):
        for number in numbers:
            buffer = program.buffers[number]
            yield f"{kind:<7} {buffer.name}: {buffer.dtype}{list(buffer.shape)} in {buffer.region.value}"


def _body(program: Program, texts: dict[int, str], depths: list[int], margin: str) -> Iterator[str]:
    """The instruction lines, with a line where each loop begins and where instructions were left out."""
    opening: dict[int, list[str]] = {}
    for loop in reversed(program.loops):  # recorded when they close: outer loops last
        opening.setdefault(loop.begin, []).append(_loop(program, loop))
    repeats = outermost_first(program.repeats)  # no loop lies inside a repeat
    for depth, repeat in zip(repeat_depths(repeats), repeats, strict=True):
        opening.setdefault(repeat.begin, []).append(_repeat(repeat, depth))
    expected = 0
    for number, text in [*texts.items(), (len(program), "")]:
        if number > expected:
            yield f"{margin}... {number - expected} more ..."
        titles = opening.get(number, []) if number < len(program) else []
        for depth, title in enumerate(titles, depths[number] - len(titles) if titles else 0):
            yield f"{margin}{_INDENT * depth}{title}"
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


def _repeat(repeat: Repeat, depth: int) -> str:
    table = repeat.trip_table
    if table is None:
        return f"repeat {repeat.trips} times ({_counter(depth)}):"
    entries = table.reshape(-1).tolist()
    shown = " ".join(map(str, entries[:_TABLE_ENTRIES])) + (" ..." if len(entries) > _TABLE_ENTRIES else "")
    axes = _axes(table.shape)
    if repeat.trips == 1:
        return f"if table({axes}) [{shown}]:"
    return f"repeat table({axes}) [{shown}] times ({_counter(depth)}):"


class _Advances:
    """What to write behind the buffers, offsets and immediates that advance in repeats."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.rows: dict[tuple[int, int], list[str]] = {}
        self.immediates: dict[int, str] = {}
        repeats = outermost_first(program.repeats)
        for depth, repeat in zip(repeat_depths(repeats), repeats, strict=True):
            self._add(repeat, _counter(depth))
            for table in repeat.immediates:
                self.immediates[table.number] = f" table({_axes(table.values.shape)})"

    def _add(self, repeat: Repeat, counter: str) -> None:
        first = int(self.program.operand_starts[repeat.begin])
        moving = [(first + row, column, f"{repeat.steps[row, column]:+}{counter}") for row, column in _nonzero(repeat)]
        looked_up = [
            (t.row, t.column, f"+table({counter if t.values.ndim == 1 else _axes(t.values.shape)})")
            for t in repeat.tables
        ]
        for row, column, text in (*moving, *looked_up):
            self.rows.setdefault((row, column), []).append(text)

    def of_operand(self, instruction: int, position: int) -> tuple[str, str]:
        """Texts behind the buffer's name and behind the offset."""
        row = int(self.program.operand_starts[instruction]) + position
        buffer, offset = (self.rows.get((row, column), []) for column in (BUFFER, OFFSET))
        return (f"({' '.join(buffer)})" if buffer else "", "".join(f" {text}" for text in offset))

    def of_immediate(self, instruction: int, position: int) -> str:
        """The text behind the value."""
        return self.immediates.get(int(self.program.immediate_starts[instruction]) + position, "")


def _axes(shape: tuple[int, ...]) -> str:
    """The counters that a table with an axis per repeat depends on."""
    return ",".join(_counter(axis) for axis, size in enumerate(shape) if size > 1)


def _nonzero(repeat: Repeat) -> list[list[int]]:
    places: list[list[int]] = np.argwhere(repeat.steps).tolist()
    return places


def _counter(depth: int) -> str:
    """The name of the counter of a repeat inside that many others."""
    return _COUNTERS[depth] if depth < len(_COUNTERS) else f"i{depth}"


def _columns(instruction: Instruction, depth: int, advances: _Advances) -> tuple[str, str, str, str, str]:
    """Number, engine, opcode (indented), the rest, source line."""
    where = instruction.location
    line = "" if where is None else f"{os.path.basename(shown_file(where.file))}:{where.line}"
    return (
        str(instruction.number),
        _INDENT * depth + instruction.engine.value,
        instruction.opcode,
        " ".join(_details(instruction, advances)),
        line,
    )


def _line(row: tuple[str, str, str, str, str], widths: list[int]) -> str:
    number, engine, opcode, details, line = row
    left = f"{number:>{widths[0]}}  {engine:<{widths[1]}}  {opcode:<{widths[2]}}  {details:<{widths[3]}}"
    return f"{left}  {line}".rstrip()


def _details(instruction: Instruction, advances: _Advances) -> Iterator[str]:
    operands = iter(enumerate(instruction.operands))
    for position, operand in operands:
        index = next(operands)[1] if operand.signature.indirection is not None else None
        yield f"{operand.signature.name}={_operand(operand, index, advances.of_operand(instruction.number, position))}"
    for position, (name, value) in enumerate(instruction.immediates.items()):
        yield f"{name}={value:g}{advances.of_immediate(instruction.number, position)}"
    for name, value in instruction.signature.attributes:
        if value not in _UNREMARKABLE and value != _DEFAULTS.get(name):
            yield f"{name}={_value(value)}"
    if instruction.name:
        yield f"# {instruction.name}"


def _operand(operand: OperandRecord, index: OperandRecord | None, advances: tuple[str, str]) -> str:
    signature = operand.signature
    pairs = " ".join(f"{stride}x{count}" for stride, count in zip(signature.strides, signature.shape, strict=True))
    moved = ""
    if signature.indirection is not None and index is not None:
        moved = f" + {signature.indirection.kind}@{index.buffer.name}*{signature.indirection.stride}"
    buffer, offset = f"{operand.buffer.name}{advances[0]}", f"{operand.offset}{advances[1]}"
    return f"{buffer}:{signature.dtype}[{operand.buffer.region.value}][{offset}{moved} + {pairs}]"


def _value(value: Any) -> str:
    if isinstance(value, tuple):
        return f"({', '.join(map(_value, value))})"
    return f"{value:g}" if isinstance(value, float) else str(value)
