"""What the chips of a replica say to one another in one pass through the layers."""

from __future__ import annotations

import numpy as np

from trnlab.models.arrays import Array, Values, array
from trnlab.models.parallel.collectives import Algorithm, CollectiveTime, all_reduce, all_to_all
from trnlab.models.parallel.partitioning import Splits
from trnlab.models.parallel.strided import pipeline_hops, ring_hop, strided_all_reduce
from trnlab.models.projection.machine import Machine
from trnlab.models.projection.method import Method
from trnlab.models.workloads.formats import Precision
from trnlab.models.workloads.model import GroupedAttention, LanguageModel

NOTHING = CollectiveTime(np.zeros(()), np.zeros(()))


def _algorithm(method: Method) -> Algorithm:
    """The quickest by what the layer counts: without latency, fewer steps are no reason to send more bytes."""
    return "auto" if method.latency else "least volume"


def layer_collectives(
    model: LanguageModel,
    precision: Precision,
    machine: Machine,
    method: Method,
    tokens: Array,
    splits: Splits,
    passes: Values = 1.0,
) -> CollectiveTime:
    """Two all-reduces a layer over tp of `tokens` tokens' activations, `passes` times, and a hop per further stage.

    Experts beyond tp dispatch their tokens and combine the results instead of the second all-reduce.
    """
    activations = tokens * model.width * precision.wire_bytes
    across = splits.ep > splits.tp
    reductions = 2 * model.layers - np.where(across, model.routed_layers, 0)
    found = all_reduce(machine.fabric, activations, splits.tp, _algorithm(method)) * (reductions * passes)
    if model.experts is not None and np.any(across):
        sent = activations * model.experts.active / splits.tp
        exchange = all_to_all(machine.fabric, sent, np.where(across, splits.ep, 1))
        found = _sum(found, exchange * (2 * model.routed_layers * passes))
    if np.any(splits.pp > 1):
        found = _sum(found, pipeline_hops(machine.fabric, activations, splits.pp, splits.tp * splits.cp))
    return found


def decode_context_collectives(
    model: LanguageModel, machine: Machine, method: Method, sequences: Array, splits: Splits
) -> CollectiveTime:
    """Each layer's partial attention outputs, in FP32 with a maximum and a sum per head, added up over cp."""
    if not np.any(splits.cp > 1):
        return NOTHING
    attention = model.attention
    size = attention.head_dim if isinstance(attention, GroupedAttention) else attention.kv_rank
    partial = sequences * attention.heads * (size + 2) * 4 / splits.tp
    return strided_all_reduce(machine.fabric, partial, splits.cp, splits.tp, _algorithm(method)) * model.layers


def prefill_context_collectives(
    model: LanguageModel, precision: Precision, machine: Machine, tokens: Array, splits: Splits, passes: Values
) -> CollectiveTime:
    """A ring over cp chips a layer: each hands on its part of the keys and values cp - 1 times."""
    if not np.any(splits.cp > 1):
        return NOTHING
    part = tokens / splits.cp * model.attention.cache_elements * precision.kv_bytes / splits.tp
    hop = ring_hop(machine.fabric, part / passes, splits.cp, splits.tp)
    return hop * ((splits.cp - 1) * model.layers * passes)


def exposed_time(method: Method, *collectives: CollectiveTime) -> Array:
    """What the layer of the projection counts of the collectives."""
    total = sum((method.latency * one.latency + method.transfer * one.transfer for one in collectives), np.zeros(()))
    return array(method.exposed.value * total)


def _sum(left: CollectiveTime, right: CollectiveTime) -> CollectiveTime:
    return CollectiveTime(left.latency + right.latency, left.transfer + right.transfer)
