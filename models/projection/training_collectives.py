"""What the chips say to one another in a training step.

Per micro-batch, forward, backward and, with full recomputation, forward again:
    tensor      two all-reduces of the activations a layer
    expert      dispatch and combine in place of the second of them, where experts lie across replicas
    context     a ring of keys and values; backward of their gradients besides, so twice as much
    pipeline    activations to the next stage, their gradients back
and once a step the gradients, over the replicas that hold the same parameters: inside a scale-up domain as far as it
holds several replicas, then in a ring between domains over each chip's share.
"""

from __future__ import annotations

import numpy as np

from trnlab.models.arrays import Array
from trnlab.models.parallel.collectives import CollectiveTime, all_reduce, all_to_all
from trnlab.models.parallel.fabric import Fabric
from trnlab.models.parallel.partitioning import Partitioning, Splits
from trnlab.models.parallel.strided import can_meet, ring_hop, strided_all_reduce
from trnlab.models.projection.machine import Machine
from trnlab.models.projection.training_states import WEIGHT_BYTES, expert_copies, shards
from trnlab.models.workloads.formats import Precision
from trnlab.models.workloads.model import LanguageModel


def training_collectives(
    model: LanguageModel,
    precision: Precision,
    machine: Machine,
    splits: Splits,
    tokens: int,
    micro_batches: Array,
    *,
    again: bool,
) -> CollectiveTime:
    """All of a step: `tokens` of a micro-batch; again: whether forward is recomputed.

    Raises:
        ModelError: a group that the fabric does not have.
    """
    fabric = machine.fabric
    activations = tokens * model.width * precision.wire_bytes / splits.cp
    passes = 3 if again else 2
    stage = np.ceil(model.layers / splits.pp) / model.layers * micro_batches
    across = splits.ep > splits.tp
    reductions = 2 * model.layers - np.where(across, model.routed_layers, 0)
    found = [all_reduce(fabric, activations, splits.tp) * (passes * reductions * stage)]
    if model.experts is not None and np.any(across):
        sent = activations * model.experts.active / splits.tp
        exchange = all_to_all(fabric, sent, np.where(across, splits.ep, 1))
        found.append(exchange * (passes * 2 * model.routed_layers * stage))
    if np.any(splits.cp > 1):
        part = tokens / splits.cp * model.attention.cache_elements * precision.wire_bytes / splits.tp
        hop = ring_hop(fabric, part, splits.cp, splits.tp)
        found.append(hop * ((passes + 1) * (splits.cp - 1) * model.layers * stage))
    if np.any(splits.pp > 1):
        found.append(ring_hop(fabric, activations, splits.pp, splits.tp * splits.cp) * (2 * micro_batches))
    return _total([*found, *_gradients(model, machine, splits)])


def _gradients(model: LanguageModel, machine: Machine, splits: Splits) -> list[CollectiveTime]:
    """Reduced in bf16: the experts' over their own copies, the rest over all replicas."""
    fabric, replica = machine.fabric, splits.chips // splits.dp
    dense, experts = shards(model, splits)
    found = [strided_all_reduce(fabric, dense * WEIGHT_BYTES, splits.dp, replica)]
    if model.experts is not None:
        together = replica * splits.expert_replicas
        found.append(strided_all_reduce(fabric, experts * WEIGHT_BYTES, expert_copies(splits), together))
    return found


def replicas_can_meet(fabric: Fabric, split: Partitioning) -> bool:
    """Whether the fabric has groups for the gradients' reductions, and a way between domains where they need one."""
    splits = Splits.of([split], ())
    replica = splits.chips // splits.dp
    pairs = ((splits.dp, replica), (expert_copies(splits), replica * splits.expert_replicas))
    return all(can_meet(fabric, int(members), int(stride)) for members, stride in pairs)


def _total(times: list[CollectiveTime]) -> CollectiveTime:
    return CollectiveTime(
        sum((one.latency for one in times), np.zeros(())), sum((one.transfer for one in times), np.zeros(()))
    )
