"""The text of a program, part by part."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

import trnlab.emulator.nki.isa as nisa
import trnlab.emulator.nki.language as nl
from trnlab.emulator import launch
from trnlab.emulator.listing import listing
from trnlab.emulator.program import Program


def kernel(x, rows, bound):
    index = nl.ndarray((64, 1), dtype=nl.int32, name="index")
    nisa.dma_copy(index, rows)  # line 0
    tile = nl.ndarray((64, 32), dtype=nl.bfloat16, name="tile")
    nisa.dma_copy(tile, x.vector_select(0, index), oob_mode=nisa.oob_mode.skip)
    nisa.tensor_scalar(tile[:, 0:32:2], tile[:, 1:32:2], nl.multiply, 0.5, name="halve")
    limit = nl.ndarray((1, 1), dtype=nl.int32, name="limit")
    nisa.dma_copy(limit, bound)
    register = nisa.register_alloc(limit)

    def body(i):
        def inner(j):
            nisa.tensor_scalar(tile, tile, nl.add, 1.0)

        nl.fori_loop(0, 4, inner, step=2)
        nisa.dma_copy(x[i], tile[0:1])

    nl.fori_loop(0, register, body)
    nisa.dma_copy(x[0:64], tile)
    return x


X, ROWS, BOUND = np.zeros((100, 32), np.float32), np.zeros((64, 1), np.int32), np.zeros((1, 1), np.int32)
PROGRAM = launch.trace(kernel, X, ROWS, BOUND)
LINES = listing(PROGRAM).splitlines()


def line(number: int) -> str:
    return next(text for text in LINES if re.match(rf"\s*{number}  ", text))


def test_the_header_says_what_it_is() -> None:
    assert LINES[0] == "kernel for trn3: 8 instructions (5 dma_copy, 2 tensor_scalar, 1 register_load)"
    assert LINES[1:5] == [
        "input   x: float32[100, 32] in private_hbm",
        "input   rows: int32[64, 1] in private_hbm",
        "input   bound: int32[1, 1] in private_hbm",
        "output  x: float32[100, 32] in private_hbm",
    ]
    assert LINES[5] == ""


def test_a_line_has_number_engine_opcode_operands_and_source() -> None:
    first = line(0)
    assert first.split()[:3] == ["0", "dma", "dma_copy"]
    assert "dst=index:int32[sbuf][0 + 1x64 1x1]" in first
    assert "src=rows:int32[private_hbm][0 + 1x64 1x1]" in first
    assert first.endswith(f"test_listing.py:{kernel.__code__.co_firstlineno + 2}")


def test_attributes_that_say_something_are_shown_and_others_not() -> None:
    gather = line(1)
    assert "oob_mode=skip" in gather
    assert "oob_mode" not in line(0)
    assert "dge_mode" not in gather
    assert "priority" not in gather
    assert "op0=multiply" in line(2)
    assert "reverse0" not in line(2)


def test_operands_show_patterns_run_time_addresses_and_numbers() -> None:
    assert "src=x:float32[private_hbm][0 + vector@index*32 + 32x64 1x32]" in line(1)
    assert "dst=tile:bfloat16[sbuf][0 + 32x64 2x16]" in line(2)
    assert "data=tile:bfloat16[sbuf][1 + 32x64 2x16]" in line(2)
    assert "operand0=0.5" in line(2)
    assert "# halve" in line(2)


def test_structured_loops_are_announced_and_indented() -> None:
    loops = [(number, text) for number, text in enumerate(LINES) if text.rstrip().endswith(":")]
    assert [re.sub(r"r\d+", "r", text.strip()) for _, text in loops] == ["for r in 0..r:", "for r in 0..4 step 2:"]
    (outer, _), (inner, _) = loops
    assert LINES.index(line(5)) == inner + 1 == outer + 2
    depths = [len(line(number)) - len(re.sub(r"^\s*\d+\s\s\s*", "", line(number))) for number in range(8)]
    assert depths == [3, 3, 3, 3, 3, 11, 7, 3]


def test_columns_are_aligned() -> None:
    starts = {text.index(" dst=") for text in LINES if " dst=" in text}
    assert len(starts) == 1
    lines = listing(repeated(12)).splitlines()[4:]
    assert len({text.index("test_listing.py") for text in lines}) == 1
    assert [text[:4] for text in lines[-3:]] == [" 9  ", "10  ", "11  "]


def repeated(count: int) -> Program:
    def many(x):
        for _ in range(count):
            nisa.dma_copy(x[0:50], x[50:100])
        return x

    return launch.trace(many, X)


@pytest.mark.parametrize(
    ("limit", "shown"), [(4, [0, 1, 18, 19]), (5, [0, 1, 2, 18, 19]), (1, [0]), (20, [*range(20)])]
)
def test_a_limit_leaves_out_the_middle(limit: int, shown: list[int]) -> None:
    lines = listing(repeated(20), limit).splitlines()[4:]
    numbers = [int(text.split()[0]) for text in lines if text.split()[0].isdigit()]
    assert numbers == shown
    skipped = [text.strip() for text in lines if "more" in text]
    assert skipped == ([f"... {20 - limit} more ..."] if limit < 20 else [])


def test_an_empty_program_and_one_instruction() -> None:
    assert listing(launch.trace(lambda x: x, X)).splitlines()[0] == "<lambda> for trn3: 0 instructions"
    assert listing(repeated(1)).splitlines()[0] == "many for trn3: 1 instruction (1 dma_copy)"


def test_while_loops() -> None:
    def waiting(x):
        condition = nisa.register_alloc(1)

        def body(register: Any) -> Any:
            nisa.register_move(register, 0)
            return register

        nl.while_loop(condition, body)
        return x

    text = listing(launch.trace(waiting, X))
    assert re.search(r"^ +while r\d+:$", text, re.MULTILINE)


def test_ten_thousand_lines_take_no_time_per_loop() -> None:
    program = repeated(10_000)
    assert len(listing(program).splitlines()) == 10_000 + 4
    assert len(listing(program, 100).splitlines()) == 100 + 5
