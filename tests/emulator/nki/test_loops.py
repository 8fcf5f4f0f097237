"""Structured loops of nki.language: what they compute, how they are recorded, what they refuse."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

import trnlab.emulator.nki.isa as nisa
import trnlab.emulator.nki.language as nl
from tests.emulator.reference import run
from trnlab.emulator import ArgumentError, BoundsError, TraceError, trace


def register_of(source):
    """A register holding the one integer of an HBM tensor."""
    tile = nl.load(source)
    register = nisa.register_alloc()
    nisa.register_load(register, tile)
    return register


def count(n):
    return np.array([[n]], np.int32)


def element(tensor, index):
    """The element of a (1, n) tensor at a run-time index."""
    return tensor.ap([[1, 1], [1, 1]], scalar_offset=index, indirect_dim=1)


def line_of(function, text):
    """The line number of the first line of the function's source that contains the text."""
    lines, first = inspect.getsourcelines(function)
    return first + next(number for number, line in enumerate(lines) if text in line)


# ----------------------------------------------------------------------------------------------------- counted loops


def doubling(loop):
    """A kernel that doubles elements start, start + step, ... of data below a run-time stop."""

    def kernel(data, start, stop):
        out = nl.zeros(data.shape, data.dtype, buffer=nl.shared_hbm)
        cell = nl.ndarray((1, 1), data.dtype)

        def body(i):
            nisa.dma_copy(cell, element(data, i))
            nisa.tensor_scalar(cell, cell, nl.multiply, 2.0)
            nisa.dma_copy(element(out, i), cell)

        loop(register_of(start), register_of(stop), body)
        return out

    return kernel


def by_fori_loop(step):
    return lambda start, stop, body: nl.fori_loop(start, stop, body, step)


def by_dynamic_range(step):
    def loop(start, stop, body):
        for i in nl.dynamic_range(start, stop, step):
            body(i)

    return loop


@pytest.mark.parametrize("loop", [by_fori_loop, by_dynamic_range])
@pytest.mark.parametrize(("start", "stop", "step"), [(0, 7, 1), (2, 7, 3), (3, 4, 1), (5, 5, 1), (6, 2, 1)])
def test_run_time_bounds(loop, start, stop, step):
    data = np.arange(1, 8, dtype=np.float32)[None]
    expected = np.zeros_like(data)
    expected[0, start:stop:step] = 2 * data[0, start:stop:step]  # empty for the last two
    result = run(doubling(loop(step)), data, count(start), count(stop))
    np.testing.assert_array_equal(result.outputs, expected)


def test_body_is_recorded_once_and_one_argument_is_the_stop():
    def kernel(data):
        out = nl.zeros((1, 1), nl.float32, buffer=nl.shared_hbm)
        total = nl.zeros((1, 1), nl.float32)
        cell = nl.ndarray((1, 1), nl.float32)
        for i in nl.dynamic_range(50):
            nisa.dma_copy(cell, element(data, i))
            nisa.tensor_tensor(total, total, cell, nl.add)
        nl.store(out, total)
        return out

    data = np.arange(50, dtype=np.float32)[None]
    result = run(kernel, data)
    assert result.outputs[0, 0] == sum(range(50))
    (loop,) = result.program.loops
    assert (loop.kind, loop.lower, loop.upper, loop.step) == ("for", 0, 50, 1)
    assert [result.program[i].opcode for i in range(loop.begin, loop.end)] == ["dma_copy", "tensor_tensor"]


def test_nested_loops_with_a_bound_computed_in_the_outer_one():
    """sum over i < n of sum over j <= i of data[j]: the inner stop is i + 1, kept in SBUF."""

    def kernel(data, n):
        out = nl.ndarray((1, 1), nl.float32, buffer=nl.shared_hbm)
        total, cell = nl.zeros((1, 1), nl.float32), nl.ndarray((1, 1), nl.float32)
        length = nl.zeros((1, 1), nl.int32)

        def outer(i):
            nisa.tensor_scalar(length, length, nl.add, 1.0)
            stop = nisa.register_alloc()
            nisa.register_load(stop, length)

            def inner(j):
                nisa.dma_copy(cell, element(data, j))
                nisa.tensor_tensor(total, total, cell, nl.add)

            nl.fori_loop(0, stop, inner)

        nl.fori_loop(0, register_of(n), outer)
        nl.store(out, total)
        return out

    data = np.array([[3, 1, 4, 1, 5, 9]], np.float32)
    for n in (0, 1, 4, 6):
        expected = sum(data[0, : i + 1].sum() for i in range(n))
        result = run(kernel, data, count(n))
        assert result.outputs[0, 0] == expected
    inner, outer = sorted(result.program.loops, key=lambda loop: loop.end - loop.begin)
    assert outer.begin < inner.begin < inner.end == outer.end


