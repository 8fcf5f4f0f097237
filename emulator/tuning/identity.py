"""What predictions depend on, as digests: the source of a kernel and of the modules it uses, and that of the model."""

from __future__ import annotations

import hashlib
import marshal
import sys
import sysconfig
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, Final

_MODEL: Final = Path(__file__).resolve().parents[1]
_WITHOUT_REFERENCES: Final = 2  # the last marshal format in which equal code has equal bytes
_INSTALLED: Final = tuple(
    Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib", "purelib", "platlib")
)


@cache
def model_digest() -> str:
    """SHA-256 of every source file of the emulator: another rule or constant is another digest."""
    return _digest(sorted(_MODEL.rglob("*.py")))


def kernel_digest(function: Callable[..., Any]) -> str:
    """SHA-256 of the source files of a function's module and of the modules it takes names from, and so on.

    Installed packages and the emulator are not followed. A function without a file, as of a notebook, counts by its
    code.
    """
    module = sys.modules.get(function.__module__)
    files: dict[Path, None] = {}
    waiting = [] if module is None else [module]
    while waiting:
        current = waiting.pop()
        path = _source_of(current)
        if path is not None and path not in files:
            files[path] = None
            waiting += _used_by(current)
    own = Path(function.__code__.co_filename)
    if own.is_file():
        return _digest(sorted({*files, own.resolve()}))
    return _digest(sorted(files), marshal.dumps(function.__code__, _WITHOUT_REFERENCES))


def _used_by(module: ModuleType) -> Iterable[ModuleType]:
    for value in vars(module).values():
        found = value if isinstance(value, ModuleType) else sys.modules.get(getattr(value, "__module__", None) or "")
        if found is not None:
            yield found


def _source_of(module: ModuleType) -> Path | None:
    """The file of a module that is neither installed nor the emulator's."""
    name = getattr(module, "__file__", None)
    if name is None or not name.endswith(".py"):
        return None
    path = Path(name).resolve()
    return None if any(path.is_relative_to(folder) for folder in (_MODEL, *_INSTALLED)) else path


def _digest(files: Iterable[Path], code: bytes = b"") -> str:
    digest = hashlib.sha256(code)
    for path in files:
        contents = path.read_bytes()
        digest.update(f"{path.name} {len(contents)}\n".encode() + contents)
    return digest.hexdigest()
