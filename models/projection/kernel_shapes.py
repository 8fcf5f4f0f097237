"""Which kernels a deployment would run on one core, and a layer whose efficiencies are those kernels' timelines'."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np

from trnlab.models.parallel.partitioning import Partitioning
from trnlab.models.projection.constants import ATTENTION, GEMM, Layer
from trnlab.models.projection.efficiency import Efficiency, EfficiencyTable, KernelName, Shape
from trnlab.models.projection.machine import Machine
from trnlab.models.projection.method import OPERATORS, Method, Operator
from trnlab.models.quantity import Quantity
from trnlab.models.workloads.formats import Precision, TensorClass
from trnlab.models.workloads.model import GroupedAttention, LanguageModel
from trnlab.models.workloads.parameters import parameters_of
from trnlab.models.workloads.routing import distinct_experts

Phase = Literal["decode", "prefill"]
Part = Literal["dense", "head", "experts", "attention"]
"""Operators, with the output head apart: in decode steps it is a far larger matrix than a layer's dense maps."""
_LAYER_MAPS: Final[tuple[TensorClass, ...]] = ("attention", "dense", "other")
DEFAULTS: Final[Mapping[KernelName, Quantity]] = {
    "matmul": GEMM,
    "prefill attention": ATTENTION,
    "decode attention": ATTENTION,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class UsedEfficiency:
    """Where the efficiency of one part in one phase comes from.

    memory: share of HBM bandwidth; a timed kernel has one share for both, a default is of compute alone.
    """

    phase: Phase
    operator: Part
    shape: Shape
    entry: Efficiency
    memory: Quantity

    def __str__(self) -> str:
        share = f"{self.entry.value.value:.2g}"
        if self.entry.is_default:
            share = f"compute {share}, HBM {self.memory.value:.2g}"
        return f"efficiency of {self.phase}, {self.operator}: {share}, {self.entry.origin}"


def _part(size: float, parts: float) -> int:
    """size / parts, rounded up; expectations carry rounding errors, which must not make one token two."""
    return max(1, int(np.ceil(size / parts - 1e-6)))


def _dense_shape(model: LanguageModel, precision: Precision, tokens: float, cores: int, tp: int) -> Shape:
    """The widest dense map: the feed-forward's first pair of matrices, or queries, keys and values where all route."""
    attention = model.attention
    if model.dense_layers:
        columns = 2.0 * model.ffn_width
    elif isinstance(attention, GroupedAttention):
        columns = (attention.heads + 2 * attention.kv_heads) * attention.head_dim
    else:
        columns = attention.heads * (attention.nope + attention.rope)
    rate = precision.rate("dense" if model.dense_layers else "attention")
    return Shape("matmul", rate, _part(tokens, 1), _part(columns, tp * cores), model.width)


def _expert_shape(
    model: LanguageModel, precision: Precision, tokens: float, cores: int, split: Partitioning
) -> Shape | None:
    """One core's part of all chosen experts side by side, as one kernel would go through them."""
    experts = model.experts
    if experts is None:
        return None
    together = tokens * max(1, split.ep // split.tp)
    chosen = float(distinct_experts(experts, together))
    each = together * experts.active / chosen
    columns = chosen * 2 * experts.width
    parts = max(split.tp, split.ep) * cores
    return Shape("matmul", precision.rate("experts"), _part(each, 1), _part(columns, parts), model.width)


def shapes(
    model: LanguageModel,
    precision: Precision,
    machine: Machine,
    split: Partitioning,
    batch: float,
    prompt: int,
    phase: Phase,
) -> dict[Part, Shape]:
    """Per-core shapes of the main operators of one phase; of prompts only the last token passes the output head."""
    cores = machine.chip.cores
    sequences = max(1.0, batch / (split.dp * split.pp))
    tokens = sequences if phase == "decode" else prompt / split.cp
    found: dict[Part, Shape] = {"dense": _dense_shape(model, precision, tokens, cores, split.tp)}
    if phase == "decode":
        columns = _part(model.vocabulary, split.tp * cores)
        found["head"] = Shape("matmul", precision.rate("head"), _part(tokens, 1), columns, model.width)
    expert = _expert_shape(model, precision, tokens, cores, split)
    if expert is not None:
        found["experts"] = expert
    found["attention"] = (
        _cache_shape(model, precision, sequences, prompt, split.tp * cores, split.cp)
        if phase == "decode"
        else _prompt_shape(model, precision, prompt, split.cp)
    )
    return found


def _prompt_shape(model: LanguageModel, precision: Precision, prompt: int, cp: int) -> Shape:
    """One head of a prompt, of which the core has its part of the queries."""
    attention = model.attention
    size = attention.head_dim if isinstance(attention, GroupedAttention) else attention.nope + attention.rope
    return Shape("prefill attention", precision.attention, _part(prompt, cp), prompt, size)


def _cache_shape(
    model: LanguageModel, precision: Precision, sequences: float, context: int, cores: int, cp: int
) -> Shape:
    """One core's caches of full layers: divided by key/value heads, beyond those along the sequence."""
    attention, heads = model.attention, model.attention.cache_heads
    size = attention.head_dim if isinstance(attention, GroupedAttention) else attention.cache_elements
    caches = _part(sequences * heads, min(cores, heads))
    keys = _part(context, cp * max(1.0, cores / heads))
    group = max(1, attention.heads // heads)
    return Shape("decode attention", precision.kv, caches, keys, size, group)


def _with_head(model: LanguageModel, precision: Precision, dense: Quantity, head: Quantity) -> Quantity:
    """Both parts' shares as one: bytes over (bytes / share), of the layers' maps and of the output head."""
    found = parameters_of(model)
    layers = sum(found.of(tensor) * precision.bytes_of(tensor) for tensor in _LAYER_MAPS)
    last = found.head * precision.bytes_of("head")

    def together(of_layers: float, of_head: float) -> float:
        return (layers + last) / (layers / of_layers + last / of_head)

    low, high = (together(*ends) for ends in zip(dense.interval, head.interval, strict=True))
    value = together(dense.value, head.value)
    return Quantity(value, "", f"{dense.source}; {head.source}", "derived", min(low, value), max(high, value))


def _by_operator(
    model: LanguageModel, precision: Precision, entries: Mapping[Part, Efficiency]
) -> dict[Operator, Quantity]:
    """The timed parts, the output head joined to the other dense maps where both are timed."""
    timed = {part: entry.value for part, entry in entries.items() if not entry.is_default}
    found: dict[Operator, Quantity] = {part: timed[part] for part in OPERATORS if part in timed}
    if "dense" in timed and "head" in timed:
        found["dense"] = _with_head(model, precision, timed["dense"], timed["head"])
    return found


def with_kernels(
    layer: Layer,
    table: EfficiencyTable,
    model: LanguageModel,
    precision: Precision,
    machine: Machine,
    split: Partitioning,
    batch: float,
    prompt: int,
) -> tuple[Layer, tuple[UsedEfficiency, ...]]:
    """The layer with the timelines' efficiencies where a kernel covers the operator, and where each comes from."""
    used: list[UsedEfficiency] = []
    methods: dict[Phase, Method] = {"decode": layer.decode, "prefill": layer.prefill}
    for phase, method in methods.items():
        wanted = shapes(model, precision, machine, split, batch, prompt, phase)
        entries = {part: table.get(machine.chip, shape) for part, shape in wanted.items()}
        timed = _by_operator(model, precision, entries)
        methods[phase] = replace(
            method,
            compute={**method.compute, **timed},
            memory={**method.memory, **timed},
            padded=method.padded - timed.keys(),
        )
        used += [
            UsedEfficiency(
                phase=phase,
                operator=part,
                shape=wanted[part],
                entry=entry,
                memory=methods[phase].memory["dense" if part == "head" else part],
            )
            for part, entry in entries.items()
        ]
    return replace(layer, decode=methods["decode"], prefill=methods["prefill"]), tuple(used)