def test_bounds_are_read_when_the_loop_is_entered_and_writes_to_the_index_change_nothing():
    def kernel(n):
        out = nl.ndarray((1, 1), nl.float32, buffer=nl.shared_hbm)
        total = nl.zeros((1, 1), nl.float32)
        stop = register_of(n)

        def body(i):
            nisa.tensor_scalar(total, total, nl.add, 1.0)
            nisa.register_move(stop, 100)
            nisa.register_move(i, 100)

        nl.fori_loop(0, stop, body)
        nl.store(out, total)
        return out

    assert run(kernel, count(4)).outputs[0, 0] == 4


@pytest.mark.parametrize("write", [lambda i, t: nisa.register_move(i, 3), nisa.register_load])
def test_the_index_of_dynamic_range_is_read_only(write):
    def kernel(n):
        tile = nl.load(n)
        for i in nl.dynamic_range(register_of(n)):
            write(i, tile)

    with pytest.raises(ArgumentError, match=r"dst: .*the index of nl\.dynamic_range"):
        run(kernel, count(4))


def test_run_time_index_out_of_bounds():
    data = np.ones((1, 4), np.float32)
    with pytest.raises(BoundsError, match="run-time index 4"):
        run(doubling(by_fori_loop(1)), data, count(0), count(5))


# ------------------------------------------------------------------------------------------------------- while loops


def countdown(same_register):
    """The published example: add val while a counter in SBUF counts down to zero."""

    def kernel(val, n):
        out = nl.ndarray((1, 1), nl.float32, buffer=nl.shared_hbm)
        left = nl.ndarray((1, 1), nl.int32, buffer=nl.shared_hbm)
        acc, value = nl.zeros((1, 1), nl.float32), nl.load(val)
        counter, one = nl.load(n), nl.full((1, 1), 1, nl.int32)
        start = nisa.register_alloc()
        nisa.register_load(start, counter)

        def body(r):
            nisa.tensor_tensor(acc, acc, value, nl.add)
            nisa.tensor_tensor(counter, counter, one, nl.subtract)
            following = r if same_register else nisa.register_alloc()
            nisa.register_load(following, counter)
            return following

        nl.while_loop(start, body)
        nl.store(out, acc)
        store = nl.ndarray((1, 1), nl.int32)
        nisa.register_store(store, start)
        nl.store(left, store)
        return out, left

    return kernel


@pytest.mark.parametrize("same_register", [True, False])
@pytest.mark.parametrize("n", [0, 1, 5])
def test_while_loop(same_register, n):
    out, left = run(countdown(same_register), np.array([[2.5]], np.float32), count(n)).outputs
    assert out[0, 0] == 2.5 * n
    assert left[0, 0] == n  # the condition is passed by value: the caller's register stays


def test_while_loop_is_one_loop_of_the_program():
    program = trace(countdown(True), np.zeros((1, 1), np.float32), count(3))
    (loop,) = program.loops
    assert loop.kind == "while"
    assert [program[i].opcode for i in range(loop.begin, loop.end)] == [
        "tensor_tensor",
        "tensor_tensor",
        "register_load",
    ]


# ------------------------------------------------------------------------------------------------------------ refusals


def kernel_with(body):
    """A kernel with one register and a written output around `body(register, out_tile)`."""

    def kernel(n):
        out = nl.ndarray((1, 1), nl.int32, buffer=nl.shared_hbm)
        tile = nl.load(n)
        nl.store(out, tile)
        body(register_of(n), tile)
        return out

    return kernel


def breaks(register, tile):
    for _ in nl.dynamic_range(register):
        nisa.tensor_scalar(tile, tile, nl.add, 1.0)
        break


def returns(register, tile):
    for _ in nl.dynamic_range(register):
        return


@pytest.mark.parametrize(("body", "text"), [(breaks, "    break"), (returns, "    return")])
def test_leaving_a_dynamic_loop_early(body, text):
    with pytest.raises(TraceError, match="left by break or return") as caught:
        run(kernel_with(body), count(3))
    location = caught.value.violation.location
    assert (location.file, location.line) == (__file__, line_of(body, text))


def test_abandoned_dynamic_loop():
    kept = []

    def body(register, tile):
        kept.append(nl.dynamic_range(register))
        next(kept[0])

    with pytest.raises(TraceError, match="left by break or return"):
        run(kernel_with(body), count(3))


