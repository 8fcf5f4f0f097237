"""The lists of cases: names, groups, selection. Whether the cases pass is `test_conformance`'s business."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.conformance.case import GENERATIONS, VARIABLES
from tests.conformance.case_lists import CASES, repeated, select
from tests.conformance.library import library


def test_names_are_unique() -> None:
    assert repeated(CASES) == []
    assert repeated([*CASES, CASES[0]]) == [CASES[0].name]


def test_every_case_says_what_it_belongs_to() -> None:
    for case in CASES:
        assert case.checkout in VARIABLES, case
        assert case.kernel.startswith(f"{case.checkout}:"), case
        assert case.group.startswith(f"{case.checkout}/"), case
        assert case.generation in GENERATIONS, case
        assert case.tier in (1, 2, 3), case
        assert case.limit > 0, case
        assert bool(case.known) is bool(case.symptom), case  # a reason that would cover any failure hides some


def test_each_checkout_has_cases() -> None:
    counted = Counter(case.checkout for case in CASES)
    assert counted.keys() == VARIABLES.keys()
    assert counted["library"] >= 105  # the shapes of the first survey; none was dropped


def test_selection() -> None:
    assert [case.name for case in select(CASES, only="sdk-mx-offline-fp?")] == [
        "sdk-mx-offline-fp8",
        "sdk-mx-offline-fp4",
    ]
    assert {case.group for case in select(CASES, group="library/[tm]*")} >= {"library/topk", "library/moe"}
    assert all(case.tier == 1 for case in select(CASES, tier=1))
    assert select(CASES, only="nothing") == []


def test_a_library_case_needs_its_test_to_have_a_path() -> None:
    case = library("made-up", "core.topk.test_topk:TestTopK.test_topk", "topk", {"k": 1}, tier=2)
    assert (case.group, case.kernel, case.tier) == ("library/topk", "library:topk", 2)
    with pytest.raises(IndexError):
        library("made-up", "test_topk", "topk")
