"""Formats, precisions and the matmul rates that follow from them."""

from __future__ import annotations

import pytest

from trnlab.models.quantity import ModelError
from trnlab.models.workloads.formats import (
    FORMATS,
    LINEAR_CLASSES,
    PRECISIONS,
    Precision,
    get_format,
    get_precision,
    matmul_rate_of,
)


@pytest.mark.parametrize(
    ("name", "elements", "bits"),
    [("mxfp8", 32, 32 * 8 + 8), ("mxfp4", 32, 32 * 4 + 8), ("nvfp4", 16, 16 * 4 + 8), ("bf16", 1, 16)],
)
def test_a_block_takes_its_elements_and_its_scale(name: str, elements: int, bits: int) -> None:
    assert FORMATS[name].bytes * elements == bits / 8


@pytest.mark.parametrize(
    ("weights", "activations", "rate"),
    [
        ("bf16", "bf16", "bf16"),
        ("mxfp4", "bf16", "bf16"),
        ("mxfp4", "mxfp8", "mxfp8"),
        ("mxfp4", "mxfp4", "mxfp4"),
        ("int8", "bf16", "bf16"),
        ("fp8", "fp8", "fp8"),
    ],
)
def test_the_wider_operand_sets_the_rate(weights: str, activations: str, rate: str) -> None:
    assert matmul_rate_of(weights, activations) == rate


def test_a_pair_that_nothing_multiplies_is_refused() -> None:
    with pytest.raises(ModelError, match="bf16 x mxfp4"):
        matmul_rate_of("bf16", "mxfp4")
    with pytest.raises(ModelError, match="weights x activations"):
        Precision(name="wrong", activations={"experts": "mxfp4"})


def test_every_recipe_has_a_rate_for_every_linear_class() -> None:
    for recipe in PRECISIONS.values():
        assert {recipe.rate(tensor) for tensor in LINEAR_CLASSES} <= set(recipe.rates)


def test_recipes_of_experts_leave_the_rest_in_bf16() -> None:
    recipe = get_precision("experts-mxfp4-a8")
    assert recipe.bytes_of("experts") == 4.25 / 8
    assert [recipe.bytes_of(tensor) for tensor in ("attention", "head", "embedding", "other")] == [2.0] * 4
    assert recipe.rates == ("bf16", "mxfp8")


def test_another_cache_format_joins_the_name_and_changes_nothing_else() -> None:
    recipe = get_precision("experts-mxfp4-a8", "fp8")
    assert (recipe.name, recipe.kv_bytes) == ("experts-mxfp4-a8 + fp8 KV", 1.0)
    assert recipe.with_kv("bf16") == get_precision("experts-mxfp4-a8")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: get_precision("fp6"), "precision"),
        (lambda: get_precision("bf16", "fp6"), "KV format"),
        (lambda: get_format("int3"), "int3"),
        (lambda: Precision(name="wrong", weights={"router": "bf16"}), "router"),  # type: ignore[dict-item]
        (lambda: Precision(name="wrong", kv="fp7"), "fp7"),
    ],
)
def test_unknown_names_are_refused_with_the_known_ones(make: object, message: str) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        make()  # type: ignore[operator]
    assert caught.value.allowed
