"""Loops: the unrolled ranges, and the loops that survive tracing because their bounds are known only at run time.

    for i in nl.affine_range(4): ...            # Python: four copies of the body
    nl.fori_loop(0, register, body)             # one structured loop; body(i) receives the induction register
    nl.while_loop(register, body)               # runs while the register is not zero; body returns the next condition
    for i in nl.dynamic_range(register): ...    # older spellings of the two
    while register: ...

State that one iteration hands to the next lives in SBUF or HBM, since the body is recorded once.

Source: NKI reference, nki.language (iterators, control flow); NKI guides "Dynamic loops", "Scheduling APIs".
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from numbers import Integral
from operator import index
from typing import Any

import trnlab.emulator.nki.isa as nisa
from trnlab.emulator.errors import ArgumentError, RuntimeValueError
from trnlab.emulator.loops import LoopBody
from trnlab.emulator.source import fail
from trnlab.emulator.tensor import NkiTensor, VirtualRegister
from trnlab.emulator.trace import current


def _unrolled(subject: str, start: Any, stop: Any, step: Any) -> builtins.range:
    first, last = (0, start) if stop is None else (start, stop)
    for operand, value in (("start", first), ("stop", last), ("step", step)):
        try:
            index(value)  # a register says itself why it has no value
        except RuntimeValueError:
            raise
        except TypeError:
            fail(ArgumentError, subject, operand=operand, found=repr(value), allowed="a compile-time integer")
    if not step:
        fail(ArgumentError, subject, operand="step", found="0", allowed="a compile-time integer other than 0")
    return builtins.range(first, last, step)


def affine_range(start: int, stop: int | None = None, step: int = 1) -> builtins.range:
    """Python's `range`: the loop unrolls while the kernel is traced.

    Raises:
        RuntimeValueError: a register as bound; `nl.fori_loop` takes those.  ArgumentError: no integer, or a step of 0.
    """
    return _unrolled("nl.affine_range", start, stop, step)


def sequential_range(start: int, stop: int | None = None, step: int = 1) -> builtins.range:
    """Python's `range`; the same as `affine_range`."""
    return _unrolled("nl.sequential_range", start, stop, step)


def static_range(start: int, stop: int | None = None, step: int = 1) -> builtins.range:
    """Python's `range`; the same as `affine_range`."""
    return _unrolled("nl.static_range", start, stop, step)


def _bound(subject: str, operand: str, value: Any) -> int | NkiTensor:
    if isinstance(value, VirtualRegister):
        return value.tensor
    if not isinstance(value, Integral):
        fail(ArgumentError, subject, operand=operand, found=f"{value!r}", allowed="an integer or a register")
    return int(value)


def _body(subject: str, body_fun: Any) -> Callable[[VirtualRegister], Any]:
    if not callable(body_fun):
        fail(ArgumentError, subject, operand="body_fun", found=repr(body_fun), allowed="a function of one register")
    return body_fun  # type: ignore[no-any-return]


def _for_loop(subject: str, lower: Any, upper: Any, step: Any) -> tuple[VirtualRegister, LoopBody]:
    """The induction register of a counted loop, and the loop ready to be recorded."""
    if not isinstance(step, Integral) or step < 1:
        fail(ArgumentError, subject, operand="step", found=f"{step!r}", allowed="a compile-time integer >= 1")
    register = current(subject).register()
    bounds = (_bound(subject, "lower", lower), _bound(subject, "upper", upper))
    body = LoopBody(kind="for", begin=0, register=register.tensor, lower=bounds[0], upper=bounds[1], step=int(step))
    return register, body


def dynamic_range(
    start: int | VirtualRegister, stop: int | VirtualRegister | None = None, step: int = 1
) -> Iterator[VirtualRegister]:
    """`for i in nl.dynamic_range(...)`: the body is recorded once, i is the induction register.

    start, stop: integers or registers, read when the loop is entered; one argument is the stop, as in `range`
    step:        a compile-time integer >= 1

    Raises:
        ArgumentError: a bound or step of another kind.
        TraceError: the body was left by `break` or `return` (raised when the kernel ends), or the loop stands inside
            `nl.no_reorder`.
    """
    lower, upper = (0, start) if stop is None else (start, stop)
    register, body = _for_loop("nl.dynamic_range", lower, upper, step)
    register.frozen = True
    with current("nl.dynamic_range").loop(body):
        yield register


def fori_loop(
    lower: int | VirtualRegister,
    upper: int | VirtualRegister,
    body_fun: Callable[[VirtualRegister], Any],
    step: int = 1,
) -> None:
    """for i in range(lower, upper, step): body_fun(i), with bounds read when the loop is entered.

    body_fun: called once, with the induction register; writing to the register does not change the loop

    Raises:
        ArgumentError: a bound or step of another kind, or a body that returns a value.
        TraceError: the loop stands inside `nl.no_reorder`.
    """
    register, body = _for_loop("nl.fori_loop", lower, upper, step)
    with current("nl.fori_loop").loop(body):
        result = _body("nl.fori_loop", body_fun)(register)
    if result is not None:
        allowed = "no value; state between iterations lives in SBUF or HBM"
        fail(
            ArgumentError, "nl.fori_loop", operand="body_fun", found=f"a body that returns {result!r}", allowed=allowed
        )


def while_loop(init: VirtualRegister, body_fun: Callable[[VirtualRegister], Any]) -> None:
    """r = init; while r != 0: r = body_fun(r).

    body_fun: called once, with a register that holds the condition of this iteration; returns the next condition's

    Raises:
        ArgumentError: `init` is no register, or the body returns none.
        TraceError: the loop stands inside `nl.no_reorder`.
    """
    trace = current("nl.while_loop")
    if not isinstance(init, VirtualRegister):
        fail(ArgumentError, "nl.while_loop", operand="init", found=f"{init!r}", allowed="a register")
    condition = trace.register()
    nisa.register_move(condition, init)
    with trace.loop(LoopBody(kind="while", begin=0, register=condition.tensor)):
        following = _body("nl.while_loop", body_fun)(condition)
        if not isinstance(following, VirtualRegister):
            found = f"a body that returns {following!r}"
            fail(
                ArgumentError, "nl.while_loop", operand="body_fun", found=found, allowed="the next condition's register"
            )
        if following is not condition:
            nisa.register_move(condition, following)


def no_reorder() -> AbstractContextManager[Any]:
    """`with nl.no_reorder():` keeps the instructions of the block, and of functions it calls, in program order.

    Each instruction gets an ordering edge from the one before it, as if by `depends_on`. Structured loops may not stand
    inside the block; the block may stand inside their body.
    """
    return current("nl.no_reorder").in_order()
