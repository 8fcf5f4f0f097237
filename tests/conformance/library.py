"""Cases that run a test method of the NKI Library: its inputs, its reference and its tolerances, at chosen shapes."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

from tests.conformance.case import Attempt, Case
from tests.conformance.library_parameters import declared, ranged_case
from tests.conformance.outcome import SkippedError
from tests.conformance.recorder import Recorder
from tests.conformance.stand_ins import install, missing

PACKAGES = ("torch", "scipy", "pytest")
NEGATIVE = "is_negative_test_case"


def library(
    name: str,
    test: str,
    kernel: str,
    given: Mapping[str, Any] | None = None,
    *,
    pick: Mapping[str, Any] | None = None,
    ranged: list[str] | None = None,
    change: Mapping[str, Mapping[str, Any]] | None = None,
    **more: Any,
) -> Case:
    """One call of a test method.

    test:   "path.of.module:Class.method" below test/integration/nkilib
    given:  arguments; "@expression" is evaluated in the test's module, with np, nl and ml_dtypes
    pick:   take the first declared parameter set that agrees, then override it by `given`
    ranged: for tests configured by ranges: words that the id of a declared case contains
    change: dimensions of that case to overwrite
    """

    def run(attempt: Attempt) -> dict[str, float]:
        module, method = _prepare(attempt, test)
        plain = getattr(method, "__func__", method)
        arguments = {} if pick is None else declared(plain, pick)
        arguments.update({key: _evaluate(value, module) for key, value in (given or {}).items()})
        recorder = Recorder(attempt)
        fixtures = _fixtures(recorder, name, attempt.generation)
        if ranged is not None:
            fixtures["range_test_options"] = ranged_case(plain, ranged, change or {})
        wanted = inspect.signature(method).parameters
        np.random.seed(0)  # the tests draw from NumPy's global generator
        _call(method, {key: value for key, value in {**fixtures, **arguments}.items() if key in wanted})
        if not recorder.launches:
            raise SkippedError("the test launched nothing")
        return recorder.errors

    group = f"library/{test.split('.')[1]}"
    return Case(name=name, checkout="library", kernel=f"library:{kernel}", run=run, **{"group": group, **more})


def _prepare(attempt: Attempt, test: str) -> tuple[ModuleType, Any]:
    absent = [package for package in PACKAGES if missing(package)]
    if absent:
        raise SkippedError(f"the library's tests need {' and '.join(absent)}")
    install(attempt.checkouts.folder("library"))
    path, _, dotted = test.partition(":")
    module = importlib.import_module(f"test.integration.nkilib.{path}")
    owner, _, method = dotted.rpartition(".")
    return module, getattr(getattr(module, owner)() if owner else module, method)


def _evaluate(value: Any, module: ModuleType) -> Any:
    if not (isinstance(value, str) and value.startswith("@")):
        return value
    import ml_dtypes
    import nki.language as nl

    return eval(value[1:], {**vars(module), "np": np, "nl": nl, "ml_dtypes": ml_dtypes})


def _fixtures(recorder: Recorder, name: str, generation: str) -> dict[str, Any]:
    """What pytest would give the method: the recorder in place of the library's orchestrator, the rest inert."""
    platforms = importlib.import_module("test.utils.common_dataclasses").Platforms
    collector = importlib.import_module("test.utils.metrics_collector").NoopMetricsCollector
    node = SimpleNamespace(name=name, nodeid=name, callspec=SimpleNamespace(id=name, params={}))
    return {
        "test_manager": recorder,
        "collector": collector(),
        "platform_target": platforms(generation),
        NEGATIVE: False,
        "request": SimpleNamespace(node=node, config=SimpleNamespace(getoption=lambda *_, **__: None)),
        "tpbSgCyclesSum": (None, None),  # measured figures that some tests compare with, on hardware
        "qor": None,
        "cyclesQoR": (None, None),
    }


def _call(method: Any, arguments: Mapping[str, Any]) -> None:
    import pytest

    try:
        method(**arguments)
    except pytest.skip.Exception as error:
        raise SkippedError(f"the test skips itself: {error}") from error
