"""Every case, on the checkouts that the environment names: a case for one core passes, or its reason is known.

    NKI_LIBRARY_DIR=... NKI_SAMPLES_DIR=... NEURON_SDK_DIR=... pytest tests/conformance

`python -m tests.conformance` runs the same cases quicker, several in one process.
"""

from __future__ import annotations

import pytest

from tests.conformance.case import Case, checkouts_of_environment
from tests.conformance.case_lists import CASES
from tests.conformance.outcome import SkippedError
from tests.conformance.run import Settings, run
from tests.conformance.verdict import Verdict

QUICK = ("sdk-mx-strided", "samples-matmul-tiled", "topk-k1")
"""One of each checkout, seconds each; they run with the quick tests."""


def parameter(case: Case) -> object:
    return pytest.param(case, id=case.name, marks=() if case.name in QUICK else pytest.mark.slow)


@pytest.mark.parametrize("case", [parameter(case) for case in CASES])
def test_case(case: Case) -> None:
    checkouts = checkouts_of_environment()
    try:
        checkouts.folder(case.checkout)
    except SkippedError as absent:
        pytest.skip(str(absent))
    (row,) = run([case], Settings(checkouts=checkouts))
    if row.verdict not in (Verdict.PASSED, Verdict.OURS):
        pytest.skip(row.why)
    assert row.verdict is Verdict.PASSED, row.as_data()
    assert not case.known, f"passes now, so the reason is out of date: {case.known}"


def test_the_quick_cases_exist() -> None:
    assert set(QUICK) <= {case.name for case in CASES}
