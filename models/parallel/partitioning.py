"""Tensor, expert, pipeline, data and context parallelism: which of them are possible, and what each chip holds.

Chips = tp x cp x dp x pp. Expert parallelism lies across tensor and data parallelism and takes no chips of its own:
`ep` ranks hold count / ep experts each; up to tp it divides a replica's chips, above tp it joins the experts of
ep / tp replicas, whose tokens are exchanged. The rest of an expert is divided like any other matrix.

The cache is divided over all chips of a replica, along the sequence where there are more of them than key/value heads
(flash decoding). Without `split_kv` it is divided by heads only, and every further rank holds a copy, as Neuron's
software does for grouped queries; a chip has several ranks. Context parallelism always divides it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from trnlab.models.parallel.fabric import Fabric
from trnlab.models.quantity import ModelError
from trnlab.models.workloads.model import LanguageModel


class Partitioning(NamedTuple):
    """Degrees of tensor, expert, pipeline, data and context parallelism."""

    tp: int = 1
    ep: int = 1
    pp: int = 1
    dp: int = 1
    cp: int = 1

    @property
    def chips(self) -> int:
        """Chips that it takes."""
        return self.tp * self.pp * self.dp * self.cp

    def __str__(self) -> str:
        named = zip(("TP", "EP", "PP", "DP", "CP"), self, strict=True)
        return " ".join(f"{name}{degree}" for name, degree in named if degree > 1) or "one chip"


def _divisors(value: int) -> str:
    return ", ".join(str(part) for part in range(1, value + 1) if value % part == 0)


def problem(model: LanguageModel, split: Partitioning, fabric: Fabric | None = None) -> ModelError | None:
    """Why the model cannot be partitioned so, or None."""
    for name, degree in zip(split._fields, split, strict=True):
        if isinstance(degree, bool) or not isinstance(degree, int) or degree < 1:
            return ModelError(name, degree, "a whole number >= 1")
    heads = model.attention.heads
    if heads % split.tp and split.tp % heads:
        return ModelError(
            f"tp of {model.name}", split.tp, f"divisors or multiples of {heads} heads: {_divisors(heads)}"
        )
    if split.pp > model.layers:
        return ModelError(f"pp of {model.name}", split.pp, f"at most its {model.layers} layers")
    return _expert_problem(model, split) or (None if fabric is None else _no_group(split, fabric))


def _expert_problem(model: LanguageModel, split: Partitioning) -> ModelError | None:
    experts = model.experts
    if experts is None:
        return ModelError(f"ep of {model.name}", split.ep, "1: it has no experts") if split.ep > 1 else None
    if experts.count % split.ep:
        return ModelError(f"ep of {model.name}", split.ep, f"divisors of {experts.count}: {_divisors(experts.count)}")
    replicas = split.tp * split.dp
    within = split.tp % split.ep == 0 or (split.ep % split.tp == 0 and replicas % split.ep == 0)
    if not within:
        return ModelError("ep", split.ep, f"divisors of tp = {split.tp}, or multiples of it that divide {replicas}")
    return None


def _no_group(split: Partitioning, fabric: Fabric) -> ModelError | None:
    for name, size in (("tp", split.tp), ("cp", split.cp), ("ep", split.ep)):
        try:
            fabric.group(size)
        except ModelError as error:
            return ModelError(f"{name} on {fabric.name}", size, error.allowed)
    replica, domain = split.tp * split.cp * split.pp, fabric.domain.size
    if replica > domain and fabric.outer_bandwidth is None:
        return ModelError(f"tp x cp x pp on {fabric.name}", replica, f"up to {domain}: no network beyond it is known")
    return None


def check(model: LanguageModel, split: Partitioning, fabric: Fabric | None = None) -> None:
    """The model can be partitioned so.

    Raises:
        ModelError: it cannot; names the degree, what it is and what it may be.
    """
    found = problem(model, split, fabric)
    if found is not None:
        raise found


def partitionings(
    model: LanguageModel,
    chips: int,
    fabric: Fabric | None = None,
    *,
    axes: Sequence[str] = ("tp", "ep", "pp", "dp", "cp"),
) -> tuple[Partitioning, ...]:
    """Every possible partitioning over exactly `chips` chips that uses only the named kinds of parallelism.

    Raises:
        ModelError: a name that is no kind of parallelism, or no chips.
    """
    for axis in axes:
        if axis not in Partitioning._fields:
            raise ModelError("kind of parallelism", axis, ", ".join(Partitioning._fields))
    if chips < 1:
        raise ModelError("chips", chips, "a whole number >= 1")
    return tuple(split for split in _candidates(model, chips, axes) if problem(model, split, fabric) is None)


def _candidates(model: LanguageModel, chips: int, axes: Sequence[str]) -> Iterator[Partitioning]:
    def degrees(axis: str, of: int) -> Iterable[int]:
        return [part for part in range(1, of + 1) if of % part == 0] if axis in axes else [1]

    for tp, pp, cp in product(degrees("tp", chips), degrees("pp", chips), degrees("cp", chips)):
        dp, rest = divmod(chips, tp * pp * cp)
        if rest or (dp > 1 and "dp" not in axes):
            continue
        count = 1 if model.experts is None else model.experts.count
        for ep in degrees("ep", count):
            if ep <= tp * dp:
                yield Partitioning(tp, ep, pp, dp, cp)


class Splits(NamedTuple):
    """Columns of partitionings, as arrays that broadcast against batches and contexts."""

    tp: npt.NDArray[np.int64]
    ep: npt.NDArray[np.int64]
    pp: npt.NDArray[np.int64]
    dp: npt.NDArray[np.int64]
    cp: npt.NDArray[np.int64]

    @classmethod
    def of(cls, splits: Sequence[Partitioning], shape: tuple[int, ...] = (-1,)) -> Splits:
        """The columns of these partitionings, in the shape; () of a single one makes numbers."""
        columns: list[npt.NDArray[Any]] = [
            np.array(column, np.int64).reshape(shape) for column in zip(*splits, strict=True)
        ]
        return cls(*columns)

    @property
    def chips(self) -> npt.NDArray[np.int64]:
        """Chips of each."""
        return np.asarray(self.tp * self.pp * self.dp * self.cp, np.int64)

    @property
    def expert_shards(self) -> npt.NDArray[np.int64]:
        """Parts into which one copy of the experts is divided."""
        return np.maximum(self.tp, self.ep)

    @property
    def expert_replicas(self) -> npt.NDArray[np.int64]:
        """Replicas whose tokens meet in one copy of the experts."""
        return np.asarray(np.maximum(1, self.ep // self.tp), np.int64)

    def kv_shards(self, cache_heads: int, split_kv: bool, ranks: int = 1) -> npt.NDArray[np.float64]:
        """Parts into which the cache of one sequence is divided over the chips of a stage.

        Copied caches: each of the tp x ranks ranks holds one head, or its part of the heads. Where ranks of one chip
        hold copies, that chip has more than one part, and the number of parts can be below 1.
        """
        by_heads = self.tp if split_kv else np.minimum(self.tp * ranks, cache_heads) / ranks
        return np.asarray(by_heads * self.cp, np.float64)
