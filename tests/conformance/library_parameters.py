"""The parameter sets that the NKI Library's tests declare."""

from __future__ import annotations

import copy
import importlib
from collections.abc import Iterator, Mapping
from typing import Any

from tests.conformance.outcome import SkippedError


def declared(method: Any, wish: Mapping[str, Any]) -> dict[str, Any]:
    """Of each parametrization of a test method, the first set that agrees with the wish; raises SkippedError."""
    chosen: dict[str, Any] = {}
    for mark in getattr(method, "pytestmark", []):
        if mark.name == "parametrize":
            chosen.update(_first(mark, wish))
    return chosen


def _first(mark: Any, wish: Mapping[str, Any]) -> dict[str, Any]:
    for row in _rows(mark):
        if all(agrees(value, wish[name]) for name, value in row.items() if name in wish):
            return row
    raise SkippedError(f"the test declares no parameter set with {dict(wish)}")


def _rows(mark: Any) -> Iterator[dict[str, Any]]:
    names = mark.args[0]
    names = [name.strip() for name in names.split(",")] if isinstance(names, str) else list(names)
    for entry in mark.args[1]:
        values = entry.values if type(entry).__name__ == "ParameterSet" else entry if len(names) > 1 else [entry]
        yield dict(zip(names, values, strict=True))


def agrees(value: Any, wanted: Any) -> bool:
    """Whether a value prints as wanted; "*a & b": whether its text contains a and b."""
    if isinstance(wanted, str) and wanted.startswith("*"):
        shown = f"{value!r} {value}"
        return all(part.strip() in shown for part in wanted[1:].split("&"))
    return str(value) == str(wanted)


def ranged_case(method: Any, words: list[str], change: Mapping[str, Mapping[str, Any]]) -> Any:
    """The first positive case of a test configured by ranges whose id contains the words, with dimensions changed."""
    ranges = importlib.import_module("test.utils.ranged_test_harness")

    configuration = getattr(method, ranges.RANGE_TEST_CONFIG_ATTR_KEY)
    for case in ranges.RangeTestHarness(configuration).get_unique_test_cases()[1]:
        if not case.is_negative_test_case and all(word in case.unique_id() for word in words):
            made = copy.copy(case)  # the declared case is shared between tests
            tensors = {tensor: {**sizes, **change.get(tensor, {})} for tensor, sizes in case.tensors.items()}
            object.__setattr__(made, "tensors", tensors)
            return made
    raise SkippedError(f"the test declares no case with {words}")
