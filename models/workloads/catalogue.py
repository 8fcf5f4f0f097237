"""Published language models as shapes. Sources are the publishers' own configurations; totals are their model cards'.

Parameters are published in billions with two to four digits; a test holds the arithmetic to 0.3 % of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from trnlab.models.quantity import ModelError
from trnlab.models.workloads.model import Experts, GroupedAttention, LanguageModel, LatentAttention

_META: Final = "Meta, config.json and model card"
_QWEN: Final = "Alibaba Qwen, config.json and model card"
_MISTRAL: Final = "Mistral AI, config.json and announcement"
_OPENAI: Final = "OpenAI, gpt-oss config.json, reference code and model card (arXiv 2508.10925)"
_DEEPSEEK: Final = "DeepSeek, config.json and technical report (arXiv 2412.19437); the MTP head is left out"


def _gpt_oss(size: str, layers: int, experts: int, total: float, active: float) -> LanguageModel:
    """Even layers slide over 128 tokens, odd ones see everything."""
    return LanguageModel(
        name=f"gpt-oss-{size}",
        source=_OPENAI,
        layers=layers,
        width=2880,
        vocabulary=201_088,
        attention=GroupedAttention(
            heads=64,
            kv_heads=8,
            head_dim=64,
            qkv_bias=True,
            output_bias=True,
            sinks=True,
            window=128,
            window_layers=layers // 2,
        ),
        experts=Experts(count=experts, active=4, width=2880, router_bias=True, expert_bias=True),
        experts_format="mxfp4",
        published_total=total,
        published_active=active,
    )


def _dense(
    name: str,
    source: str,
    shape: tuple[int, int, int, int],
    heads: tuple[int, int, int],
    total: float,
    *,
    head_norm: bool = False,
) -> LanguageModel:
    """shape: layers, width, feed-forward width, vocabulary; heads: query heads, key/value heads, head size."""
    layers, width, ffn_width, vocabulary = shape
    return LanguageModel(
        name=name,
        source=source,
        layers=layers,
        width=width,
        vocabulary=vocabulary,
        ffn_width=ffn_width,
        attention=GroupedAttention(heads=heads[0], kv_heads=heads[1], head_dim=heads[2], head_norm=head_norm),
        published_total=total,
    )


def _routed(
    name: str,
    source: str,
    shape: tuple[int, int, int],
    heads: tuple[int, int, int],
    experts: tuple[int, int, int],
    published: tuple[float, float],
    *,
    head_norm: bool = False,
) -> LanguageModel:
    """shape: layers, width, vocabulary; experts: count, active, inner width."""
    layers, width, vocabulary = shape
    return LanguageModel(
        name=name,
        source=source,
        layers=layers,
        width=width,
        vocabulary=vocabulary,
        attention=GroupedAttention(heads=heads[0], kv_heads=heads[1], head_dim=heads[2], head_norm=head_norm),
        experts=Experts(count=experts[0], active=experts[1], width=experts[2]),
        published_total=published[0],
        published_active=published[1],
    )


_DEEPSEEK_V3: Final = LanguageModel(
    name="DeepSeek-V3",
    source=_DEEPSEEK,
    layers=61,
    width=7168,
    vocabulary=129_280,
    ffn_width=18_432,
    attention=LatentAttention(heads=128, q_rank=1536, kv_rank=512, nope=128, rope=64, value=128),
    experts=Experts(count=256, active=8, width=2048, shared_width=2048, dense_layers=3, router_bias=True),
    published_total=671e9,
    published_active=37e9,
)

MODELS: Final[Mapping[str, LanguageModel]] = {
    model.name.lower(): model
    for model in (
        _gpt_oss("20b", 24, 32, 20.91e9, 3.61e9),
        _gpt_oss("120b", 36, 128, 116.83e9, 5.13e9),
        _dense("Llama-3.1-8B", _META, (32, 4096, 14_336, 128_256), (32, 8, 128), 8.03e9),
        _dense("Llama-3.1-70B", _META, (80, 8192, 28_672, 128_256), (64, 8, 128), 70.6e9),
        _dense("Llama-3.1-405B", _META, (126, 16_384, 53_248, 128_256), (128, 8, 128), 405e9),
        _dense("Llama-2-7B", _META, (32, 4096, 11_008, 32_000), (32, 32, 128), 6.74e9),
        _dense("Llama-2-13B", _META, (40, 5120, 13_824, 32_000), (40, 40, 128), 13.02e9),
        _dense("Llama-2-70B", _META, (80, 8192, 28_672, 32_000), (64, 8, 128), 68.98e9),
        _dense("Mistral-7B", _MISTRAL, (32, 4096, 14_336, 32_000), (32, 8, 128), 7.24e9),
        _dense("Qwen3-32B", _QWEN, (64, 5120, 25_600, 151_936), (64, 8, 128), 32.8e9, head_norm=True),
        _routed(
            "Qwen3-30B-A3B",
            _QWEN,
            (48, 2048, 151_936),
            (32, 4, 128),
            (128, 8, 768),
            (30.5e9, 3.3e9),
            head_norm=True,
        ),
        _routed(
            "Qwen3-235B-A22B",
            _QWEN,
            (94, 4096, 151_936),
            (64, 4, 128),
            (128, 8, 1536),
            (235e9, 22e9),
            head_norm=True,
        ),
        _routed(
            "Mixtral-8x7B",
            _MISTRAL,
            (32, 4096, 32_000),
            (32, 8, 128),
            (8, 2, 14_336),
            (46.7e9, 12.9e9),
        ),
        _DEEPSEEK_V3,
    )
}
"""By lower-case name."""


def get_model(name: str | LanguageModel) -> LanguageModel:
    """The model of that name, in any case.

    Raises:
        ModelError: no such model; a Hugging Face config.json is read by `read_config`.
    """
    if isinstance(name, LanguageModel):
        return name
    found = MODELS.get(name.lower())
    if found is None:
        names = ", ".join(model.name for model in MODELS.values())
        raise ModelError("model", name, f"{names}, or the path of a Hugging Face config.json")
    return found
