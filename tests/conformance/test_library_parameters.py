"""Parameter sets that a test declares, and the finder of inert packages."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator

import pytest

from tests.conformance.library_parameters import agrees, declared
from tests.conformance.outcome import SkippedError
from tests.conformance.stand_ins import Anything, InertFinder, missing


@pytest.mark.parametrize("size", [2, 4])
@pytest.mark.parametrize(("shape", "act"), [((1, 2), "ActFn.SILU"), pytest.param((3, 4), "ActFn.GELU", id="second")])
def method(size: int, shape: tuple[int, int], act: str) -> None: ...


method.__test__ = False  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("wish", "expected"),
    [
        ({}, {"size": 2, "shape": (1, 2), "act": "ActFn.SILU"}),
        ({"size": 4}, {"size": 4, "shape": (1, 2), "act": "ActFn.SILU"}),
        ({"act": "*GELU"}, {"size": 2, "shape": (3, 4), "act": "ActFn.GELU"}),
        ({"shape": (3, 4), "size": 4}, {"size": 4, "shape": (3, 4), "act": "ActFn.GELU"}),
    ],
)
def test_the_first_declared_set_that_agrees(wish: dict[str, object], expected: dict[str, object]) -> None:
    assert declared(method, wish) == expected


def test_no_declared_set_agrees() -> None:
    with pytest.raises(SkippedError, match=r"declares no parameter set with \{'size': 8\}"):
        declared(method, {"size": 8})
    assert declared(lambda: None, {"size": 8}) == {}


@pytest.mark.parametrize(
    ("value", "wanted", "same"),
    [(2, "2", True), ("a=1, b=2", "*a=1 & b=2", True), ("a=1", "*a=1 & b=2", False), (None, None, True), (2, 3, False)],
)
def test_agrees(value: object, wanted: object, same: bool) -> None:
    assert agrees(value, wanted) is same


@pytest.fixture
def inert() -> Iterator[None]:
    finder = InertFinder(["made_up_cloud", "json.made_up"])
    sys.meta_path.append(finder)
    yield
    sys.meta_path.remove(finder)
    for name in [name for name in sys.modules if name.startswith("made_up_cloud")]:
        del sys.modules[name]


@pytest.mark.usefixtures("inert")
def test_inert_packages_have_every_name_and_do_nothing() -> None:
    assert not missing("made_up_cloud")
    cloud = importlib.import_module("made_up_cloud.storage.client")
    assert issubclass(cloud.StorageError, Exception)
    assert isinstance(cloud.Client("x", retries=3), Anything)
    assert cloud.Client("x").upload("y") is not None

    assert cloud.traced()(len) is len  # a decorator leaves what it decorates as it is
    with pytest.raises(AttributeError):
        cloud.__wrapped__  # noqa: B018  (private names are not made up)


@pytest.mark.usefixtures("inert")
def test_other_packages_are_not_touched() -> None:
    assert missing("made_up_clouds")
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("made_up_clouds")
