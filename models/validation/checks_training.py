"""Cross-checks of training: FLOP, time, utilisation and memory of published runs."""

from __future__ import annotations

import math
from functools import partial
from typing import Final

from trnlab.models.projection.training import activation_bytes, training_days
from trnlab.models.validation.checks import (
    CALCULON,
    KORTHIKANTI,
    LLM_ANALYSIS,
    MEGATRON,
    NLG,
    SCALING_BOOK,
    CrossCheck,
    plain_model,
)
from trnlab.models.workloads.catalogue import get_model
from trnlab.models.workloads.model import LanguageModel
from trnlab.models.workloads.parameters import parameters_of
from trnlab.models.workloads.work import megatron_flops_per_token, prefill_attention_flops

_BOOK = partial(CrossCheck, source=SCALING_BOOK)


def _run_days(layers: int, width: int, gpus: int, teraflops: float, tokens: float = 300e9) -> float:
    """Days of a Megatron run that recomputes everything."""
    work = megatron_flops_per_token(layers, width, 51_200, 2048) * tokens
    return work / (gpus * teraflops * 1e12) / 86_400


def _step_seconds(gpus: int, teraflops: float) -> float:
    """Seconds of a step of MT-NLG 530B: 1,920 sequences of 2,048 tokens."""
    return megatron_flops_per_token(105, 20_480, 51_200, 2048) * 1920 * 2048 / (gpus * teraflops * 1e12)


def _llama(layers: int, width: int, ffn_width: int, heads: int) -> LanguageModel:
    return plain_model(layers, width, ffn_width, 32_000, (heads, heads, 128))


def _gpu_hours(model: LanguageModel, tokens: float) -> float:
    """A100 hours at 50 % of 312 TFLOP/s; attention is counted without its causal half, as the tool does."""
    attention = 2 * float(prefill_attention_flops(model, 2048)) / 2048
    per_token = 6 * parameters_of(model).active + 3 * attention
    return per_token * tokens / (0.5 * 312e12) / 3600


def _activations_gib(layers: int, width: int, heads: int, batch: int, stages: int, interleave: int) -> float:
    """GiB of activations without recomputation, tensor parallelism 8, on the first of interleaved stages."""
    layer = float(activation_bytes(width, heads, 2048, batch, 8))
    waiting = 1 + (stages - 1) / (stages * interleave)
    return layer * layers * waiting / 2**30


def _largest_model_utilisation() -> float:
    """MFU in percent: 72 / 96 of the recomputing run's FLOP, 3,072 A100, 131.9 s a step."""
    work = 72 / 96 * megatron_flops_per_token(128, 25_600, 51_200, 2048) * 3072 * 2048
    return 100 * work / (3072 * 312e12 * 131.9)


def _checkpoints_tb(copies: int) -> float:
    """TB of checkpoints of Llama-70B's layer inputs, 4 M tokens in bf16."""
    return copies * 2 * 8192 * 80 * 4e6 / 1e12


_HOURS = (
    ("7B", _llama(32, 4096, 11_008, 32), 1.0e12, 77_832, 82_432),
    ("13B", _llama(40, 5120, 13_824, 40), 1.0e12, 148_047, 135_168),
    ("33B", _llama(60, 6656, 17_920, 52), 1.4e12, 510_213, 530_432),
    ("65B", _llama(80, 8192, 22_016, 64), 1.4e12, 1_015_701, 1_022_362),
)
_MEMORY = (
    ("22B", (48, 6144, 64, 4, 1, 1), 59.25),
    ("175B", (96, 12_288, 96, 1, 8, 3), 66.84),
    ("530B", (105, 20_480, 128, 1, 35, 3), 114.0),
    ("1T", (128, 25_600, 160, 1, 64, 10**9), 131.25),
)

