"""What must not fold, how loops are chosen among several, and that no wrong fold is ever returned."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest

import trnlab.emulator.nki.isa as nisa
import trnlab.emulator.nki.language as nl
from tests.emulator.folding import X, folded, rows, tile, traced, trips
from tests.emulator.synthetic import WIDTHS, Recorder
from trnlab.emulator import launch
from trnlab.emulator.fold import flatten, fold
from trnlab.kernels.matmul import matmul

# -- what may not fold -----------------------------------------------------------------------------------------------


def test_source_lines_classes_and_signatures_must_agree() -> None:
    recorder = Recorder()
    narrow, wide, constant = recorder.tile(), recorder.tile(WIDTHS[1]), recorder.tile(kind="constant")
    for i, (source, line) in enumerate([(narrow, 0), (wide, 0), (narrow, 1), (constant, 0)] * 2):
        recorder.emit("a", (narrow, i), (source, i), line=line)
    program = recorder.program()
    result = folded(program)
    assert len(result) == 4  # two trips of all four, and nothing smaller
    assert [*result.location_ids] == [0, 0, 1, 0]


def test_unfoldable_programs_stay_as_they_are() -> None:
    rng = np.random.default_rng(0)
    recorder = Recorder()
    tiles = [recorder.tile() for _ in range(50)]
    for letter in rng.integers(0, 60, 5000).tolist():
        recorder.emit(f"op{letter}", *((tiles[a], b) for a, b in rng.integers(0, 50, (2, 2)).tolist()))
    program = recorder.program()
    assert fold(program) is program
    assert program.flat is program
    assert flatten(program) is program
    empty = Recorder().program()
    assert fold(empty) is empty


def test_folding_twice_changes_nothing() -> None:
    result = fold(launch.trace(matmul, np.zeros((512, 256), np.float32), np.zeros((512, 512), np.float32)))
    assert result.repeats
    assert fold(result) is result


def test_structured_loops_stay_and_their_bodies_fold() -> None:
    def kernel(x):
        t = tile()
        for i in range(9):
            nisa.dma_copy(rows(x, i), t)

        def body(_: Any) -> None:
            for i in range(9):
                nisa.dma_copy(rows(x, i), t)

        nl.fori_loop(0, 4, body)
        for i in range(9):
            nisa.dma_copy(rows(x, i), t)
        return x

    program = launch.trace(kernel, X)
    result = folded(program)
    assert len(result) == 3  # before, inside and after
    assert trips(result) == [(0, 9)] * 3
    (loop,) = result.loops
    assert (loop.begin, loop.end) == (1, 2)
    (original,) = program.loops
    assert (original.begin, original.end) == (9, 18)


def test_what_writes_a_register_of_a_structured_loop_stays_alone() -> None:
    def kernel(x):
        register, other = nisa.register_alloc(0), nisa.register_alloc(0)
        for _ in range(10):
            nisa.register_move(other, 3)
        for _ in range(10):
            nisa.register_move(register, 3)

        def body(_: Any) -> None:
            nisa.dma_copy(rows(x, 0), rows(x, 1))

        nl.fori_loop(0, register, body)
        return x

    opcodes = [item.opcode for item in traced(kernel)]
    assert opcodes.count("register_move") == 1 + 10 + 1 + 1  # one loop; ten alone; the two that allocating makes


def test_named_and_ordered_instructions_stay_alone() -> None:
    def kernel(x):
        t = tile()
        for i in range(20):
            copy = nisa.dma_copy(rows(x, i), t)
        nisa.memset(t, 0.0).depends_on(copy)
        for i in range(20):
            nisa.memset(t, 0.0, name="middle" if i == 10 else None)
        return x

    result = traced(kernel)
    names = [item.name for item in result]
    # 19 copies and the last one; the ordered memset; 10 memsets, the named one, 9 memsets
    assert len(result) == 1 + 1 + 1 + 1 + 1 + 1
    assert names == ["", "", "", "", "middle", ""]
    assert trips(result) == [(0, 19), (0, 10), (0, 9)]
    assert result.edges == ((1, 2),)


def test_an_inexact_fold_is_never_returned(monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder()
    t = recorder.tile()
    for i in range(8):
        recorder.emit("a", (t, i))
    program = recorder.program()
    module = importlib.import_module("trnlab.emulator.fold")
    monkeypatch.setattr(module, "flatten", lambda result: program.replace(operands=program.operands + 1))
    with pytest.raises(AssertionError, match="folding synthetic is not exact"):
        fold(program)


@pytest.mark.parametrize("left", [0, 10_000, 60_000, 200_000])
def test_without_effort_loops_stay_unfound_and_nothing_is_wrong(monkeypatch: pytest.MonkeyPatch, left: int) -> None:
    recorder = Recorder()
    t = recorder.tile()
    for i in range(40):
        recorder.emit("head", (t, i))
        for j in range(i):
            recorder.emit("body", (t, j), (t, i))
        if i % 3 == i % 7:
            recorder.emit("some", (t, i))
        recorder.emit("tail", (t, -i))
    program = recorder.program()
    least = len(folded(program))
    module = importlib.import_module("trnlab.emulator.fold")
    for name in ("_SEARCHING", "_MERGING", "_MERGING_BODIES"):
        monkeypatch.setattr(module, name, (left, 0))
    assert len(folded(program)) >= least
    if not left:
        assert fold(program) is program


# -- how loops are chosen --------------------------------------------------------------------------------------------


def test_iterations_begin_where_no_buffer_is_in_use() -> None:
    recorder = Recorder()
    recorder.emit("use", (recorder.tile(), 0))  # looks like the end of an iteration
    for i in range(1, 10):
        t = recorder.tile()
        recorder.emit("load", (t, i))
        recorder.emit("use", (t, i))
    result = folded(recorder.program())
    (repeat,) = result.repeats
    assert (repeat.begin, repeat.end, repeat.trips) == (1, 3, 9)  # load and use of one tile, not use and load


def test_loops_around_loops_are_found_however_alike_their_ends_are() -> None:
    recorder = Recorder()
    t = recorder.tile()

    def level(depth: int) -> None:
        for _ in range(3):
            recorder.emit("odd" if depth % 2 else "even", (t, 0))
            if depth < 5:
                level(depth + 1)
            recorder.emit("end", (t, 0))

    level(0)
    result = folded(recorder.program())
    assert len(result) == 12
    assert trips(result) == [(depth, 3) for depth in range(6)]


@pytest.mark.parametrize("constant", [0, 1])
def test_no_hash_decides(monkeypatch: pytest.MonkeyPatch, constant: int) -> None:
    rng = np.random.default_rng(2)
    recorder = Recorder()
    tiles = [recorder.tile() for _ in range(6)]
    for i in range(40):
        recorder.emit("a", (tiles[0], i), (tiles[i % 6], 0))
        recorder.emit("b", (tiles[int(rng.integers(6))], int(rng.integers(9))))
    program = recorder.program()
    for name in ("trnlab.emulator.fold", "trnlab.emulator.fold_periods"):
        module = importlib.import_module(name)
        monkeypatch.setattr(module, "row_hashes", lambda starts, _: np.full(len(starts) - 1, constant, np.uint64))
    folded(program)
