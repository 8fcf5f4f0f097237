"""The bench from end to end: its options, its sections, and what needs a process or a checkout of its own."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pytest

from tests.bench import __main__ as bench, comparisons, memory, programs
from tests.bench.launches import SMALL
from tests.bench.library import attention_cte
from tests.bench.rows import Case, Figure, Row, SkippedError
from trnlab.emulator.fold import fold


def test_a_section_prints_and_writes_its_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "bench.json"
    assert bench.main(["--small", "--only", "fold", "--json", str(path)]) == 0
    data = json.loads(path.read_text())
    assert data["machine"]["date"]
    assert [row["case"] for row in data["rows"]] == [
        "folding 2,000 instructions in loops",
        "folding 4,000 instructions in loops",
        "folding 2,000 random instructions",
    ]
    assert all(row["value"] > 0 for row in data["rows"])
    assert "folding 2,000 random instructions" in capsys.readouterr().out


def test_the_exit_code_tells_of_failed_cases(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: object, __: argparse.Namespace) -> list[Case]:
        return [Case(Figure(case="x"), lambda: {"value": 1 / 0})]

    monkeypatch.setitem(bench.SECTIONS, "fold", broken)
    assert bench.main(["--only", "fold"]) == 1


def test_a_target_that_is_missed_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = Figure(case="x", target=1.0)
    monkeypatch.setitem(bench.SECTIONS, "fold", lambda *_: [Case(plan, lambda: {"value": 2.0})])
    assert bench.main(["--only", "fold"]) == 0


@pytest.mark.parametrize("arguments", [["--repeats", "0"], ["--only", "nothing"]])
def test_wrong_options(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        bench.parse(arguments)
    assert arguments[0] in capsys.readouterr().err


def test_sections_of_every_kind_have_cases() -> None:
    options = bench.parse(["--small"])
    cases = {name: [case.plan.case for case in section(SMALL, options)] for name, section in bench.SECTIONS.items()}
    assert {name: len(found) for name, found in cases.items()} == {
        "xla": 3 + 1 + 2 + 1,  # matmul styles, MX, attention, softmax
        "interpreters": 3 * 3,  # kernels, interpreters
        "library": 1,
        "unfoldable": 1,
        "tracing": 3,
        "fold": len(SMALL.fold) + 1,
        "reference": 1 + len(SMALL.reference_counts) + 2 + 1,
        "timeline": 1 + 4,  # folded; flat: repeated, random, transfers, of many queues
        "memory": 7 + 1,
        "quantize": 3 * 2 * 2 + 1,  # formats, directions, peers; the matmul
    }
    assert len(set(cases["xla"])) == 7


def measured(case: Case) -> Row:
    row = case.row()
    assert row.problem == ""
    return row


@pytest.mark.slow
def test_a_comparison_is_measured() -> None:
    row = measured(comparisons.softmax_case(SMALL, repeats=2))
    assert isinstance(row, comparisons.Comparison)
    assert (len(row.cold), len(row.warm), len(row.peer)) == (3, 2, 2)
    assert min(row.cold) > max(row.warm)
    assert row.ratio is not None


def test_figures_are_measured() -> None:
    for case in (*bench.tracing_cases(SMALL)[:1], *bench.reference_cases(SMALL)[1:2]):
        row = measured(case)
        assert isinstance(row, Figure)
        assert row.value is not None
        assert row.value > 0


@pytest.mark.slow
def test_wrong_results_are_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparisons.peers, "softmax", lambda x: x)
    assert comparisons.softmax_case(SMALL, repeats=1).row().problem.startswith("failed: AssertionError: off by")


linux = pytest.mark.skipif(not memory.CLEAR.exists(), reason="needs Linux's /proc/self/clear_refs")


@pytest.mark.slow
@linux
def test_memory_is_measured_in_a_process_of_its_own() -> None:
    row = measured(memory.memory_case("softmax", "reference", SMALL))
    assert isinstance(row, Figure)
    assert row.value is not None
    assert row.target == pytest.approx(2 * 160 * 200 * 4 / 2**20 + 256)  # x and its softmax, float32
    assert 0 < row.value < row.target


@pytest.mark.slow
@linux
def test_a_failing_process_says_why() -> None:
    problem = memory.memory_case("no such kernel", "compiled", SMALL).row().problem
    assert problem.startswith("failed: RuntimeError")
    assert "no such kernel" in problem


@linux
def test_the_peak_counts_what_was_allocated_and_freed() -> None:
    memory.give_back()
    memory.CLEAR.write_text(memory.RESET_PEAK)
    before = memory.resident("VmRSS")
    size = 64 * memory.MEBIBYTE
    np.ones(size, np.uint8)
    slack = 2 * memory.MEBIBYTE  # Linux counts pages in batches
    assert size - slack < memory.resident("VmHWM") - before < size + slack
    assert memory.resident("VmRSS") - before < slack


def test_the_library_is_skipped_without_a_folder_and_fails_with_a_wrong_one(tmp_path: Path) -> None:
    with pytest.raises(SkippedError, match="--nki-library"):
        attention_cte("")
    with pytest.raises(FileNotFoundError, match="attention_cte"):
        attention_cte(str(tmp_path))


@pytest.mark.parametrize("count", [1000, 5000])
def test_nested_programs_fold_to_few_instructions(count: int) -> None:
    program = programs.nested(count)
    assert count <= len(program) < count + programs.OUTER_LENGTH
    folded = fold(program)
    assert folded.flat == program
    # An outer iteration has eight kinds: two loads and their two products and sums (by buffer), first and store; how
    # many copies of an inner loop's first and last iterations stay does not depend on the number of outer ones.
    assert len(folded) < 60


def test_random_programs_do_not_fold() -> None:
    program = programs.random(3000)
    assert len(program) == 3000
    assert len(fold(program)) == 3000
