"""A Hugging Face `config.json` as a `LanguageModel`.

Read are the architectures whose layers this package models; another `model_type` is refused rather than guessed. Every
field that is needed and absent, or not of the right kind, is named in the error.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from trnlab.models.quantity import ModelError
from trnlab.models.workloads.model import Experts, GroupedAttention, LanguageModel, LatentAttention


class Config:
    """The fields of one config.json, read with their names in the errors."""

    def __init__(self, values: Mapping[str, Any], origin: str) -> None:
        self.values, self.origin = values, origin

    def whole(self, name: str, default: int | None = None, *, least: int = 1) -> int:
        """A whole number >= least; a missing or null one is the default, if there is one.

        Raises:
            ModelError: missing without a default, or not such a number.
        """
        value = self.values.get(name)
        if value is None:
            if default is None:
                raise ModelError(f"{name} in {self.origin}", "nothing", f"a whole number >= {least}")
            return default
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ModelError(f"{name} in {self.origin}", value, f"a whole number >= {least}")
        return value

    def flag(self, name: str, default: bool = False) -> bool:
        """True or false.

        Raises:
            ModelError: neither.
        """
        value = self.values.get(name, default)
        if not isinstance(value, bool):
            raise ModelError(f"{name} in {self.origin}", value, "true or false")
        return value


def _attention(config: Config, **facts: Any) -> GroupedAttention:
    heads = config.whole("num_attention_heads")
    width = config.whole("hidden_size")
    if config.values.get("head_dim") is None and width % heads:
        raise ModelError(f"num_attention_heads in {config.origin}", heads, f"a divisor of hidden_size = {width}")
    window, layers = facts.pop("window", (0, 0))
    biased = config.flag("attention_bias")
    return GroupedAttention(
        heads=heads,
        kv_heads=config.whole("num_key_value_heads", heads),
        head_dim=config.whole("head_dim", width // heads),
        **({"qkv_bias": biased, "output_bias": biased, "window": window, "window_layers": layers} | facts),
    )


def _window(config: Config) -> tuple[int, int]:
    """(window, layers that slide), from layer_types where given, else every layer of a config with sliding_window."""
    types = config.values.get("layer_types")
    if types is None:
        window = config.whole("sliding_window", 0, least=0)
        return (window, config.whole("num_hidden_layers")) if window else (0, 0)
    layers = config.whole("num_hidden_layers")
    known = ("sliding_attention", "full_attention")
    if not isinstance(types, list) or len(types) != layers or any(kind not in known for kind in types):
        raise ModelError(f"layer_types in {config.origin}", types, f"{layers} of {' or '.join(known)}")
    sliding = types.count("sliding_attention")
    return (config.whole("sliding_window"), sliding) if sliding else (0, 0)


def _qwen_window(config: Config) -> tuple[int, int]:
    """Qwen slides only with use_sliding_window, and then from layer max_window_layers on."""
    if not config.flag("use_sliding_window"):
        return (0, 0)
    if config.values.get("layer_types") is not None:
        return _window(config)
    full, layers = config.whole("max_window_layers", least=0), config.whole("num_hidden_layers")
    return (config.whole("sliding_window"), layers - full) if full < layers else (0, 0)


def _gpt_oss_window(config: Config) -> tuple[int, int]:
    """GPT-OSS without layer_types slides in every other layer, the first one included."""
    if config.values.get("layer_types") is not None:
        return _window(config)
    return config.whole("sliding_window"), -(-config.whole("num_hidden_layers") // 2)


def _refuse(config: Config, field: str, allowed: object) -> None:
    """The field is absent or has the only value that is modelled.

    Raises:
        ModelError: it has another one.
    """
    value = config.values.get(field)
    if value is not None and value != allowed:
        raise ModelError(f"{field} in {config.origin}", value, f"{json.dumps(allowed)}: nothing else is modelled")


def _experts_format(config: Config) -> str:
    """mxfp4 where the configuration says that its experts are."""
    stated = config.values.get("quantization_config")
    if stated is None:
        return "bf16"
    if not isinstance(stated, dict):
        raise ModelError(f"quantization_config in {config.origin}", stated, "an object")
    return "mxfp4" if stated.get("quant_method") == "mxfp4" else "bf16"


def _base(config: Config) -> dict[str, Any]:
    return {
        "layers": config.whole("num_hidden_layers"),
        "width": config.whole("hidden_size"),
        "vocabulary": config.whole("vocab_size"),
        "tied": config.flag("tie_word_embeddings"),
        "experts_format": _experts_format(config),
    }


def _llama(config: Config) -> dict[str, Any]:
    _refuse(config, "mlp_bias", False)
    return {"ffn_width": config.whole("intermediate_size"), "attention": _attention(config)}


def _mistral(config: Config) -> dict[str, Any]:
    return {"ffn_width": config.whole("intermediate_size"), "attention": _attention(config, window=_window(config))}


def _qwen2(config: Config) -> dict[str, Any]:
    # Qwen2 has biases on q, k and v only, and its configuration does not say so.
    attention = _attention(config, qkv_bias=True, output_bias=False, window=_qwen_window(config))
    return {"ffn_width": config.whole("intermediate_size"), "attention": attention}


def _qwen3(config: Config) -> dict[str, Any]:
    attention = _attention(config, head_norm=True, window=_qwen_window(config))
    return {"ffn_width": config.whole("intermediate_size"), "attention": attention}


def _mixtral(config: Config) -> dict[str, Any]:
    experts = Experts(
        count=config.whole("num_local_experts"),
        active=config.whole("num_experts_per_tok"),
        width=config.whole("intermediate_size"),
    )
    return {"attention": _attention(config, window=_window(config)), "experts": experts}


def _qwen3_moe(config: Config) -> dict[str, Any]:
    _refuse(config, "decoder_sparse_step", 1)
    _refuse(config, "mlp_only_layers", [])
    experts = Experts(
        count=config.whole("num_experts"),
        active=config.whole("num_experts_per_tok"),
        width=config.whole("moe_intermediate_size"),
    )
    return {"attention": _attention(config, head_norm=True, window=_qwen_window(config)), "experts": experts}


def _gpt_oss(config: Config) -> dict[str, Any]:
    attention = _attention(config, qkv_bias=True, output_bias=True, sinks=True, window=_gpt_oss_window(config))
    experts = Experts(
        count=config.whole("num_local_experts"),
        active=config.whole("num_experts_per_tok"),
        width=config.whole("intermediate_size"),
        router_bias=True,
        expert_bias=True,
    )
    return {"attention": attention, "experts": experts}


def _deepseek(config: Config) -> dict[str, Any]:
    _refuse(config, "moe_layer_freq", 1)
    attention = LatentAttention(
        heads=config.whole("num_attention_heads"),
        q_rank=config.whole("q_lora_rank"),
        kv_rank=config.whole("kv_lora_rank"),
        nope=config.whole("qk_nope_head_dim"),
        rope=config.whole("qk_rope_head_dim"),
        value=config.whole("v_head_dim"),
    )
    width = config.whole("moe_intermediate_size")
    experts = Experts(
        count=config.whole("n_routed_experts"),
        active=config.whole("num_experts_per_tok"),
        width=width,
        shared_width=width * config.whole("n_shared_experts", 0, least=0),
        dense_layers=config.whole("first_k_dense_replace", 0, least=0),
        router_bias=True,
    )
    return {"attention": attention, "experts": experts, "ffn_width": config.whole("intermediate_size")}


_READERS: Final[Mapping[str, Callable[[Config], dict[str, Any]]]] = {
    "llama": _llama,
    "mistral": _mistral,
    "qwen2": _qwen2,
    "qwen3": _qwen3,
    "mixtral": _mixtral,
    "qwen3_moe": _qwen3_moe,
    "gpt_oss": _gpt_oss,
    "deepseek_v3": _deepseek,
}


def model_of_config(values: Mapping[str, Any], origin: str = "config.json") -> LanguageModel:
    """The model that a parsed config.json describes; its name is `_name_or_path`, else the origin.

    Raises:
        ModelError: an unknown model_type, or a field that is missing or malformed.
    """
    kind = values.get("model_type")
    reader = _READERS.get(kind) if isinstance(kind, str) else None
    if reader is None:
        raise ModelError(f"model_type in {origin}", kind, ", ".join(_READERS))
    config = Config(values, origin)
    name = values.get("_name_or_path") or origin
    return LanguageModel(name=str(name), source=f"Hugging Face {origin}", **_base(config), **reader(config))


def read_config(path: str | Path) -> LanguageModel:
    """The model that a Hugging Face config.json describes; its name is the folder's.

    Raises:
        ModelError: the file cannot be read, is no JSON object, or does not describe a known architecture.
    """
    file = Path(path)
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelError("config file", str(file), f"a readable file ({error.strerror})") from error
    except ValueError as error:
        raise ModelError(f"contents of {file}", str(error), "a JSON object") from error
    if not isinstance(values, dict):
        raise ModelError(f"contents of {file}", type(values).__name__, "a JSON object")
    named = {"_name_or_path": file.resolve().parent.name or file.stem}
    return model_of_config(named | {k: v for k, v in values.items() if v != ""}, file.name)
