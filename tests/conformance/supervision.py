"""Runs jobs in a child process that reports on its standard output, and ends the child when a job takes too long.

The child is any command that reads `{"jobs": [...], ...}` from its standard input and writes a line of JSON per event:
`{"event": "start", "job": name}`, `{"event": "end", "job": name, "outcome": {...}}` and, last, `{"event": "done"}`.
A child that ends or hangs costs the job it was at; another one starts behind that job. One that does not get as far as
its first job costs all of them.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from tests.conformance.outcome import Outcome, Status

ROOT = Path(__file__).resolve().parents[2]
START_LIMIT = 180.0  # seconds that a child has until its first job; imports, and collecting the library's suite
LONGEST_TAIL = 300  # characters of what a child that ended said last


@dataclass
class Child:
    """A running child process.

    current: the job it is at, "" between jobs
    started: whether it ever was at one
    """

    process: subprocess.Popen[bytes]
    log: IO[bytes]
    current: str = ""
    started: bool = False
    since: float = field(default_factory=time.monotonic)
    buffer: bytes = b""

    def events(self, limits: Mapping[str, float], between: float = START_LIMIT) -> Iterator[dict[str, Any]]:
        """What it reports, until it is done, ends, or is late; the last event says which.

        limits:  seconds by job
        between: seconds it may take to start one
        """
        assert self.process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            while True:
                remaining = self.since + limits.get(self.current, between) - time.monotonic()
                if remaining <= 0:
                    yield {"event": "late"}
                    return
                if selector.select(remaining):
                    chunk = os.read(self.process.stdout.fileno(), 65536)
                    if not chunk:
                        yield {"event": "ended"}
                        return
                    yield from self._lines(chunk)

    def _lines(self, chunk: bytes) -> Iterator[dict[str, Any]]:
        *lines, self.buffer = (self.buffer + chunk).split(b"\n")
        for line in lines:
            event = json.loads(line)
            self.current = event["job"] if event["event"] == "start" else ""
            self.started |= bool(self.current)
            self.since = time.monotonic()
            yield event

    def last_words(self) -> str:
        """How it ended, and the last line that it wrote to its log."""
        code = self.process.wait()
        self.log.seek(0)
        lines = self.log.read().decode(errors="replace").strip().splitlines()
        how = f"signal {-code}" if code < 0 else f"status {code}"
        return f"the child process ended with {how}: {lines[-1][:LONGEST_TAIL] if lines else ''}".rstrip(": ")


@contextlib.contextmanager
def child(command: Sequence[str], request: Mapping[str, Any]) -> Iterator[Child]:
    """A child process given the request; what is left of it, its children and their temporary files goes at the end.

    AWS's kernels keep constants in temporary files that they never delete, and a killed child deletes nothing.
    """
    with (
        tempfile.TemporaryDirectory(prefix="trnlab-", ignore_cleanup_errors=True) as scratch,
        tempfile.TemporaryFile() as log,
        subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, "TMPDIR": scratch},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,
        ) as process,
    ):
        assert process.stdin is not None
        try:
            with contextlib.suppress(BrokenPipeError):  # it ended at once: its status and log tell
                process.stdin.write(json.dumps(request).encode())
                process.stdin.close()
            yield Child(process, log)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def supervise(
    command: Sequence[str], limits: Mapping[str, float], request: Mapping[str, Any], between: float = START_LIMIT
) -> Iterator[tuple[str, Outcome]]:
    """(job, how it ended) for each job of `limits`, which are seconds; jobs run in that order."""
    left = list(limits)
    while left:
        with child(command, {**request, "jobs": left}) as running:
            for event in running.events(limits, between):
                if event["event"] == "end":
                    left.remove(event["job"])
                    yield event["job"], Outcome.from_data(event["outcome"])
                elif event["event"] != "start":
                    lost = _lost(running, event["event"], left)
                    outcome = _interrupted(running, event["event"], limits, between)
                    left = [job for job in left if job not in lost]
                    yield from ((job, outcome) for job in lost)
                    break


def _lost(running: Child, event: str, left: Sequence[str]) -> list[str]:
    """The jobs that no other child shall try: the one this child was at; all that are left where it began none."""
    if running.current:
        return [running.current]
    return list(left) if event == "done" or not running.started else list(left[:1])


def _interrupted(running: Child, event: str, limits: Mapping[str, float], between: float) -> Outcome:
    """The outcome of jobs that a child's end, or lateness, has cost."""
    seconds = round(time.monotonic() - running.since, 2)
    if event == "done":
        return Outcome(status=Status.ERROR, message="never started")
    if event == "ended":
        return Outcome(status=Status.ERROR, message=running.last_words(), seconds=seconds)
    late = f"longer than {limits[running.current]:g} s" if running.current else f"no job started within {between:g} s"
    return Outcome(status=Status.TIME_LIMIT, message=late, seconds=seconds)
