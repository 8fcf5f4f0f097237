"""Misuse of the published functions and tensors as named errors: wrong arguments, unknown names, Python operators.

`checked` wraps a function so that a misspelt keyword raises UsageError with the nearest name; `unknown_name` is what a
module answers for a name that it does not have; `refuse_operators` completes a class whose values Python cannot see.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from typing import Any, Final, NoReturn

from trnlab.emulator.errors import UnknownNameError, UsageError
from trnlab.emulator.source import fail

Function = Callable[..., Any]
Rescue = Callable[[tuple[Any, ...], Mapping[str, Any]], Mapping[str, Any] | None]
"""From the arguments of a call that does not fit to the keywords of one that does; None where there is none."""


def nearest(name: str, names: Iterable[str]) -> str:
    """What to add to a message about an unknown name: the name most like it, or nothing where none is like it."""
    found = get_close_matches(name, list(names), 1, 0.7)
    return f"; did you mean {found[0]}?" if found else ""


def checked(
    subject: str, function: Function, rescue: Rescue | None = None, removed: Mapping[str, str] | None = None
) -> Function:
    """The function, whose calls with arguments that do not fit its signature raise UsageError.

    rescue:  gives today's keywords for a call of an older release
    removed: what replaces a keyword of older releases, by that keyword
    """

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except TypeError as error:
            # A traceback that ends here was raised by the call itself, not by the function's body.
            if error.__traceback__ is None or error.__traceback__.tb_next is not None:
                raise
        rescued = None if rescue is None else rescue(args, kwargs)
        if rescued is None:
            _refuse(subject, function, args, kwargs, removed or {})
        return function(*args, **rescued)

    return call


def _refuse(
    subject: str, function: Function, args: tuple[Any, ...], kwargs: Mapping[str, Any], removed: Mapping[str, str]
) -> NoReturn:
    signature = inspect.signature(function)
    names = [name for name in signature.parameters if name != "self"]
    allowed = f"{function.__name__}({', '.join(names)})"
    unknown = next((name for name in kwargs if name not in names), None)
    if unknown is not None:
        replacement = removed.get(unknown)
        allowed += f"; instead of {unknown}: {replacement}" if replacement else nearest(unknown, names)
        fail(UsageError, subject, found=f"an unexpected keyword argument {unknown!r}", allowed=allowed)
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        fail(UsageError, subject, found=str(error), allowed=allowed)
    raise AssertionError(f"{subject} takes these arguments")


def check_methods(kind: type, subject: str) -> None:
    """Make every public method of the class, inherited or not, raise UsageError for arguments that do not fit."""
    for name, member in inspect.getmembers(kind, inspect.isfunction):
        if not name.startswith("_"):
            setattr(kind, name, checked(f"{subject}.{name}", member))


def unknown_name(module: str, name: str, names: Iterable[str], removed: Mapping[str, str] | None = None) -> NoReturn:
    """Refuse a name that the module does not have.

    removed: what replaces a name that older releases had, by that name

    Raises:
        AttributeError: a dunder name, which only protocols of Python ask for.  UnknownNameError: any other.
    """
    if name.startswith("__"):
        raise AttributeError(f"module {module!r} has no attribute {name!r}")
    replacement = (removed or {}).get(name)
    if replacement:
        fail(UnknownNameError, f"{module}.{name}", found="a name of an older NKI release", allowed=replacement)
    public = [known for known in names if not known.startswith("_")]
    allowed = f"the names of {module} (dir({module}) lists them){nearest(name, public)}"
    fail(UnknownNameError, f"{module}.{name}", found="a name that does not exist", allowed=allowed)


# ------------------------------------------------------------------------------------ Python operators on run-time data

_BINARY: Final = {
    "add": ("+", "nl.add"),
    "sub": ("-", "nl.subtract"),
    "mul": ("*", "nl.multiply"),
    "truediv": ("/", "nl.divide"),
    "floordiv": ("//", "nl.divide and nl.floor"),
    "mod": ("%", "nl.mod"),
    "pow": ("**", "nl.power"),
    "matmul": ("@", "nl.matmul or nisa.nc_matmul"),
    "and": ("&", "nl.bitwise_and"),
    "or": ("|", "nl.bitwise_or"),
    "xor": ("^", "nl.bitwise_xor"),
    "lshift": ("<<", "nl.left_shift"),
    "rshift": (">>", "nl.right_shift"),
}
_COMPARISONS: Final = {
    "lt": ("<", "nl.less"),
    "le": ("<=", "nl.less_equal"),
    "gt": (">", "nl.greater"),
    "ge": (">=", "nl.greater_equal"),
}
_UNARY: Final = {
    "neg": ("-", "nl.negative"),
    "pos": ("+", "the tensor itself"),
    "abs": ("abs", "nl.abs"),
    "invert": ("~", "nl.invert"),
}
_CONVERSIONS: Final = {"int": "an int", "float": "a float", "index": "an index"}

OPERATORS: Final[Mapping[str, tuple[str, str]]] = {
    **{f"__{name}__": row for name, row in _BINARY.items()},
    **{f"__r{name}__": row for name, row in _BINARY.items()},
    **{f"__{name}__": row for name, row in (_COMPARISONS | _UNARY).items()},
}
"""Python's operators by method name: the symbol, and the function that does the same on tiles.

Equality is left alone: it compares identity, and kernels write `tensor == None`.
"""


def refuse_operators(kind: type, refuse: Callable[[Any, str, str], NoReturn]) -> None:
    """Make every arithmetic operator and ordering on the class call `refuse(self, symbol, function)`."""
    for method, row in OPERATORS.items():
        setattr(kind, method, _refusal(method, row, refuse))


def _refusal(method: str, row: tuple[str, str], refuse: Callable[[Any, str, str], NoReturn]) -> Function:
    def operator(self: Any, *others: Any) -> NoReturn:
        refuse(self, *row)

    operator.__name__ = operator.__qualname__ = method
    return operator


def refuse_conversions(kind: type, refuse: Callable[[Any, str], NoReturn], *names: str) -> None:
    """Make int(x), float(x) or range(x) ("index") on the class call `refuse(self, use)`."""

    def conversion(use: str) -> Function:
        def convert(self: Any) -> NoReturn:
            refuse(self, use)

        return convert

    for name in names:
        setattr(kind, f"__{name}__", conversion(_CONVERSIONS[name]))
