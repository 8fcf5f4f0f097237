"""A training step: forward, backward and update of a global batch, with its memory.

    time = compute x (micro-batches + pp - 1) / micro-batches x pace + collectives

where the pace of a pipeline is that of its longest stage, ceil(layers / pp) pp / layers.

Compute is 3 times a forward pass over the model's own FLOP, each at its rate and efficiency; full recomputation adds a
fourth, selective the attention of one. Collectives are those of `training_collectives`. Activations follow Korthikanti
et al., "Reducing Activation Recomputation in Large Transformer Models" (arXiv 2205.05198), equations 2 to 6, which are
of a GPT layer with a feed-forward of 4 times its width; with full recomputation they hold for every layer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from trnlab.models.arrays import Array, Values, array
from trnlab.models.parallel.memory import USABLE
from trnlab.models.parallel.partitioning import Splits
from trnlab.models.projection.machine import Machine
from trnlab.models.projection.method import Method, Operator
from trnlab.models.projection.step_collectives import exposed_time
from trnlab.models.projection.training_collectives import training_collectives
from trnlab.models.projection.training_states import States, states
from trnlab.models.quantity import ModelError
from trnlab.models.workloads.formats import Precision, TensorClass
from trnlab.models.workloads.model import LanguageModel
from trnlab.models.workloads.parameters import parameters_of
from trnlab.models.workloads.work import prefill_attention_flops

Recompute = Literal["none", "selective", "full"]
RECOMPUTE: Final[tuple[Recompute, ...]] = ("none", "selective", "full")
_OPERATORS: Final[dict[TensorClass, Operator]] = {
    "head": "dense",
    "attention": "dense",
    "dense": "dense",
    "experts": "experts",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingStep:
    """Seconds, and bytes on the fullest chip; arrays of one shape.

    ideal: seconds of the model's own FLOP at peak, recomputation not counted.
    """

    compute: Array
    bubble: Array
    collectives: Array
    tokens: Array
    chips: Array
    ideal: Array
    states: States
    activations: Array
    available: Array

    @property
    def total(self) -> Array:
        """Seconds of the step."""
        return self.compute + self.bubble + self.collectives

    @property
    def mfu(self) -> Array:
        """Model FLOP utilisation: ideal / total."""
        return array(self.ideal / self.total)

    @property
    def tokens_per_second_per_chip(self) -> Array:
        """Tokens trained per second and chip."""
        return array(self.tokens / self.total / self.chips)

    @property
    def memory(self) -> Array:
        """Bytes on the fullest chip."""
        return array(sum(self.states) + self.activations)

    @property
    def fits(self) -> Array:
        """1 where it fits the chip's memory, 0 where not."""
        return array(self.memory <= self.available)


def activation_bytes(
    width: int,
    heads: int,
    sequence: Values,
    micro_batch: Values,
    tp: Values,
    *,
    recompute: Recompute = "none",
    sequence_parallel: bool = False,
) -> Array:
    """Bytes that one layer keeps for the backward pass, on one chip, with 2-byte activations.

    none: s b h (10 + 24 / t + 5 a s / (h t)); with sequence parallelism all of it over t. selective: without the
    attention term, which is recomputed. full: 2 s b h, the layer's input (over t with sequence parallelism).

    Raises:
        ModelError: an unknown kind of recomputation.
    """
    if recompute not in RECOMPUTE:
        raise ModelError("recomputation", recompute, ", ".join(RECOMPUTE))
    size, t = array(sequence) * micro_batch * width, array(tp)
    outside = t if sequence_parallel else np.ones(())
    if recompute == "full":
        return array(2 * size / outside)
    scores = 5 * heads * array(sequence) / (width * t) if recompute == "none" else 0.0
    return array(size * (10 / outside + 24 / t + scores))


def pipeline_bubble(stages: Values, micro_batches: Values) -> Array:
    """Share of a step in which stages wait: (p - 1) / (m + p - 1)."""
    p, m = array(stages), array(micro_batches)
    return array((p - 1) / (m + p - 1))


