"""How a fingerprint reads functions, classes and modules.

Of a function: its code, what it carries (defaults, cells, attributes), and what each name in its code leads to. A
chain of names through modules (`helpers.tile`) leads to what stands at its end; a module whose value goes on to a
place that bytecode does not show (`m = helpers`) is read whole. Functions, classes and modules of a pure library count
by identity.
"""

from __future__ import annotations

import abc
import importlib.util
import sys
from collections.abc import Callable
from types import FunctionType, GetSetDescriptorType, ModuleType
from typing import Any, Final, Protocol

from trnlab.emulator.code_facts import Chain, Import, code_facts
from trnlab.emulator.fingerprint_parts import Same, Walk, read_pairs
from trnlab.emulator.fingerprint_values import read_instance
from trnlab.emulator.instance_state import ABSENT, attributes_of
from trnlab.emulator.provenance import (
    Home,
    hides_state,
    home_of_attribute,
    home_of_class,
    home_of_module,
    home_of_scope,
    is_impure,
    is_published,
    name_of,
)

_MODULE_MACHINERY: Final = frozenset({"__builtins__", "__loader__", "__spec__"})


def _builtins(function: FunctionType) -> dict[str, Any]:
    untyped: Any = function  # only some releases of the type checker's library know the attribute
    builtins: dict[str, Any] = untyped.__builtins__
    return builtins


class Scope:
    """The globals and builtins that functions share; a chain is read once in each."""

    __slots__ = ("builtins", "globals", "home", "number", "read")

    def __init__(self, function: FunctionType, number: int) -> None:
        self.globals: dict[str, Any] = function.__globals__
        self.builtins = _builtins(function)
        self.number = number
        self.home = home_of_scope(self.globals)
        self.read: set[Chain] = set()


class Scopes(dict[tuple[int, int], Scope]):
    """The scopes of one walk, by the identities of globals and builtins."""

    def of(self, function: FunctionType) -> Scope:
        """The scope of a function, known from the first function seen in it on."""
        key = id(function.__globals__), id(_builtins(function))
        return self.get(key) or self.setdefault(key, Scope(function, len(self)))


class CodeWalk(Walk, Protocol):
    """What readers of code ask of the walk besides."""

    scopes: Scopes


# -- functions ---------------------------------------------------------------------------------------------------------


def _function(walk: CodeWalk, function: FunctionType) -> None:
    scope = walk.scopes.of(function)
    if scope.home is Home.STATEFUL or is_impure(function):
        walk.refuse(f"the function `{function.__module__}.{function.__qualname__}`, which may read the world outside")
    if scope.home is Home.PURE:
        _library_function(walk, function)
        return
    facts = code_facts(function.__code__)
    if type(scope.globals) is not dict:
        walk.refuse(f"globals of type {type(scope.globals).__name__}, which may compute them")
    if facts.refusal:
        walk.refuse(f"code that {facts.refusal}")
    walk.parts += ("function", facts.digest, function.__name__, function.__qualname__, scope.number)
    _attachments(walk, function)
    for chain in facts.reads:
        if chain not in scope.read:
            scope.read.add(chain)
            _name(walk, chain, scope)
    for statement in facts.imports:
        _import(walk, statement, scope)


def _library_function(walk: Walk, function: FunctionType) -> None:
    """By identity; but a function that a library made for its caller may hold what is the caller's."""
    if not (function.__closure__ or attributes_of(function)) or is_published(function):
        walk.parts += ("pure", function)
    else:
        walk.parts += ("made by a library", Same(function.__code__), function.__name__, function.__qualname__)
        _attachments(walk, function)


def _attachments(walk: Walk, function: FunctionType) -> None:
    """What a function carries besides its code: defaults, cells, attributes (`__wrapped__` among them)."""
    walk.note(function.__module__)
    walk.note(function.__doc__)
    walk.note(function.__defaults__)
    walk.note(function.__kwdefaults__)
    for cell in function.__closure__ or ():
        try:
            content = cell.cell_contents
        except ValueError:  # not assigned yet
            content = ABSENT
        walk.note(content)
    read_pairs(walk, attributes_of(function).items())


