"""Where a key stands in a TOML text: `tomllib` gives values without their places.

A key's lines are found with the parser itself: the shortest run of whole lines that parses and holds the key ends
with its value, and the value's first line is the one after the longest shorter run that parses. So comments, quoted
keys, dotted keys, arrays over several lines and texts in triple quotes are what TOML says they are.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any


def line_of_key(text: str, key: Sequence[str]) -> int:
    """The line, counted from 1, on which a key or the header of a table stands; the nearest table's for an absent key.

    text: what `tomllib` has parsed without error.
    """
    while key:
        previous = 0
        for count, data in _prefixes(text):
            if _holds(data, key):
                return previous + 1
            previous = count
        key = key[:-1]
    return 1


@lru_cache(maxsize=1)
def _prefixes(text: str) -> tuple[tuple[int, dict[str, Any]], ...]:
    return tuple(_parsing_prefixes(text))


def _parsing_prefixes(text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """(lines, contents) of every run of lines from the start that is TOML by itself."""
    lines = text.split("\n")
    for count in range(1, len(lines) + 1):
        try:
            yield count, tomllib.loads("\n".join(lines[:count]))
        except tomllib.TOMLDecodeError:
            continue


def _holds(data: Any, key: Sequence[str]) -> bool:
    for part in key:
        if not isinstance(data, dict) or part not in data:
            return False
        data = data[part]
    return True


def line_of_syntax_error(text: str, error: tomllib.TOMLDecodeError) -> int:
    """The line of a syntax error, counted from 1; the last one where the text ends too early."""
    place = re.search(r"\(at line (\d+)", str(error))
    return int(place[1]) if place else text.count("\n") + 1
