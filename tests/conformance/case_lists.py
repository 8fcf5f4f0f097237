"""Every case, in the order of the table."""

from __future__ import annotations

from collections import Counter
from fnmatch import fnmatchcase

from tests.conformance import (
    cases_documents,
    cases_library_attention,
    cases_library_convolution,
    cases_library_declared,
    cases_library_indices,
    cases_library_microscaling,
    cases_library_mlp,
    cases_library_norms,
    cases_library_projections,
    cases_library_vectors,
    cases_sdk,
    cases_tutorials,
    cases_unrunnable,
)
from tests.conformance.case import Case

LISTS = (
    cases_sdk,
    cases_tutorials,
    cases_documents,
    cases_library_vectors,
    cases_library_norms,
    cases_library_indices,
    cases_library_attention,
    cases_library_projections,
    cases_library_mlp,
    cases_library_convolution,
    cases_library_microscaling,
    cases_library_declared,
    cases_unrunnable,
)
CASES: list[Case] = [case for module in LISTS for case in module.CASES]


def repeated(cases: list[Case]) -> list[str]:
    """Names that several cases have."""
    return [name for name, count in Counter(case.name for case in cases).items() if count > 1]


def select(cases: list[Case], *, only: str = "*", group: str = "*", tier: int = 3) -> list[Case]:
    """The cases whose name and group match the patterns (`*`, `?`, `[...]`), up to a tier."""
    return [
        case for case in cases if fnmatchcase(case.name, only) and fnmatchcase(case.group, group) and case.tier <= tier
    ]
