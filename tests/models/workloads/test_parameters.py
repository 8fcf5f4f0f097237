"""Parameter arithmetic against published totals, and against lists of matrices written out by hand."""

from __future__ import annotations

import pytest

from trnlab.models.quantity import ModelError
from trnlab.models.workloads.catalogue import MODELS, get_model
from trnlab.models.workloads.formats import TENSOR_CLASSES, get_precision
from trnlab.models.workloads.model import Experts, GroupedAttention, LanguageModel
from trnlab.models.workloads.parameters import linear_flops_per_token, parameters_of

ALL = list(MODELS.values())


@pytest.mark.parametrize("model", ALL, ids=str)
def test_totals_are_the_published_ones(model: LanguageModel) -> None:
    found = parameters_of(model)
    assert found.total == pytest.approx(model.published_total, rel=0.003)
    if model.published_active:
        # Some publishers count the input embedding among the active parameters; digits are few ("22B", "3.3B").
        either = (found.active, found.active + found.embedding)
        assert min(abs(count / model.published_active - 1) for count in either) < 0.02


def gpt_oss_by_hand(layers: int, experts: int) -> int:
    d, q, k = 2880, 64 * 64, 8 * 64
    attention = d * q + q + 2 * (d * k + k) + q * d + d + 64  # with biases and 64 sinks
    router = d * experts + experts
    expert = d * 2 * 2880 + 2 * 2880 + 2880 * d + d  # gate and up as one matrix, with biases
    return 2 * 201_088 * d + layers * (attention + router + experts * expert + 2 * d) + d


def deepseek_by_hand() -> int:
    d = 7168
    attention = d * 1536 + 1536 + 1536 * 128 * 192 + d * 576 + 512 + 512 * 128 * 256 + 128 * 128 * d
    routed = 58 * (256 * 3 * d * 2048 + 3 * d * 2048 + d * 256 + 256)
    return 2 * 129_280 * d + 61 * (attention + 2 * d) + 3 * 3 * d * 18_432 + routed + d


@pytest.mark.parametrize(
    ("name", "by_hand"),
    [
        ("gpt-oss-20b", gpt_oss_by_hand(24, 32)),
        ("gpt-oss-120b", gpt_oss_by_hand(36, 128)),
        ("deepseek-v3", deepseek_by_hand()),
        ("llama-3.1-8b", 2 * 128_256 * 4096 + 32 * (4096 * (4096 * 2 + 2 * 1024) + 3 * 4096 * 14_336 + 8192) + 4096),
    ],
)
def test_totals_are_those_of_the_matrices_written_out(name: str, by_hand: int) -> None:
    assert parameters_of(get_model(name)).total == by_hand


@pytest.mark.parametrize("model", ALL, ids=str)
def test_classes_add_up_to_the_total(model: LanguageModel) -> None:
    found = parameters_of(model)
    assert sum(found.of(tensor) for tensor in TENSOR_CLASSES) == found.total
    assert found.bytes(get_precision("bf16")) == 2 * found.total


def test_a_tied_head_is_stored_once_and_still_multiplied() -> None:
    attention = GroupedAttention(heads=2, kv_heads=1, head_dim=4)
    sizes = {"layers": 1, "width": 8, "vocabulary": 100, "ffn_width": 16, "attention": attention}
    tied = parameters_of(LanguageModel(name="tied", source="test", tied=True, **sizes))
    loose = parameters_of(LanguageModel(name="loose", source="test", **sizes))
    assert loose.total - tied.total == 800
    assert tied.active == loose.active
    assert tied.of("head") == 0
    assert tied.multiplied("head") == 800


def test_linear_flops_are_twice_the_multiplied_weights() -> None:
    model = get_model("Llama-3.1-8B")
    # Norms are not multiplied: 65 of them, 4096 wide.
    assert linear_flops_per_token(model) == 2 * (parameters_of(model).active - 65 * 4096)
    assert linear_flops_per_token(model) - linear_flops_per_token(model, head=False) == 2 * 128_256 * 4096


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"layers": 0}, "layers"),
        ({"width": -4}, "width"),
        ({"ffn_width": 0}, "ffn_width"),
        ({"experts": Experts(count=4, active=2, width=8, dense_layers=3)}, "dense_layers"),
        (
            {"attention": GroupedAttention(heads=2, kv_heads=1, head_dim=4, window=8, window_layers=5)},
            "window_layers",
        ),
    ],
)
def test_impossible_shapes_name_their_field(changes: dict[str, object], field: str) -> None:
    attention = GroupedAttention(heads=2, kv_heads=1, head_dim=4)
    sizes: dict[str, object] = {"layers": 2, "width": 8, "vocabulary": 9, "ffn_width": 16, "attention": attention}
    with pytest.raises(ModelError, match=field):
        LanguageModel(name="wrong", source="test", **(sizes | changes))  # type: ignore[arg-type]


def test_impossible_attention_and_experts_name_their_field() -> None:
    with pytest.raises(ModelError, match="kv_heads"):
        GroupedAttention(heads=8, kv_heads=3, head_dim=4)
    with pytest.raises(ModelError, match="active"):
        Experts(count=4, active=5, width=8)
    with pytest.raises(ModelError, match="window"):
        GroupedAttention(heads=8, kv_heads=2, head_dim=4, window=128)


def test_an_unknown_model_lists_the_known_ones() -> None:
    with pytest.raises(ModelError, match=r"gpt-oss-120b.*config\.json"):
        get_model("gpt-5")
