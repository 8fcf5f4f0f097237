"""Whose code is it? The user's is read closely; a library's is taken at its word, or not at all.

A library is taken at its word (`PURE`) when its functions give the same results for the same arguments: the emulator
itself, NumPy, JAX, and the parts of the standard library in the table below. The rest of the standard library, and
`numpy.random`, may read a clock, a file, an environment variable or a random state (`STATEFUL`). All other code is the
user's, wherever it is installed.
"""

from __future__ import annotations

import enum
import sys
import sysconfig
from collections.abc import Mapping
from functools import lru_cache
from types import ModuleType
from typing import Any, Final

import numpy as np

from trnlab.emulator.identity_cache import IdentityCache


class Home(enum.Enum):
    """Where a module, function or class comes from."""

    USER = "code that is read, because it may change"
    PURE = "a library whose results depend on its arguments alone"
    STATEFUL = "a library whose results may depend on the world outside"


# pytest stands here for the helpers that its assertion rewriting puts into kernels of test files.
_PURE_LIBRARIES: Final = ("trnlab.emulator", "numpy", "ml_dtypes", "jax", "jaxlib", "pytest", "_pytest")
_STATEFUL_PARTS: Final = ("numpy.random", "numpy.ctypeslib", "jax.debug", "jax.experimental")

# Modules by their names without leading underscores: `_operator` implements `operator`.
_PURE_STANDARD: Final = frozenset(
    {"abc", "bisect", "builtins", "cmath", "collections", "collections_abc", "contextlib", "copy", "dataclasses"}
    | {"enum", "fractions", "functools", "future__", "heapq", "itertools", "math", "numbers", "operator", "re"}
    | {"reprlib", "statistics", "string", "struct", "textwrap", "types", "typing"}
)

_IMPURE: Final = (
    *(__import__, breakpoint, compile, eval, exec, globals, input, open, print),
    *(np.empty, np.empty_like, np.fromfile, np.genfromtxt, np.load, np.loadtxt, np.save, np.savetxt),
)
_IMPURE_IDENTITIES: Final = frozenset(id(function) for function in _IMPURE)  # the tuple keeps them alive

_HEAP_TYPE: Final = 1 << 9  # Py_TPFLAGS_HEAPTYPE: classes without it are C's own and carry their true module


def _standard_folders() -> tuple[str, ...]:
    return tuple({sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")})


def _within(name: str, packages: tuple[str, ...]) -> bool:
    return any(name == package or name.startswith(package + ".") for package in packages)


@lru_cache(maxsize=4096)
def _home(name: str, origin: str | None) -> Home:
    if _within(name, _STATEFUL_PARTS):
        return Home.STATEFUL
    if _within(name, _PURE_LIBRARIES):
        return Home.PURE
    top = name.partition(".")[0]
    if top not in sys.stdlib_module_names or not _is_standard(origin):
        return Home.USER
    return Home.PURE if top.lstrip("_") in _PURE_STANDARD else Home.STATEFUL


def _is_standard(origin: str | None) -> bool:
    """Whether a module of a standard name is the standard one, and no file of the user's that took the name."""
    if origin in ("built-in", "frozen"):
        return True
    return origin is not None and origin.startswith(_standard_folders()) and "-packages" not in origin


def name_of(module: ModuleType) -> str:
    """The module's own name, or "" where it has lost it."""
    name = vars(module).get("__name__")
    return name if isinstance(name, str) else ""


def home_of_module(module: ModuleType) -> Home:
    """The home of a module, by its name and the file it was loaded from."""
    return _home(name_of(module), getattr(getattr(module, "__spec__", None), "origin", None))


def home_of_name(name: object) -> Home:
    """The home of the module imported under that name; the user's when there is none."""
    module = sys.modules.get(name) if isinstance(name, str) else None
    return home_of_module(module) if isinstance(module, ModuleType) else Home.USER


def home_of_attribute(module: ModuleType, name: str) -> Home:
    """The home of a module's attribute that the module computes (a submodule imported at first use)."""
    stateful = _within(f"{name_of(module)}.{name}", _STATEFUL_PARTS)
    return Home.STATEFUL if stateful else home_of_module(module)


def home_of_scope(scope: Mapping[str, Any]) -> Home:
    """The home of functions with these `__globals__`, which must be those of the module they name."""
    name = scope.get("__name__")
    module = sys.modules.get(name) if isinstance(name, str) else None
    return home_of_module(module) if isinstance(module, ModuleType) and vars(module) is scope else Home.USER


def _home_of_class(cls: type) -> Home:
    # A class may claim any module, so the module must have it under its name.
    home = home_of_name(cls.__module__)
    if home is Home.USER or not cls.__flags__ & _HEAP_TYPE:
        return home
    found: Any = sys.modules[cls.__module__]
    for name in cls.__qualname__.split("."):
        found = vars(found).get(name) if hasattr(found, "__dict__") else None
    return home if found is cls else Home.USER


home_of_class: Final = IdentityCache(_home_of_class)
"""The home of a class: that of the module which it names and which has it."""


def is_published(value: Any) -> bool:
    """Whether a pure module has the function or other object under the module and name that it states itself."""
    module = getattr(value, "__module__", None)
    name = getattr(value, "__name__", None)
    if not isinstance(module, str) or not isinstance(name, str) or home_of_name(module) is not Home.PURE:
        return False
    return vars(sys.modules[module]).get(name) is value


def is_impure(value: Any) -> bool:
    """Whether a function of a pure module reads the world outside, changes it, or returns memory as it finds it."""
    return id(value) in _IMPURE_IDENTITIES


def hides_state(module: ModuleType) -> bool:
    """Whether a pure module has stateful parts, which whoever holds the module can reach."""
    return any(part.startswith(name_of(module) + ".") for part in _STATEFUL_PARTS)
