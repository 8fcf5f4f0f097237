"""FLOP and bytes against loops over tokens and keys."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, strategies as st

from trnlab.models.workloads.catalogue import MODELS, get_model
from trnlab.models.workloads.formats import get_precision
from trnlab.models.workloads.model import LanguageModel, LatentAttention
from trnlab.models.workloads.parameters import linear_flops_per_token, parameters_of
from trnlab.models.workloads.work import (
    attention_intensity,
    causal_pairs,
    decode_attention_flops,
    kv_bytes,
    kv_elements_per_token,
    megatron_flops_per_token,
    prefill_attention_flops,
    prefill_flops,
    training_flops_per_token,
    visible_keys,
)

BF16 = get_precision("bf16")
ALL = list(MODELS.values())


def pairs_by_loop(model: LanguageModel, tokens: int) -> int:
    """Count (query, key) pairs one query at a time, layer by layer."""
    window = model.attention.window
    full = sum(query + 1 for query in range(tokens))
    near = sum(min(query + 1, window) for query in range(tokens))
    return model.full_layers * full + model.attention.window_layers * near


@given(model=st.sampled_from(ALL), tokens=st.integers(1, 700))
def test_causal_pairs_are_those_of_the_loop(model: LanguageModel, tokens: int) -> None:
    assert float(causal_pairs(model, tokens)) == pairs_by_loop(model, tokens)


def test_prefill_of_gpt_oss_is_the_published_brute_force() -> None:
    assert float(prefill_attention_flops(get_model("gpt-oss-120b"), 1000)) == 182_955_147_264


@given(model=st.sampled_from(ALL), tokens=st.integers(1, 300))
def test_a_prompt_is_the_sum_of_its_decode_steps(model: LanguageModel, tokens: int) -> None:
    """Causal attention of a prompt visits the keys that decoding token by token would."""
    steps = sum(float(visible_keys(model, length)) for length in range(1, tokens + 1))
    assert float(causal_pairs(model, tokens)) == steps


# Elements per token over all layers, and GB of an 8k sequence in bf16 (all layers, windows regarded): the fact base.
@pytest.mark.parametrize(
    ("name", "elements", "megabytes", "window_aware"),
    [
        ("gpt-oss-20b", 24_576, 402.7, 204.5),
        ("gpt-oss-120b", 36_864, 604.0, 306.7),
        ("Llama-3.1-8B", 65_536, 1073.7, 1073.7),
        ("Llama-3.1-70B", 163_840, 2684.4, 2684.4),
        ("Llama-3.1-405B", 258_048, 4227.9, 4227.9),
        ("Qwen3-32B", 131_072, 2147.5, 2147.5),
        ("Qwen3-235B-A22B", 96_256, 1577.1, 1577.1),
        ("DeepSeek-V3", 35_136, 575.7, 575.7),
        ("Mixtral-8x7B", 65_536, 1073.7, 1073.7),
    ],
)
def test_the_cache_is_the_published_size(name: str, elements: int, megabytes: float, window_aware: float) -> None:
    model = get_model(name)
    assert kv_elements_per_token(model) == elements
    assert float(kv_bytes(model, BF16, 8192, window_aware=False)) / 1e6 == pytest.approx(megabytes, abs=0.06)
    assert float(kv_bytes(model, BF16, 8192)) / 1e6 == pytest.approx(window_aware, abs=0.06)


@pytest.mark.parametrize(
    ("name", "share"),
    [
        ("gpt-oss-120b", 10.8),
        ("Llama-3.1-8B", 12.5),
        ("Llama-3.1-70B", 7.2),
        ("Llama-3.1-405B", 4.0),
        ("Qwen3-235B-A22B", 22.6),
        ("DeepSeek-V3", 21.8),
        ("Mixtral-8x7B", 7.8),
    ],
)
def test_attentions_share_of_an_8k_prompt_is_the_published_one(name: str, share: float) -> None:
    model = get_model(name)
    attention = float(prefill_attention_flops(model, 8192))
    total = float(prefill_flops(model, 8192, head_everywhere=True))
    assert 100 * attention / total == pytest.approx(share, abs=0.1)


def test_a_prompt_passes_the_output_head_once() -> None:
    model = get_model("gpt-oss-120b")
    saved = float(prefill_flops(model, 100, head_everywhere=True) - prefill_flops(model, 100))
    assert saved == pytest.approx(99 * 2 * 201_088 * 2880, rel=1e-12)
    assert float(prefill_flops(model, 1)) == pytest.approx(
        linear_flops_per_token(model) + float(decode_attention_flops(model, 1)), rel=1e-12
    )


def test_latent_attention_does_far_more_work_per_byte() -> None:
    deepseek = get_model("DeepSeek-V3")
    assert isinstance(deepseek.attention, LatentAttention)
    # 2 x 128 heads x (512 + 64 + 512) FLOP over 576 elements of 2 bytes.
    assert attention_intensity(deepseek, BF16) == pytest.approx(2 * 128 * 1088 / (2 * 576))
    assert attention_intensity(get_model("Llama-3.1-70B"), BF16) == 8.0  # 8 query heads share a key


@pytest.mark.parametrize(
    ("name", "gigaflops"),
    [("DeepSeek-V3", 281), ("Llama-3.1-70B", 449), ("Llama-3.1-405B", 2524), ("gpt-oss-120b", 34.5)],
)
def test_training_work_is_the_published_one(name: str, gigaflops: float) -> None:
    found = float(training_flops_per_token(get_model(name), 8192))
    assert found / 1e9 == pytest.approx(gigaflops, rel=0.002)
    assert float(training_flops_per_token(get_model(name), 8192, recompute=True)) == pytest.approx(4 / 3 * found)


def test_megatrons_formula_agrees_with_counting_matrices() -> None:
    # GPT-3: 4 d^2 of attention, 8 d^2 of feed-forward, a head; scores and values over all pairs; 4 passes.
    layers, d, sequence, vocabulary = 96, 12_288, 2048, 51_200
    per_token = 2 * layers * 12 * d * d + 4 * layers * d * sequence
    head = 2 * d * vocabulary
    expected = 4 * per_token + 3 * head
    assert megatron_flops_per_token(layers, d, vocabulary, sequence) == pytest.approx(expected, rel=1e-12)


def test_formulas_broadcast() -> None:
    model = get_model("gpt-oss-120b")
    contexts = np.array([[1], [100], [5000]])
    assert kv_bytes(model, BF16, contexts).shape == (3, 1)
    assert kv_bytes(model, BF16, contexts)[2, 0] == kv_bytes(model, BF16, 5000)
    assert parameters_of(model).active > 0
