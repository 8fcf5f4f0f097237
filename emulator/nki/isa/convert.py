"""From the published arguments of nki.isa to what the trace records: engines, operators, modes, numbers."""

from __future__ import annotations

from enum import Enum
from numbers import Integral
from typing import Any, Final

import numpy as np

from trnlab.emulator.errors import ArgumentError
from trnlab.emulator.nki.isa import enums
from trnlab.emulator.source import fail
from trnlab.emulator.target import Engine

_ENGINES: dict[enums.engine, Engine | None] = {
    enums.engine.unknown: None,
    **{member: Engine[member.name.upper()] for member in enums.engine if member is not enums.engine.unknown},
}

_INT32: Final = range(-(2**31), 2**31)


def engine_of(subject: str, value: Any) -> Engine | None:
    """The engine asked for; None leaves the choice to the instruction's rule."""
    if value is None:
        return None
    if not isinstance(value, enums.engine):
        fail(ArgumentError, subject, operand="engine", found=repr(value), allowed="a member of nisa.engine")
    return _ENGINES[value]


def mode_name(subject: str, argument: str, value: Any, kind: type[Enum]) -> str:
    """The name of a member given as itself or by its published value, as AWS's own kernels also do ("double_row", 3).

    Members of enums with the same names from other packages are refused.
    """
    if isinstance(value, kind):
        return value.name
    named = [member.name for member in kind if _is_value(value, member)]
    if not named:
        allowed = ", ".join(f"nisa.{kind.__name__}.{member.name}" for member in kind)
        fail(ArgumentError, subject, operand=argument, found=repr(value), allowed=allowed)
    return named[0]


def _is_value(value: Any, member: Enum) -> bool:
    return type(value) is type(member.value) and bool(value == member.value)


def op_name(subject: str, argument: str, value: Any) -> str | None:
    """The published name of an operator or activation function given as `nl.<name>`; None passes through."""
    if value is None:
        return None
    name = getattr(value, "op_name", None)
    if not isinstance(name, str):
        allowed = "an operator of nki.language, as nl.add"
        fail(ArgumentError, subject, operand=argument, found=repr(value), allowed=allowed)
    return name


def integer(subject: str, argument: str, value: Any) -> int:
    """A compile-time integer."""
    if not isinstance(value, Integral):
        fail(ArgumentError, subject, operand=argument, found=repr(value), allowed="a compile-time integer")
    return int(value)


def int32(subject: str, argument: str, value: Any) -> int:
    """A compile-time integer of 32 bits with a sign."""
    number = integer(subject, argument, value)
    if number not in _INT32:
        fail(ArgumentError, subject, operand=argument, found=str(number), allowed="an int32, -2**31 to 2**31 - 1")
    return number


def flag(subject: str, argument: str, value: Any) -> bool:
    """True or False, also as 1 or 0; an operator or tensor there is an argument in the wrong place.

    Raises:
        ArgumentError: anything else.
    """
    if not isinstance(value, (bool, np.bool_, Integral)) or value not in (0, 1):
        fail(ArgumentError, subject, operand=argument, found=repr(value), allowed="True or False")
    return bool(value)
