"""Does it fit: weights, KV cache and a reserve on every chip, and the fewest chips on which it would."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from trnlab.models.arrays import Array, Values, array
from trnlab.models.parallel.fabric import Fabric
from trnlab.models.parallel.partitioning import Partitioning, Splits, partitionings
from trnlab.models.quantity import ModelError, Quantity
from trnlab.models.workloads.formats import Precision
from trnlab.models.workloads.model import LanguageModel
from trnlab.models.workloads.parameters import parameters_of
from trnlab.models.workloads.work import kv_bytes

USABLE: Final = Quantity(
    0.9, "", "assumed: vLLM's default gpu_memory_utilization; the rest is for activations and the runtime", "assumed"
)
"""Share of a chip's memory that weights and KV cache may take."""
MOST_CHIPS: Final = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Footprint:
    """Bytes on the fullest chip. Arrays of one shape."""

    weights: Array
    kv: Array
    available: Array

    @property
    def total(self) -> Array:
        """Weights and cache."""
        return self.weights + self.kv

    @property
    def fits(self) -> Array:
        """1 where it fits, 0 where not."""
        return array(self.total <= self.available)

    @property
    def shortfall(self) -> Array:
        """Bytes that are missing; 0 where it fits."""
        return np.maximum(self.total - self.available, 0.0)


def weight_bytes(model: LanguageModel, precision: Precision, splits: Splits) -> Array:
    """Weights on the fullest chip: the layers of the longest stage, its shards, and embedding or head.

    With a pipeline the first stage holds the embedding and the last the head; the larger of the two is taken.
    """
    parameters = parameters_of(model)
    size = {name: parameters.of(name) * precision.bytes_of(name) for name in ("embedding", "head")}
    dense = sum(parameters.of(name) * precision.bytes_of(name) for name in ("attention", "dense", "other"))
    experts = parameters.of("experts") * precision.bytes_of("experts")
    stage = np.ceil(model.layers / splits.pp) / model.layers
    ends = np.where(splits.pp > 1, max(size.values()), sum(size.values()))
    return stage * (dense / splits.tp + experts / splits.expert_shards) + ends / splits.tp


def footprint(
    model: LanguageModel,
    precision: Precision,
    splits: Splits,
    hbm_bytes: float,
    batch: Values,
    context: Values,
    *,
    window_aware: bool = True,
    split_kv: bool = True,
    ranks: int = 1,
    usable: float = USABLE.value,
) -> Footprint:
    """What `batch` sequences of `context` tokens take on the fullest chip of each partitioning.

    ranks: of a chip, which matters where caches are copied (`Splits.kv_shards`).
    """
    cached = kv_bytes(model, precision, context, window_aware=window_aware)
    stage = np.ceil(model.layers / splits.pp) / model.layers
    sequences = np.ceil(array(batch) / splits.dp)
    kv = sequences * cached * stage / splits.kv_shards(model.attention.cache_heads, split_kv, ranks)
    weights = weight_bytes(model, precision, splits)
    return Footprint(weights=weights, kv=kv, available=np.full(np.shape(weights), usable * hbm_bytes))


def largest_batch(
    model: LanguageModel,
    precision: Precision,
    split: Partitioning,
    hbm_bytes: float,
    context: float,
    *,
    window_aware: bool = True,
    usable: float = USABLE.value,
) -> int:
    """The most sequences of `context` tokens that fit; 0 when not even the weights do."""
    splits = Splits.of([split], ())
    one = footprint(model, precision, splits, hbm_bytes, split.dp, context, window_aware=window_aware, usable=usable)
    room = float(one.available - one.weights)
    return 0 if room < 0 else int(room // float(one.kv)) * split.dp


def require_fit(
    model: LanguageModel,
    precision: Precision,
    split: Partitioning,
    hbm_bytes: float,
    batch: float,
    context: float,
    fabric: Fabric,
    **options: Any,
) -> Footprint:
    """The footprint of a deployment that fits; options are those of `footprint`.

    Raises:
        ModelError: it does not; says by how much, and the fewest chips on which it would.
    """
    found = footprint(model, precision, Splits.of([split], ()), hbm_bytes, batch, context, **options)
    if found.fits:
        return found
    least = smallest_fit(model, precision, hbm_bytes, batch, context, fabric, **options)
    advice = f"no partitioning over up to {MOST_CHIPS} chips here; a smaller batch or context"
    if least is not None:
        advice = f"at least {least.chips} chips ({least})"
    needed = f"{float(found.total) / 1e9:.1f} GB a chip ({float(found.weights) / 1e9:.1f} weights)"
    raise ModelError(
        f"memory of {model.name} in {precision.name} on {split.chips} chip{'s' if split.chips > 1 else ''} ({split})",
        f"{needed}, {float(found.shortfall) / 1e9:.1f} GB too much",
        f"{float(found.available) / 1e9:.1f} GB a chip: {advice}",
    )


def smallest_fit(
    model: LanguageModel,
    precision: Precision,
    hbm_bytes: float,
    batch: float,
    context: float,
    fabric: Fabric,
    *,
    axes: Sequence[str] = Partitioning._fields,
    **options: Any,
) -> Partitioning | None:
    """The partitioning over the fewest chips that fits, of those that use only the named kinds; None if none does."""
    whole = footprint(model, precision, Splits.of([Partitioning()], ()), hbm_bytes, batch, context)
    fewest = max(1, int(float(whole.total) // float(whole.available)))
    for chips in range(fewest, MOST_CHIPS + 1):
        splits = partitionings(model, chips, fabric, axes=axes)
        if splits:
            found = footprint(model, precision, Splits.of(splits), hbm_bytes, batch, context, **options)
            if found.fits.any():
                return splits[int(np.argmin(found.total))]
    return None
