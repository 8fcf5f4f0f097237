"""config.json in, model out: the same arithmetic as the catalogue, and errors that name the field."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from trnlab.models.chips import get_chip
from trnlab.models.projection.serving_point import default_precision
from trnlab.models.quantity import ModelError
from trnlab.models.workloads.catalogue import get_model
from trnlab.models.workloads.formats import get_precision
from trnlab.models.workloads.huggingface import model_of_config, read_config
from trnlab.models.workloads.parameters import parameters_of
from trnlab.models.workloads.work import kv_bytes

# The fields of the published configurations that matter here.
CONFIGS: dict[str, dict[str, Any]] = {
    "Llama-3.1-8B": {
        "model_type": "llama",
        "hidden_size": 4096,
        "intermediate_size": 14_336,
        "num_attention_heads": 32,
        "num_hidden_layers": 32,
        "num_key_value_heads": 8,
        "vocab_size": 128_256,
        "tie_word_embeddings": False,
        "attention_bias": False,
    },
    "Qwen3-235B-A22B": {
        "model_type": "qwen3_moe",
        "hidden_size": 4096,
        "head_dim": 128,
        "num_attention_heads": 64,
        "num_hidden_layers": 94,
        "num_key_value_heads": 4,
        "vocab_size": 151_936,
        "num_experts": 128,
        "num_experts_per_tok": 8,
        "moe_intermediate_size": 1536,
        "decoder_sparse_step": 1,
        "mlp_only_layers": [],
    },
    "Mixtral-8x7B": {
        "model_type": "mixtral",
        "hidden_size": 4096,
        "intermediate_size": 14_336,
        "num_attention_heads": 32,
        "num_hidden_layers": 32,
        "num_key_value_heads": 8,
        "vocab_size": 32_000,
        "num_local_experts": 8,
        "num_experts_per_tok": 2,
        "sliding_window": None,
    },
    "gpt-oss-120b": {
        "model_type": "gpt_oss",
        "hidden_size": 2880,
        "intermediate_size": 2880,
        "head_dim": 64,
        "num_attention_heads": 64,
        "num_hidden_layers": 36,
        "num_key_value_heads": 8,
        "vocab_size": 201_088,
        "num_local_experts": 128,
        "num_experts_per_tok": 4,
        "sliding_window": 128,
        "layer_types": ["sliding_attention", "full_attention"] * 18,
    },
    "DeepSeek-V3": {
        "model_type": "deepseek_v3",
        "hidden_size": 7168,
        "intermediate_size": 18_432,
        "moe_intermediate_size": 2048,
        "num_attention_heads": 128,
        "num_hidden_layers": 61,
        "vocab_size": 129_280,
        "n_routed_experts": 256,
        "n_shared_experts": 1,
        "num_experts_per_tok": 8,
        "first_k_dense_replace": 3,
        "q_lora_rank": 1536,
        "kv_lora_rank": 512,
        "qk_nope_head_dim": 128,
        "qk_rope_head_dim": 64,
        "v_head_dim": 128,
    },
}
BF16 = get_precision("bf16")


@pytest.mark.parametrize("name", CONFIGS)
def test_a_published_configuration_is_the_model_of_the_catalogue(name: str) -> None:
    read, known = model_of_config(CONFIGS[name]), get_model(name)
    assert parameters_of(read) == parameters_of(known)
    assert float(kv_bytes(read, BF16, 5000)) == float(kv_bytes(known, BF16, 5000))


def test_qwen2_has_biases_that_its_configuration_does_not_mention() -> None:
    fields = CONFIGS["Llama-3.1-8B"] | {"model_type": "qwen2"}
    extra = parameters_of(model_of_config(fields)).total - parameters_of(get_model("Llama-3.1-8B")).total
    assert extra == 32 * (4096 + 2 * 1024)


def test_mistral_slides_where_its_configuration_says_so() -> None:
    fields = CONFIGS["Llama-3.1-8B"] | {"model_type": "mistral", "sliding_window": 4096}
    assert model_of_config(fields).attention.window_layers == 32
    assert model_of_config(fields | {"sliding_window": None}).attention.window_layers == 0


def test_qwen_slides_from_a_layer_on_and_only_when_told_to() -> None:
    fields = CONFIGS["Llama-3.1-8B"] | {"model_type": "qwen3", "sliding_window": 4096, "max_window_layers": 20}
    assert model_of_config(fields).attention.window_layers == 0
    sliding = model_of_config(fields | {"use_sliding_window": True}).attention
    assert (sliding.window, sliding.window_layers) == (4096, 32 - 20)
    listed = ["full_attention"] * 31 + ["sliding_attention"]
    assert model_of_config(fields | {"use_sliding_window": True, "layer_types": listed}).attention.window_layers == 1
    assert model_of_config(fields | {"use_sliding_window": True, "max_window_layers": 32}).attention.window == 0


def test_gpt_oss_slides_in_every_other_layer_also_where_it_does_not_list_them() -> None:
    fields = {key: value for key, value in CONFIGS["gpt-oss-120b"].items() if key != "layer_types"}
    assert model_of_config(fields).attention.window_layers == 18
    assert model_of_config(fields | {"num_hidden_layers": 5}).attention.window_layers == 3  # the 1st, 3rd and 5th


def test_the_format_of_experts_is_read_and_decides_the_default() -> None:
    plain, shipped = CONFIGS["gpt-oss-120b"], {"quantization_config": {"quant_method": "mxfp4"}}
    assert default_precision(model_of_config(plain), get_chip("trn3")).name == "bf16"
    assert default_precision(model_of_config(plain | shipped), get_chip("trn3")).name == "experts-mxfp4-a8"


def test_a_file_is_named_after_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "my-model"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(CONFIGS["Mixtral-8x7B"]))
    assert read_config(folder / "config.json").name == "my-model"


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("Llama-3.1-8B", {"model_type": "bert"}, "model_type.*llama"),
        ("Llama-3.1-8B", {"model_type": None}, "model_type"),
        ("Llama-3.1-8B", {"hidden_size": None}, "hidden_size.*nothing"),
        ("Llama-3.1-8B", {"hidden_size": "4096"}, "hidden_size"),
        ("Llama-3.1-8B", {"hidden_size": True}, "hidden_size"),
        ("Llama-3.1-8B", {"num_hidden_layers": 0}, "num_hidden_layers"),
        ("Llama-3.1-8B", {"num_attention_heads": 33}, "num_attention_heads"),
        ("Llama-3.1-8B", {"num_key_value_heads": 5}, "kv_heads"),
        ("Llama-3.1-8B", {"tie_word_embeddings": "no"}, "tie_word_embeddings"),
        ("gpt-oss-120b", {"layer_types": ["full_attention"]}, "layer_types"),
        ("gpt-oss-120b", {"layer_types": ["wavy_attention"] * 36}, "layer_types"),
        ("Qwen3-235B-A22B", {"mlp_only_layers": [0]}, "mlp_only_layers"),
        ("Qwen3-235B-A22B", {"decoder_sparse_step": 2}, "decoder_sparse_step.*1: nothing else"),
        ("Qwen3-235B-A22B", {"use_sliding_window": True}, "max_window_layers"),
        ("Llama-3.1-8B", {"mlp_bias": True}, "mlp_bias.*false: nothing else"),
        ("gpt-oss-120b", {"quantization_config": "mxfp4"}, "quantization_config"),
        ("DeepSeek-V3", {"moe_layer_freq": 2}, "moe_layer_freq"),
        ("DeepSeek-V3", {"q_lora_rank": None}, "q_lora_rank"),
        ("DeepSeek-V3", {"num_experts_per_tok": 500}, "active experts"),
    ],
)
def test_a_malformed_configuration_names_its_field(name: str, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        model_of_config(CONFIGS[name] | changes)


@pytest.mark.parametrize(("text", "message"), [("{", "JSON object"), ("[1]", "JSON object")])
def test_a_file_that_is_no_object_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ModelError, match=message):
        read_config(tmp_path / "config.json")


def test_an_absent_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="No such file"):
        read_config(tmp_path / "config.json")
