"""One decode step: every running sequence gains one token.

    time = max over {FLOP / rate / efficiency, bytes / HBM / efficiency} of each of three groups, added up
           + collectives + fixed cost x layers

Groups are the dense linear maps (attention's, plain feed-forwards, shared experts, router, output head), the routed
experts, and attention over the cache. Each has its own bound, so one maximum over all of them would be too short.
Weights are read once a step, experts as far as tokens choose them. With a pipeline, batch / pp sequences pass at a
time and the step is the pass through all stages at the pace of the longest one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from trnlab.models.arrays import Array, Values, array
from trnlab.models.parallel.partitioning import Splits
from trnlab.models.projection.machine import Machine
from trnlab.models.projection.method import Method, Operator
from trnlab.models.projection.runtime import Runtime
from trnlab.models.projection.step_collectives import decode_context_collectives, exposed_time, layer_collectives
from trnlab.models.workloads.formats import Precision, TensorClass
from trnlab.models.workloads.model import Experts, LanguageModel
from trnlab.models.workloads.parameters import parameters_of
from trnlab.models.workloads.routing import busiest_rank_experts, distinct_experts, straggler
from trnlab.models.workloads.work import decode_attention_flops, kv_bytes

DENSE_CLASSES: tuple[TensorClass, ...] = ("attention", "dense", "head")


class Bounds(NamedTuple):
    """Seconds of one group's compute and memory on one chip; the longer counts. flops, bytes: of one chip."""

    compute: Array
    memory: Array
    flops: Array
    bytes: Array

    @property
    def time(self) -> Array:
        """max(compute, memory)."""
        return np.maximum(self.compute, self.memory)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTime:
    """Seconds of one pass on the critical chip, by what they are spent on."""

    dense: Bounds
    experts: Bounds
    attention: Bounds
    collectives: Array
    fixed: Array

    @property
    def total(self) -> Array:
        """All of it."""
        return self.dense.time + self.experts.time + self.attention.time + self.collectives + self.fixed

    @property
    def parts(self) -> dict[str, Array]:
        """Seconds by name; they add up to the total."""
        return {
            "dense weights": self.dense.time,
            "experts": self.experts.time,
            "attention and KV": self.attention.time,
            "collectives": self.collectives,
            "fixed cost": self.fixed,
        }

    @property
    def flops(self) -> Array:
        """FLOP of the critical chip, padding not counted."""
        return self.dense.flops + self.experts.flops + self.attention.flops

    @property
    def bytes(self) -> Array:
        """HBM bytes of the critical chip."""
        return self.dense.bytes + self.experts.bytes + self.attention.bytes


def padded(tokens: Array, rows: int) -> Array:
    """Tokens rounded up to whole rows of the Tensor Engine, rounding errors of expectations aside."""
    return np.ceil(tokens / rows - 1e-9) * rows if rows > 1 else tokens


def bounds(
    machine: Machine, method: Method, operator: Operator, work: dict[str, Array], useful: Array, size: Array
) -> Bounds:
    """Compute and memory time of one chip: FLOP by matmul rate, and bytes."""
    compute = sum((flops / machine.rate(rate) for rate, flops in work.items()), np.zeros(()))
    return Bounds(
        compute=compute / method.compute[operator].value,
        memory=size / machine.hbm_bytes_per_second / method.memory[operator].value,
        flops=useful,
        bytes=size,
    )


def dense_bounds(
    model: LanguageModel,
    precision: Precision,
    machine: Machine,
    method: Method,
    tokens: dict[TensorClass, Array],
    shards: Values,
    weight_shards: Values,
    passes: Values = 1.0,
) -> Bounds:
    """The dense linear maps: `tokens` by class over `shards`, weights over `weight_shards` read `passes` times."""
    parameters = parameters_of(model)
    rows = machine.token_rows if "dense" in method.padded else 1
    work: dict[str, Array] = {}
    useful = size = np.zeros(())
    for tensor in DENSE_CLASSES:
        weights = parameters.multiplied(tensor)
        rate = precision.rate(tensor)
        work[rate] = work.get(rate, np.zeros(())) + 2 * weights * padded(tokens[tensor], rows) / shards
        useful = useful + 2 * weights * tokens[tensor] / shards
        stored = parameters.head if tensor == "head" else parameters.of(tensor)
        size = size + stored * precision.bytes_of(tensor) / weight_shards
    size = size + (parameters.other + parameters.router) * precision.bytes_of("other") / weight_shards
    return bounds(machine, method, "dense", work, useful, size * passes)


