"""NKIObject: the record classes of kernels, as the NKI language guide describes their initialisers."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, ClassVar

import pytest

import trnlab.emulator.nki.language as nl
from trnlab.emulator import UsageError
from trnlab.emulator.nki_object import NKIObject


class Mode(Enum):
    fast = 1


class Plain(nl.NKIObject):
    x: int
    y: bool = False
    scale = 2.0
    mode = Mode.fast
    shared: ClassVar[int] = 7
    _private = 3

    def __post_init__(self) -> None:
        self.total = (self.x or 0) + 1

    @property
    def doubled(self) -> Any:
        return 2 * self.x


@dataclass
class Tiling(nl.NKIObject):
    rows: int
    columns: int = 512
    names: list[str] = field(default_factory=list)


@dataclass
class Section(nl.NKIObject):
    index = None
    offset = 0

    def end(self) -> Any:
        return self.offset + 1


def test_a_class_without_decorator() -> None:
    record = Plain(4)
    assert (record.x, record.y, record.scale, record.mode, record.total, record.doubled) == (
        4,
        False,
        2.0,
        Mode.fast,
        5,
        8,
    )
    assert Plain(x=4, y=True, scale=3.0).scale == 3.0
    assert Plain().x is None  # every parameter has a default
    assert vars(Plain(1, True)) == {"x": 1, "y": True, "scale": 2.0, "mode": Mode.fast, "total": 2}


def test_a_dataclass() -> None:
    assert Tiling(128) == Tiling(rows=128, columns=512, names=[])
    assert Tiling(columns=4) == Tiling(None, 4)
    assert Tiling(1).names is not Tiling(1).names


def test_attributes_without_annotation_are_fields_of_a_dataclass() -> None:
    assert Section(index=3) == Section(3, 0)
    assert Section(offset=5).end() == 6
    assert repr(Section(1)) == "Section(index=1, offset=0)"


def test_other_keywords_become_attributes() -> None:
    record = nl.NKIObject(rows=4)
    record.columns = 8
    assert (record.rows, record.columns) == (4, 8)
    assert Plain(1, width=3).width == 3


def test_inherited_fields_come_first() -> None:
    class Wide(Plain):
        width: int = 9

    assert (Wide(1, True).width, Wide(1, width=2).width, Wide(5).total) == (9, 2, 6)


def test_frozen_and_slotted_records() -> None:
    @dataclass(frozen=True, slots=True)
    class Point(nl.NKIObject):
        x: int = 0
        y: int = 0

    assert Point(1) == Point(1, 0)
    with pytest.raises(AttributeError):
        Point(1).x = 3  # type: ignore[misc]


def test_a_class_with_its_own_initialiser_keeps_it() -> None:
    class Own(nl.NKIObject):
        x: int = 1

        def __init__(self, x: int) -> None:
            self.x = x + 1

    assert Own(1).x == 2


@pytest.mark.parametrize(
    ("args", "kwargs", "text"),
    [
        ((1, True, 2.0, Mode.fast, 5, 6, 7), {}, "7 positional arguments"),
        ((1,), {"x": 2}, "x by position and by keyword"),
    ],
)
def test_arguments_that_do_not_fit(args: Any, kwargs: Any, text: str) -> None:
    with pytest.raises(UsageError, match=text):
        Plain(*args, **kwargs)


def test_records_survive_pickling() -> None:
    assert pickle.loads(pickle.dumps(Tiling(3))) == Tiling(3)
    assert vars(pickle.loads(pickle.dumps(Plain(3)))) == vars(Plain(3))


def test_it_is_the_base_of_what_is_published() -> None:
    assert nl.NKIObject is NKIObject
    assert issubclass(nl.NkiTensor, NKIObject)
