"""Sources and destinations of one instruction that share memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st

import trnlab.emulator.nki.isa as nisa
import trnlab.emulator.nki.language as nl
from trnlab.emulator import launch
from trnlab.emulator.check import overlapping_operands
from trnlab.emulator.check.overlap import MAX_ELEMENTS
from trnlab.emulator.program import Program
from trnlab.emulator.target import get_target
from trnlab.emulator.trace import Trace


def record(body: Any, *inputs: tuple[int, ...]) -> Program:
    with Trace("test", get_target("trn3")).opened() as trace:
        arguments = [trace.allocate(shape, "float32", "private_hbm", kind="input", name="x") for shape in inputs]
        body(*arguments)
        return trace.program(arguments, [])


def found(body: Any, *inputs: tuple[int, ...]) -> list[tuple[int, str, str, int]]:
    return [
        (finding.instruction, finding.operand, finding.found.split(" that")[0], finding.count)
        for finding in overlapping_operands(record(body, *inputs))
    ]


def test_a_copy_shifted_by_one_row() -> None:
    def body(x: Any) -> None:
        nisa.dma_copy(dst=x[1:16], src=x[0:15])

    (finding,) = overlapping_operands(record(body, (16, 8)))
    assert (finding.check, finding.severity, finding.opcode) == ("overlap", "warning", "nisa.dma_copy")
    assert finding.operand == "src"
    assert finding.found.startswith(f"{14 * 8 * 4} bytes of x that dst writes too")  # rows 1 to 14
    assert finding.location is not None
    assert finding.location.text == "nisa.dma_copy(dst=x[1:16], src=x[0:15])"


def test_rows_that_only_touch_do_not_overlap() -> None:
    def body(x: Any) -> None:
        nisa.dma_copy(dst=x[8:16], src=x[0:8])
        nisa.dma_copy(dst=x[0:16, 0:4], src=x[0:16, 4:8])  # interleaved in memory, apart in columns

    assert found(body, (16, 8)) == []


def test_in_place_is_no_overlap_and_a_shift_on_an_engine_is() -> None:
    def body(x: Any) -> None:
        tile = nl.ndarray((128, 8), nl.float32, buffer=nl.sbuf)
        nisa.memset(tile, 1.0)
        nisa.activation(tile, nl.exp, tile)
        nisa.tensor_tensor(tile, tile, tile, nl.add)
        nisa.tensor_scalar(tile, tile, nl.multiply, tile[:, 0:1])  # the scalar is fetched first
        nisa.tensor_copy(tile[:, 1:8], tile[:, 0:7])

    assert found(body, (1, 1)) == [(4, "src", f"{128 * 6 * 4} bytes of t1", 1)]


def test_the_same_elements_in_another_order() -> None:
    def body(x: Any) -> None:
        nisa.dma_copy(dst=x, src=x.permute((1, 0)))

    assert found(body, (4, 4)) == [(0, "src", f"{16 * 4} bytes of x", 1)]


def test_a_loop_is_one_finding_with_its_first_instruction() -> None:
    def body(x: Any) -> None:
        for row in range(3):
            nisa.dma_copy(dst=x[row + 2 : row + 4], src=x[row : row + 2])  # apart
        for row in range(3):
            nisa.dma_copy(dst=x[row + 1 : row + 3], src=x[row : row + 2])  # one row in common

    assert found(body, (8, 8)) == [(3, "src", f"{8 * 4} bytes of x", 3)]


def test_views_of_other_item_sizes() -> None:
    def body(x: Any) -> None:
        narrow = x.view(nl.uint8)
        nisa.dma_copy(dst=narrow[0:1, 2:10], src=narrow[0:1, 0:8])

    assert found(body, (1, 8)) == [(0, "src", "6 bytes of x", 1)]


@pytest.mark.parametrize(("columns", "expected"), [(MAX_ELEMENTS // 4, 1), (MAX_ELEMENTS // 4 + 1, 0)])
def test_very_large_views_get_the_benefit_of_the_doubt(columns: int, expected: int) -> None:
    def body(x: Any) -> None:
        nisa.dma_copy(dst=x[1:5], src=x[0:4])

    assert len(found(body, (5, columns))) == expected


@given(st.integers(0, 11), st.integers(0, 11), st.integers(1, 4), st.integers(1, 3), st.integers(1, 3))
def test_against_the_elements_that_numpy_finds(first: int, second: int, count: int, step: int, other: int) -> None:
    source, destination = slice(first, first + count * step, step), slice(second, second + count * other, other)

    def body(x: Any) -> None:
        nisa.dma_copy(dst=x[0:2, destination], src=x[0:2, source])

    places = np.arange(2 * 24).reshape(2, 24)
    read, written = places[:, source].reshape(-1), places[:, destination].reshape(-1)
    shared = 0 if np.array_equal(read, written) else len(set(read.tolist()) & set(written.tolist()))
    expected = [(0, "src", f"{shared * 4} bytes of x", 1)] if shared and read.size > 1 else []
    assert found(body, (2, 24)) == expected


def test_a_run_reports_it() -> None:
    def kernel(x: Any) -> Any:
        out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
        nisa.dma_copy(dst=out, src=x)
        nisa.dma_copy(dst=out[1:], src=out[:-1])
        return out

    x = np.arange(32, dtype=np.float32).reshape(8, 4)
    run = launch.run(kernel, x)
    assert [finding.check for finding in run.findings] == ["overlap"]
    assert np.array_equal(run.outputs, np.concatenate([x[:1], x[:-1]]))  # everything is read before anything is written
