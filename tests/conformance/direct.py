"""Cases that call a kernel of a file themselves, or run an example that checks itself."""

from __future__ import annotations

import contextlib
import importlib.util
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from tests.conformance.case import Attempt, Case
from tests.conformance.compare import check_reference, compare
from tests.conformance.outcome import MismatchError, SkippedError

Make = Callable[[np.random.Generator, ModuleType], tuple[tuple[Any, ...], dict[str, Any], Any]]
"""(random numbers, the kernel's module) -> (args, kwargs, what the kernel has to return: an array or a list)."""

Load = Callable[[Path, str], ModuleType]
"""(folder of a checkout, path in it) -> the module that has the kernel."""


def load_file(root: Path, path: str) -> ModuleType:
    """Import one file of a checkout, with its folder first on the path."""
    full = root / path
    if not full.exists():
        raise SkippedError(f"no {path} in this checkout")
    name = "case_" + re.sub(r"\W", "_", str(full))
    if name in sys.modules:
        return sys.modules[name]
    forget_namesakes(full.parent)
    spec = importlib.util.spec_from_file_location(name, full)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with first_on_path(full.parent), registered(module):
        spec.loader.exec_module(module)
    return module


def forget_namesakes(folder: Path) -> None:
    """Drop helper modules of other folders from `sys.modules`: checkouts use the same names for them."""
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if file and "." not in name and Path(file).parent != folder and (folder / f"{name}.py").exists():
            del sys.modules[name]


@contextlib.contextmanager
def first_on_path(folder: Path) -> Iterator[None]:
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))


@contextlib.contextmanager
def registered(module: ModuleType) -> Iterator[None]:
    """The module is in `sys.modules`, as an import does it; it stays there unless executing it fails."""
    sys.modules[module.__name__] = module
    try:
        yield
    except BaseException:
        del sys.modules[module.__name__]
        raise


def compare_outputs(got: Any, want: Any, rtol: float, atol: float, *, elementwise: bool) -> dict[str, float]:
    """The largest difference by output; raises MismatchError for a wrong number of them too."""
    found = list(got) if isinstance(got, tuple | list) else [got]
    expected = list(want) if isinstance(want, tuple | list) else [want]
    if len(found) != len(expected):
        raise MismatchError(f"{len(found)} outputs, expected {len(expected)}")
    pairs = {f"output {place}": pair for place, pair in enumerate(zip(found, expected, strict=True))}
    return {name: compare(name, *pair, rtol, atol, elementwise=elementwise) for name, pair in pairs.items()}


def direct(
    name: str,
    checkout: str,
    path: str,
    kernel: str,
    make: Make,
    *,
    rtol: float = 1e-5,
    atol: float = 1e-6,
    cores: int = 1,
    elementwise: bool = True,
    load: Load = load_file,
    **more: Any,
) -> Case:
    """A kernel in a file of a checkout, launched on inputs and against a reference made here."""

    def run(attempt: Attempt) -> dict[str, float]:
        module = load(attempt.checkouts.folder(checkout), path)
        args, kwargs, want = make(np.random.default_rng(0), module)
        for output in want if isinstance(want, tuple | list) else [want]:
            check_reference(name, output)
        got = attempt.launch(getattr(module, kernel), cores, args, kwargs)
        return compare_outputs(got, want, rtol, atol, elementwise=elementwise)

    return Case(name=name, checkout=checkout, kernel=f"{checkout}:{kernel}", run=run, **{"group": checkout, **more})
