"""Published functions that trnlab does not implement yet: they exist, with their signature, and say so when called."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from inspect import Parameter, Signature
from typing import Any, Final, NoReturn

from trnlab.emulator.errors import NotYetSupportedError
from trnlab.emulator.source import fail

REQUIRED: Final = Parameter.empty
"""Stands for "no default" in a table of parameters."""


def unsupported(module: str, prefix: str, name: str, parameters: Mapping[str, Any], instead: str) -> Callable[..., Any]:
    """A function of that name and signature which raises NotYetSupportedError.

    prefix:     how messages name the module ("nl", "ncc")
    parameters: default by parameter name, in order; REQUIRED for none
    instead:    what works today

    Raises (the function made):
        TypeError: arguments that do not fit the published signature.  NotYetSupportedError: arguments that do.
    """
    signature = Signature(
        [Parameter(key, Parameter.POSITIONAL_OR_KEYWORD, default=value) for key, value in parameters.items()]
    )

    def function(*args: Any, **kwargs: Any) -> NoReturn:
        signature.bind(*args, **kwargs)
        fail(NotYetSupportedError, f"{prefix}.{name}", found="a call", allowed=instead)

    function.__name__ = function.__qualname__ = name
    function.__module__ = module
    function.__doc__ = f"Not supported yet; {instead}."
    function.__dict__["__signature__"] = signature
    return function
