"""Registers: moves, loads, stores, run-time loops that use them; and the print of a tensor while a kernel runs."""

from __future__ import annotations

import numpy as np
import pytest

from tests.emulator.isa.harness import accepted, hbm, load, psum, rejected, run, sbuf, store
from trnlab.emulator import launch
from trnlab.emulator.errors import ArgumentError, BufferError, DtypeError, ShapeError, TraceError
from trnlab.emulator.isa import sync
from trnlab.emulator.nki import isa as nisa, language as nl
from trnlab.emulator.target import Engine
from trnlab.emulator.trace import current


def stored(register, dtype=nl.int32):
    result = hbm((1,), dtype)
    nisa.register_store(result, register)
    return result


@pytest.mark.parametrize("value", [0, 1, -1, 2**31 - 1, -(2**31), np.int16(7)])
def test_a_register_holds_an_integer(value):
    def kernel():
        first, second = nisa.register_alloc(value), nisa.register_alloc()
        nisa.register_move(second, first)
        return stored(second)

    assert run(kernel)[0] == value


def test_integers_beyond_int32_keep_their_bits():
    assert run(lambda: stored(nisa.register_alloc(2**32 - 1), nl.uint32))[0] == 2**32 - 1
    assert run(lambda: stored(nisa.register_alloc(2**32 - 1)))[0] == -1


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.array([-5], np.int32), -5),
        (np.array([2**32 - 5], np.uint32), -5),  # the bits stay, the register shows them as int32
        (np.array([200], np.uint8), 200),
        (np.array([-3], np.int8), -3),
        (np.array([65535], np.uint16), 65535),
    ],
)
def test_loads_extend_by_the_sign_of_the_element(value, expected):
    def kernel(x):
        from_hbm, from_sbuf = nisa.register_alloc(), nisa.register_alloc()
        nisa.register_load(from_hbm, x)
        tile = sbuf((1, 1), x.dtype)
        nisa.dma_copy(tile, x)
        nisa.register_load(from_sbuf, tile)
        return stored(from_hbm), stored(from_sbuf)

    assert [result[0] for result in run(kernel, value)] == [expected, expected]


def test_stores_cut_to_the_low_bits():
    def kernel():
        register = nisa.register_alloc(0x12345_6789 % 2**31)
        tile = sbuf((1, 1), nl.uint8)
        nisa.register_store(tile, register)
        return stored(register, nl.uint16), store(tile)

    halves = run(kernel)
    value = 0x12345_6789 % 2**31
    assert halves[0][0] == value % 2**16
    assert halves[1][0, 0] == value % 2**8


def test_a_register_may_be_allocated_from_a_tensor():
    def kernel(x):
        return stored(nisa.register_alloc(load(x)[0, 2]))

    assert run(kernel, np.array([[4, 5, 6]], np.int32))[0] == 6


def test_registers_drive_run_time_loops():
    def kernel(count):
        total, register = sbuf((1, 1), nl.int32), nisa.register_alloc()
        nisa.memset(total, 0)
        nisa.register_load(register, count)
        for _ in nl.dynamic_range(register):
            nisa.tensor_scalar(total, total, nl.add, 2)
        return store(total)

    for count in (0, 1, 5):
        assert run(kernel, np.array([count], np.int32))[0, 0] == 2 * count


def test_the_sync_engine_runs_them():
    def kernel(x):
        register = nisa.register_alloc(3)
        nisa.register_load(register, x)
        return stored(register)

    program = launch.trace(kernel, np.zeros(1, np.int32))
    assert [(i.opcode, i.engine) for i in program] == [
        ("register_move", Engine.SYNC),
        ("register_load", Engine.SYNC),
        ("register_store", Engine.SYNC),
    ]


@pytest.mark.parametrize("target", ["trn1", "trn3"])
@pytest.mark.parametrize(
    ("error", "build", "instruction", "operand", "found", "allowed"),
    [
        (
            ShapeError,
            lambda: nisa.register_load(nisa.register_alloc(), hbm((2,), nl.int32)),
            "register_load",
            "src",
            "2 elements",
            "one element",
        ),
        (
            ShapeError,
            lambda: nisa.register_store(sbuf((1, 2), nl.int32), nisa.register_alloc(1)),
            "register_store",
            "dst",
            "2 elements",
            "one element",
        ),
        (
            DtypeError,
            lambda: nisa.register_load(nisa.register_alloc(), hbm((1,))),
            "register_load",
            "src",
            "float32[1]",
            "int32",
        ),
        (
            DtypeError,
            lambda: nisa.register_store(hbm((1,), nl.bfloat16), nisa.register_alloc(1)),
            "register_store",
            "dst",
            "bfloat16[1]",
            "int32",
        ),
        (
            BufferError,
            lambda: nisa.register_load(nisa.register_alloc(), psum((1, 1), nl.int32)),
            "register_load",
            "src",
            "in psum",
            "sbuf",
        ),
        (
            BufferError,
            lambda: nisa.register_store(psum((1, 1), nl.int32), nisa.register_alloc(1)),
            "register_store",
            "dst",
            "in psum",
            "sbuf",
        ),
    ],
)
def test_refused_past_the_limit(error, build, instruction, operand, found, allowed, target):
    rejected(error, build, instruction=instruction, operand=operand, found=found, allowed=allowed, target=target)


@pytest.mark.parametrize(
    ("build", "text"),
    [
        (
            lambda: nisa.register_move(nisa.register_alloc(), 2**32),
            "src: found 4294967296; allowed: an integer of 32 bits",
        ),
        (lambda: nisa.register_move(nisa.register_alloc(), -(2**31) - 1), "src: found -2147483649"),
        (lambda: nisa.register_move(nisa.register_alloc(), 1.5), "src: found 1.5; allowed: a compile-time integer"),
        (lambda: nisa.register_move(sbuf((1, 1), nl.int32), 1), "dst: found NkiTensor"),
        (
            lambda: nisa.register_store(hbm((1,), nl.int32), 5),
            "src: found 5; allowed: a register of nisa.register_alloc",
        ),
        (lambda: nisa.register_alloc("x"), "src: found 'x'"),
    ],
)
def test_arguments_of_another_kind_are_refused(build, text):
    with pytest.raises(ArgumentError, match=text):
        accepted(build)


def test_a_register_has_no_value_in_python():
    with pytest.raises(TraceError, match="a register's run-time value used as a condition"):
        accepted(lambda: bool(nisa.register_alloc(1)))


def test_registers_exist_only_inside_kernels():
    with pytest.raises(TraceError, match=r"nisa\.register_alloc: found a call outside a kernel"):
        nisa.register_alloc(1)


def test_device_print_shows_values_when_they_are_there():
    shown = []

    def kernel(x):
        tile = load(x)
        current("test").emit(sync.device_print, (tile,), ("before",))
        nisa.memset(tile, 0.0)
        current("test").emit(sync.device_print, (tile[:, 0:1],), ("after",))
        return store(tile)

    data = np.arange(6, dtype=np.float32).reshape(2, 3)
    done = launch.run(kernel, data, on_print=lambda prefix, values: shown.append((prefix, values)))
    assert [prefix for prefix, _ in shown] == ["before", "after"]
    assert (shown[0][1] == data).all()
    assert (shown[1][1] == np.zeros((2, 1))).all()
    assert done.program.count_by_opcode()["device_print"] == 2
