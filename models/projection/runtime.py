"""Choices of the serving software that the formulas take into account."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from trnlab.models.quantity import ModelError


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """Choices of the serving software.

    skew: Zipf exponent of the routing, 0 for uniform; how uneven ranks are is always that of uniform routing.
    window_aware: window layers keep only their window in the cache.
    split_kv: the cache is divided over all chips; otherwise ranks beyond its heads hold copies (`Splits.kv_shards`).

    Raises:
        ModelError: a skew that is negative or no number.
    """

    skew: float = 0.0
    window_aware: bool = True
    split_kv: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.skew < inf:
            raise ModelError("routing skew", self.skew, ">= 0; 0 is uniform")