def _name(walk: CodeWalk, chain: Chain, scope: Scope) -> None:
    """What the chain leads to; it ends where something else than a module is found."""
    value = scope.globals.get(chain[0], ABSENT)
    if value is ABSENT:
        value = scope.builtins.get(chain[0], ABSENT)
    for name in chain[1:]:
        if type(value) is not ModuleType:
            break
        names = vars(value)
        if name not in names and hasattr(ModuleType, name):  # `helpers.__dict__`
            break
        if name not in names and "__getattr__" in names:
            _computed(walk, value, name)
            return
        value = names.get(name, ABSENT)
    walk.note(value)


def _computed(walk: Walk, module: ModuleType, name: str) -> None:
    if home_of_attribute(module, name) is not Home.PURE:
        walk.refuse(f"`{name}` of the module {name_of(module)}, which computes its attributes")
    walk.parts += ("computed", module, name)


def _import(walk: CodeWalk, statement: Import, scope: Scope) -> None:
    """The module that an import statement inside a function gives, and its package; both whole."""
    package = scope.globals.get("__package__")
    if statement.level and not isinstance(package, str):
        walk.refuse("a relative import outside a package")
    name = importlib.util.resolve_name("." * statement.level + statement.module, package)
    module = sys.modules.get(name)
    if not isinstance(module, ModuleType) or not _has_names(module, statement.names):
        walk.refuse(f"an import of {name}, all or part of which has not been imported before")
    walk.note(module)
    walk.note(sys.modules.get(name.partition(".")[0], ABSENT))


def _has_names(module: ModuleType, names: tuple[str, ...]) -> bool:
    """Whether `from module import names` only looks them up, and need not load a submodule."""
    return home_of_module(module) is Home.PURE or all(name in vars(module) for name in names)


# -- classes and modules -----------------------------------------------------------------------------------------------


def _class(walk: Walk, cls: type) -> None:
    home = home_of_class(cls)
    if home is Home.STATEFUL:
        walk.refuse(f"the class `{cls.__module__}.{cls.__qualname__}`, which may read the world outside")
    if home is Home.PURE:
        walk.parts += ("pure", cls if type(cls) is type else Same(cls))
        return
    walk.parts += ("class", cls.__name__, cls.__qualname__, len(cls.__bases__))
    for base in (type(cls), *cls.__bases__):
        walk.note(base)
    for name, value in tuple(vars(cls).items()):
        if name == "_abc_impl":
            walk.note(abc.get_cache_token())  # changes with every class registered with any abstract one
        elif type(value) is not GetSetDescriptorType:  # `__dict__` and `__weakref__`
            walk.note(name)
            walk.note(value)
    walk.parts.append("end of class")


def _module(walk: Walk, module: ModuleType) -> None:
    home = home_of_module(module)
    if home is Home.STATEFUL or (home is Home.PURE and hides_state(module)):
        walk.refuse(f"the module {name_of(module)} as a value, through which code may read the world outside")
    if home is Home.PURE:
        walk.parts += ("pure", module)
        return
    if type(module) is not ModuleType or "__getattr__" in vars(module):
        walk.refuse(f"the module {name_of(module)} as a value, which computes its attributes")
    walk.parts.append("module")
    read_pairs(walk, ((name, value) for name, value in vars(module).items() if name not in _MODULE_MACHINERY))


def read_other(walk: Walk, value: Any) -> None:
    """A value of a type that has no reader of its own: a class, a module, or an instance."""
    kind = type(value)
    if issubclass(kind, type):
        _class(walk, value)
    elif issubclass(kind, ModuleType):
        _module(walk, value)
    else:
        read_instance(walk, value)


CODE_READERS: Final[dict[type, Callable[[CodeWalk, Any], None]]] = {
    FunctionType: _function,
    type: _class,
    ModuleType: _module,
}
"""Readers of functions, classes and modules."""
