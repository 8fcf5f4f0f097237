"""Reads of memory that nothing wrote."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st

import trnlab.emulator.nki.isa as nisa
import trnlab.emulator.nki.language as nl
from trnlab.emulator import launch
from trnlab.emulator.check.initialisation import uninitialised_reads, unwritten_outputs
from trnlab.emulator.program import Program
from trnlab.emulator.target import get_target
from trnlab.emulator.trace import Trace


def record(body: Any, *inputs: tuple[int, ...]) -> Program:
    with Trace("test", get_target("trn3")).opened() as trace:
        arguments = [trace.allocate(shape, "float32", "private_hbm", kind="input", name="x") for shape in inputs]
        body(*arguments)
        return trace.program(arguments, [])


def tile(name: str = "", **how: Any) -> Any:
    return nl.ndarray((128, 8), dtype=nl.float32, name=name, **how)


def found(body: Any, *inputs: tuple[int, ...]) -> list[tuple[int, str, str, int]]:
    return [
        (finding.instruction, finding.operand, finding.found.split(" never")[0], finding.count)
        for finding in uninitialised_reads(record(body, *inputs))
    ]


def test_a_read_of_fresh_memory() -> None:
    def body() -> None:
        fresh, out = tile("fresh"), tile("out")
        nisa.tensor_copy(out, fresh)

    (finding,) = uninitialised_reads(record(body))
    assert (finding.check, finding.severity, finding.opcode) == ("initialisation", "warning", "nisa.tensor_copy")
    assert finding.operand == "src"
    assert finding.found == "1024 of 1024 elements of fresh in sbuf never written"
    assert finding.location is not None
    assert finding.location.text == "nisa.tensor_copy(out, fresh)"
    assert "instruction 0" in str(finding)


def test_what_was_written_may_be_read() -> None:
    def body(x: Any) -> None:
        a, b = tile(), tile()
        nisa.dma_copy(a, x)  # arguments are written
        nisa.tensor_copy(b[:, 0:4], a[:, 4:8])
        nisa.tensor_copy(b[:, 4:8], b[:, 0:4])
        nisa.tensor_copy(a, b)

    assert found(body, (128, 8)) == []


def test_partly_written_memory_is_counted_by_element() -> None:
    def body() -> None:
        a, b = tile("a"), tile("b")
        nisa.memset(a[0:64, 2:8:2], 0.0)
        nisa.tensor_copy(b[0:64], a[0:64])

    assert found(body) == [(1, "src", f"{64 * (8 - 3)} of 512 elements of a in sbuf", 1)]


def test_an_element_written_in_part_counts_as_missing() -> None:
    def body() -> None:
        a, b = tile("a"), tile("b")
        nisa.memset(a.view(nl.uint8)[:, 0:30], 0)  # 7 elements and a half
        nisa.tensor_copy(b, a)

    assert found(body) == [(1, "src", "128 of 1024 elements of a in sbuf", 1)]


def test_one_finding_for_instructions_of_one_signature() -> None:
    def body() -> None:
        out = tile("out")
        for _ in range(5):
            nisa.tensor_copy(out, tile("fresh"))
        nisa.tensor_copy(out[:, 0:4], tile("other")[:, 0:4])

    assert [(number, count) for number, *_, count in found(body)] == [(0, 5), (5, 1)]


def test_hbm_buffers_of_the_kernel_are_judged() -> None:
    def body() -> None:
        scratch = nl.ndarray((128, 8), dtype=nl.float32, buffer=nl.private_hbm, name="scratch")
        nisa.dma_copy(tile(), scratch)

    assert found(body) == [(0, "src", "1024 of 1024 elements of scratch in private_hbm", 1)]


def test_registers_and_accumulators_are_not_judged() -> None:
    def body(x: Any) -> None:
        register = nisa.register_alloc()
        nisa.register_move(nisa.register_alloc(), register)
        a = tile()
        nisa.dma_copy(a, x)
        nisa.activation(tile(), nl.exp, a, reduce_op=nl.add, reduce_cmd=nisa.reduce_cmd.reduce)

    assert found(body, (128, 8)) == []


def test_a_matmul_into_fresh_psum_overwrites() -> None:
    def body(x: Any) -> None:
        a = tile()
        nisa.dma_copy(a, x)
        acc = nl.ndarray((8, 8), dtype=nl.float32, buffer=nl.psum)
        nisa.nc_matmul(acc, a, a)
        nisa.nc_matmul(acc, a, a)
        nisa.tensor_copy(nl.ndarray((8, 8), dtype=nl.float32), acc)

    assert found(body, (128, 8)) == []


def test_an_operand_that_is_written_in_part_and_kept_in_part_is_not_read() -> None:
    def body(x: Any) -> None:
        words = nl.ndarray((128, 2), dtype=nl.float8_e4m3fn_x4)
        scales = nl.ndarray((128, 2), dtype=nl.uint8, name="scales")
        half = nl.ndarray((128, 8), dtype=nl.bfloat16)
        nisa.dma_copy(half, x)
        nisa.quantize_mx(words, half, scales)  # writes 4 of every 32 rows of scales
        nisa.tensor_copy(nl.ndarray((128, 2), dtype=nl.uint8), scales)

    assert found(body, (128, 8)) == []


def test_indirect_accesses_get_the_benefit_of_the_doubt() -> None:
    def body(x: Any) -> None:
        index = nl.ndarray((16, 1), dtype=nl.int32)
        nisa.memset(index, 0)
        table = nl.ndarray((64, 8), dtype=nl.float32, buffer=nl.private_hbm, name="table")
        part = nl.ndarray((16, 8), dtype=nl.float32, name="part")
        nisa.dma_copy(part, table.vector_select(0, index))  # 1: nothing in the table yet
        nisa.dma_copy(table[0:1], x[0:1])
        nisa.dma_copy(part, table.vector_select(0, index))  # may well be row 0
        nisa.dma_copy(table.vector_select(0, index), part)  # may write anything
        nisa.dma_copy(part, table[0:16])

    assert found(body, (128, 8)) == [(1, "src", "128 of 128 elements of table in private_hbm", 1)]


def test_the_index_of_an_indirect_access_is_read_too() -> None:
    def body(x: Any) -> None:
        index = nl.ndarray((16, 1), dtype=nl.int32, name="index")
        nisa.dma_copy(nl.ndarray((16, 8), dtype=nl.float32), x.vector_select(0, index))

    assert found(body, (128, 8)) == [(0, "src.index", "16 of 16 elements of index in sbuf", 1)]


def test_loop_bodies_are_walked_once() -> None:
    def body(x: Any) -> None:
        acc, total = tile("acc"), tile("total")

        def inner(_: Any) -> None:
            nisa.tensor_tensor(acc, acc, acc, nl.add)  # reads before the first write

        nl.fori_loop(0, 3, inner)
        nisa.tensor_copy(total, acc)  # written by the loop, which is taken to run

    assert [item[:2] for item in found(body, (128, 8))] == [(0, "data1"), (0, "data2")]


@pytest.mark.parametrize("seed", range(8))
def test_random_programs_against_flags_per_byte(seed: int) -> None:
    rng = np.random.default_rng(seed)
    with Trace("test", get_target("trn3")).opened() as trace:
        buffers = [trace.allocate((32, 12), "float32", "sbuf") for _ in range(3)]
        for _ in range(40):
            source, target = (buffers[i] for i in rng.integers(0, 3, 2))
            rows, columns, step = int(rng.integers(1, 33)), int(rng.integers(1, 5)), int(rng.integers(1, 3))
            a, b = (int(rng.integers(0, 12 - columns * step + 1)) for _ in range(2))
            nisa.tensor_copy(target[:rows, a : a + columns * step : step], source[:rows, b : b + columns * step : step])
            if rng.random() < 0.3:
                nisa.memset(
                    buffers[int(rng.integers(0, 3))][: int(rng.integers(1, 33)), : int(rng.integers(1, 13))], 0.0
                )
        program = trace.program([], [])
    written = [np.zeros((32, 12), bool) for _ in buffers]
    expected: dict[int, int] = {}
    for instruction in program:
        for operand in instruction.operands:
            flags = written[operand.buffer.number]
            grid = operand.offset + sum(
                (np.arange(n) * s).reshape((-1,) + (1,) * (len(operand.signature.shape) - d - 1))
                for d, (n, s) in enumerate(zip(operand.signature.shape, operand.signature.strides, strict=True))
            )
            if operand.signature.reads and not flags.reshape(-1)[grid].all():
                expected.setdefault(int(program.signature_ids[instruction.number]), 0)
                expected[int(program.signature_ids[instruction.number])] += 1
        for operand in instruction.operands:
            if operand.signature.writes:
                window = np.lib.stride_tricks.as_strided(
                    written[operand.buffer.number].reshape(-1)[operand.offset :],
                    operand.signature.shape,
                    operand.signature.strides,
                )
                window[...] = True
    assert {
        int(program.signature_ids[finding.instruction]): finding.count for finding in uninitialised_reads(program)
    } == expected


@given(st.integers(1, 8), st.integers(0, 7))
def test_counts_of_missing_columns(written: int, start: int) -> None:
    def body() -> None:
        a = tile("a")
        nisa.memset(a[:, :written], 0.0)
        nisa.tensor_copy(tile(), a) if start == 0 else nisa.tensor_copy(tile()[:, start:], a[:, start:])

    missing = 128 * max(0, 8 - max(written, start))
    total = prod((128, 8 - start))
    expected = [(1, "src", f"{missing} of {total} elements of a in sbuf", 1)] if missing else []
    assert found(body) == expected


def returned(body: Any, *shapes: tuple[int, ...]) -> list[str]:
    """What is found of results of these shapes, which `body(argument, *results)` writes."""
    with Trace("test", get_target("trn3")).opened() as trace:
        x = trace.allocate((128, 8), "float32", "private_hbm", kind="input", name="x")
        results = [nl.ndarray(shape, dtype=nl.float32, buffer=nl.shared_hbm, name="result") for shape in shapes]
        body(x, *results)
        program = trace.program([x], results)
    return [finding.found.split(" never")[0] for finding in unwritten_outputs(program)]


def test_a_result_written_in_part() -> None:
    def body(x: Any, result: Any) -> None:
        nisa.dma_copy(result[0:128], x)
        nisa.dma_copy(result[128:192, 0:4], x[0:64, 0:4])

    assert returned(body, (256, 8)) == [f"{256 * 8 - 128 * 8 - 64 * 4} of {256 * 8} elements of result in shared_hbm"]


def test_a_result_written_in_parts_that_make_a_whole() -> None:
    def body(x: Any, result: Any, other: Any) -> None:
        nisa.dma_copy(result[128:256], x)
        nisa.dma_copy(other, x)
        nisa.dma_copy(result[64:128], x[0:64])
        nisa.dma_copy(result[0:80], x[0:80])  # twice in part

    assert returned(body, (256, 8), (128, 8)) == []


def test_a_result_written_as_narrower_items() -> None:
    def body(x: Any, result: Any) -> None:
        nisa.dma_copy(result.view(nl.uint8)[0:128, 0:30], x.view(nl.uint8)[0:128, 0:30])

    # Bytes 30 and 31 of each row are missing: half of the last element.
    assert returned(body, (128, 8)) == [f"{128 // 2} of {128 * 8} elements of result in shared_hbm"]


def test_a_result_written_at_run_time_addresses_gets_the_benefit_of_the_doubt() -> None:
    def body(x: Any, result: Any) -> None:
        index = nl.ndarray((128, 1), dtype=nl.int32, buffer=nl.sbuf)
        nisa.iota(index, [[1, 1]], offset=0, channel_multiplier=1)
        nisa.dma_copy(result.ap(pattern=[[8, 128], [1, 8]], offset=0, vector_offset=index, indirect_dim=0), x)

    assert returned(body, (256, 8)) == []


def test_what_is_said_of_a_result_written_in_part() -> None:
    def kernel(x: Any) -> Any:
        out = nl.ndarray((256, 8), dtype=nl.float32, buffer=nl.shared_hbm, name="out")
        nisa.dma_copy(out[0:128], x)
        return out, x

    (finding,) = launch.run(kernel, np.zeros((128, 8), np.float32)).findings
    assert (finding.check, finding.severity, finding.operand) == ("initialisation", "warning", "return value")
    assert finding.opcode.startswith("kernel ")
    assert finding.location is not None
    assert finding.location.text.startswith("out = nl.ndarray((256, 8)")


def test_a_part_returned_is_judged_by_nobody() -> None:
    def kernel(x: Any) -> Any:
        out = nl.ndarray((256, 8), dtype=nl.float32, buffer=nl.shared_hbm)
        nisa.dma_copy(out[0:128], x)
        return out[0:128], {"again": out[0:64]}

    run = launch.run(kernel, np.zeros((128, 8), np.float32))
    assert run.findings == ()
    assert len(unwritten_outputs(run.program)) == 1  # of the program alone, it is not known what was returned
