"""What reads programs takes folded ones too: compiled back end, timeline, dependences, checks, listing."""

from __future__ import annotations

import re

import jax
import numpy as np

import trnlab.emulator.nki.isa as nisa
import trnlab.emulator.nki.language as nl
from tests.emulator.synthetic import Recorder
from trnlab.emulator import launch
from trnlab.emulator.backends.compiled import compile_program
from trnlab.emulator.check import check, check_capacity
from trnlab.emulator.dependence import dependences
from trnlab.emulator.fold import fold
from trnlab.emulator.launch import print_to_stdout
from trnlab.emulator.program import Program
from trnlab.emulator.repeats import OFFSET
from trnlab.emulator.target import get_target
from trnlab.emulator.timing.timeline import schedule

P = 128


def rows(x, number):
    return x[number * P : (number + 1) * P]


def folded(program: Program) -> Program:
    result = fold(program)
    assert result.repeats
    return result


def small(x):
    out = nl.ndarray((640, 64), dtype=nl.float32, buffer=nl.shared_hbm, name="out")
    for i in range(5):
        t = nl.ndarray((P, 64), dtype=nl.float32, name=f"t{i}")
        nisa.dma_copy(t, rows(x, i))
        for j in range(4):
            nisa.tensor_scalar(t, t, nl.multiply, 1.5 + i + j * j)
        nisa.dma_copy(rows(out, i), t)
    return out


SMALL = np.random.default_rng(1).standard_normal((640, 64)).astype(np.float32)


def test_the_compiled_back_end_runs_a_folded_program() -> None:
    program = launch.trace(small, SMALL, target="trn3")
    target = get_target("trn3")
    result = compile_program(folded(program), target, print_to_stdout)([SMALL])
    expected = launch.run(small, SMALL, target="trn3").outputs
    np.testing.assert_array_equal(np.asarray(result[program.outputs[0]]), expected)
    assert compile_program(fold(program), target, print_to_stdout) is compile_program(program, target, print_to_stdout)
    assert isinstance(result[program.outputs[0]], jax.Array)


def test_timeline_dependences_and_checks_read_the_flat_program() -> None:
    program = launch.trace(small, SMALL, target="trn3")
    result = folded(program)
    assert schedule(result, "trn3").total_seconds == schedule(program, "trn3").total_seconds
    assert [*dependences(result)] == [*dependences(program)]
    assert check(result) == check(program)
    target = get_target("trn3")
    assert check_capacity(result, target).sbuf_peak_bytes == check_capacity(program, target).sbuf_peak_bytes
    assert result.mutated_inputs == program.mutated_inputs
    assert repr(result).endswith(f"{len(result)} instructions, 0 loops, 2 repeats>")


def test_inputs_written_in_later_iterations_only_are_seen() -> None:
    def kernel(a, b, c, d):
        for array in (a, b, c, d):
            nisa.dma_copy(array[0:64], array[64:128])
            nisa.dma_copy(array[0:32], array[64:96])
        return a

    result = folded(launch.trace(kernel, *(np.zeros((128, 64), np.float32) for _ in range(4))))
    assert len(result) == 2
    assert result.mutated_inputs == result.inputs


def test_the_listing_is_a_loop_nest() -> None:
    text = str(folded(launch.trace(small, SMALL, target="trn3")))
    lines = [re.sub(r"\s+", " ", line).strip() for line in text.splitlines()]
    assert lines[0] == "small for trn3: 30 instructions, folded to 3 (20 tensor_scalar, 10 dma_copy)"
    body = lines[4:]
    assert body[0] == "repeat 5 times (i):"
    assert "dst=t0(+1i):float32[sbuf][0 + 64x128 1x64]" in body[1]
    assert "src=x:float32[private_hbm][0 +8192i + 64x128 1x64]" in body[1]
    assert body[2] == "repeat 4 times (j):"
    assert "operand0=1.5 table(i,j)" in body[3]
    assert "dst=out:float32[shared_hbm][0 +8192i + 64x128 1x64]" in body[4]
    indents = [len(line) - len(line.lstrip()) for line in text.splitlines() if "repeat" in line]
    assert indents[0] < indents[1]


def test_the_listing_shows_tables_and_negative_steps() -> None:
    recorder = Recorder()
    t = recorder.tile()
    for i in range(12):
        recorder.emit("a", (t, 100 - 8 * i), (t, i * i))
    text = str(fold(recorder.program()))
    assert "operand0=t0:float32[sbuf][100 -8i + " in text
    assert "operand1=t0:float32[sbuf][0 +table(i) + " in text
    assert fold(recorder.program()).repeats[0].tables[0].column == OFFSET
