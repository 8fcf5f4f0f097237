"""Run a user's script with `import nki` resolved to the emulator, as `trnlab run` does."""

from __future__ import annotations

import os
import runpy
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from trnlab.emulator.errors import TrnlabError
from trnlab.emulator.importer import install
from trnlab.emulator.launch import TARGET_VARIABLE

_EMULATOR = os.path.dirname(os.path.abspath(__file__)) + os.sep


@contextmanager
def _as_main(script: str, args: Sequence[str], target: str | None) -> Iterator[None]:
    """sys.argv, sys.path and the target variable as the script would find them, restored afterwards."""
    argv, path, chosen = sys.argv, list(sys.path), os.environ.get(TARGET_VARIABLE)
    sys.argv = [script, *args]
    sys.path.insert(0, os.path.dirname(os.path.abspath(script)))
    if target is not None:
        os.environ[TARGET_VARIABLE] = target
    try:
        yield
    finally:
        sys.argv, sys.path[:] = argv, path
        if target is not None:
            os.environ.pop(TARGET_VARIABLE, None)
            if chosen is not None:
                os.environ[TARGET_VARIABLE] = chosen


def run_script(script: str, args: Sequence[str] = (), *, target: str | None = None) -> int:
    """Execute the script as `python script args` would, and return its exit code.

    An uncaught exception prints the script's own traceback to stderr and gives 1; `sys.exit` gives its code.
    target: overrides NEURON_PLATFORM_TARGET_OVERRIDE while the script runs.
    """
    install()
    with _as_main(script, args, target):
        try:
            runpy.run_path(script, run_name="__main__")
        except SystemExit as exit_:
            return _exit_code(exit_)
        except KeyboardInterrupt:
            return 130
        except BaseException as error:  # noqa: BLE001  (whatever a script raises ends it, not trnlab)
            _report(error, script)
            return 1
    return 0


def _exit_code(exit_: SystemExit) -> int:
    if exit_.code is None:
        return 0
    if isinstance(exit_.code, int):
        return exit_.code
    sys.stderr.write(f"{exit_.code}\n")
    return 1


def _report(error: BaseException, script: str) -> None:
    """The traceback as a script's author wants it: from the script on, without the emulator's insides in its errors."""
    report = traceback.TracebackException.from_exception(error)
    frames = list(report.stack)
    starts = [number for number, frame in enumerate(frames) if frame.filename == script]
    kept = frames[starts[0] :] if starts else frames
    if isinstance(error, TrnlabError):
        kept = [frame for frame in kept if not frame.filename.startswith(_EMULATOR)]
    report.stack = traceback.StackSummary.from_list(kept)
    sys.stderr.writelines(report.format())
