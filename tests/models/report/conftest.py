"""One report's contents, shared by the tests that need all of it."""

from __future__ import annotations

import pytest

from trnlab.models.report.contents import STEPS, Contents, gather
from trnlab.models.report.scenario import Scenario


@pytest.fixture(scope="session")
def contents() -> Contents:
    told: list[str] = []
    found = gather(Scenario(), told.append)
    assert len(told) == STEPS
    return found
