"""Times to the first token: terms by hand, fits per chip, and what the rows say of the constants."""

from __future__ import annotations

from statistics import median

import pytest

from trnlab.models.projection import prompt_rows
from trnlab.models.projection.calibration import fit_decode
from trnlab.models.projection.prompt_rows import PREFILL_ROWS, MeasuredPrefill, fit_prefill
from trnlab.models.workloads.catalogue import get_model
from trnlab.models.workloads.parameters import parameters_of

CHIPS = ("trn1", "trn2")


def row(model: str, prompt: int) -> MeasuredPrefill:
    return next(one for one in PREFILL_ROWS if (one.model, one.prompt) == (model, prompt))


def test_the_padding_of_a_prompt_is_computed_like_any_token() -> None:
    """Llama 70B: 10,000 tokens in a bucket of 12,288: linear maps, causal attention, the head once."""
    padded = row("Llama-3.1-70B", 10_000)
    parameters = parameters_of(get_model("Llama-3.1-70B"))
    linear = 2 * (parameters.attention + parameters.dense) * 12_288 + 2 * parameters.head
    attention = 4 * 64 * 128 * 80 * 12_288 * 12_289 / 2
    terms = prompt_rows._terms(padded)
    assert terms.compute == pytest.approx((linear + attention) / (16 * 667e12), rel=1e-3)
    assert terms.fixed == pytest.approx(80 * fit_decode().fixed_seconds["trn2"])
    assert "padded to 12288" in padded.name


def test_a_chips_efficiency_is_the_median_of_its_own_rows_bound_by_compute() -> None:
    found = fit_prefill()
    for chip in CHIPS:
        rows = [one for one in PREFILL_ROWS if one.stack == "AWS" and one.chip == chip]
        bound = [one for one in rows if prompt_rows._terms(one).bound_by_compute]
        values = []
        for one in bound:
            terms = prompt_rows._terms(one)
            values.append(terms.compute / (one.seconds - terms.fixed))
        assert found.efficiency[chip] == pytest.approx(median(values))
        assert found.spread[chip] == pytest.approx((min(values), max(values)))


def test_short_prompts_are_bound_by_reading_the_weights_and_not_fitted() -> None:
    """128 tokens of 70B on Trainium1: 138.9 GB without the embedding over 16 x 820 GB/s x share, and the fixed cost."""
    short = row("Llama-3.1-70B", 128)
    fit = fit_decode()
    stored = 2 * (parameters_of(get_model(short.model)).total - 128_256 * 8192)
    reading = stored / (16 * 820e9) / fit.weight_efficiency + 80 * fit.fixed_seconds["trn1"]
    found = next(one for one in fit_prefill().residuals if one.name == short.name)
    assert found.left_out is None
    # Its attention's computing, a few milliseconds at most, comes on top.
    assert reading < found.modelled < 2.5 * reading


def test_an_efficiency_is_what_makes_its_row_come_out() -> None:
    """With a row's own efficiency its computing and its fixed cost are the measured time, whatever else is smaller."""
    one = row("Llama-2-13B", 8192)
    terms = prompt_rows._terms(one)
    own = terms.compute / (one.seconds - terms.fixed)
    assert terms.seconds(own) == pytest.approx(one.seconds, rel=1e-6)
    assert own < 0.05  # attention without a kernel


def test_rows_without_an_attention_kernel_are_the_worst_and_kernels_the_best() -> None:
    errors = {one.name: one.error for one in fit_prefill().residuals}
    for model, prompt in (("Llama-2-13B", 4096), ("Llama-2-13B", 8192), ("Mistral-7B", 8192)):
        assert errors[row(model, prompt).name] < -0.6
    assert fit_prefill().efficiency["trn2"] > 1.5 * fit_prefill().efficiency["trn1"]


def test_a_row_left_out_has_no_part_in_its_own_prediction() -> None:
    """Trainium2 has two rows bound by compute, so each is predicted by the other's efficiency."""
    first, second = row("Llama-3.1-70B", 10_000), row("Llama-3.1-405B", 10_000)
    other = prompt_rows._terms(second)
    efficiency = other.compute / (second.seconds - other.fixed)
    found = next(one for one in fit_prefill().residuals if one.name == first.name)
    assert found.left_out == pytest.approx(prompt_rows._terms(first).seconds(efficiency))


def test_every_row_names_a_model_a_source_and_a_bucket_that_holds_the_prompt() -> None:
    assert len({one.name for one in PREFILL_ROWS}) == len(PREFILL_ROWS)
    for one in PREFILL_ROWS:
        assert get_model(one.model).layers > 0
        assert one.source
        assert one.seconds > 0
        assert one.bucket >= one.prompt
