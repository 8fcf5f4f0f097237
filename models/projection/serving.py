"""A serving point: requests with a prompt and an answer, a number of them running at a time.

All chips do both phases. In one cycle every running request is replaced once: its prompt is processed, and its answer
decoded in steps that all requests share,

    cycle = batch x prefill of one prompt / (dp x pp) + answer tokens x decode step(prompt + answer / 2),
    tokens per second = batch x answer tokens / cycle.

Short prompts are processed several at a time, up to `PROMPT_TOKENS` tokens, so that they share the reading of weights.
TTFT is the prefill of one prompt with nothing ahead of it; queueing is not modelled. TPOT is the decode step alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from trnlab.models.arrays import Array, Values, array
from trnlab.models.parallel.partitioning import Splits
from trnlab.models.projection.constants import Layer
from trnlab.models.projection.decode import StepTime, decode_step
from trnlab.models.projection.machine import Machine
from trnlab.models.projection.prefill import prefill_pass, prompts_per_second
from trnlab.models.projection.runtime import Runtime
from trnlab.models.workloads.formats import LINEAR_CLASSES, Precision
from trnlab.models.workloads.model import LanguageModel
from trnlab.models.workloads.parameters import parameters_of
from trnlab.models.workloads.work import decode_attention_flops, prefill_attention_flops

PROMPT_TOKENS: Final = 8192
"""Tokens of prompts that are processed together; assumed, a usual limit of serving software."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingTime:
    """Seconds and rates of a serving point; arrays of one shape.

    ttft_seconds, tpot_seconds; tokens_per_second of the whole deployment, prompts included in the cycle;
    decode_tokens_per_second without prompts, as a deployment whose prompts are processed elsewhere has it.
    mfu: chip-seconds that the FLOP of the cycle take at peak, each at its own rate, over those of the cycle.
    hbm_share: bytes of a decode step over what HBM could move in it.
    """

    prefill: StepTime
    decode: StepTime
    ttft_seconds: Array
    tpot_seconds: Array
    tokens_per_second: Array
    decode_tokens_per_second: Array
    chips: Array
    mfu: Array
    hbm_share: Array

    @property
    def tokens_per_second_per_user(self) -> Array:
        """What one request sees while it is decoded: 1 / TPOT."""
        return array(1 / self.tpot_seconds)

    @property
    def tokens_per_second_per_chip(self) -> Array:
        """Output tokens a second over chips, prompts included in the cycle."""
        return array(self.tokens_per_second / self.chips)


def serve(
    model: LanguageModel,
    precision: Precision,
    machine: Machine,
    layer: Layer,
    splits: Splits,
    batch: Values,
    prompt: Values,
    answer: Values,
    *,
    chunk: int | None = None,
    runtime: Runtime | None = None,
) -> ServingTime:
    """The serving point of `batch` running requests of `prompt` + `answer` tokens; everything broadcasts.

    Raises:
        ModelError: a matmul rate that the chip does not have, or a group that its fabric does not.
    """
    running, length, output = array(batch), array(prompt), array(answer)

    def prompts(together: Values) -> StepTime:
        return prefill_pass(
            model, precision, machine, layer.prefill, splits, length, prompts=together, chunk=chunk, runtime=runtime
        )

    alone = prompts(1.0)
    together = np.clip(np.floor(PROMPT_TOKENS / length), 1.0, np.maximum(running / (splits.dp * splits.pp), 1.0))
    packed = prompts(together)
    decode = decode_step(model, precision, machine, layer.decode, splits, running, length + output / 2, runtime)
    # Fewer requests than replicas and stages leave some of them without prompts, too.
    busy = np.minimum(1.0, running / (splits.dp * splits.pp))
    cycle = running / (busy * prompts_per_second(packed, splits, together)) + output * decode.total
    chips = array(splits.chips)
    needed = running * (
        _seconds_at_peak(model, precision, machine, length, np.ones(()), prefill_attention_flops(model, length))
        + output
        * _seconds_at_peak(model, precision, machine, 1.0, 1.0, decode_attention_flops(model, length + output / 2))
    )
    return ServingTime(
        prefill=alone,
        decode=decode,
        ttft_seconds=alone.total,
        tpot_seconds=decode.total,
        tokens_per_second=array(running * output / cycle),
        decode_tokens_per_second=array(running / decode.total),
        chips=chips,
        mfu=array(needed / (chips * cycle)),
        hbm_share=array(decode.bytes / (decode.total * machine.hbm_bytes_per_second)),
    )


def _seconds_at_peak(
    model: LanguageModel, precision: Precision, machine: Machine, tokens: Values, heads: Values, attention: Array
) -> Array:
    """Seconds of one chip for the FLOP of `tokens` tokens, `heads` of which pass the output head, at its peaks."""
    parameters = parameters_of(model)
    linear = sum(
        2
        * parameters.multiplied(tensor)
        * array(heads if tensor == "head" else tokens)
        / machine.rate(precision.rate(tensor))
        for tensor in LINEAR_CLASSES
    )
    return array(linear + attention / machine.rate(precision.attention))
