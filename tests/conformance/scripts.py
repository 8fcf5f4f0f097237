"""Cases that run a file of a checkout as a script; it launches its kernels and checks them itself."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from unittest import mock

from tests.conformance.case import Attempt, Case
from tests.conformance.direct import first_on_path, forget_namesakes
from tests.conformance.outcome import SkippedError, Stage


def script(name: str, checkout: str, path: str, *, arguments: Sequence[str] = (), **more: Any) -> Case:
    """`python path arguments`, in this process; it passes unless it raises or exits with another status than 0."""

    def run(attempt: Attempt) -> dict[str, float]:
        full = attempt.checkouts.folder(checkout) / path
        if not full.exists():
            raise SkippedError(f"no {path} in this checkout")
        attempt.stage = Stage.KERNEL
        forget_namesakes(full.parent)
        with first_on_path(full.parent), mock.patch.object(sys, "argv", [str(full), *arguments]), _no_exit():
            runpy.run_path(str(full), run_name="__main__")
        return {}

    kernel = f"{checkout}:{path.rpartition('/')[2].removesuffix('.py')}"
    return Case(name=name, checkout=checkout, kernel=kernel, run=run, **{"group": checkout, **more})


@contextmanager
def _no_exit() -> Iterator[None]:
    """A script that ends itself with status 0 has ended well."""
    try:
        yield
    except SystemExit as error:
        if error.code:
            raise
