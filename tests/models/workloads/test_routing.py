"""Routing statistics against simulation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, strategies as st

from trnlab.models.quantity import ModelError
from trnlab.models.workloads.model import Experts
from trnlab.models.workloads.routing import busiest_rank_experts, distinct_experts, straggler

SEED = 20


def choices(experts: Experts, tokens: int, runs: int) -> np.ndarray:
    """[runs, count]: how often each expert was chosen; every token takes `active` different ones, all alike."""
    rng = np.random.default_rng(SEED)
    counts = np.zeros((runs, experts.count), np.int64)
    for run in range(runs):
        chosen = np.argpartition(rng.random((tokens, experts.count)), experts.active - 1, axis=1)[:, : experts.active]
        counts[run] = np.bincount(chosen.ravel(), minlength=experts.count)
    return counts


@pytest.mark.parametrize(
    ("count", "active", "tokens"), [(128, 4, 1), (128, 4, 8), (128, 4, 64), (8, 2, 4), (256, 8, 64)]
)
def test_distinct_experts_are_those_of_a_simulation(count: int, active: int, tokens: int) -> None:
    experts = Experts(count=count, active=active, width=1)
    simulated = (choices(experts, tokens, 400) > 0).sum(axis=1)
    error = 4 * simulated.std() / 20  # four standard errors of 400 runs
    assert float(distinct_experts(experts, tokens)) == pytest.approx(simulated.mean(), abs=max(error, 1e-9))


@pytest.mark.parametrize(("ranks", "tokens"), [(64, 1), (64, 32), (8, 8), (8, 64), (16, 2), (4, 3)])
def test_the_busiest_ranks_experts_are_those_of_a_simulation(ranks: int, tokens: int) -> None:
    experts = Experts(count=128, active=4, width=1)
    used = choices(experts, tokens, 300) > 0
    simulated = used.reshape(300, ranks, -1).sum(axis=2).max(axis=1).mean()
    assert float(busiest_rank_experts(experts, tokens, ranks)) == pytest.approx(simulated, rel=0.06)


@pytest.mark.parametrize(("ranks", "tokens"), [(64, 32), (64, 128), (64, 1024), (8, 16), (8, 256), (2, 64)])
def test_the_straggler_is_that_of_a_simulation(ranks: int, tokens: int) -> None:
    experts = Experts(count=128, active=4, width=1)
    loads = choices(experts, tokens, 300).reshape(300, ranks, -1).sum(axis=2)
    simulated = (loads.max(axis=1) / loads.mean(axis=1)).mean()
    assert float(straggler(experts, tokens, ranks)) == pytest.approx(simulated, rel=0.05)


def test_skewed_routing_is_that_of_a_simulation() -> None:
    experts, skew, tokens = Experts(count=64, active=4, width=1), 0.8, 24
    rng = np.random.default_rng(SEED)
    popularity = np.arange(1, 65) ** -skew
    # Choosing without replacement by popularity is taking the largest of log p + Gumbel noise.
    keys = np.log(popularity) + rng.gumbel(size=(400, tokens, 64))
    chosen = np.argpartition(-keys, 3, axis=2)[:, :, :4]
    simulated = np.mean([len(np.unique(run)) for run in chosen])
    assert float(distinct_experts(experts, tokens, skew)) == pytest.approx(simulated, rel=0.01)


@given(
    active=st.integers(1, 8),
    tokens=st.integers(1, 5000),
    more=st.integers(1, 100),
    skew=st.sampled_from([0.0, 0.3, 1.0, 2.0]),
)
def test_more_tokens_reach_more_experts_within_bounds(active: int, tokens: int, more: int, skew: float) -> None:
    experts = Experts(count=32, active=active, width=1)
    few, many = (float(distinct_experts(experts, n, skew)) for n in (tokens, tokens + more))
    assert active - 1e-6 <= few <= many + 1e-9
    assert many <= min(32, active * (tokens + more)) + 1e-6
    assert few <= float(distinct_experts(experts, tokens)) + 1e-6  # uniform routing reaches the most


@given(ranks=st.sampled_from([1, 2, 8, 32]), tokens=st.integers(1, 10_000))
def test_stragglers_are_at_least_the_mean_and_vanish_with_many_tokens(ranks: int, tokens: int) -> None:
    experts = Experts(count=32, active=4, width=1)
    found = float(straggler(experts, tokens, ranks))
    assert 1 <= found <= ranks + 1e-9
    assert float(straggler(experts, 1e8, ranks)) == pytest.approx(1, abs=0.01)
    busiest = float(busiest_rank_experts(experts, tokens, ranks))
    assert float(distinct_experts(experts, tokens)) / ranks - 1e-9 <= busiest <= 32 / ranks + 1e-9


def test_all_experts_active_means_all_are_reached() -> None:
    experts = Experts(count=4, active=4, width=1)
    assert distinct_experts(experts, np.array([1, 2, 9])).tolist() == [4, 4, 4]


def test_a_negative_skew_is_refused() -> None:
    with pytest.raises(ModelError, match="skew"):
        distinct_experts(Experts(count=4, active=1, width=1), 3, -0.1)
