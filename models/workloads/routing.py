"""How tokens spread over experts: distinct experts, and the busiest expert-parallel rank.

A token chooses `active` different experts of `count`. With uniform routing a given expert is chosen with probability
active / count; a skew s makes expert i's popularity proportional to (i + 1)^-s (Zipf), of which the inclusion
probabilities are those of Poisson sampling conditioned on their sum.
"""

from __future__ import annotations

from functools import cache
from statistics import NormalDist

import numpy as np

from trnlab.models.arrays import Array, Values, array
from trnlab.models.quantity import ModelError
from trnlab.models.workloads.model import Experts


def _needed(experts: Experts, tokens: Array) -> Array:
    """Probability that a given expert is chosen by one of T tokens: 1 - (1 - active / count)^T."""
    if experts.active == experts.count:
        return np.minimum(tokens, 1.0)
    return array(-np.expm1(tokens * np.log1p(-experts.active / experts.count)))


@cache
def _inclusion(count: int, active: int, skew: float) -> tuple[float, ...]:
    """Probability that one token chooses each expert: 1 - exp(-x p_i), with x such that they add up to `active`."""
    popularity = np.arange(1, count + 1, dtype=np.float64) ** -skew
    popularity /= popularity.sum()
    low, high = 0.0, 1.0
    while (1 - np.exp(-high * popularity)).sum() < active and high < 1e12:
        high *= 2
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if (1 - np.exp(-middle * popularity)).sum() < active else (low, middle)
    return tuple((1 - np.exp(-high * popularity)).tolist())


def distinct_experts(experts: Experts, tokens: Values, skew: float = 0.0) -> Array:
    """Expected number of different experts that T tokens choose: sum over experts of 1 - (1 - p_i)^T.

    Uniform routing gives count (1 - (1 - active / count)^T).

    Raises:
        ModelError: a negative skew.
    """
    if skew < 0:
        raise ModelError("routing skew", skew, ">= 0; 0 is uniform")
    tokens = array(tokens)
    if skew == 0 or experts.active == experts.count:
        return experts.count * _needed(experts, tokens)
    shape = tokens.shape
    values, inverse = np.unique(tokens, return_inverse=True)
    chance = np.array(_inclusion(experts.count, experts.active, skew))
    distinct = (1 - (1 - chance[None, :]) ** values[:, None]).sum(axis=1)
    return array(distinct[inverse]).reshape(shape)


def busiest_rank_experts(experts: Experts, tokens: Values, ranks: int) -> Array:
    """Expected number of different experts that the busiest of `ranks` ranks has to read, routing uniform.

    Each rank holds count / ranks experts, each needed with probability q = 1 - (1 - active / count)^T; ranks are taken
    as independent, so E[max] = sum over j of 1 - P(Binomial(count / ranks, q) < j)^ranks. One rank reads them all.
    """
    tokens = array(tokens)
    if ranks == 1:
        return experts.count * _needed(experts, tokens)
    values, inverse = np.unique(tokens, return_inverse=True)
    held = experts.count // ranks
    needed = _needed(experts, values)
    below, expected = np.zeros_like(values), np.zeros_like(values)
    for j in range(held):
        below = below + _binomial(held, j, needed)
        expected = expected + 1 - np.minimum(below, 1.0) ** ranks
    # The T x active choices are not independent: a single token cannot need fewer than its share.
    found = np.clip(expected, np.minimum(1.0, experts.active * values / ranks), float(held))
    return array(found[inverse]).reshape(tokens.shape)


def _binomial(trials: int, successes: int, chance: Array) -> Array:
    """P(Binomial(trials, chance) = successes), by logarithms so that nothing overflows."""
    logs = sum(np.log((trials - i) / (i + 1)) for i in range(successes))
    with np.errstate(divide="ignore", invalid="ignore"):
        hits = successes * np.log(chance) if successes else np.zeros_like(chance)
        misses = (trials - successes) * np.log1p(-chance) if trials > successes else np.zeros_like(chance)
        return array(np.exp(logs + hits + misses))


@cache
def _expected_maximum(ranks: int) -> float:
    """Expected largest of `ranks` standard normal numbers: the integral of x dF(x)^ranks."""
    x = np.linspace(-8.0, 8.0, 16_001)
    normal = NormalDist()
    power = np.array([normal.cdf(value) for value in x.tolist()]) ** ranks
    return float((0.5 * (x[1:] + x[:-1]) * np.diff(power)).sum())


def straggler(experts: Experts, tokens: Values, ranks: int) -> Array:
    """Largest over mean number of token-expert pairs among `ranks` ranks, routing uniform.

    A rank's load has mean m = T active / ranks and the variance v of T hypergeometric draws. The expected largest of
    the ranks' loads is m + sqrt(v) (c + g (c^2 - 1) / 6): normal extreme c with the Cornish-Fisher correction for the
    skewness g = (1 - 2 active held / (count held)) / sqrt(v). One rank: 1.
    """
    tokens = np.maximum(array(tokens), 1.0)
    if ranks == 1:
        return np.ones_like(tokens)
    held = experts.count / ranks
    chance = held / experts.count
    mean = tokens * experts.active * chance
    free = (experts.count - experts.active) / max(experts.count - 1, 1)
    spread = np.sqrt(np.maximum(mean * (1 - chance) * free, 1e-12))
    c = _expected_maximum(ranks)
    largest = mean + spread * (c + (1 - 2 * chance) / spread * (c * c - 1) / 6)
    ceiling = tokens * min(experts.active, held)
    return np.minimum(np.maximum(largest, np.maximum(mean, 1.0)), ceiling) / mean