def expert_bounds(
    model: LanguageModel,
    precision: Precision,
    machine: Machine,
    method: Method,
    together: Array,
    splits: Splits,
    skew: float,
    token_shards: Values = 1.0,
    passes: Values = 1.0,
) -> Bounds:
    """The routed experts for the `together` tokens that meet in one copy of them.

    Chosen experts are read, and the busiest rank sets the pace.
    """
    experts, zero = model.experts, np.zeros(())
    if experts is None:
        return Bounds(zero, zero, zero, zero)
    parameters = parameters_of(model)
    distinct = distinct_experts(experts, together / passes, skew)
    uneven_read, uneven_work = _unevenness(experts, together, together / passes, splits)
    share = distinct / experts.count
    size = parameters.experts * precision.bytes_of("experts") + parameters.expert_biases * precision.bytes_of("other")
    each = together * experts.active / np.maximum(distinct, 1e-9)
    rows = machine.token_rows if "experts" in method.padded else 1
    filled = padded(each, rows) / np.maximum(each, 1e-9) if rows > 1 else np.ones(())
    shards = splits.expert_shards * token_shards
    useful = 2 * parameters.multiplied("experts") * together / shards
    work = {precision.rate("experts"): useful * np.maximum(uneven_work, filled)}
    read = np.minimum(share * uneven_read, 1.0) * size / splits.expert_shards * passes
    return bounds(machine, method, "experts", work, useful, read)


def _unevenness(experts: Experts, together: Array, at_once: Array, splits: Splits) -> tuple[Array, Array]:
    """(busiest rank's experts over the mean, its token-expert pairs over the mean), 1 without expert parallelism."""
    shape = np.broadcast_shapes(together.shape, at_once.shape, splits.ep.shape)
    read, work = np.ones(shape), np.ones(shape)
    tokens, now = np.broadcast_to(together, shape), np.broadcast_to(at_once, shape)
    ranks_of = np.broadcast_to(splits.ep, shape)
    for ranks in np.unique(splits.ep).tolist():
        if ranks > 1:
            here = ranks_of == ranks
            uniform = distinct_experts(experts, now[here])
            busiest = busiest_rank_experts(experts, now[here], ranks) * ranks
            read[here] = np.maximum(busiest / np.maximum(uniform, 1e-9), 1.0)
            work[here] = straggler(experts, tokens[here], ranks)
    return read, work


def _cache_bounds(
    model: LanguageModel,
    precision: Precision,
    machine: Machine,
    method: Method,
    sequences: Array,
    context: Array,
    splits: Splits,
    runtime: Runtime,
) -> Bounds:
    flops = sequences * decode_attention_flops(model, context) / (splits.tp * splits.cp)
    kept = sequences * kv_bytes(model, precision, context, window_aware=True)
    read = kept / splits.kv_shards(model.attention.cache_heads, runtime.split_kv, machine.ranks)
    return bounds(machine, method, "attention", {precision.attention: flops}, flops, read)


def decode_step(
    model: LanguageModel,
    precision: Precision,
    machine: Machine,
    method: Method,
    splits: Splits,
    batch: Values,
    context: Values,
    runtime: Runtime | None = None,
) -> StepTime:
    """Time of one decode step of `batch` sequences with `context` cached tokens each; everything broadcasts.

    batch counts the sequences of all replicas, spread evenly, fractions being averages; below dp x pp some idle,
    and the time is that of one sequence.

    Raises:
        ModelError: a matmul rate that the chip does not have, or a group that its fabric does not.
    """
    chosen = runtime or Runtime()
    sequences = np.maximum(array(batch) / (splits.dp * splits.pp), 1.0)
    # Idle replicas send nothing: fewer sequences than replicas are not rounded up for the experts.
    together = np.maximum(array(batch) / (splits.dp * splits.pp) * splits.expert_replicas, 1.0)
    pace = np.ceil(model.layers / splits.pp) * splits.pp / model.layers
    tokens = dict.fromkeys(DENSE_CLASSES, sequences)
    stretched = [
        dense_bounds(model, precision, machine, method, tokens, splits.tp, splits.tp),
        expert_bounds(model, precision, machine, method, together, splits, chosen.skew),
        _cache_bounds(model, precision, machine, method, sequences, array(context), splits, chosen),
    ]
    dense, experts, attention = (Bounds(b.compute * pace, b.memory * pace, b.flops, b.bytes) for b in stretched)
    collectives = (
        layer_collectives(model, precision, machine, method, sequences, splits),
        decode_context_collectives(model, machine, method, sequences, splits),
    )
    return StepTime(
        dense=dense,
        experts=experts,
        attention=attention,
        collectives=exposed_time(method, *collectives),
        fixed=method.fixed.value * model.layers * pace,
    )
