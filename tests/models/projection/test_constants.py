"""The three layers' constants: sources, bands, fallbacks that say so."""

from __future__ import annotations

from dataclasses import replace

import pytest

from trnlab.models.chips import chip_names, get_chip
from trnlab.models.projection.calibration import fit_decode
from trnlab.models.projection.constants import (
    ATTENTION,
    PROMPT_CEILING,
    fixed_cost,
    flat_layer,
    layer_of,
    prompt_efficiency,
)
from trnlab.models.projection.machine import Machine
from trnlab.models.projection.method import CASES, LAYERS, ROOFLINE, everywhere, exact
from trnlab.models.projection.prompt_rows import fit_prefill
from trnlab.models.quantity import ModelError


@pytest.mark.parametrize("chip", chip_names())
@pytest.mark.parametrize("name", LAYERS)
def test_every_constant_has_a_source_and_bands_contain_their_value(chip: str, name: str) -> None:
    layer = layer_of(name, Machine.of(chip))
    for method in (layer.decode, layer.prefill):
        for title, value in method.constants:
            assert value.source, title
            low, high = value.interval
            assert low <= value.value <= high


@pytest.mark.parametrize("chip", ["trn1", "trn2", "trn3", "trn4", "h100"])
def test_the_fast_end_is_never_worse_than_the_slow_one(chip: str) -> None:
    layer = layer_of("calibrated", Machine.of(chip))
    fast, central, slow = (layer.at(case).decode for case in CASES)
    assert fast.fixed.value <= central.fixed.value <= slow.fixed.value
    for table in ("compute", "memory"):
        for operator, value in getattr(central, table).items():
            assert getattr(fast, table)[operator].value >= value.value >= getattr(slow, table)[operator].value


def test_the_roofline_layer_has_no_constants_but_one_and_zero() -> None:
    assert {value.value for _, value in ROOFLINE.constants} == {0.0, 1.0}


@pytest.mark.parametrize("chip", ["trn1", "trn2"])
def test_measured_generations_have_their_fitted_cost(chip: str) -> None:
    found = fixed_cost(get_chip(chip))
    assert found is not None
    assert found.klass == "fitted"
    assert found.value == fit_decode().fixed_seconds[chip]


@pytest.mark.parametrize(("chip", "klass"), [("trn1", "fitted"), ("trn2", "fitted"), ("trn3", "assumed")])
def test_weights_and_cache_have_their_own_fitted_share_of_hbm(chip: str, klass: str) -> None:
    fit = fit_decode()
    memory = layer_of("calibrated", Machine.of(chip)).decode.memory
    assert memory["dense"].value == memory["experts"].value == fit.weight_efficiency
    assert memory["attention"].value == fit.cache_efficiency < fit.weight_efficiency
    assert memory["attention"].klass == klass
    assert memory["attention"].interval == (fit.cache_efficiency, fit.weight_efficiency)


@pytest.mark.parametrize(("chip", "klass", "word"), [("trn3", "fitted", "third-party"), ("trn4", "assumed", "assumed")])
def test_later_generations_say_what_their_cost_rests_on(chip: str, klass: str, word: str) -> None:
    found = fixed_cost(get_chip(chip))
    assert found is not None
    assert found.klass == klass
    assert found.interval[0] < found.value < found.interval[1]
    assert word in layer_of("calibrated", Machine.of(chip)).decode.note
    assert prompt_efficiency(get_chip(chip)).klass == "assumed"


def test_prompts_take_the_chips_own_rows_or_trainium2s_and_say_how_far_they_scatter() -> None:
    fit = fit_prefill()
    for chip, own in (("trn1", "trn1"), ("trn2", "trn2"), ("trn3", "trn2"), ("trn4", "trn2")):
        assert prompt_efficiency(get_chip(chip)).value == fit.efficiency[own]
        assert "factor of two" in layer_of("calibrated", Machine.of(chip)).prefill.note
    assert prompt_efficiency(get_chip("trn1")).interval == fit.spread["trn1"]
    assert prompt_efficiency(get_chip("trn3")).interval == (fit.spread["trn2"][0], PROMPT_CEILING)


def test_the_users_fixed_cost_counts_on_a_chip_without_calibration_too() -> None:
    told = layer_of("calibrated", Machine.of("h100")).told(fixed_seconds=1e-4)
    assert told.decode.fixed.value == told.prefill.fixed.value == 1e-4
    assert layer_of("efficiencies", Machine.of("h100")).told(fixed_seconds=1e-4).decode.fixed.value == 0
    assert "no calibration" in told.note


def test_a_flat_layer_has_one_share_for_all_computing_and_one_for_all_bytes() -> None:
    layer = flat_layer(0.5, 0.86, 50e-6)
    for method in (layer.decode, layer.prefill):
        assert {value.value for value in method.compute.values()} == {0.5}
        assert {value.value for value in method.memory.values()} == {0.86}
        assert not method.transfer
    assert (layer.decode.fixed.value, layer.prefill.fixed.value) == (50e-6, 0.0)
    with pytest.raises(ModelError, match="compute efficiency"):
        flat_layer(0.0, 1.0, 0.0)


def test_a_chip_without_calibration_falls_back_and_says_so() -> None:
    machine = Machine.of("h100")
    middle, calibrated = layer_of("efficiencies", machine), layer_of("calibrated", machine)
    assert fixed_cost(machine.chip) is None
    assert "no calibration" in calibrated.note
    assert calibrated.decode == replace(middle.decode, name="calibrated", note=calibrated.note)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"compute": everywhere(exact(0.0))}, "compute efficiency of dense"),
        ({"memory": everywhere(exact(1.1))}, "memory efficiency of dense"),
        ({"memory": {"dense": exact(1.0)}}, "memory efficiency of experts"),
        ({"fixed": exact(-1.0, "s")}, "fixed cost"),
        ({"fixed": exact(1.0)}, "fixed cost"),
        ({"exposed": exact(1.5)}, "exposed"),
    ],
)
def test_impossible_constants_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        replace(ROOFLINE, **changes)  # type: ignore[arg-type]


def test_the_attention_efficiency_is_the_measured_one() -> None:
    flops = 4 * 128 * 8192 * 8193 / 2  # scores and weighted values of the causal pairs of one head
    peak = 2 * get_chip("trn2").core_peak("bf16").value / 8
    assert flops / 0.352e-3 / peak == pytest.approx(ATTENTION.value, abs=0.005)


def test_unknown_layers_and_cases_are_refused() -> None:
    with pytest.raises(ModelError, match="roofline, efficiencies, calibrated"):
        layer_of("hopeful", Machine.of("trn3"))
    with pytest.raises(ModelError, match="fast, central, slow"):
        ROOFLINE.at("lucky")  # type: ignore[arg-type]
