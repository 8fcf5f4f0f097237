"""The child process that runs the NKI Library's own pytest suite: `python -m tests.conformance.library_suite_worker`.

Reads from its standard input: {"library": folder, "tests": path below the library, "marks": expression, "platform":
name, "jobs": node ids or null, "limit": seconds, "one_core": bool}. Without jobs it reports what it would collect.

The suite asks for a package `nki_cpu_simulator`, which nobody can install; it gets the emulator under that name, and
what its published snapshot lacks (see `stand_ins`). Its inputs, references, tolerances and comparison are its own.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from tests.conformance.case import Attempt, Checkouts
from tests.conformance.outcome import MismatchError, NeedsCollectivesError, SkippedError, TimeLimitError, outcome_of
from tests.conformance.recorder import MUST_ALIAS
from tests.conformance.stand_ins import install, simulator_package
from tests.conformance.worker import Report, reporter

FIXED_SEED = {"NEURON_PYTHONHASHSEED": "0"}  # of the library's sampling of parameters, so that ids repeat
NEGATIVE = "a negative test: any exception passes it"
WRONG_RESULT = "ValidationException"  # what the suite raises for it


class Plugin:
    """Reports what is collected, or each test of `jobs` as it starts and ends."""

    def __init__(self, report: Report, request: dict[str, Any]) -> None:
        self.report, self.limit = report, request["limit"]
        self.jobs = None if request["jobs"] is None else set(request["jobs"])
        self.one_core = request["one_core"]
        self.attempt = Attempt(Checkouts())
        self.raised: BaseException | None = None

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        if self.jobs is None:
            tests = [{"id": item.nodeid, "too_large": item.get_closest_marker("skip") is not None} for item in items]
            self.report({"event": "collected", "tests": tests})
            items.clear()
        else:
            items[:] = [item for item in items if item.nodeid in self.jobs]

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self.attempt, self.raised = Attempt(Checkouts(), one_core=self.one_core), None
        self.report({"event": "start", "job": item.nodeid})
        start = time.perf_counter()
        result = yield
        outcome = outcome_of(
            self.raised,
            stage=str(self.attempt.stage),
            cores=self.attempt.cores,
            forced=self.attempt.forced,
            seconds=time.perf_counter() - start,
        )
        self.report({"event": "end", "job": item.nodeid, "outcome": asdict(outcome)})
        return result

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self) -> Iterator[None]:
        with alarm(self.limit):
            result = yield
        if not self.attempt.cores:
            raise SkippedError("the test launched nothing")
        return result

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, call: pytest.CallInfo[None]) -> Iterator[None]:
        result = yield
        if call.excinfo is not None and self.raised is None:
            self.raised = translated(call.excinfo.value)
        return result

    def execute(self, orchestrator: Any, launch: Any, published: Any) -> None:
        """Stands before the suite's own `Orchestrator.execute`."""
        if (getattr(launch.inference_args, "collective_ranks", 1) or 1) > 1:
            raise NeedsCollectivesError(f"a launch over {launch.inference_args.collective_ranks} devices")
        self.attempt.set_generation(str(launch.compiler_input.platform_target.value)[:4])
        published(orchestrator, launch)

    def simulate(self, kernel: Any, inputs: dict[str, Any], cores: int) -> list[Any]:
        """Stands in for the suite's `simulate_kernel`: the kernel's outputs as a list."""
        named = {name.removesuffix(MUST_ALIAS): value for name, value in inputs.items()}
        outputs = self.attempt.launch(kernel, cores, (), named)
        return [] if outputs is None else list(outputs) if isinstance(outputs, list | tuple) else [outputs]


def translated(error: BaseException) -> BaseException:
    """The exception that says the same in this driver's terms, where it has one."""
    if isinstance(error, pytest.skip.Exception):
        return SkippedError(f"the test skips itself: {error}")
    if type(error).__name__ == WRONG_RESULT:
        return MismatchError(" ".join(str(error).split()))
    return error


@contextlib.contextmanager
def alarm(seconds: float) -> Iterator[None]:
    """Raises TimeLimitError when the block takes longer."""

    def ring(signum: int, frame: FrameType | None) -> None:
        raise TimeLimitError(f"longer than {seconds:g} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def skip_negative_tests() -> None:
    """Make the library's context manager for negative tests skip them; before anything imports it by name."""
    harness = importlib.import_module("test.utils.ranged_test_harness")

    @contextlib.contextmanager
    def positive(is_negative_test_case: bool, expected_validation_error: str | None = None) -> Iterator[None]:
        if is_negative_test_case:
            pytest.skip(NEGATIVE)
        yield

    vars(harness)["assert_negative_test_case"] = positive


def connect(plugin: Plugin) -> None:
    """Put the plug-in between the suite's orchestrator and the emulator."""
    orchestrator = importlib.import_module("test.utils.test_orchestrator").Orchestrator
    published = orchestrator.execute
    orchestrator.execute = lambda itself, launch: plugin.execute(itself, launch, published)
    if not hasattr(orchestrator, "_compiled_kernel"):
        orchestrator._compiled_kernel = None  # read after a simulated run, but only ever set by a compiled one
    vars(importlib.import_module("test.utils.simulation_setup"))["simulate_kernel"] = plugin.simulate


def options(request: dict[str, Any], library: Path, scratch: str) -> list[str]:
    """pytest's arguments."""
    return [
        str(library / request["tests"]),
        f"--rootdir={library}",
        f"--config-file={library / 'test' / 'pytest.ini'}",
        "--test-mode=simulation",
        f"--platform-target={request['platform']}",
        f"--output-directory={scratch}",
        "--force-local-cleanup",
        f"--override-ini=artifacts_dir={scratch}/artifacts",
        "--quiet",
        "--tb=no",
        *("-m", request["marks"]),
        *("-p", "no:cacheprovider"),
    ]


def main() -> int:
    """Collect or run as requested."""
    report, request = reporter(), json.load(sys.stdin)
    import trnlab.emulator  # noqa: F401  (`import nki` works from here on)

    library = Path(request["library"])
    os.environ.update(FIXED_SEED)
    sys.dont_write_bytecode = True
    install(library)
    simulator_package()
    skip_negative_tests()
    plugin = Plugin(report, request)
    connect(plugin)
    with tempfile.TemporaryDirectory() as scratch:
        os.chdir(scratch)
        code = pytest.main(options(request, library, scratch), plugins=[plugin])
    report({"event": "done"})
    return int(code)


if __name__ == "__main__":
    sys.exit(main())
