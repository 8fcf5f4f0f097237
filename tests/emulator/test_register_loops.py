"""`while register:` is one structured loop of the program, and nothing but the whole condition of a `while` is."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import trnlab.emulator.nki.isa as nisa
import trnlab.emulator.nki.language as nl
from tests.emulator.reference import run
from trnlab.emulator import errors, trace


def count(n: int) -> np.ndarray[Any, Any]:
    return np.array([[n]], np.int32)


class Counter:
    """A number in SBUF and the register that holds its value: what the published examples loop on."""

    def __init__(self, source: Any) -> None:
        self.tile, self.one = nl.load(source), nl.full((1, 1), 1, nl.int32)
        self.register = nisa.register_alloc()
        self.load()

    def load(self) -> None:
        nisa.register_load(self.register, self.tile)

    def decrement(self) -> None:
        nisa.tensor_tensor(self.tile, self.tile, self.one, nl.subtract)
        self.load()


def tallied(body: Callable[[Any, Counter], None]) -> Callable[..., Any]:
    """A kernel that returns the float32 total which the body adds to, given a counter."""

    def kernel(n: Any) -> Any:
        out = nl.ndarray((1, 1), nl.float32, buffer=nl.shared_hbm)
        total = nl.zeros((1, 1), nl.float32)
        body(total, Counter(n))
        nl.store(out, total)
        return out

    return kernel


def add(total: Any, number: float) -> None:
    nisa.tensor_scalar(total, total, nl.add, number)


def line_of(function: Any, text: str) -> int:
    lines, first = inspect.getsourcelines(function)
    return first + next(number for number, line in enumerate(lines) if text in line)


# ------------------------------------------------------------------------------------------------------------- meaning


def plain(total: Any, counter: Counter) -> None:
    register = counter.register
    while register:
        add(total, 1.0)
        counter.decrement()
    add(total, 100.0)


def as_attribute(total: Any, counter: Counter) -> None:
    while counter.register:
        add(total, 1.0)
        counter.decrement()
    else:  # noqa: PLW0120
        add(total, 100.0)


def with_continue(total: Any, counter: Counter) -> None:
    while counter.register:
        add(total, 1.0)
        counter.decrement()
        if total.shape == (1, 1):
            continue
        add(total, 1000.0)  # a branch on compile-time values, never taken
    add(total, 100.0)


@pytest.mark.parametrize("body", [plain, as_attribute, with_continue])
@pytest.mark.parametrize("n", [0, 1, 7])
@pytest.mark.parametrize("mode", ["reference", "compiled"])
def test_the_body_runs_while_the_register_is_not_zero(body: Any, n: int, mode: Any) -> None:
    result = run(tallied(body), count(n), mode=mode)
    assert result.outputs[0, 0] == 100.0 + n
    (loop,) = result.program.loops
    assert loop.kind == "while"
    assert [result.program[i].opcode for i in range(loop.begin, loop.end)] == [
        "tensor_scalar",
        "tensor_tensor",
        "register_load",
    ]


def test_it_is_the_loop_that_while_loop_records() -> None:
    def published(total: Any, counter: Counter) -> None:
        def step(register: Any) -> Any:
            add(total, 1.0)
            nisa.tensor_tensor(counter.tile, counter.tile, counter.one, nl.subtract)
            nisa.register_load(register, counter.tile)
            return register

        nl.while_loop(counter.register, step)
        add(total, 100.0)

    older, newer = trace(tallied(plain), count(3)), trace(tallied(published), count(3))
    assert [older[i].opcode for i in range(len(older))] == [
        newer[i].opcode for i in range(len(newer)) if newer[i].opcode != "register_move"
    ]
    assert run(tallied(published), count(3)).outputs == run(tallied(plain), count(3)).outputs


def test_nested_loops() -> None:
    """Sum over i from n down to 1 of i: the inner counter starts from the outer one."""

    def nested(total: Any, counter: Counter) -> None:
        inner = nl.zeros((1, 1), nl.int32)
        left = nisa.register_alloc(0)
        while counter.register:
            nisa.tensor_copy(inner, counter.tile)
            nisa.register_load(left, inner)
            while left:
                add(total, 1.0)
                nisa.tensor_tensor(inner, inner, counter.one, nl.subtract)
                nisa.register_load(left, inner)
            counter.decrement()

    for n in (0, 1, 4):
        result = run(tallied(nested), count(n))
        assert result.outputs[0, 0] == n * (n + 1) / 2
        inner, outer = sorted(result.program.loops, key=lambda loop: loop.end - loop.begin)
        assert outer.begin < inner.begin < inner.end < outer.end


def test_loops_in_helpers_and_one_after_the_other() -> None:
    def drain(total: Any, counter: Counter) -> None:
        while counter.register:
            add(total, 1.0)
            counter.decrement()

    def twice(total: Any, counter: Counter) -> None:
        drain(total, counter)
        nisa.memset(counter.tile, 2)
        counter.load()
        drain(total, counter)

    result = run(tallied(twice), count(3))
    assert result.outputs[0, 0] == 3 + 2
    assert len(result.program.loops) == 2


# ------------------------------------------------------------------------------------------------------------ refusals


def branch(total: Any, counter: Counter) -> None:
    if counter.register:
        add(total, 1.0)


def negated(total: Any, counter: Counter) -> None:
    while not counter.register:
        add(total, 1.0)


def combined(total: Any, counter: Counter) -> None:
    while counter.register and total is not None:
        add(total, 1.0)


def chosen(total: Any, counter: Counter) -> None:
    add(total, 1.0 if counter.register else 2.0)


@pytest.mark.parametrize("body", [branch, negated, combined, chosen])
def test_any_other_condition_is_refused(body: Any) -> None:
    with pytest.raises(errors.RuntimeValueError, match="run-time value used as a condition") as caught:
        run(tallied(body), count(3))
    location = caught.value.violation.location
    assert location is not None
    assert (location.file, location.line) == (__file__, line_of(body, "counter.register"))


def breaking(total: Any, counter: Counter) -> None:
    while counter.register:
        counter.decrement()
        break


def returning(total: Any, counter: Counter) -> None:
    while counter.register:
        counter.decrement()
        return


def breaking_before_another(total: Any, counter: Counter) -> None:
    breaking(total, counter)
    while counter.register:
        counter.decrement()


def breaking_before_another_here(total: Any, counter: Counter) -> None:
    while counter.register:
        counter.decrement()
        break
    while counter.register:
        counter.decrement()


@pytest.mark.parametrize("body", [breaking, returning, breaking_before_another, breaking_before_another_here])
def test_a_loop_left_early(body: Any) -> None:
    with pytest.raises(errors.TraceError, match="left by break or return"):
        run(tallied(body), count(3))


def test_another_register_after_the_first_iteration() -> None:
    def changing(total: Any, counter: Counter) -> None:
        register = counter.register
        while register:
            counter.decrement()
            register = nisa.register_alloc(0)

    with pytest.raises(errors.TraceError, match="another register"):
        run(tallied(changing), count(3))


def endless(total: Any, counter: Counter) -> None:
    while counter.register:
        add(total, 1.0)


def endless_function(total: Any, counter: Counter) -> None:
    def body(register: Any) -> Any:
        add(total, 1.0)
        return register

    nl.while_loop(counter.register, body)


@pytest.mark.parametrize("body", [endless, endless_function])
def test_a_loop_that_cannot_end(body: Any) -> None:
    with pytest.raises(errors.TraceError, match="never writes the condition"):
        run(tallied(body), count(3))


def test_a_register_of_an_ended_kernel() -> None:
    kept: list[Any] = []

    def keeping(total: Any, counter: Counter) -> None:
        kept.append(counter.register)

    run(tallied(keeping), count(3))

    def ask() -> None:
        while kept[0]:
            raise AssertionError

    with pytest.raises(errors.RuntimeValueError):
        ask()


def test_without_source_there_is_no_telling() -> None:
    space: dict[str, Any] = {}
    exec("def body(total, counter):\n    while counter.register:\n        counter.decrement()", space)
    with pytest.raises(errors.RuntimeValueError, match=r"nl\.while_loop"):
        run(tallied(space["body"]), count(3))
