"""Processing prompts: the time until the first token, and how many prompts a second.

Linear maps of every token, attention over all earlier ones, the output head for the last token only. Long prompts may
go in chunks, each of which reads the weights and the cache so far again. With a pipeline one prompt passes the stages
one after the other; as many prompts as stages are then on their way, which is what `prompts_per_second` counts.
"""

from __future__ import annotations

import numpy as np

from trnlab.models.arrays import Array, Values, array
from trnlab.models.parallel.partitioning import Splits
from trnlab.models.projection.decode import Bounds, StepTime, bounds, dense_bounds, expert_bounds
from trnlab.models.projection.machine import Machine
from trnlab.models.projection.method import Method
from trnlab.models.projection.runtime import Runtime
from trnlab.models.projection.step_collectives import (
    exposed_time,
    layer_collectives,
    prefill_context_collectives,
)
from trnlab.models.workloads.formats import Precision, TensorClass
from trnlab.models.workloads.model import LanguageModel
from trnlab.models.workloads.work import kv_bytes, prefill_attention_flops


def prefill_pass(
    model: LanguageModel,
    precision: Precision,
    machine: Machine,
    method: Method,
    splits: Splits,
    tokens: Values,
    *,
    prompts: Values = 1.0,
    chunk: int | None = None,
    runtime: Runtime | None = None,
) -> StepTime:
    """Time for one replica to process `prompts` prompts of `tokens` tokens each, together; everything broadcasts.

    chunk: tokens of a prompt that are processed at a time; all of them when None.

    Raises:
        ModelError: a matmul rate that the chip does not have, or a group that its fabric does not.
    """
    chosen = runtime or Runtime()
    length, count = array(tokens), array(prompts)
    passes = np.ones(()) if chunk is None else np.ceil(length / chunk)
    every = length * count
    by_class: dict[TensorClass, Array] = {"attention": every, "dense": every, "head": count}
    pace = np.ceil(model.layers / splits.pp) * splits.pp / model.layers
    chips = splits.tp * splits.cp
    stretched = [
        dense_bounds(model, precision, machine, method, by_class, chips, splits.tp, passes),
        expert_bounds(
            model,
            precision,
            machine,
            method,
            every * splits.expert_replicas,
            splits,
            chosen.skew,
            token_shards=splits.cp,
            passes=passes,
        ),
        _attention_bounds(model, precision, machine, method, length, count, splits, passes, chosen),
    ]
    dense, experts, attention = (Bounds(b.compute * pace, b.memory * pace, b.flops, b.bytes) for b in stretched)
    collectives = (
        layer_collectives(model, precision, machine, method, every / splits.cp / passes, splits, passes),
        prefill_context_collectives(model, precision, machine, every, splits, passes),
    )
    return StepTime(
        dense=dense,
        experts=experts,
        attention=attention,
        collectives=exposed_time(method, *collectives),
        fixed=method.fixed.value * model.layers * pace * passes,
    )


def prompts_per_second(step: StepTime, splits: Splits, prompts: Values = 1.0) -> Array:
    """Prompts a second of all replicas, every stage of the pipeline busy: dp x pp x prompts / time."""
    return array(splits.dp * splits.pp * array(prompts) / step.total)


def _attention_bounds(
    model: LanguageModel,
    precision: Precision,
    machine: Machine,
    method: Method,
    length: Array,
    prompts: Array,
    splits: Splits,
    passes: Array,
    runtime: Runtime,
) -> Bounds:
    """Attention of the prompts; the cache is written once and read by every later chunk: (chunks + 1) / 2 times."""
    flops = prompts * prefill_attention_flops(model, length) / (splits.tp * splits.cp)
    cached = prompts * kv_bytes(model, precision, length, window_aware=runtime.window_aware)
    moved = (
        cached * (1 + (passes + 1) / 2) / splits.kv_shards(model.attention.cache_heads, runtime.split_kv, machine.ranks)
    )
    return bounds(machine, method, "attention", {precision.attention: flops}, flops, moved)
