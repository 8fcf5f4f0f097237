"""The bench's own plumbing: what is called cold is cold, what is called warm is warm, and the work is checked."""

from __future__ import annotations

import functools
import gc
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.bench import kernels, measure, stress_kernels
from tests.bench.launches import launch, normal
from tests.bench.measure import (
    Launch,
    assert_agree,
    cold_launches,
    compilations,
    empty_caches,
    interleaved,
    warm_pairs,
)

ROOT = Path(__file__).resolve().parents[2]


def softmax_launch() -> Launch:
    return launch(kernels.softmax, normal(140, 10, dtype=np.float32))


def remembered() -> int:
    """How many results the emulator's caches hold."""
    wrappers = [item for item in gc.get_objects() if type(item) is functools._lru_cache_wrapper]
    return sum(item.cache_info().currsize for item in wrappers if (item.__module__ or "").startswith("trnlab."))


def check_that_emptied_caches_hold_nothing() -> None:
    softmax_launch()()
    assert remembered() > 0
    empty_caches()
    assert remembered() == 0


def test_emptied_caches_hold_nothing() -> None:
    """In a process of its own: here it would take from the tests that follow what they share."""
    code = "from tests.bench.test_measure import *; check_that_emptied_caches_hold_nothing()"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_fresh_launch_is_the_same_kernel_under_a_name_of_its_own() -> None:
    original = softmax_launch()
    copies = [original.fresh(), original.fresh()]
    names = {item.kernel.function.__name__ for item in (original, *copies)}
    assert len(names) == 3
    np.testing.assert_array_equal(copies[0](), original())


def test_a_fresh_launch_keeps_defaults_options_and_closures() -> None:
    item = launch(stress_kernels.small_tiles, np.zeros((128, stress_kernels.SMALL_COLUMNS), np.float32), count=5)
    assert item.fresh().options == {"count": 5}
    factor = 3

    def plain(x: Any, *, other: int = 4) -> int:
        return factor * x + other

    kernel = measure.Kernel(plain, {"platform_target": "trn2"})
    copy = Launch(kernel, ()).fresh().kernel
    assert copy.function(2) == 10
    assert copy.options == kernel.options


@pytest.mark.slow
def test_cold_launches_compile_every_time_and_the_last_is_warm() -> None:
    with compilations() as found:
        item, times = cold_launches(softmax_launch(), 2)
    assert len(times) == 2
    assert len(found) >= 2
    assert all(duration > 0 for duration in found)
    with compilations() as more:
        item()
    assert not more


def test_a_cold_launch_that_finds_something_remembered_is_refused() -> None:
    class Remembering(Launch):
        def fresh(self) -> Launch:
            return self

        def __call__(self) -> Any:
            return np.zeros(1)

    with pytest.raises(AssertionError, match="compiled nothing"):
        cold_launches(Remembering(kernels.softmax, ()), 1)


def test_compilations_outside_the_block_do_not_count() -> None:
    with compilations() as found:
        pass
    jax.jit(lambda x: x + 3)(1.0)
    assert not found


def test_warm_pairs_refuse_an_action_that_compiles_each_time() -> None:
    quiet = softmax_launch()
    with pytest.raises(AssertionError, match="should be warm"):
        warm_pairs(quiet, lambda: jax.jit(lambda x: x + 1)(jnp.ones(3)), 2)


def test_warm_pairs_run_each_once_before_they_take_times() -> None:
    calls: list[str] = []
    times = warm_pairs(lambda: calls.append("ours"), lambda: calls.append("peer"), 2)
    assert calls == ["ours", "peer"] * 3
    assert [len(each) for each in times] == [2, 2]


def test_two_actions_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 1.0, 10.0, 12.0, 20.0, 23.0, 30.0, 34.0])
    monkeypatch.setattr(measure.time, "perf_counter", lambda: next(clock))
    assert interleaved(lambda: 0, lambda: 0, 2) == ([1.0, 3.0], [2.0, 4.0])


def test_results_must_agree() -> None:
    expected = np.asarray([1.0, -100.0])
    assert_agree(jnp.asarray([[2.0, -100.0]]), expected, 0.01)  # off by 1 of 100; axes of size 1 do not count
    with pytest.raises(AssertionError, match="off by 2"):
        assert_agree(jnp.asarray([3.0, -100.0]), expected, 0.01)
    with pytest.raises(AssertionError, match="off by nan"):
        assert_agree(jnp.asarray([np.nan, -100.0]), expected, 0.01)
