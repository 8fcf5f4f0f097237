"""The last step in making a public module: its functions refuse misspelt calls, and the module misspelt names."""

from __future__ import annotations

import functools
import inspect
from typing import Any

from trnlab.emulator.nki.older import REMOVED_KEYWORDS, REMOVED_NAMES, STILL_TAKEN
from trnlab.emulator.usage import checked, unknown_name


def publish(module: str, prefix: str, namespace: dict[str, Any]) -> None:
    """Check every call of the public functions in the namespace, and every access to a name that is not in it.

    module: the name users import, as "nki.language"
    prefix: how messages name it, as "nl"
    """
    home = namespace["__name__"]
    for name, value in list(namespace.items()):
        if not name.startswith("_") and inspect.isfunction(value):
            subject = f"{prefix}.{name}"
            older = STILL_TAKEN.get(name)
            rescue = None if older is None else functools.partial(older, subject)
            function = checked(subject, value, rescue, REMOVED_KEYWORDS)
            function.__module__, function.__qualname__ = home, name
            namespace[name] = function
    # Set here instead of defined in the module: type checkers would take a module with it to have every name.
    namespace["__getattr__"] = lambda name: unknown_name(module, name, namespace, REMOVED_NAMES.get(module))