def training_step(
    model: LanguageModel,
    precision: Precision,
    machine: Machine,
    method: Method,
    splits: Splits,
    sequence: int,
    batch: int,
    *,
    micro_batch: int = 1,
    recompute: Recompute = "full",
) -> TrainingStep:
    """One step over `batch` sequences of `sequence` tokens; weights are kept in bf16, sequence-parallel activations.

    What is kept of the parameters is that of `training_states`.

    Raises:
        ModelError: an unknown kind of recomputation, a batch that dp x micro_batch does not divide, a matmul rate that
            the chip does not have, or a group that its fabric does not.
    """
    per_pass = splits.dp * micro_batch
    if np.any(batch % per_pass):
        raise ModelError("batch of a training step", batch, f"multiples of dp x micro_batch = {per_pass.tolist()}")
    layer = activation_bytes(
        model.width,
        model.attention.heads,
        sequence,
        micro_batch,
        splits.tp,
        recompute=recompute,
        sequence_parallel=True,
    )
    micro_batches = array(batch / per_pass)
    chips, tokens = array(splits.chips), array(batch * sequence)
    pace = np.ceil(model.layers / splits.pp) * splits.pp / model.layers
    compute = _passes(_forward_seconds(model, precision, machine, method, sequence), recompute) * tokens / chips
    talk = training_collectives(
        model, precision, machine, splits, sequence * micro_batch, micro_batches, again=recompute == "full"
    )
    ideal = 3 * sum(_forward_seconds(model, precision, machine, None, sequence)) * tokens / chips
    # A first stage keeps the activations of as many micro-batches as there are stages: the layers of the whole model.
    kept = np.minimum(micro_batches, splits.pp) * np.ceil(model.layers / splits.pp)
    return TrainingStep(
        compute=compute,
        bubble=compute * (pace * (1 + (splits.pp - 1) / micro_batches) - 1),
        collectives=exposed_time(method, talk),
        tokens=tokens,
        chips=chips,
        ideal=array(ideal),
        states=states(model, splits),
        activations=array(layer * kept / splits.cp),
        available=array(USABLE.value * machine.hbm_bytes),
    )


def _passes(forward: tuple[float, float], recompute: Recompute) -> float:
    """Forward, twice as much backward, and what is computed again: nothing, attention, or all of forward."""
    linear, attention = forward
    again = {"none": 0.0, "selective": attention, "full": linear + attention}[recompute]
    return 3 * (linear + attention) + again


def _forward_seconds(
    model: LanguageModel, precision: Precision, machine: Machine, method: Method | None, sequence: int
) -> tuple[float, float]:
    """Chip-seconds of one token's forward pass, linear maps and attention, at peak or at the method's efficiencies."""
    parameters = parameters_of(model)

    def share(operator: Operator) -> float:
        return 1.0 if method is None else method.compute[operator].value

    linear = sum(
        2 * parameters.multiplied(tensor) / machine.rate(precision.rate(tensor)) / share(operator)
        for tensor, operator in _OPERATORS.items()
    )
    attention = float(prefill_attention_flops(model, sequence)) / sequence
    return linear, attention / machine.rate(precision.attention) / share("attention")


def training_days(parameters: float, tokens: float, chips: float, flops_per_second: float) -> float:
    """Days to train: 6 x parameters x tokens over chips x achieved FLOP/s."""
    return 6 * parameters * tokens / (chips * flops_per_second) / 86_400


def upper_bound(model: LanguageModel, precision: Precision, machine: Machine, sequence: int, mfu: float) -> float:
    """Tokens per second and chip at a model FLOP utilisation: mfu / (3 x seconds of a forward token at peak).

    Raises:
        ModelError: mfu outside 0 to 1.
    """
    if not 0 < mfu <= 1:
        raise ModelError("mfu", mfu, "above 0, at most 1")
    return mfu / (3 * sum(_forward_seconds(model, precision, machine, None, sequence)))
