"""Parameters of tests that repeat one law: some in every run, the others in `make test-all`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def everyday(count: int, values: Iterable[Any]) -> list[Any]:
    """The values, of which those behind the first `count` are marked `slow`; a tuple is one value for each name."""
    parameters = [value if isinstance(value, tuple) else (value,) for value in values]
    marks: list[Any] = [()] * count + [pytest.mark.slow] * (len(parameters) - count)
    return [pytest.param(*values, marks=mark) for values, mark in zip(parameters, marks, strict=True)]
