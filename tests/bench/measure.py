"""How the bench takes times: cold launches with every cache emptied, warm ones in turn with a peer's."""

from __future__ import annotations

import ctypes
import functools
import gc
import statistics
import time
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import jax
import numpy as np

from trnlab.emulator import Kernel, run

Action = Callable[[], Any]
COMPILE_EVENT = "/jax/core/compile/backend_compile_duration"  # JAX reports it whenever XLA compiles something
TARGET = "trn3"
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # mallopt(3)
SMALLEST_MAPPED, GROWN_LIMIT = 2**20, 2**25  # bytes; the latter is where glibc's own limit, which grows with use, ends


@dataclass(frozen=True)
class Launch:
    """A kernel and what it is called with."""

    kernel: Kernel
    arguments: tuple[Any, ...]
    options: dict[str, Any] = field(default_factory=dict)
    target: str = TARGET

    def __call__(self) -> Any:
        """The outputs by way of the public call, compiled."""
        return run(self.kernel, *self.arguments, mode="compiled", target=self.target, **self.options).outputs

    def fresh(self) -> Launch:
        """The same launch of a kernel that nobody has seen: a new function of a new name."""
        function = self.kernel.function
        name = f"{function.__name__}_{uuid4().hex[:8]}"
        copy = types.FunctionType(
            function.__code__.replace(co_name=name),
            function.__globals__,
            name,
            function.__defaults__,
            function.__closure__,
        )
        copy.__kwdefaults__, copy.__module__ = function.__kwdefaults__, function.__module__
        copy.__annotations__ = dict(function.__annotations__)
        return Launch(Kernel(copy, self.kernel.options), self.arguments, self.options, self.target)


def seconds(action: Action) -> float:
    """Wall time until the results are there."""
    started = time.perf_counter()
    jax.block_until_ready(action())
    return time.perf_counter() - started


def median_seconds(action: Action, repeats: int) -> float:
    """Median wall time."""
    return statistics.median(seconds(action) for _ in range(repeats))


def interleaved(first: Action, second: Action, repeats: int) -> tuple[list[float], list[float]]:
    """Times of both, taken in turn, so that whatever else the machine does meets both alike."""
    pairs = [(seconds(first), seconds(second)) for _ in range(repeats)]
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs]


def empty_caches() -> None:
    """Forget what the emulator and JAX remember: traces, programs, jitted functions, executables."""
    for item in gc.get_objects():
        if type(item) is functools._lru_cache_wrapper and (item.__module__ or "").startswith("trnlab."):
            item.cache_clear()
    jax.clear_caches()


@contextmanager
def compilations() -> Iterator[list[float]]:
    """Seconds of every XLA compilation inside the block."""
    found: list[float] = []
    counting = True

    def note(event: str, duration_secs: float, **_: Any) -> None:
        if counting and event == COMPILE_EVENT:
            found.append(duration_secs)

    jax.monitoring.register_event_duration_secs_listener(note)
    try:
        yield found
    finally:
        counting = False  # JAX offers no way to take one listener back


def cold_launches(launch: Launch, repeats: int) -> tuple[Launch, list[float]]:
    """Trace, fold, compile and run from nothing, several times; the last launch, now warm, and the times.

    Raises AssertionError when nothing was compiled: then a cache survived, and the time is not a cold one.
    """
    times = []
    for _ in range(repeats):
        launch = launch.fresh()
        empty_caches()
        with compilations() as compiled:
            times.append(seconds(launch))
        assert compiled, f"{launch.kernel} compiled nothing on a cold launch: a cache survived"
    return launch, times


def warm_pairs(launch: Action, peer: Action, repeats: int) -> tuple[list[float], list[float]]:
    """Times of both, warm and in turn. Raises AssertionError when either still compiled something."""
    for action in (launch, peer):
        jax.block_until_ready(action())
    with compilations() as compiled:
        times = interleaved(launch, peer, repeats)
    assert not compiled, f"{len(compiled)} compilations ({sum(compiled):.3f} s) in launches that should be warm"
    return times


@contextmanager
def fresh_memory() -> Iterator[None]:
    """Inside the block results from 1 MiB on take their memory from the system, whoever makes them (with glibc).

    Otherwise an action is spared the page faults, most of its time, in those runs in which malloc happens to have pages
    that an earlier array left. Afterwards the limits are those that glibc's own, which grow with use, end at.
    """
    library = ctypes.CDLL(None)
    set_option, trim = getattr(library, "mallopt", None), getattr(library, "malloc_trim", None)
    if set_option is None or trim is None:
        yield
        return
    assert set_option(M_MMAP_THRESHOLD, SMALLEST_MAPPED), "malloc did not take its limit"
    trim(0)
    try:
        yield
    finally:
        set_option(M_MMAP_THRESHOLD, GROWN_LIMIT)
        set_option(M_TRIM_THRESHOLD, 2 * GROWN_LIMIT)


def assert_agree(found: Any, expected: Any, tolerance: float) -> None:
    """Every element within `tolerance` of the largest expected magnitude: whoever is timed must do the work."""
    ours, theirs = _float32(found), _float32(expected)
    worst, scale = float(np.abs(ours - theirs).max()), float(np.abs(theirs).max())
    assert worst <= tolerance * scale, f"off by {worst:.3g} where the largest value is {scale:.3g}"


def _float32(array: Any) -> np.ndarray[Any, Any]:
    narrow = array.float() if hasattr(array, "float") else array  # torch's bfloat16 has no NumPy form
    return np.asarray(narrow).astype(np.float32).squeeze()
