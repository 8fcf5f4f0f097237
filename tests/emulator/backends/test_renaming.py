"""Which overwrites start a buffer of their own, and that nothing else changes."""

from __future__ import annotations

from random import Random
from typing import Any

import numpy as np
import pytest

import trnlab.emulator.nki as nki
import trnlab.emulator.nki.isa as nisa
import trnlab.emulator.nki.language as nl
from tests.emulator.backends.harness import hbm, load, normal, store, tile
from tests.emulator.backends.random_kernels import arguments, kernel_of
from tests.emulator.backends.random_recipes import random_recipe
from trnlab.emulator import launch
from trnlab.emulator.backends.renaming import Renamed, rename
from trnlab.emulator.program import Program


def lives(kernel: Any, *args: Any) -> dict[str, int]:
    """How many buffers there are of each name after renaming."""
    program = launch.trace(kernel, *args)
    found: dict[str, int] = {}
    for buffer in rename(program).program.buffers:
        found[buffer.name] = found.get(buffer.name, 0) + 1
    return found


X = normal(0, 8, 40)


def test_a_tile_that_every_iteration_overwrites_is_new_in_each() -> None:
    @nki.jit
    def reused(x):
        kept, out = tile(name="kept"), hbm(8, 40, name="out")
        for i in range(5):
            nisa.dma_copy(kept, x[:, 8 * i : 8 * i + 8])
            nisa.dma_copy(out[:, 8 * i : 8 * i + 8], kept)
        return out

    assert lives(reused, X) == {"x": 1, "kept": 5, "out": 1}


def test_a_whole_overwrite_may_be_transposed_or_of_another_dtype() -> None:
    @nki.jit
    def overwritten(x):
        kept = tile(name="kept")
        nisa.dma_copy(kept, x[:, 0:8])
        nisa.nc_transpose(tile(name="other"), kept)
        nisa.tensor_copy(kept.view(nl.int32), load(x[:, 0:8]).view(nl.int32))
        nisa.nc_transpose(kept, load(x[:, 8:16]))
        return store(kept)

    assert lives(overwritten, X)["kept"] == 3


@pytest.mark.parametrize(
    "change",
    [
        lambda kept: nisa.tensor_scalar(kept, kept, nl.add, 1.0),  # reads what it overwrites
        lambda kept: nisa.tensor_tensor(kept, tile(), kept, nl.add),
        lambda kept: nisa.memset(kept[:, 0:7], 0.0),  # leaves a column
        lambda kept: nisa.memset(kept.reshape((8, 2, 4))[:, :, 0:3], 0.0),
        lambda kept: nisa.memset(kept.view(nl.int16)[:, 1:16], 0),
        lambda kept: nisa.memset(kept.ap([[8, 8], [0, 8]]), 0.0),  # as many elements, but the same ones
    ],
)
def test_what_keeps_a_part_or_reads_it_keeps_the_name(change: Any) -> None:
    @nki.jit
    def changed(x):
        kept = tile(name="kept")
        nisa.dma_copy(kept, x[:, 0:8])
        change(kept)
        return store(kept)

    assert lives(changed, X)["kept"] == 1


def test_arguments_and_results_keep_their_names() -> None:
    @nki.jit
    def outside(x, y):
        out = hbm(8, 8, name="out")
        for source in (x, y):
            nisa.dma_copy(out, load(source))
            nisa.dma_copy(y, out)
        return out

    found = lives(outside, X[:, :8], X[:, 8:16])
    assert (found["x"], found["y"], found["out"]) == (1, 1, 1)


def test_what_run_time_loops_touch_keeps_its_name() -> None:
    @nki.jit
    def looped(x):
        inside, outside = tile(name="inside"), tile(name="outside")
        for i in range(2):
            nisa.dma_copy(inside, x[:, 8 * i : 8 * i + 8])
            nisa.dma_copy(outside, x[:, 8 * i : 8 * i + 8])

        def body(register):
            nisa.memset(inside, 1.0)
            nisa.dma_copy(x[nl.ds(register, 1), 0:8], inside[0:1])

        nl.fori_loop(0, 3, body)
        nisa.memset(inside, 2.0)
        nisa.memset(outside, 2.0)
        return store(inside), store(outside)

    found = lives(looped, X)
    assert found["inside"] == 1
    assert found["outside"] == 3


