"""The driver from end to end, on a made-up checkout: every way a case can end is told from the others."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conformance import __main__ as driver
from tests.conformance.case import Checkouts
from tests.conformance.made_up_cases import CASES, FILE, KERNELS, SCRIPT
from tests.conformance.outcome import Outcome, Status
from tests.conformance.run import Settings, run
from tests.conformance.verdict import Row, Verdict

MODULE = "tests.conformance.made_up_cases"


def rows(folder: Path, **more: object) -> dict[str, Row]:
    (folder / FILE).write_text(KERNELS)
    (folder / "script.py").write_text(SCRIPT)
    settings = replace(Settings(checkouts=Checkouts(samples=str(folder)), cases=MODULE), **more)  # type: ignore[arg-type]
    return {row.case.name: row for row in run(CASES, settings)}


def test_each_way_to_end(tmp_path: Path) -> None:
    found = rows(tmp_path)
    assert list(found) == [case.name for case in CASES]
    assert {name: (row.verdict, row.outcome.status) for name, row in found.items()} == {
        "right": (Verdict.PASSED, Status.PASSED),
        "wrong": (Verdict.OURS, Status.WRONG),
        "refused": (Verdict.OURS, Status.ERROR),
        "exits": (Verdict.OURS, Status.ERROR),
        "behind-the-exit": (Verdict.PASSED, Status.PASSED),
        "sleeps": (Verdict.OURS, Status.TIME_LIMIT),
        "behind-the-sleeper": (Verdict.PASSED, Status.PASSED),
        "two-cores": (Verdict.TWO_CORES, Status.TWO_CORES),
        "sends": (Verdict.TWO_CORES, Status.TWO_CORES),
        "collective": (Verdict.COLLECTIVES, Status.COLLECTIVES),
        "known": (Verdict.THEIRS, Status.WRONG),
        "no-such-kernel": (Verdict.OURS, Status.ERROR),
        "script": (Verdict.PASSED, Status.PASSED),
        "no-such-file": (Verdict.SKIPPED, Status.SKIPPED),
        "no-checkout": (Verdict.SKIPPED, Status.SKIPPED),
    }
    assert found["right"].outcome.errors == {"output 0": 0.0}
    assert found["right"].outcome.cores == 1
    # x and 2 x differ by x in 11 of 12 elements, by 11 at most, which is half of the largest, 22.
    assert found["wrong"].why == (
        "limit of ours: wrong: output 0: 11 of 12 elements off, largest difference 11 (0.5 of the largest value)"
    )
    assert "BoundsError" in found["refused"].why
    assert found["refused"].outcome.stage == "kernel"
    assert found["exits"].outcome.message == "the child process ended with status 7"
    assert found["sleeps"].outcome.message == "longer than 1 s"
    assert found["two-cores"].outcome.cores == 2
    assert found["known"].why == "fault of theirs: the reference is of another kernel"
    assert found["no-checkout"].why == "no checkout: --nki-library DIR or NKI_LIBRARY_DIR"


def test_options_reach_the_cases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.conformance.test_driver.CASES", [case for case in CASES if case.name == "two-cores"])
    (row,) = rows(tmp_path, one_core=True, mode="compiled").values()
    assert (row.verdict, row.outcome.cores, row.outcome.forced) == (Verdict.PASSED, 2, True)


def test_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for variable in ("NKI_LIBRARY_DIR", "NKI_SAMPLES_DIR", "NEURON_SDK_DIR"):
        monkeypatch.delenv(variable, raising=False)
    data, text = tmp_path / "rows.json", tmp_path / "rows.md"
    assert driver.main(["--only", "sdk-matmul-*", "--json", str(data), "--markdown", str(text)]) == 0
    written = json.loads(data.read_text())
    assert [case["case"] for case in written["cases"]] == [
        f"sdk-matmul-{step}" for step in ("basic", "tiled", "hoist", "blocked", "full")
    ]
    assert written["totals"] == {verdict: 5 * (verdict is Verdict.SKIPPED) for verdict in Verdict}
    reason = "no checkout: --neuron-sdk DIR or NEURON_SDK_DIR"
    assert text.read_text().count(reason) == 5
    assert reason in capsys.readouterr().out


def test_the_exit_code_tells_of_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    for status, code in {Status.PASSED: 0, Status.TWO_CORES: 0, Status.WRONG: 1, Status.TIME_LIMIT: 1}.items():
        ended = [Row(CASES[0], Outcome(status=status))]
        monkeypatch.setattr(driver, "run", lambda *_, ended=ended: ended)
        assert driver.main([]) == code


def test_listing(capsys: pytest.CaptureFixture[str]) -> None:
    assert driver.main(["--list", "--group", "samples/matmul"]) == 0
    lines = capsys.readouterr().out.strip().splitlines()
    assert len(lines) == 6
    assert lines[-1] == "5 cases of 5 kernels"


@pytest.mark.parametrize("arguments", [["--time-limit", "0"], ["--every", "0"], ["--processes", "3"], ["--tier", "4"]])
def test_wrong_options(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        driver.parser().parse_args(arguments)
    assert arguments[0] in capsys.readouterr().err


def test_folders_that_are_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        driver.main(["--nki-samples", str(tmp_path / "nothing")])
    assert caught.value.code == 2
    assert "nothing is no folder" in capsys.readouterr().err


def test_the_suite_needs_its_library(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("NKI_LIBRARY_DIR", raising=False)
    with pytest.raises(SystemExit) as caught:
        driver.main(["--library-suite"])
    assert caught.value.code == 2
    assert "no checkout: --nki-library DIR or NKI_LIBRARY_DIR" in capsys.readouterr().err
