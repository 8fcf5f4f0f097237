"""The Tensor Engine's throttling after idle time, as arithmetic on Neuron Explorer's figures: 50 %, about 3 µs."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, strategies as st

from trnlab.emulator.target import get_target
from trnlab.emulator.timing.stations import Throttle

WINDOW = 3_000_000  # picoseconds
WORK = 200_000


def run(gaps: Sequence[int], target: str = "trn2", lanes: int = 1) -> list[tuple[int, int]]:
    """(start, duration) of equal pieces of work, each so long after the one before it."""
    throttle, now, found = Throttle(get_target(target), lanes), 0, []
    for gap in gaps:
        now += gap
        found.append((now, throttle.duration(now, WORK, lanes)))
        now += found[-1][1]
    return found


def test_a_cold_engine_runs_at_half_rate_until_it_was_busy_for_half_the_window() -> None:
    durations = [duration for _, duration in run([0] * 12)]
    # Each cold piece takes 400 ns; after four of them 1.6 us of the last 3 us were busy.
    assert durations == [2 * WORK] * 4 + [WORK] * 8


def test_a_pause_of_half_the_window_makes_it_cold_again() -> None:
    warm = [0] * 40
    assert run([*warm, WINDOW // 2])[-1][1] == WORK  # exactly half the window was busy
    assert run([*warm, WINDOW // 2 + 1])[-1][1] == 2 * WORK
    assert run([*warm, 10 * WINDOW])[-1][1] == 2 * WORK


def test_first_generation_is_not_throttled() -> None:
    assert {duration for _, duration in run([0, WINDOW, 5], "trn1")} == {WORK}


@given(st.lists(st.integers(0, 700_000), max_size=60), st.sampled_from([1, 4]))
def test_each_piece_against_the_definition(gaps: list[int], lanes: int) -> None:
    done: list[tuple[int, int]] = []
    for start, duration in run(gaps, lanes=lanes):
        busy = sum(max(0, min(begin + length, start) - max(begin, start - WINDOW)) for begin, length in done)
        assert duration == (WORK if 2 * busy >= WINDOW else 2 * WORK)
        done.append((start, duration))


def test_a_part_of_the_array_counts_by_its_share() -> None:
    throttle = Throttle(get_target("trn2"), 4)
    durations, now = [], 0
    for _ in range(8):
        durations.append(throttle.duration(now, WINDOW, 1))
        now += durations[-1]
    # A quarter of the array, always busy, is 25 % utilisation.
    assert durations == [2 * WINDOW] * 8


@pytest.mark.parametrize("target", ["trn2", "trn3"])
def test_the_figures_are_those_of_the_target(target: str) -> None:
    facts = get_target(target)
    assert facts.tensor_throttle_window_seconds == pytest.approx(3e-6)
    assert facts.tensor_throttle_rate_factor == facts.tensor_throttle_utilisation == 0.5
