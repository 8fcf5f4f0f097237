"""The settings of a sweep: values of keyword arguments, crossed.

As text, for a command line: `block_m=256,512` lists values, `block_k=4:16:4` counts from 4 to 16 inclusive in steps of
4, `block_n=512:4096:*2` multiplies by 2. Values are Python literals; other words are strings.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

from trnlab.emulator.errors import ArgumentError, Violation

Setting = Mapping[str, Any]
"""Values of keyword arguments, by name."""

MAX_SETTINGS = 1_000_000


def settings(space: Mapping[str, Sequence[Any]]) -> list[Setting]:
    """Every combination of the values, the last argument varying fastest.

    Raises:
        ArgumentError: an argument without values, or more than `MAX_SETTINGS` combinations.
    """
    count = 1
    for name, values in space.items():
        if not values:
            raise _error(name, "no values", "one value or more")
        count *= len(values)
    if count > MAX_SETTINGS:
        raise _error("space", f"{count:,} settings", f"at most {MAX_SETTINGS:,}")
    return [dict(zip(space, values, strict=True)) for values in product(*space.values())]


def parse_space(texts: Sequence[str]) -> dict[str, list[Any]]:
    """The space that texts like `block_m=256,512` describe.

    Raises:
        ArgumentError: a text without `NAME=`, a name given twice, or a range that does not count.
    """
    space: dict[str, list[Any]] = {}
    for text in texts:
        name, equals, values = (part.strip() for part in text.partition("="))
        if not equals or not name.isidentifier() or not values:
            raise _error(text, "no NAME=VALUES", "NAME=1,2,4 or NAME=FIRST:LAST:STEP or NAME=FIRST:LAST:*FACTOR")
        if name in space:
            raise _error(name, "given twice", "each argument once")
        space[name] = _range(name, values) if ":" in values else [_value(part.strip()) for part in values.split(",")]
    return space


def _value(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _range(name: str, text: str) -> list[Any]:
    parts = text.split(":")
    step = parts[2] if len(parts) == 3 else "1"
    numbers = [*parts[:2], step.removeprefix("*")]
    if len(parts) not in (2, 3) or not all(_is_count(part) for part in numbers):
        raise _error(name, repr(text), "FIRST:LAST:STEP or FIRST:LAST:*FACTOR with positive whole numbers")
    first, last, by = (int(part) for part in numbers)
    if not step.startswith("*"):
        return list(range(first, last + 1, by))
    if by < 2:
        raise _error(name, repr(text), "a factor of 2 or more")
    values = []
    while first <= last:
        values.append(first)
        first *= by
    return values


def _is_count(text: str) -> bool:
    return text.strip().isdigit() and int(text) > 0


def _error(name: str, found: str, allowed: str) -> ArgumentError:
    return ArgumentError(Violation(subject="tune", operand=name, found=found, allowed=allowed))
