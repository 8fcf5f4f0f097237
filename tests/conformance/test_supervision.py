"""Child processes that report, hang, end too early or say nothing; the children here are scripts of a few lines."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import pytest

from tests.conformance.outcome import Outcome, Status
from tests.conformance.supervision import supervise

HEAD = """
import dataclasses, json, sys, time
from tests.conformance.outcome import Outcome, Status
request = json.load(sys.stdin)

def say(**event):
    print(json.dumps(event), flush=True)

def start(job):
    say(event="start", job=job)

def end(job, **more):
    say(event="end", job=job, outcome=dataclasses.asdict(Outcome(status=Status.PASSED, **more)))
"""
ALL = "for job in request['jobs']:\n    start(job)\n    {}\n    end(job)\nsay(event='done')"


def run(body: str, limits: dict[str, float], **request: object) -> dict[str, Outcome]:
    found = list(supervise([sys.executable, "-c", HEAD + body], limits, request))
    assert len(found) == len(limits)
    return dict(found)


def test_every_job_in_order_with_its_outcome() -> None:
    body = (
        "for job in request['jobs']:\n    start(job)\n    end(job, message=job * request['times'])\nsay(event='done')"
    )
    found = run(body, {"b": 5, "a": 5}, times=3)
    assert list(found) == ["b", "a"]
    assert found["a"] == Outcome(status=Status.PASSED, message="aaa")


def test_a_child_that_ends_costs_the_job_it_was_at() -> None:
    found = run(ALL.format("if job == 'b': sys.exit('out of memory')"), {"a": 5, "b": 5, "c": 5})
    assert [outcome.status for outcome in found.values()] == [Status.PASSED, Status.ERROR, Status.PASSED]
    assert found["b"].message == "the child process ended with status 1: out of memory"


def test_a_child_that_a_signal_ends() -> None:
    found = run(ALL.format("import os, signal; os.kill(os.getpid(), signal.SIGKILL)"), {"a": 5})
    assert found["a"].message == "the child process ended with signal 9"


def test_a_job_past_its_limit_and_not_the_one_behind_it() -> None:
    begin = time.monotonic()
    found = run(ALL.format("time.sleep(600 if job == 'slow' else 0)"), {"slow": 0.3, "quick": 5})
    assert found["slow"].status is Status.TIME_LIMIT
    assert found["slow"].message == "longer than 0.3 s"
    assert found["slow"].seconds >= 0.3
    assert found["quick"].status is Status.PASSED
    assert time.monotonic() - begin < 60


def test_a_child_that_starts_nothing_costs_every_job() -> None:
    found = dict(supervise([sys.executable, "-c", HEAD + "time.sleep(600)"], {"a": 5, "b": 5}, {}, between=0.5))
    assert found.keys() == {"a", "b"}
    assert {(outcome.status, outcome.message) for outcome in found.values()} == {
        (Status.TIME_LIMIT, "no job started within 0.5 s")
    }


def test_a_child_that_ends_before_its_first_job_costs_every_job() -> None:
    found = run("sys.exit('no such module')", {"a": 5, "b": 5})
    assert [outcome.message for outcome in found.values()] == 2 * [
        "the child process ended with status 1: no such module"
    ]


def test_a_child_that_ends_between_jobs_costs_the_next() -> None:
    found = run("start(request['jobs'][0])\nend(request['jobs'][0])\nsys.exit(2)", {"a": 5, "b": 5, "c": 5})
    assert [outcome.status for outcome in found.values()] == [Status.PASSED, Status.ERROR, Status.PASSED]


def test_a_child_that_is_done_too_early_leaves_no_job_without_an_outcome() -> None:
    found = run("start('a')\nend('a')\nsay(event='done')", {"a": 5, "b": 5})
    assert [outcome.status for outcome in found.values()] == [Status.PASSED, Status.ERROR]
    assert found["b"].message == "never started"


def test_a_command_that_does_not_exist_is_an_error_of_the_caller(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        list(supervise([str(tmp_path / "nothing")], {"a": 5}, {}))


def test_children_of_a_child_end_with_it(tmp_path: Path) -> None:
    mark = tmp_path / "alive"
    grandchild = f"import time, pathlib; time.sleep(1.5); pathlib.Path({str(mark)!r}).touch()"
    body = ALL.format(f"import subprocess; subprocess.Popen([sys.executable, '-c', {grandchild!r}]); time.sleep(600)")
    run(body, {"a": 0.5})
    time.sleep(1.6)
    assert not mark.exists()


@pytest.mark.parametrize("how", ["pass", "time.sleep(600)"])
def test_temporary_files_of_a_child_go_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)  # what Python found before
    found = run(ALL.format(f"import tempfile; tempfile.mkstemp(); {how}"), {"a": 1})
    assert found["a"].status is (Status.PASSED if how == "pass" else Status.TIME_LIMIT)
    assert list(tmp_path.iterdir()) == []
