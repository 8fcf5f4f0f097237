"""What the NKI Library's test tree imports and nobody can install: inert stand-ins, only where the real one is absent.

Nothing here changes how a kernel behaves.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import MutableSequence, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import ml_dtypes  # noqa: F401  (registers the narrow NumPy types by name)

from tests.conformance.packed import neuron_dtypes

UPLOADS = ("boto3", "botocore", "fabric2", "paramiko", "aws_embedded_metrics", "plotext", "debugpy", "klr")
"""Packages for machines and metrics elsewhere, and AWS's own; a kernel's run uses none of them."""

SUITE = ("pytest_html", "filelock", "attr", "allpairspy")
"""Packages on PyPI that the library's own suite uses, and cases only import."""

NOT_PUBLISHED = ("perf_analysis_private", "scripts")
"""Modules of the library's test.utils that its test tree refers to and its repository does not contain."""


class Anything:
    """Absorbs what import-time code does with an absent package."""

    def __init__(self, *args: Any, **kwargs: Any) -> None: ...

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return Anything

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """As a decorator, what it decorates; otherwise one more of these."""
        return args[0] if len(args) == 1 and callable(args[0]) and not kwargs else Anything()


class InertModule(ModuleType):
    """A package that has every name: a class each."""

    __path__: MutableSequence[str] = []  # noqa: RUF012  (what makes it a package; nothing is ever found in it)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        made = type(name, (Exception if name.endswith(("Error", "Exception")) else Anything,), {})
        setattr(self, name, made)
        return made


class InertFinder(MetaPathFinder, Loader):
    """Finds the named packages, and whatever is asked for below them."""

    def __init__(self, packages: Sequence[str]) -> None:
        self.packages = packages

    def find_spec(self, fullname: str, path: Any = None, target: ModuleType | None = None) -> ModuleSpec | None:
        if any(f"{fullname}.".startswith(f"{package}.") for package in self.packages):
            return ModuleSpec(fullname, self, is_package=True)
        return None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return InertModule(spec.name)

    def exec_module(self, module: ModuleType) -> None: ...


def missing(package: str) -> bool:
    """Whether neither an import nor a finder knows the package."""
    return package not in sys.modules and importlib.util.find_spec(package) is None


def install(library: Path) -> None:
    """Make the library's modules and its test tree importable in this process; a second call changes nothing."""
    if str(library) in sys.path:
        return
    # The test tree is a package called `test`; it has to win over the standard library's.
    sys.path[:0] = [str(library / "src"), str(library)]
    for name in [name for name in sys.modules if name == "test" or name.startswith("test.")]:
        del sys.modules[name]
    utilities = library / "test" / "utils"
    absent = [name for name in NOT_PUBLISHED if not list(utilities.glob(f"{name}*"))]
    inert = [*(name for name in (*UPLOADS, *SUITE) if missing(name)), *(f"test.utils.{name}" for name in absent)]
    sys.meta_path.append(InertFinder(inert))
    if missing("neuron_dtypes"):
        sys.modules["neuron_dtypes"] = neuron_dtypes()


def simulator_package() -> None:
    """Register `nki_cpu_simulator`, which the library's set-up for simulation imports, with the emulator behind it."""
    import nki

    package = ModuleType("nki_cpu_simulator")
    vars(package)["nki"] = sys.modules["nki_cpu_simulator.nki"] = nki
    sys.modules["nki_cpu_simulator"] = package
    names = ("language", "isa", "isa.constants", "builtin", "compiler", "tensor", "typing", "language.dtypes")
    for name in names:
        sys.modules[f"nki_cpu_simulator.nki.{name}"] = _submodule(f"nki.{name}")


def _submodule(name: str) -> ModuleType:
    """The emulator's module of that name; an empty one where it has none, attached to its parent."""
    if not missing_submodule(name):
        return importlib.import_module(name)
    module = sys.modules[name] = ModuleType(name)
    parent, _, leaf = name.rpartition(".")
    if not hasattr(sys.modules[parent], leaf):
        setattr(sys.modules[parent], leaf, module)
    return module


def missing_submodule(name: str) -> bool:
    """Whether there is no module of that dotted name."""
    try:
        return importlib.util.find_spec(name) is None
    except ModuleNotFoundError:
        return True
