"""The NKI Library's suite: sampling and figures, and a run from end to end on a made-up library of the same make."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conformance import library_suite
from tests.conformance.case import Checkouts, Subject
from tests.conformance.library_suite import CollectionError, SuiteSettings, collect, run_suite, sample, summary
from tests.conformance.outcome import Outcome, Status
from tests.conformance.verdict import Row

TREE = {
    "test/__init__.py": "",
    "test/utils/__init__.py": "",
    "test/integration/__init__.py": "",
    "test/pytest.ini": "[pytest]\nmarkers =\n    fast:\n    trace_only:\n",
    "test/conftest.py": """
import pytest
from .utils.test_orchestrator import Orchestrator

def pytest_addoption(parser):
    for name in ("--test-mode", "--platform-target", "--output-directory"):
        parser.addoption(name)
    parser.addoption("--force-local-cleanup", action="store_true")
    parser.addini("artifacts_dir", "")

def pytest_configure(config):
    assert config.getoption("--test-mode") == "simulation"
    import nki_cpu_simulator.nki.isa.constants, nki_cpu_simulator.nki.language.dtypes

@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    for item in items:
        if "4096" in item.name:
            item.add_marker(pytest.mark.skip(reason="large"))

@pytest.fixture
def test_manager():
    return Orchestrator()
""",
    "test/utils/ranged_test_harness.py": "def assert_negative_test_case(negative): raise NotImplementedError\n",
    "test/utils/simulation_setup.py": "def simulate_kernel(kernel, inputs, cores): raise NotImplementedError\n",
    "test/utils/test_orchestrator.py": """
import boto3
import numpy as np
from . import simulation_setup

class ValidationException(Exception):
    pass

class InferenceException(Exception):
    pass

class Orchestrator:
    def execute(self, launch):
        try:
            (found,) = simulation_setup.simulate_kernel(launch.kernel_func, launch.kernel_input, launch.cores)
        except Exception as error:
            raise InferenceException(str(error)) from error
        assert self._compiled_kernel is None
        if not np.array_equal(found, launch.want):
            raise ValidationException("the outputs\\ndiffer")
""",
    "test/integration/test_double.py": """
import time
from types import SimpleNamespace

import nki
import nki.language as nl
import numpy as np
import pytest
from test.utils.ranged_test_harness import assert_negative_test_case

@nki.jit
def double(x):
    assert x.shape[0] < 100
    out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
    nl.store(out, value=nl.add(nl.load(x), nl.load(x)))
    return out

CHANGES = {"cores": {"cores": 2}, "ranks": {"ranks": 2}, "factor": {"factor": 3}, "rows": {"rows": 100}}

def launch(rows, cores=1, ranks=1, factor=2):
    x = np.ones((rows, 4), np.float32)
    platform = SimpleNamespace(platform_target=SimpleNamespace(value="trn2_a0"))
    return SimpleNamespace(
        kernel_func=double, kernel_input={"x.must_alias_input": x}, cores=cores, want=factor * x,
        compiler_input=platform, inference_args=SimpleNamespace(collective_ranks=ranks),
    )

@pytest.mark.fast
@pytest.mark.parametrize("rows", [1, 3, 4096])
def test_double(test_manager, rows):
    test_manager.execute(launch(rows))

@pytest.mark.fast
@pytest.mark.parametrize("kind", ["cores", "ranks", "factor", "rows", "negative", "nothing", "asleep", "skips"])
def test_ends(test_manager, kind):
    if kind == "nothing":
        return
    if kind == "skips":
        pytest.skip("not here")
    if kind == "asleep":
        time.sleep(600)
    with assert_negative_test_case(kind == "negative"):
        test_manager.execute(launch(**{"rows": 3, **CHANGES.get(kind, {})}))

@pytest.mark.fast
@pytest.mark.trace_only
def test_traced(test_manager):
    raise NotImplementedError

def test_heavy(test_manager):
    raise NotImplementedError
