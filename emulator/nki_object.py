"""NKIObject: the base class of the records that kernels take and make.

    class Tiling(nl.NKIObject):        # with or without @dataclass
        rows: int                      # None unless given
        columns = 512                  # a field as well, though it has no annotation

Source: NKI language guide, "Class Support": the initialiser that classes get, whose parameters all have a default, and
`__post_init__`; the NKI Library's classes for attributes without annotation being fields.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

from trnlab.emulator.errors import UsageError
from trnlab.emulator.source import fail


class NKIObject:
    """Base class for NKI kernel dataclasses and configuration objects.

    The attributes of a subclass, annotated or not, are its fields: parameters of the initialiser in their order, None
    where the class gives no default. Other keywords become attributes too. `__post_init__` runs at the end.

    Raises:
        UsageError: more positional arguments than fields, or one field twice.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        declared = dict(inspect.get_annotations(cls))
        for name, annotation in declared.items():
            if not hasattr(cls, name) and not _is_class_variable(annotation):
                setattr(cls, name, None)
        plain = {name: Any for name, value in vars(cls).items() if name not in declared and _is_default(name, value)}
        cls.__annotations__ = declared | plain

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        fields = list(dict.fromkeys(_fields(type(self))))
        if len(args) > len(fields):
            allowed = f"at most {len(fields)}: {', '.join(fields)}"
            fail(UsageError, type(self).__name__, found=f"{len(args)} positional arguments", allowed=allowed)
        values = dict(zip(fields, args, strict=False))
        twice = values.keys() & kwargs.keys()
        if twice:
            found = f"{min(twice)} by position and by keyword"
            fail(UsageError, type(self).__name__, found=found, allowed="each field once")
        defaults = {name: getattr(type(self), name, None) for name in fields}
        for name, value in (defaults | values | kwargs).items():
            setattr(self, name, value)
        finish = getattr(self, "__post_init__", None)
        if finish is not None:
            finish()


def _fields(kind: type) -> Iterator[str]:
    """The fields of a class, those of its bases first."""
    for base in reversed(kind.__mro__):
        declared = inspect.get_annotations(base).items()
        yield from (name for name, annotation in declared if not _is_class_variable(annotation))


def _is_class_variable(annotation: Any) -> bool:
    return "ClassVar" in str(annotation)  # annotations may be text


def _is_default(name: str, value: Any) -> bool:
    """Whether a class attribute is the default of a field: no method, property, nested class or mutable object."""
    is_data = not isinstance(value, type) and not hasattr(type(value), "__get__")
    return is_data and not name.startswith("_") and type(value).__hash__ is not None
