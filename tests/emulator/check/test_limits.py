"""A program traced for one generation, judged on another."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import trnlab.emulator.nki.isa as nisa
import trnlab.emulator.nki.language as nl
from trnlab.emulator.check import Finding, check, what_breaks
from trnlab.emulator.program import Program
from trnlab.emulator.target import TARGETS, get_target
from trnlab.emulator.trace import Trace

TRN1, TRN2, TRN3 = (get_target(name) for name in ("trn1", "trn2", "trn3"))


def record(body: Any, target: Any = TRN3) -> Program:
    with Trace("test", target).opened() as trace:
        body()
        return trace.program([], [])


def copies(dtype: Any, count: int = 1) -> Program:
    def body() -> None:
        source, target = (nl.ndarray((128, 8), dtype=dtype) for _ in range(2))
        nisa.memset(source, 0)
        for _ in range(count):
            nisa.tensor_copy(target, source)

    return record(body)


def test_nothing_breaks_where_it_was_traced() -> None:
    for target in TARGETS:
        with Trace("test", target).opened() as trace:
            nisa.memset(nl.ndarray((128, 8), dtype=nl.float32), 0.0)
            assert what_breaks(trace.program([], []), target) == ()


def test_a_dtype_of_a_later_generation() -> None:
    findings = what_breaks(copies(nl.float8_e4m3fn, count=3), TRN2)
    by_opcode = {(finding.opcode, finding.operand): finding for finding in findings}
    assert set(by_opcode) == {("nisa.memset", "dst"), ("nisa.tensor_copy", "dst"), ("nisa.tensor_copy", "src")}
    finding = by_opcode["nisa.tensor_copy", "src"]
    assert (finding.check, finding.severity, finding.instruction, finding.count) == ("limits", "error", 1, 3)
    assert finding.allowed == "float8_e4m3fn from NeuronCore-v4 on"
    assert finding.generation == TRN2.label
    assert finding.location is not None
    assert finding.location.text == "nisa.tensor_copy(target, source)"
    assert "instruction 1 and 2 more" in str(finding)


def test_an_instruction_of_a_later_generation() -> None:
    def body() -> None:
        x = nl.ndarray((128, 512), dtype=nl.bfloat16)
        nisa.memset(x, 0.0)
        words = nl.ndarray((128, 128), dtype=nl.float8_e4m3fn_x4)
        scales = nl.ndarray((128, 128), dtype=nl.uint8)
        nisa.quantize_mx(words, x, scales)

    program = record(body)
    assert what_breaks(program, TRN3) == ()
    findings = [finding for finding in what_breaks(program, TRN2) if finding.opcode == "nisa.quantize_mx"]
    assert any(finding.operand == "" and "quantize_mx exists from" in finding.allowed for finding in findings)


def test_capacity_of_the_other_target() -> None:
    def body() -> None:
        tiles = [nl.ndarray((128, 20 * 256), dtype=nl.float32) for _ in range(12)]
        for item in tiles:
            nisa.memset(item, 0.0)
        for item in tiles:
            nisa.tensor_copy(item[:, :1], tiles[0][:, :1])

    program = record(body)
    assert what_breaks(program, TRN3) == ()
    (finding,) = what_breaks(program, TRN2)
    assert (finding.check, finding.operand, finding.severity) == ("capacity", "SBUF", "error")
    assert finding.allowed == f"{TRN2.sbuf_bytes_per_partition} bytes per partition"


def test_start_partitions_are_judged_again() -> None:
    program = copies(nl.float32)
    moved = program.operands.copy()
    moved[0, 1] = 40 * 8  # the memset now starts at partition 40
    wrong = program.replace(operands=moved)
    (finding,) = what_breaks(wrong, TRN3)
    assert finding.operand == "dst"
    assert finding.found.endswith("starting at partition 40")
    assert finding.allowed == "128 partitions start at 0"


def test_findings_come_by_instruction_and_are_data() -> None:
    program = copies(nl.float8_e4m3fn)
    findings = what_breaks(program, TRN1)
    assert list(findings) == sorted(findings, key=lambda finding: finding.instruction)
    assert all(isinstance(finding, Finding) for finding in findings)
    with pytest.raises(AttributeError):
        findings[0].count = 2  # type: ignore[misc]


def test_check_joins_all_passes_and_defaults_to_the_traced_target() -> None:
    def body() -> None:
        fresh, out = (nl.ndarray((128, 8), dtype=nl.float8_e4m3fn) for _ in range(2))
        nisa.tensor_copy(out, fresh)

    program = record(body)
    assert [finding.check for finding in check(program)] == ["initialisation"]
    assert {finding.check for finding in check(program, "trn2")} == {"initialisation", "limits"}
    assert check(program) == check(program, TRN3)


def test_signatures_that_no_instruction_uses_are_not_judged() -> None:
    program = copies(nl.float8_e4m3fn)
    none = program.replace(
        signature_ids=np.zeros(0, np.int32), operands=np.zeros((0, 2), np.int64), immediates=np.zeros(0)
    )
    assert what_breaks(none, TRN2) == ()