""",
}


@pytest.fixture
def settings(tmp_path: Path) -> SuiteSettings:
    for name, text in TREE.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return SuiteSettings(checkouts=Checkouts(library=str(tmp_path)), time_limit=4.0)


@pytest.mark.slow
def test_from_end_to_end(settings: SuiteSettings) -> None:
    rows = {row.case.name.rpartition("::")[2]: row for row in run_suite(settings)}
    two_cores = rows["test_ends[cores]"].outcome
    assert {name: (row.outcome.status, row.outcome.message) for name, row in rows.items()} == {
        "test_double[1]": (Status.PASSED, ""),
        "test_double[3]": (Status.PASSED, ""),
        "test_ends[cores]": (Status.TWO_CORES, two_cores.message),
        "test_ends[ranks]": (Status.COLLECTIVES, "a launch over 2 devices"),
        "test_ends[factor]": (Status.WRONG, "the outputs differ"),
        "test_ends[rows]": (Status.ERROR, "InferenceException: assert 100 < 100"),
        "test_ends[negative]": (Status.SKIPPED, "the test skips itself: a negative test: any exception passes it"),
        "test_ends[nothing]": (Status.SKIPPED, "the test launched nothing"),
        "test_ends[asleep]": (Status.TIME_LIMIT, "longer than 4 s"),
        "test_ends[skips]": (Status.SKIPPED, "the test skips itself: not here"),
    }
    assert two_cores.cores == 2
    assert summary(list(rows.values())).splitlines()[0] == (
        "10 tests: 2 passed of 4 (50%) that need one core and fit the time limit"
    )


def test_a_library_that_cannot_be_collected(settings: SuiteSettings) -> None:
    broken = Path(settings.checkouts.library) / "test" / "conftest.py"
    broken.write_text("raise RuntimeError('made up')\n")
    with pytest.raises(CollectionError, match="made up"):
        collect(settings)


def test_a_library_that_takes_too_long_to_collect(settings: SuiteSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library_suite, "COLLECTION_LIMIT", 0.2)
    with pytest.raises(CollectionError, match=r"not collected within 0\.2 s"):
        collect(settings)


def test_every_nth_parametrisation_of_each_function() -> None:
    tests = ["a.py::f[1]", "a.py::f[2]", "a.py::f[3]", "a.py::g", "b.py::f[1]", "b.py::f[2]"]
    assert sample(tests, 1) == tests
    assert sample(tests, 2) == ["a.py::f[1]", "a.py::f[3]", "a.py::g", "b.py::f[1]"]
    assert sample(tests, 9) == ["a.py::f[1]", "a.py::g", "b.py::f[1]"]


def row(status: Status, message: str = "", *, forced: bool = False, stage: str = "") -> Row:
    outcome = Outcome(status=status, message=message, forced=forced, stage=stage)
    return Row(Subject(name="n", group="g", kernel="k"), outcome)


def test_the_figures_leave_out_what_one_core_cannot_show() -> None:
    rows = [
        row(Status.PASSED),
        row(Status.PASSED),
        row(Status.WRONG, "off"),
        row(Status.TIME_LIMIT, "longer than 60 s", stage="kernel"),
        row(Status.TWO_CORES),
        row(Status.ERROR, "stride", forced=True),
        row(Status.SKIPPED, "at most 96, got 160"),
        row(Status.SKIPPED, "at most 96, got 320"),
    ]
    lines = summary(rows).splitlines()
    assert lines[0] == "8 tests: 2 passed of 3 (67%) that need one core and fit the time limit"
    assert sum("apart" in line for line in lines) == 3
    assert "  apart     2  needs two cores" in lines
    assert "  apart     2  at most n, got n" in lines
    assert "  apart     1  longer than n s, at the stage: kernel" in lines
    assert lines[-1] == "  failed    1  limit of ours: wrong: off"
    assert summary([]) == "0 tests: 0 passed of 0 that need one core and fit the time limit"