def condition(register, tile):
    if register:
        pass


def python_range(register, tile):
    for _ in range(register):
        pass


def unrolled_range(register, tile):
    for _ in nl.affine_range(register):
        pass


def python_int(register, tile):
    int(register)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (condition, "if register"),
        (python_range, "in range(register)"),
        (unrolled_range, "affine_range(register)"),
        (python_int, "int(register)"),
    ],
)
def test_registers_have_no_value_for_python(body, text):
    with pytest.raises(TraceError, match="run-time value") as caught:
        run(kernel_with(body), count(3))
    location = caught.value.violation.location
    assert (location.file, location.line) == (__file__, line_of(body, text))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (lambda r, t: nl.fori_loop(0, r, lambda i: None, step=0), "step: found 0"),
        (lambda r, t: nl.fori_loop(0, r, lambda i: None, step=r), "step: found VirtualRegister"),
        (lambda r, t: nl.fori_loop(0, t, lambda i: None), "upper: found NkiTensor"),
        (lambda r, t: nl.fori_loop(0.5, r, lambda i: None), "lower: found 0.5"),
        (lambda r, t: nl.fori_loop(0, r, lambda i: i), "body_fun: found a body that returns"),
        (lambda r, t: nl.while_loop(1, lambda i: i), "init: found 1"),
        (lambda r, t: nl.while_loop(r, lambda i: None), "body_fun: found a body that returns None"),
        (lambda r, t: nl.while_loop(r, 3), "body_fun: found 3"),
        (lambda r, t: nl.fori_loop(0, r, "body"), "body_fun: found 'body'"),
    ],
)
def test_arguments_of_loops(body, message):
    with pytest.raises(ArgumentError, match=message):
        run(kernel_with(body), count(3))


def test_loops_outside_kernels():
    with pytest.raises(TraceError, match="outside a kernel"):
        nl.fori_loop(0, 3, lambda i: None)


# ---------------------------------------------------------------------------------------------------- unrolled ranges


@pytest.mark.parametrize("name", ["affine_range", "sequential_range", "static_range", "range"])
def test_unrolled_ranges_are_python_ranges(name):
    function = getattr(nl, name)
    assert list(function(4)) == [0, 1, 2, 3]
    assert list(function(1, 4)) == [1, 2, 3]
    assert list(function(1, 8, 3)) == [1, 4, 7]
    assert list(function(5, 0, -2)) == [5, 3, 1]


@pytest.mark.parametrize("name", ["affine_range", "sequential_range", "static_range"])
def test_arguments_of_unrolled_ranges(name):
    function = getattr(nl, name)
    assert list(function(5, step=2)) == [0, 2, 4]  # one bound is the stop
    assert list(function(np.int32(2), np.int64(4))) == [2, 3]
    for arguments, message in (
        (("a",), "stop: found 'a'"),
        ((0, 2.0), "stop: found 2.0"),
        ((None, 4), "start: found None"),
        ((0, 4, 0), "step: found 0"),
        ((0, 4, 0.5), "step: found 0.5"),
    ):
        with pytest.raises(ArgumentError, match=rf"nl\.{name}: {message}"):
            function(*arguments)


# --------------------------------------------------------------------------------------------------------- no_reorder


def ordered(x):
    out = nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)
    a = nl.load(x)
    with nl.no_reorder():
        b = nl.exp(a)
        with nl.no_reorder():
            c = nl.square(a)
        d = nl.relu(a)
    nl.store(out, nl.add(nl.add(b, c), d))
    return out


def test_no_reorder_chains_the_instructions_of_its_block():
    program = trace(ordered, np.zeros((4, 4), np.float32))
    assert [program[i].opcode for i in range(5)] == ["dma_copy", *["activation"] * 3, "tensor_tensor"]
    assert program.edges == ((1, 2), (2, 3))


def test_no_reorder_and_structured_loops():
    def loop_inside(register, tile):
        with nl.no_reorder():
            nl.fori_loop(0, register, lambda i: None)

    def block_inside(register, tile):
        def body(i):
            with nl.no_reorder():
                nisa.tensor_scalar(tile, tile, nl.add, 1.0)
                nisa.tensor_scalar(tile, tile, nl.add, 1.0)

        nl.fori_loop(0, register, body)

    with pytest.raises(TraceError, match="dynamic loop inside nl"):
        run(kernel_with(loop_inside), count(3))
    assert len(trace(kernel_with(block_inside), count(3)).edges) == 1
