"""The state of an instance, all of it: what its builtin base holds, its `__dict__`, its slots; or no answer.

An instance of a class written in C may hold more than Python can see (a file position, a random state). The size of
its objects tells: what is not accounted for by the base, the dictionary, the weak references and the slots is hidden.
CPython decides in the same way whether an object may be pickled by its `__dict__` and slots (`object.__getstate__`).
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from types import GetSetDescriptorType, MemberDescriptorType
from typing import Any, Final

from trnlab.emulator.identity_cache import IdentityCache

_MANAGED_DICT: Final = 1 << 4  # Py_TPFLAGS_MANAGED_DICT: the dictionary lies before the object, outside its size
_POINTER: Final = tuple.__itemsize__

BASES: Final = (int, float, complex, str, bytes, tuple, list, dict, set, frozenset)
"""Builtin types whose contents can be read through their own methods."""


class Absent(enum.Enum):
    """What stands where a name, a slot or a cell holds nothing."""

    ABSENT = enum.auto()


ABSENT: Final = Absent.ABSENT


@dataclass(frozen=True, slots=True)
class Layout:
    """Where instances of a class keep their state.

    base:   the builtin type whose contents they hold; `object` holds none
    slots:  the descriptors of `__slots__`, base classes included
    hidden: whether there is more, which cannot be read
    """

    base: type
    slots: tuple[MemberDescriptorType, ...]
    hidden: bool


def _layout(cls: type) -> Layout:
    base = next((base for base in BASES if issubclass(cls, base)), object)
    slots = tuple(
        member
        for owner in cls.__mro__
        if "__slots__" in vars(owner)  # members of classes written in C need not be whole pointers
        for member in vars(owner).values()
        if isinstance(member, MemberDescriptorType) and member.__objclass__ is owner
    )
    seen = base.__basicsize__ + (len(slots) + _own_pointers(cls) - _own_pointers(base)) * _POINTER
    return Layout(base, slots, cls.__basicsize__ != seen or _own_dict(cls))


def _own_pointers(cls: type) -> int:
    """How many pointers an instance holds for weak references and its dictionary."""
    return (cls.__weakrefoffset__ > 0) + (cls.__dictoffset__ != 0 and not cls.__flags__ & _MANAGED_DICT)


def _own_dict(cls: type) -> bool:
    """Whether the class makes up a `__dict__`, which then hides the real one."""
    found = next((vars(owner)["__dict__"] for owner in cls.__mro__ if "__dict__" in vars(owner)), None)
    return found is not None and not isinstance(found, (GetSetDescriptorType, MemberDescriptorType))


layout_of: Final = IdentityCache(_layout)
"""The layout of a class; other bases may be assigned to a class, but only those that keep it."""


def attributes_of(value: Any) -> dict[str, Any]:
    """The instance's own `__dict__`, without asking any `__getattr__` of its class; empty where it has none."""
    try:
        found = object.__getattribute__(value, "__dict__")
    except AttributeError:
        return {}
    return dict(dict.items(found))  # past the methods of a dict of a class of its own


def slot_value(slot: MemberDescriptorType, value: Any) -> Any:
    """What the slot holds, or ABSENT."""
    try:
        return slot.__get__(value, type(value))
    except AttributeError:
        return ABSENT
