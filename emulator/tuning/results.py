"""The results file of a sweep: JSON lines, a heading and one line for each setting measured.

The heading says what was swept; a file with another heading is another sweep's and is refused, as is a damaged one.
The file is only ever replaced whole, so a sweep that is killed leaves the last complete file behind.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import inf
from pathlib import Path
from typing import Any, Final

from trnlab.emulator.errors import ArgumentError, TrnlabError, Violation
from trnlab.emulator.tuning.measure import Measured

FORMAT: Final = "trnlab-tuning-1"
_FIELDS: Final = {field.name for field in dataclasses.fields(Measured)}
_SIMPLE: Final = (bool, int, float, str, type(None))


def _is_count(value: Any) -> bool:
    return value is None or (type(value) is int and value >= 0)


def _is_setting(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(item, _SIMPLE) for item in value.values())


_VALUES: Final[Mapping[str, tuple[Callable[[Any], bool], str]]] = {
    "setting": (_is_setting, "numbers, strings, booleans or null by argument"),
    "seconds": (
        lambda value: value is None or (isinstance(value, float) and 0 < value < inf),
        "a positive number or null",
    ),
    "sbuf_bytes": (_is_count, "a count or null"),
    "psum_banks": (_is_count, "a count or null"),
    "instructions": (_is_count, "a count or null"),
    "refused": (lambda value: isinstance(value, str), "a string"),
}
"""Whether a value can be that field's, and what can."""


class ResultsFileError(TrnlabError, ValueError):
    """A results file cannot be continued: where, what was found, what is allowed. The file is left as it is."""

    def __init__(self, path: Path, line: int, found: str, allowed: str) -> None:
        self.path, self.line, self.found, self.allowed = path, line, found, allowed
        super().__init__(f"{path}, line {line}: found {found}; allowed: {allowed}. The file was left as it is")


def check_writable(space: Mapping[str, Sequence[Any]]) -> None:
    """Nothing, where a results file gives every value of the space back as it was.

    Raises:
        ArgumentError: a value is no number, string, boolean or None.
    """
    for name, values in space.items():
        for value in values:
            if not isinstance(value, _SIMPLE):
                allowed = "numbers, strings, booleans or None in a sweep with a results file"
                raise ArgumentError(Violation(subject="tune", operand=name, found=repr(value), allowed=allowed))


def heading_of(about: Mapping[str, Any]) -> dict[str, Any]:
    """The first line of a results file of that sweep."""
    return {"format": FORMAT, **about}


def read(path: Path, heading: Mapping[str, Any]) -> list[Measured]:
    """What an earlier run of the same sweep has measured; nothing when there is no such file.

    Raises:
        ResultsFileError: the file is no results file, belongs to another sweep, or has a damaged line.
    """
    if not path.exists():
        return []
    if not path.is_file():
        raise TrnlabError(f"cannot keep results in {path}: it is no file")
    text = path.read_text(encoding="utf-8", errors="replace")
    lines = text.split("\n")
    if lines[-1]:
        raise ResultsFileError(path, len(lines), "a line without its end", "whole lines: the file was cut off")
    _check_heading(path, lines[0], heading)
    return [_measured(path, number, line) for number, line in enumerate(lines[1:-1], start=2)]


def _parsed(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        data = json.loads(line)
    except json.JSONDecodeError as error:
        raise ResultsFileError(path, number, f"no JSON ({error.msg})", "a line that trnlab wrote") from error
    if not isinstance(data, dict):
        raise ResultsFileError(path, number, f"a JSON {type(data).__name__}", "a JSON object")
    return data


def _check_heading(path: Path, line: str, heading: Mapping[str, Any]) -> None:
    found = _parsed(path, 1, line)
    if found.get("format") != FORMAT:
        raise ResultsFileError(path, 1, f"format {found.get('format')!r}", f"format {FORMAT!r}")
    wanted = json.loads(json.dumps(heading))
    for name in dict.fromkeys([*wanted, *found]):
        if found.get(name) != wanted.get(name):
            allowed = f"{wanted.get(name)!r}, which this sweep has; give it another file"
            raise ResultsFileError(path, 1, f"{name} {found.get(name)!r}", allowed)


def _measured(path: Path, number: int, line: str) -> Measured:
    data = _parsed(path, number, line)
    if set(data) != _FIELDS:
        raise ResultsFileError(path, number, f"the fields {', '.join(data)}", ", ".join(sorted(_FIELDS)))
    for name, (fits, allowed) in _VALUES.items():
        if not fits(data[name]):
            raise ResultsFileError(path, number, f"{name} {data[name]!r}", allowed)
    if (data["seconds"] is None) != bool(data["refused"]):
        raise ResultsFileError(
            path, number, f"seconds {data['seconds']!r} and refused {data['refused']!r}", "one of them"
        )
    return Measured(**data)


def write(path: Path, heading: Mapping[str, Any], results: Iterable[Measured]) -> None:
    """Replace the file by the heading and the results, whole or not at all.

    Raises:
        TrnlabError: it cannot be written.
    """
    lines = [json.dumps(heading), *(json.dumps(dataclasses.asdict(result)) for result in results)]
    temporary = path.with_name(path.name + ".tmp")
    try:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise TrnlabError(f"cannot write {path}: {error.strerror}") from error
