"""Kernels in code blocks of AWS's pages: taken from the checkout when the case runs, with the page's line numbers."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from types import ModuleType

from tests.conformance.direct import Load, registered
from tests.conformance.outcome import SkippedError

DIRECTIVE = re.compile(r"(?P<indent>\s*)\.\. code(-block)?::")
OPTION = re.compile(r"\s*:[\w-]+:")
PRELUDE = {"nki": "nki", "nl": "nki.language", "nisa": "nki.isa"}
"""What the pages take as imported."""


def blocks(text: str) -> list[tuple[int, str]]:
    """(line before the first, code) of each code block of a page in reStructuredText."""
    lines, found = text.splitlines(), []
    for number, line in enumerate(lines, start=1):
        directive = DIRECTIVE.match(line)
        if directive:
            end = next(
                (place for place in range(number, len(lines)) if _ends(lines[place], len(directive["indent"]))),
                len(lines),
            )
            body = ["" if OPTION.match(code) else code for code in lines[number:end]]
            found.append((number, textwrap.dedent("\n".join(body))))
    return found


def _ends(line: str, indent: int) -> bool:
    """Whether a line stands outside a directive that is indented so much."""
    return bool(line.strip()) and len(line) - len(line.lstrip()) <= indent


def block_with(function: str, place: int = 0) -> Load:
    """Loads the code block of a page that defines a function; `place` counts such blocks from 0."""

    def load(root: Path, path: str) -> ModuleType:
        page = root / path
        if not page.exists():
            raise SkippedError(f"no {path} in this checkout")
        defining = [block for block in blocks(page.read_text()) if f"def {function}(" in block[1]]
        if place >= len(defining):
            raise SkippedError(f"{path} has {len(defining)} code blocks that define {function}")
        return _execute(page, f"{function}_{place}", *defining[place])

    return load


def _execute(page: Path, name: str, before: int, code: str) -> ModuleType:
    import importlib

    module = ModuleType(f"block_{name}")
    module.__file__ = str(page)
    vars(module).update({short: importlib.import_module(full) for short, full in PRELUDE.items()})
    compiled = compile("\n" * before + code, str(page), "exec", dont_inherit=True)
    with registered(module):
        exec(compiled, vars(module))
    return module
