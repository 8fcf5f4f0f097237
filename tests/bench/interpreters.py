"""Other projects' interpreters of kernels, on the shapes and tiles of ours: who they are, and how to call them."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import Any

import ml_dtypes
import numpy as np
from jax.experimental.pallas import tpu as pltpu

from tests.bench import pallas_peers
from tests.bench.rows import SkippedError

Array = np.ndarray[Any, Any]
Prepare = Callable[..., Callable[[], Any]]
"""(operands as JAX arrays) -> the call that runs a kernel on them."""


@dataclass(frozen=True)
class Interpreter:
    """One interpreter.

    ratio: how long ours may take, as a share of its time
    load:  its kernels "matmul", "softmax" and "attention"; raises SkippedError where it cannot run
    """

    ratio: float
    load: Callable[[], Mapping[str, Prepare]]


def pallas(interpret: Any) -> Mapping[str, Prepare]:
    """Pallas in one of its two interpreters."""

    def on(build: Callable[..., Callable[..., Any]], shape: Callable[..., tuple[int, ...]]) -> Prepare:
        def prepared(*operands: Any) -> Callable[[], Any]:
            return partial(build(interpret, *shape(*operands)), *operands)

        return prepared

    return {
        "matmul": on(pallas_peers.matmul, lambda lhs, rhs: (*lhs.shape, rhs.shape[1])),
        "softmax": on(pallas_peers.softmax, lambda x: x.shape),
        "attention": on(pallas_peers.attention, lambda q, k, v: q.shape),
    }


def triton() -> Mapping[str, Prepare]:
    """Triton's interpreter. Raises SkippedError where Triton or torch is missing, or was imported to compile."""
    missing = [name for name in ("torch", "triton") if find_spec(name) is None]
    if missing:
        raise SkippedError(f"{' and '.join(missing)} not installed (extra `bench`)")
    if "triton" in sys.modules and os.environ.get("TRITON_INTERPRET") != "1":
        raise SkippedError("triton was imported without TRITON_INTERPRET=1")
    os.environ["TRITON_INTERPRET"] = "1"
    module = importlib.import_module("tests.bench.triton_peers")

    def on(call: Callable[..., Any]) -> Prepare:
        return lambda *operands: partial(call, *(_to_torch(np.asarray(operand)) for operand in operands))

    return {"matmul": on(module.matmul), "softmax": on(module.softmax), "attention": on(module.attention)}


def _to_torch(array: Array) -> Any:
    import torch

    if array.dtype == ml_dtypes.bfloat16:  # torch reads no array of that dtype, but it reads the bits
        return torch.from_numpy(array.view(np.int16).copy()).view(torch.bfloat16)
    return torch.from_numpy(array.copy())


INTERPRETERS: dict[str, Interpreter] = {
    "Pallas interpret=True": Interpreter(1.0, partial(pallas, True)),
    "Pallas TPU interpret": Interpreter(0.1, partial(pallas, pltpu.InterpretParams())),
    "Triton interpreter": Interpreter(0.1, triton),
}