TRAINING_CHECKS: Final[tuple[CrossCheck, ...]] = (
    _BOOK(
        name="5 parameters of Llama-2-13B",
        inputs="L 40, D 5120, F 13824",
        unit="B parameters",
        expected=13.1,
        compute=lambda: parameters_of(get_model("Llama-2-13B")).total / 1e9,
    ),
    _BOOK(
        name="11 FLOP of a training run",
        inputs="70B x 15e12 tokens",
        unit="YFLOP",
        expected=6.3,
        compute=lambda: training_days(70e9, 15e12, 1, 1e24) * 86_400,
    ),
    _BOOK(
        name="12 its days on 8,960 v5p",
        inputs="4.59e14 FLOP/s at 40 %",
        unit="day",
        expected=44,
        compute=lambda: training_days(70e9, 15e12, 8960, 0.4 * 4.59e14),
    ),
    _BOOK(
        name="13 MFU of DeepSeek-V3",
        inputs="2.79 M H800 hours, 37B active, 14.8e12 tokens, 1.513e15 FLOP/s",
        unit="%",
        expected=21.7,
        compute=lambda: 100 * training_days(37e9, 14.8e12, 1, 1.513e15) * 24 / 2.79e6,
    ),
    _BOOK(
        name="21 best degree of data parallelism",
        inputs="sqrt(2 B N / F), B 4.19e6, N 8960, F 28672",
        unit="",
        expected=1618,
        compute=lambda: math.sqrt(2 * 4.19e6 * 8960 / 28_672),
    ),
    _BOOK(
        name="22 checkpoints of Llama-70B",
        inputs="4 M tokens, 4 checkpoints a layer",
        unit="TB",
        expected=20.9,
        compute=lambda: _checkpoints_tb(4),
        flaw="the text says 3 a layer, which make 15.7 TB",
    ),
    CrossCheck(
        name="23 GPT-175B on 384 A100",
        source=MEGATRON,
        inputs="300e9 tokens, 153 TFLOP/s",
        unit="day",
        expected=84,
        compute=lambda: _run_days(96, 12_288, 384, 153),
    ),
    CrossCheck(
        name="24 GPT-175B on 1,536 A100",
        source=MEGATRON,
        inputs="300e9 tokens, 141 TFLOP/s",
        unit="day",
        expected=23,
        compute=lambda: _run_days(96, 12_288, 1536, 141),
    ),
    CrossCheck(
        name="25 GPT-530B on 560 A100",
        source=MEGATRON,
        inputs="300e9 tokens, 171 TFLOP/s",
        unit="day",
        expected=156,
        compute=lambda: _run_days(105, 20_480, 560, 171),
    ),
    CrossCheck(
        name="26 step of MT-NLG on 2,240 A100",
        source=NLG,
        inputs="batch 1,920, 126 TFLOP/s",
        unit="s",
        expected=60.1,
        compute=lambda: _step_seconds(2240, 126),
    ),
    CrossCheck(
        name="27 step of MT-NLG on 2,800 A100",
        source=NLG,
        inputs="batch 1,920, 121 TFLOP/s",
        unit="s",
        expected=50.2,
        compute=lambda: _step_seconds(2800, 121),
    ),
    *(
        CrossCheck(
            name=f"30 A100 hours of LLaMA-{size}",
            source=LLM_ANALYSIS,
            inputs=f"{tokens:.1e} tokens at 50 %; {paper:,} in the paper",
            unit="h",
            expected=hours,
            tolerance=0.02,
            compute=partial(_gpu_hours, model, tokens),
        )
        for size, model, tokens, hours, paper in _HOURS
    ),
    *(
        CrossCheck(
            name=f"33 activations of {size}",
            source=KORTHIKANTI,
            inputs="no recomputation, tensor parallelism 8",
            unit="GiB",
            expected=gib,
            compute=partial(_activations_gib, *shape),
        )
        for size, shape, gib in _MEMORY
    ),
    CrossCheck(
        name="34 MFU of a 1T model",
        source=CALCULON,
        inputs="3,072 A100, batch 3,072, 131.9 s",
        unit="%",
        expected=30.46,
        compute=_largest_model_utilisation,
    ),
)
