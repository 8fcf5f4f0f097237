"""What the tests of the public face share: a function of nki.language applied to tiles inside a real kernel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import trnlab.emulator.nki.language as nl
from trnlab.emulator import run


@pytest.fixture
def on_chip() -> Callable[..., Any]:
    """`on_chip(f, *arrays)`: load each array into SBUF, call f on the tiles, store its result and return it.

    In reference mode: what the instructions mean when compiled is the business of their own tests.
    """

    def call(function: Callable[..., Any], *arrays: np.ndarray[Any, Any], target: str = "trn3") -> Any:
        def kernel(*inputs: Any) -> Any:
            result = function(*[nl.load(x) for x in inputs])
            out = nl.ndarray(result.shape, result.dtype, buffer=nl.shared_hbm)
            nl.store(out, result if nl.is_sbuf(result.buffer) else nl.copy(result))
            return out

        return run(kernel, *arrays, target=target, mode="reference").outputs

    return call