def test_the_registers_of_loops_keep_their_names() -> None:
    @nki.jit
    def counted(x, count):
        bound, total = nisa.register_alloc(load(count)), tile()
        nisa.memset(total, 0.0)
        nl.fori_loop(0, bound, lambda _: nisa.tensor_scalar(total, total, nl.add, 1.0) and None)
        nisa.register_move(bound, 3)
        nl.fori_loop(0, bound, lambda _: nisa.tensor_scalar(total, total, nl.add, 1.0) and None)
        return store(total)

    program = launch.trace(counted, X, np.array([[2]], np.int32))
    renamed = rename(program)
    for before, after in zip(program.loops, renamed.program.loops, strict=True):
        assert after.register == renamed.number_of[before.register]
        assert before.upper_register is not None
        assert after.upper_register == renamed.number_of[before.upper_register]


# -- whatever the program ----------------------------------------------------------------------------------------------


def written_and_read(program: Program) -> list[list[tuple[int, int]]]:
    """For every operand row that reads: which writes it sees, as (instruction, operand); (-1, buffer) is the start.

    Rows are compared by whole buffers: a write that does not cover adds to what is seen.
    """
    seen: dict[int, list[tuple[int, int]]] = {}
    found = []
    for number in range(len(program)):
        signature = program.signature_of(number)
        row = program.row(number)[:, 0].tolist()
        found += [list(seen.get(b, [])) for b, o in zip(row, signature.operands, strict=True) if o.reads]
        for position, (buffer, operand) in enumerate(zip(row, signature.operands, strict=True)):
            if operand.writes:
                whole = operand.shape == operand.buffer_shape and operand.access == "write" and not operand.indirection
                seen[buffer] = [*([] if whole else seen.get(buffer, [])), (number, position)]
    return found


@pytest.mark.parametrize("seed", range(12))
def test_every_read_sees_the_writes_that_it_saw(seed: int) -> None:
    """Of programs without run-time loops, in which instructions follow each other once."""
    program = launch.trace(kernel_of(random_recipe(Random(seed), 60)), *arguments(seed))
    if program.loops:
        return
    renamed = rename(program)
    assert written_and_read(renamed.program) == written_and_read(program)


@pytest.mark.parametrize("seed", range(12))
def test_only_buffers_change(seed: int) -> None:
    program = launch.trace(kernel_of(random_recipe(Random(seed), 60)), *arguments(seed))
    renamed = rename(program)
    new = renamed.program
    assert new.signatures == program.signatures
    np.testing.assert_array_equal(new.signature_ids, program.signature_ids)
    np.testing.assert_array_equal(new.operands[:, 1], program.operands[:, 1])
    np.testing.assert_array_equal(new.immediates, program.immediates)
    assert [new.buffers[n].name for n in (*new.inputs, *new.outputs)] == [
        program.buffers[n].name for n in (*program.inputs, *program.outputs)
    ]
    for old, now in zip(program.operands[:, 0].tolist(), new.operands[:, 0].tolist(), strict=True):
        one, other = program.buffers[old], new.buffers[now]
        assert (one.name, one.region, one.shape, one.dtype, one.kind) == (
            *(other.name, other.region, other.shape, other.dtype, other.kind),
        )
    check_numbers(program, renamed)


def check_numbers(program: Program, renamed: Renamed) -> None:
    """Buffers are numbered by first use; each old one is called what its first life is called."""
    new = renamed.program
    assert [buffer.number for buffer in new.buffers] == list(range(len(new.buffers)))
    first: dict[int, int] = {}
    for old, now in zip(program.operands[:, 0].tolist(), new.operands[:, 0].tolist(), strict=True):
        first.setdefault(old, now)
    assert {old: int(renamed.number_of[old]) for old in first} == first
    if len(new.buffers) > len(program.buffers):
        used = list(dict.fromkeys(new.operands[:, 0].tolist()))
        assert sorted(used) == list(range(len(used)))  # those that nothing uses come last


def test_nothing_to_rename_changes_nothing() -> None:
    @nki.jit
    def plain(x):
        piece = load(x)
        nisa.tensor_scalar(piece, piece, nl.add, 1.0)
        return store(piece)

    program = launch.trace(plain, X)
    renamed = rename(program)
    assert renamed.program == program
    assert renamed.number_of.tolist() == list(range(len(program.buffers)))
