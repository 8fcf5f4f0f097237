"""Stands in for the NKI Library's test orchestrator: launches on the emulator, compares with the reference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tests.conformance.case import Attempt
from tests.conformance.compare import check_reference, compare
from tests.conformance.outcome import MismatchError, NeedsCollectivesError, SkippedError, Stage

EXPECTATIONS = ("expected_offset", "expected_shape")
"""Arguments of kernels that have no reference: they assert these themselves."""

MUST_ALIAS = ".must_alias_input"  # a suffix of argument names, meant for AWS's compiler


class Recorder:
    """Receives the launch that a test describes; `errors` holds the largest difference by output."""

    def __init__(self, attempt: Attempt) -> None:
        self.attempt = attempt
        self.errors: dict[str, float] = {}
        self.launches = 0

    def execute(self, launch: Any) -> None:
        """Run and compare what the library calls KernelArgs."""
        self.launches += 1
        ranks = getattr(launch.inference_args, "collective_ranks", 1) or 1
        if ranks > 1:
            raise NeedsCollectivesError(f"a launch over {ranks} devices")
        self.attempt.set_generation(str(launch.compiler_input.platform_target.value)[:4])
        arguments = _arguments(launch.kernel_input)
        results = self._results(launch, arguments)
        self.attempt.stage = Stage.REFERENCE
        reference = _reference(launch.validation_args.golden_output)
        self.attempt.stage = Stage.COMPARISON
        if reference is None:
            self._refute(launch, arguments)
        else:
            self._compare(results, reference, launch.validation_args)

    def _results(self, launch: Any, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The kernel's results, by the names that the test has for them, in its order."""
        got = self.attempt.launch(launch.kernel_func, launch.compiler_input.logical_nc_config, (), arguments)
        found = [] if got is None else list(got) if isinstance(got, tuple | list) else [got]
        names = _names(launch.validation_args.golden_output)
        if len(found) != len(names):
            raise MismatchError(f"{len(found)} outputs, expected {len(names)}: {', '.join(names)}")
        return dict(zip(names, found, strict=True))

    def _compare(self, results: Mapping[str, Any], reference: Mapping[str, Any], tolerances: Any) -> None:
        for name, got in results.items():
            want = reference[name]
            if hasattr(want, "validator"):
                _validate(name, got, want)
                continue
            check_reference(name, want)
            self.errors[name] = compare(name, got, want, tolerances.relative_accuracy, tolerances.absolute_accuracy)

    def _refute(self, launch: Any, arguments: Mapping[str, Any]) -> None:
        """A kernel that only asserts has to refuse a wrong expectation."""
        for name in EXPECTATIONS:
            if name in arguments:
                wrong = {**arguments, name: _other(arguments[name])}
                try:
                    self.attempt.launch(launch.kernel_func, launch.compiler_input.logical_nc_config, (), wrong)
                except Exception:  # noqa: BLE001  (any refusal will do)
                    return
                raise MismatchError(f"the kernel accepts a wrong {name}: its assertions do not run")
        raise SkippedError("the test has no reference, and its kernel nothing to refute")


def _arguments(given: Any) -> dict[str, Any]:
    ours = given.for_rank(0) if hasattr(given, "for_rank") else given or {}
    return {name.removesuffix(MUST_ALIAS): value for name, value in ours.items()}


def _names(golden: Any) -> list[str]:
    return list(golden.output_ndarray if hasattr(golden, "output_ndarray") else golden)


def _reference(golden: Any) -> Any:
    """The reference by output, computed now; None where the kernel asserts and there is nothing to compare."""
    while hasattr(type(golden), "golden") or hasattr(type(golden), "for_rank"):
        golden = golden.golden if hasattr(type(golden), "golden") else golden.for_rank(0)
    return golden


def _validate(name: str, got: Any, want: Any) -> None:
    """Let the test's own validator judge the bytes."""
    array = np.ascontiguousarray(np.asarray(got).astype(want.dtype))
    if not want.validator(None).validate(array.view(np.uint8).reshape(-1)):
        raise MismatchError(f"{name}: the test's own validator rejects it")


def _other(expected: Any) -> Any:
    return expected + 1 if isinstance(expected, int) else tuple(size + 1 for size in expected)
