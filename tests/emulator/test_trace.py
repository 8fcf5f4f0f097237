"""Recording a kernel call: source lines, whose tensors, orderings, loops."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest

import trnlab.emulator.nki as nki
import trnlab.emulator.nki.isa as nisa
import trnlab.emulator.nki.language as nl
from trnlab.emulator import errors, launch
from trnlab.emulator.isa.catalogue import CATALOGUE
from trnlab.emulator.target import get_target
from trnlab.emulator.trace import Trace, active, current

TRN3 = get_target("trn3")
X = np.zeros((128, 8), np.float32)


def tile(**how: Any) -> Any:
    return nl.ndarray((128, 8), dtype=nl.float32, **how)


# -- where ------------------------------------------------------------------------------------------------------------


def helper(x: Any) -> None:
    nisa.tensor_scalar(x, x, nl.add, 1.0)


@nki.jit
def two_lines(x):
    a = tile(name="a")
    nisa.dma_copy(a, x)
    helper(a)
    nisa.dma_copy(
        x,
        a,
    )
    return x


def test_instructions_and_buffers_know_their_source_lines() -> None:
    program = launch.trace(two_lines, X)
    lines, first = inspect.getsourcelines(two_lines.function)
    found = [program.location_of(number) for number in range(3)]
    assert all(location is not None and location.file == __file__ for location in found)
    functions = [location.function for location in found if location is not None]
    assert functions == ["two_lines", "helper", "two_lines"]
    numbers = [location.line - first for location in found if location is not None]
    assert lines[numbers[0]].strip() == "nisa.dma_copy(a, x)"
    assert lines[numbers[2]].strip() == "nisa.dma_copy("
    assert numbers[1] + first == inspect.getsourcelines(helper)[1] + 1
    (a,) = (buffer for buffer in program.buffers if buffer.name == "a")
    file, line, function = program.locations[a.location]
    assert (file, line, function) == (__file__, inspect.getsourcelines(tile)[1] + 1, "tile")


def test_errors_point_at_the_users_line() -> None:
    with Trace("test", TRN3).opened(), pytest.raises(errors.ShapeError) as caught:
        nisa.tensor_copy(tile(), tile()[:, 0:4])
    location = caught.value.violation.location
    assert location is not None
    assert location.file == __file__
    assert location.text == "nisa.tensor_copy(tile(), tile()[:, 0:4])"
    assert "test_errors_point_at_the_users_line" in location.function


# -- whose ------------------------------------------------------------------------------------------------------------


def test_tensors_belong_to_one_kernel_call() -> None:
    with Trace("first", TRN3).opened():
        stranger = tile(name="stranger")
    whose = r"src: found stranger.*belongs to another kernel call"
    with Trace("second", TRN3).opened(), pytest.raises(errors.TensorLifetimeError, match=whose):
        nisa.tensor_copy(tile(), stranger)


def test_a_trace_that_has_ended_takes_no_instructions() -> None:
    ended = Trace("first", TRN3)
    with ended.opened():
        left = tile(name="left")
    with pytest.raises(errors.TensorLifetimeError, match="belongs to an ended kernel call"):
        ended.emit(CATALOGUE["tensor_copy"], (left, left))


def test_a_tensor_kept_beyond_its_kernel_cannot_be_read() -> None:
    kept = []

    @nki.jit
    def leaky(x):
        kept.append(x)
        nisa.dma_copy(x, x)
        return x

    leaky(X.copy())
    with pytest.raises(errors.TensorLifetimeError, match=r"x: float32\[128, 8\].*after its kernel ended"):
        np.asarray(kept[0])
    with pytest.raises(errors.TensorLifetimeError, match="another kernel call"):
        launch.run(lambda y: nisa.dma_copy(y, kept[0]), X.copy())


@pytest.mark.parametrize(
    ("call", "subject"),
    [
        (lambda: nl.ndarray((128, 8), dtype=nl.float32), "nl.ndarray"),
        (lambda: nisa.memset(None, 0.0), "nisa.memset"),
        (nisa.register_alloc, "nisa.register_alloc"),
    ],
)
def test_the_language_works_inside_kernels_only(call: Any, subject: str) -> None:
    assert active() is None
    with pytest.raises(errors.TraceError, match="a call outside a kernel") as caught:
        call()
    assert caught.value.violation.subject == subject


def test_traces_nest_and_come_back() -> None:
    with Trace("outer", TRN3).opened() as outer:
        with Trace("inner", TRN3).opened() as inner:
            assert current("test") is inner
        assert current("test") is outer
    assert active() is None


def test_a_failing_kernel_closes_its_trace() -> None:
    with pytest.raises(ZeroDivisionError):
        launch.run(lambda x: 1 // 0, X)
    assert active() is None


# -- what -------------------------------------------------------------------------------------------------------------


def test_signatures_are_learned_once_and_judged_for_every_start() -> None:
    with Trace("test", TRN3).opened() as trace:
        a, b = (nl.ndarray((128, 64), dtype=nl.float32) for _ in range(2))
        for column in range(8):
            nisa.tensor_copy(b[0:32, column : column + 8], a[32:64, column : column + 8])
        program = trace.program([], [])
        assert len(program.signatures) == 1
        assert program.operands[::2, 1].tolist() == list(range(8))
        with pytest.raises(errors.PartitionError, match="starting at partition 16"):
            nisa.tensor_copy(b[16:48, 0:8], a[32:64, 0:8])
        assert len(trace.program([], [])) == 8  # what is refused is not recorded


def test_what_differs_in_a_signature_is_told_apart() -> None:
    with Trace("test", TRN3).opened() as trace:
        a, b = tile(), tile()
        nisa.tensor_scalar(b, a, nl.add, 1.0)
        nisa.tensor_scalar(b, a, nl.add, 2.0)  # an immediate: the same signature
        nisa.tensor_scalar(b, a, nl.multiply, 2.0)  # an attribute
        nisa.tensor_scalar(b, a, nl.add, a[:, 0:1])  # a tensor in place of the number
        nisa.tensor_scalar(b[:, ::2], a[:, ::2], nl.add, 1.0)  # an access pattern
        nisa.tensor_scalar(b, a, nl.add, 1.0, engine=nisa.engine.scalar)
        assert trace.program([], []).signature_ids.tolist() == [0, 0, 1, 2, 3, 4]


def test_orderings_beyond_the_data() -> None:
    with Trace("test", TRN3).opened() as trace:
        first = nisa.memset(tile(), 0.0)
        second = nisa.memset(tile(), 0.0)
        assert second.depends_on(first) is second
        with pytest.raises(errors.ArgumentError, match="recorded after its consumer"):
            first.depends_on(second)
        assert trace.program([], []).edges == ((0, 1),)


def test_names_of_instructions() -> None:
    with Trace("test", TRN3).opened() as trace:
        nisa.memset(tile(), 0.0)
        nisa.memset(tile(), 0.0, name="clear")
        assert trace.program([], []).names == {1: "clear"}


@pytest.mark.parametrize(
    ("call", "error", "part"),
    [
        (lambda: nisa.tensor_copy(tile(), None), errors.ArgumentError, "a tensor"),
        (lambda: nisa.tensor_copy(tile(), 3.0), errors.ArgumentError, "float 3.0"),
        (lambda: nisa.tensor_copy(tile(), np.zeros((128, 8))), errors.ArgumentError, "a tensor of this kernel"),
        (lambda: nisa.tensor_scalar(tile(), tile(), nl.add, "1"), errors.ArgumentError, "str '1'"),
    ],
)
def test_operands_of_the_wrong_kind(call: Any, error: type[Exception], part: str) -> None:
    with Trace("test", TRN3).opened(), pytest.raises(error) as caught:
        call()
    assert part in str(caught.value)


# -- loops ------------------------------------------------------------------------------------------------------------


def test_a_structured_loop_is_recorded_once_and_executed_often() -> None:
    @nki.jit
    def looped(x):
        a = tile()
        nisa.dma_copy(a, x)

        def body(i):
            nisa.tensor_scalar(a, a, nl.add, 1.0)

        nl.fori_loop(0, 7, body)
        nisa.dma_copy(x, a)
        return x

    run = launch.run(looped, X.copy())
    assert [item.opcode for item in run.program] == ["dma_copy", "tensor_scalar", "dma_copy"]
    (loop,) = run.program.loops
    assert (loop.kind, loop.begin, loop.end, loop.lower, loop.upper, loop.step) == ("for", 1, 2, 0, 7, 1)
    assert (run.outputs == 7).all()


def test_an_error_inside_a_running_loop_points_at_the_instruction() -> None:
    def indexed(x: Any) -> Any:
        a = nl.ndarray((1, 8), dtype=nl.float32)

        def body(i: Any) -> None:
            nisa.dma_copy(a, x[nl.ds(i, 1)])

        nl.fori_loop(100, 200, body)
        return x

    with pytest.raises(errors.BoundsError, match="run-time index 128") as caught:
        launch.run(indexed, X.copy())
    assert caught.value.violation.location is not None
    assert caught.value.violation.location.text == "nisa.dma_copy(a, x[nl.ds(i, 1)])"


def test_constants_are_embedded() -> None:
    data = np.arange(1024, dtype=np.int32).reshape(128, 8)
    with Trace("test", TRN3).opened() as trace:
        tensor = trace.allocate((128, 8), "int32", "private_hbm", kind="constant", contents=data)
        assert trace.was_written(tensor)
        program = trace.program([], [])
    assert program.constants == {0: data.tobytes()}
