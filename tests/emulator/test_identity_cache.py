"""Remembered by identity, for as long as the object lives."""

from __future__ import annotations

import gc

from trnlab.emulator.identity_cache import IdentityCache


class Equal:
    """All instances are equal, as code objects of two files can be."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Equal)

    def __hash__(self) -> int:
        return 1


def test_equal_objects_are_not_taken_for_one_another() -> None:
    calls = []

    def compute(key: Equal) -> str:
        calls.append(key.name)
        return key.name

    cache = IdentityCache(compute)
    one, other = Equal("one"), Equal("other")
    assert [cache(one), cache(other), cache(one), cache(other)] == ["one", "other", "one", "other"]
    assert calls == ["one", "other"]


def test_nothing_is_kept_alive_and_no_identity_is_inherited() -> None:
    cache = IdentityCache(lambda key: key.name)
    for number in range(100):  # objects of the same size, one after the other, get the same address
        assert cache(Equal(str(number))) == str(number)
    gc.collect()
    assert len(cache) == 0
