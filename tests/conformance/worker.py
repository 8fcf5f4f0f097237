"""The child process that runs cases: `python -m tests.conformance.worker`, started by `supervision`.

Reads from its standard input: {"jobs": names, "checkouts": {...}, "one_core": bool, "mode": str, "cases": module}.
Standard output carries events only; what kernels print goes to standard error.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from tests.conformance.case import Case, Checkouts, attempt

Report = Callable[[dict[str, Any]], None]


def reporter() -> Report:
    """A function that writes an event to what was standard output; from now on, printing goes to standard error."""
    stream = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def report(event: dict[str, Any]) -> None:
        stream.write(json.dumps(event) + "\n")
        stream.flush()

    return report


def load(module: str) -> dict[str, Case]:
    """The cases that a module lists, by name."""
    listed: list[Case] = importlib.import_module(module).CASES
    return {case.name: case for case in listed}


def main() -> None:
    """Run the requested cases one after the other."""
    report, request = reporter(), json.load(sys.stdin)
    import trnlab.emulator  # noqa: F401  (`import nki` works from here on)

    cases, checkouts = load(request["cases"]), Checkouts(**request["checkouts"])
    for name in request["jobs"]:
        report({"event": "start", "job": name})
        outcome = attempt(cases[name], checkouts, one_core=request["one_core"], mode=request["mode"])
        report({"event": "end", "job": name, "outcome": asdict(outcome)})
    report({"event": "done"})


if __name__ == "__main__":
    main()
