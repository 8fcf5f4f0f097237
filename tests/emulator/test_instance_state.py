"""Which state of an instance can be read; where all can, CPython agrees to pickle by attributes and slots."""

from __future__ import annotations

import collections
import copyreg
import itertools
import random
import threading
import types
from dataclasses import dataclass
from typing import Any

import pytest

from trnlab.emulator.instance_state import ABSENT, BASES, attributes_of, layout_of, slot_value


class Plain:
    pass


class Slots:
    __slots__ = ("a", "b")


class MoreSlots(Slots):
    __slots__ = ("__weakref__", "c")


class SlotsAndDict(Slots):
    pass


class Private:
    __slots__ = ("__hidden",)


@dataclass(frozen=True, slots=True)
class Frozen:
    a: int = 1


class OwnDict:
    __dict__: Any = property(lambda self: {"a": 1})  # type: ignore[assignment]


class GetsEverything:
    def __getattr__(self, name: str) -> str:
        return name


class Boxed(dict[str, int]):
    pass


READABLE = [Plain, Slots, MoreSlots, SlotsAndDict, Private, Frozen, GetsEverything, object]


@pytest.mark.parametrize("cls", READABLE)
def test_classes_that_hide_nothing(cls: type) -> None:
    assert layout_of(cls).base is object
    assert not layout_of(cls).hidden
    made = cls()
    assert object.__reduce_ex__(made, 2)[:2] == (copyreg.__newobj__, (cls,))  # TypeError where there is more


def test_a_name_space_hides_nothing() -> None:
    assert not layout_of(types.SimpleNamespace).hidden  # it pickles by a rule of its own
    assert attributes_of(types.SimpleNamespace(a=1)) == {"a": 1}


@pytest.mark.parametrize("base", BASES)
def test_builtin_types_and_their_subclasses_hide_nothing(base: type) -> None:
    derived = type("Derived", (base,), {})
    assert (layout_of(base).base, layout_of(base).hidden) == (base, False)
    assert (layout_of(derived).base, layout_of(derived).hidden) == (base, False)


HIDING = [
    random.Random(1),
    threading.local(),
    threading.Lock(),
    iter([1]),
    itertools.count(),
    (n for n in (1, 2)),
    bytearray(b"1"),
    memoryview(b"1"),
    collections.OrderedDict(),
    collections.defaultdict(int),
    ValueError("text"),
    OwnDict(),
]


@pytest.mark.parametrize("value", HIDING, ids=lambda value: type(value).__name__)
def test_classes_that_hide_state(value: Any) -> None:
    assert layout_of(type(value)).hidden
    if type(value).__flags__ & 1 << 10:  # Py_TPFLAGS_BASETYPE: the type can be derived from
        assert layout_of(type("Derived", (type(value),), {})).hidden


def test_slots_of_all_bases_are_read() -> None:
    value = MoreSlots()
    value.a, value.c = 1, 3
    assert {slot.__name__: slot_value(slot, value) for slot in layout_of(MoreSlots).slots} == {
        "a": 1,
        "b": ABSENT,
        "c": 3,
    }
    both = SlotsAndDict()
    both.a, both.d = 1, 4  # type: ignore[attr-defined]
    assert attributes_of(both) == {"d": 4}
    assert [slot_value(slot, both) for slot in layout_of(SlotsAndDict).slots] == [1, ABSENT]


def test_attributes_are_read_past_the_class() -> None:
    assert attributes_of(GetsEverything()) == {}
    assert attributes_of(Slots()) == {}
    boxed = Boxed(a=1)
    boxed.b = 2  # type: ignore[attr-defined]
    assert attributes_of(boxed) == {"b": 2}
