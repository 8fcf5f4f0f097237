"""What training keeps of the parameters on the fullest chip: BF16 weights, FP32 gradients, FP32 optimizer states.

Weights and gradients are whole on every replica; optimizer states are divided over the replicas that hold the same
parameters (ZeRO stage 1, arXiv 1910.02054). Experts that lie across replicas have fewer such replicas than the rest.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from trnlab.models.arrays import Array, array
from trnlab.models.parallel.memory import weight_bytes
from trnlab.models.parallel.partitioning import Splits
from trnlab.models.workloads.formats import get_precision
from trnlab.models.workloads.model import LanguageModel
from trnlab.models.workloads.parameters import parameters_of

WEIGHT_BYTES: Final = 2
GRADIENT_BYTES: Final = 4
OPTIMIZER_BYTES: Final = 4 + 4 + 4
"""Per parameter: two Adam moments and an FP32 master copy."""


class States(NamedTuple):
    """Bytes on the fullest chip."""

    weights: Array
    gradients: Array
    optimizer: Array


def expert_copies(splits: Splits) -> npt.NDArray[np.int64]:
    """Replicas that hold the same experts: dp over those whose tokens meet in one copy."""
    return np.asarray(splits.dp // splits.expert_replicas, np.int64)


def shards(model: LanguageModel, splits: Splits) -> tuple[Array, Array]:
    """Parameters of the longest stage on a chip: (all but the experts, experts)."""
    stage = np.ceil(model.layers / splits.pp) / model.layers
    experts = parameters_of(model).experts * stage / splits.expert_shards
    held = weight_bytes(model, get_precision("bf16"), splits) / WEIGHT_BYTES
    return array(held - experts), array(experts)


def states(model: LanguageModel, splits: Splits) -> States:
    """What a step keeps besides activations."""
    dense, experts = shards(model, splits)
    divided = dense / splits.dp + experts / expert_copies(splits)
    held = dense + experts
    return States(held * WEIGHT_BYTES, held * GRADIENT_BYTES, divided * OPTIMIZER_BYTES)
