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
from trnlab.models.projection.method import Method, Operator
from trnlab.models.quantity import Quantity
from trnlab.models.workloads.formats import Precision
from trnlab.models.workloads.model import GroupedAttention, LanguageModel
from trnlab.models.workloads.routing import distinct_experts

Phase = Literal["decode", "prefill"]
DEFAULTS: Final[Mapping[KernelName, Quantity]] = {
    "matmul": GEMM,
    "prefill attention": ATTENTION,
    "decode attention": ATTENTION,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class UsedEfficiency:
    """Where the efficiency of one operator in one phase comes from."""

    phase: Phase
    operator: Operator
    shape: Shape
    entry: Efficiency


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
) -> dict[Operator, Shape]:
    """Per-core shapes of the main operators of one phase."""
    cores = machine.chip.cores
    sequences = max(1.0, batch / (split.dp * split.pp))
    tokens = sequences if phase == "decode" else prompt / split.cp
    found: dict[Operator, Shape] = {"dense": _dense_shape(model, precision, tokens, cores, split.tp)}
    expert = _expert_shape(model, precision, tokens, cores, split)
    if expert is not None:
        found["experts"] = expert
    attention = model.attention
    size = attention.head_dim if isinstance(attention, GroupedAttention) else attention.nope + attention.rope
    kernel: KernelName = "decode attention" if phase == "decode" else "prefill attention"
    queries = 1 if phase == "decode" else _part(prompt, split.cp)
    found["attention"] = Shape(kernel, precision.attention, queries, prompt, size)
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
        entries = {operator: table.get(machine.chip, shape) for operator, shape in wanted.items()}
        timed = {operator: entry.value for operator, entry in entries.items() if not entry.is_default}
        methods[phase] = replace(
            method,
            compute={**method.compute, **timed},
            memory={**method.memory, **timed},
            padded=method.padded and "dense" not in timed,
        )
        used += [
            UsedEfficiency(phase=phase, operator=operator, shape=wanted[operator], entry=entry)
            for operator, entry in entries.items()
        ]
    return replace(layer, decode=methods["decode"], prefill=methods["prefill"]), tuple(used)
