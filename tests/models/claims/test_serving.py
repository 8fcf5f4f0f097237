"""The GPT-OSS claims and the map of speed-ups, against ratios that were worked out apart from this code."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from trnlab.models.arrays import Array
from trnlab.models.chips import get_chip
from trnlab.models.claims.consequences import BATCH, MODELS, PROMPT, TRAINIUM3, TRAINIUM4, consequences
from trnlab.models.claims.deployment import Deployment, gpt_oss, speedup
from trnlab.models.claims.serving import (
    BATCH as REQUESTS,
    MAPPED,
    claim_maps,
    fixed_cost_for,
    gpt_oss_map,
    new_deployment,
    old_deployment,
    serving_claims,
)
from trnlab.models.claims.speedup_map import (
    ANSWER,
    BATCHES,
    MEASURES,
    PROMPTS,
    Measure,
    SpeedupMap,
    marked,
    speedup_map,
)
from trnlab.models.projection.method import LAYERS
from trnlab.models.quantity import ModelError

# Decode ratios of gpt-oss-120b on 16 chips at 4,096 cached tokens, peaks alone, BF16 cache, by batch: the research
# notes' own arithmetic, factor by factor.
TRAINIUM3_OVER_2 = {
    "bf16": (1.69, 1.69, 1.69, 1.69, 1.66, 1.64),
    "experts-mxfp4-a16": (3.41, 5.23, 5.56, 5.06, 3.51, 2.06),
    "experts-mxfp4-a8": (3.41, 5.23, 5.56, 5.06, 3.51, 2.28),
}


@pytest.mark.parametrize("precision", TRAINIUM3_OVER_2)
def test_decode_ratios_are_those_of_the_notes(precision: str) -> None:
    old, new = gpt_oss("trn2", "bf16", "bf16"), gpt_oss("trn3", precision, "bf16")
    found = speedup(old, new, "roofline", np.array([1, 8, 32, 128, 512, 2048]), 4095, 2).decode
    assert found.tolist() == pytest.approx(TRAINIUM3_OVER_2[precision], abs=0.011)


@pytest.mark.parametrize(("prompt", "ratio"), [(8192, 2.04), (32_768, 1.61), (131_072, 1.23)])
def test_prompt_ratios_are_those_of_the_notes(prompt: int, ratio: float) -> None:
    found = speedup(old_deployment(), new_deployment(), "roofline", 1, prompt)
    assert float(found.first_token) == pytest.approx(ratio, abs=0.006)


def test_without_the_format_nothing_beats_the_chips_own_ratios() -> None:
    same = gpt_oss("trn3", "bf16", "bf16")
    found = speedup_map(old_deployment(), same, "roofline")
    for measure in MEASURES:
        values = found.values(measure)[~np.isnan(found.values(measure))]
        assert values.min() >= 671 / 667 - 1e-9
        assert values.max() <= 4.9 / 2.9 + 1e-9


def test_the_map_is_the_ratio_at_each_point() -> None:
    found = gpt_oss_map("calibrated")
    assert found.throughput.shape == found.latency.shape == (len(PROMPTS), len(BATCHES))
    for row, column in ((0, 0), (3, 12), (5, 7)):
        one = speedup(old_deployment(), new_deployment(), "calibrated", BATCHES[column], PROMPTS[row], ANSWER)
        assert found.throughput[row, column] == pytest.approx(float(one.throughput))
        assert found.latency[row, column] == pytest.approx(float(one.latency))


def test_points_that_do_not_fit_are_left_out() -> None:
    found = gpt_oss_map("roofline")
    # Trainium2 in BF16 is the tighter one: 90 % of 16 x 96 GiB, less 2 bytes a weight, for keys and values of 8 heads
    # of 64 in BF16, on 18 layers for every token and on 18 for a window of 128.
    room = 0.9 * 16 * 96 * 2**30 - 116.829e9 * 2
    for row, prompt in enumerate(PROMPTS):
        cache = 2 * 8 * 64 * 2 * 18 * (prompt + ANSWER + 128)
        fits = np.array(BATCHES) * cache <= room
        assert (~np.isnan(found.throughput[row])).tolist() == pytest.approx(fits.tolist())


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("factor", [3.0, 4.0])
def test_on_a_contour_the_ratio_crosses_the_factor(layer: str, measure: Measure, factor: float) -> None:
    found = gpt_oss_map(layer)
    points = found.contour(measure, factor)
    for point in points:
        near = point.batch * np.array([1 - 1e-4, 1 + 1e-4])
        before, after = ratio(found, measure, near, point.prompt)
        assert min(before, after) <= factor <= max(before, after)
        assert point.layer == layer == found.title
    # As many as there are changes of side between neighbouring points of the map.
    sides = [[value >= factor for value in row if not np.isnan(value)] for row in found.values(measure).tolist()]
    assert len(points) == sum(a != b for row in sides for a, b in itertools.pairwise(row))


def ratio(found: SpeedupMap, measure: Measure, batches: Array, prompt: int) -> list[float]:
    both = speedup(found.old, found.new, found.layer, batches, prompt, ANSWER)
    return list((both.throughput if measure == "throughput" else both.latency).tolist())


def test_a_measure_that_is_not_there() -> None:
    with pytest.raises(ModelError, match="measure: found 'energy'; allowed: throughput, latency"):
        gpt_oss_map("roofline").values("energy")  # type: ignore[arg-type]


def test_the_claims_are_explained_not_reproduced() -> None:
    throughput, latency, bedrock = serving_claims()
    assert bedrock.computed is None
    assert bedrock.verdict == "not testable"
    for each, factor in ((throughput, 3), (latency, 4)):
        assert each.claimed.value == factor
        assert each.verdict == "explained"
        # The points of a layer are those where its own map crosses the factor, and all of them.
        crossings = [point for found in claim_maps() for point in found.contour(each.measure or "throughput", factor)]
        assert list(each.points) == crossings
        klasses = [reading.computed.klass for reading in each.readings if reading.computed]
        # Peaks alone are derived; what is fitted or assumed says so.
        assert klasses[:3] == ["derived", "fitted", "assumed"]
        assert klasses[-3:] == ["derived"] * 3
        calibrated = each.readings[2].computed
        assert calibrated is not None
        assert calibrated.low is not None
        assert "fixed cost per layer" in each.readings[2].meaning


@pytest.mark.parametrize(("measure", "factor"), [("throughput", 2.0), ("latency", 2.5)])
def test_the_fixed_cost_that_a_factor_takes(measure: Measure, factor: float) -> None:
    needed = fixed_cost_for(measure, factor)
    assert needed is not None
    before = old_deployment().serve("calibrated", REQUESTS, 8192, ANSWER)
    after = new_deployment().serve("calibrated", REQUESTS, 8192, ANSWER, fixed_seconds=needed)
    ratios = {
        "throughput": after.tokens_per_second_per_chip / before.tokens_per_second_per_chip,
        "latency": before.tpot_seconds / after.tpot_seconds,
    }
    assert float(ratios[measure]) == pytest.approx(factor)
    assert fixed_cost_for(measure, 100) is None


def test_the_fast_end_is_the_new_chips_alone() -> None:
    central, fast = gpt_oss_map("calibrated"), gpt_oss_map("calibrated", "fast")
    known = ~np.isnan(central.latency)
    assert (fast.latency[known] > central.latency[known]).all()
    one = speedup(old_deployment(), new_deployment(), "calibrated", BATCHES[4], PROMPTS[2], ANSWER, "fast")
    assert fast.latency[2, 4] == pytest.approx(float(one.latency))
    assert fast.title == "calibrated, fast end of the fixed cost"
    assert [(each.layer, each.case) for each in claim_maps()] == list(MAPPED)


@pytest.mark.parametrize(
    ("ratio", "text"),
    [(2.99, "2.9 "), (3.0, "3.0+"), (3.96, "3.9+"), (4.0, "4.0*"), (float("nan"), "-"), (0.999, "0.9 ")],
)
def test_contours_can_be_read_in_plain_text(ratio: float, text: str) -> None:
    assert marked(ratio) == text


def test_rows_of_a_map_are_its_values() -> None:
    found = gpt_oss_map("roofline")
    rows = found.rows("latency")
    assert found.header() == ("prompt", *(f"{batch:g}" for batch in BATCHES[::2]))
    assert [row[0] for row in rows] == [f"{prompt:,}" for prompt in PROMPTS]
    for row, values in zip(rows, found.latency[:, ::2].tolist(), strict=True):
        assert list(row[1:]) == [marked(value) for value in values]


def test_no_change_is_a_ratio_of_one() -> None:
    for layer in LAYERS:
        same = speedup(old_deployment(), old_deployment(), layer, np.array(BATCHES), 2048)
        for ratio in (same.throughput, same.latency, same.first_token, same.decode):
            assert np.unique(ratio).tolist() == [1.0]


def test_what_trainium4_would_mean() -> None:
    rows = {(row.model, row.what, row.layer): row for row in consequences() if row.over == TRAINIUM4}
    assert {model for model, _, _ in rows} == set(MODELS)
    for model in MODELS:
        memory, fp8, fp4 = (
            rows[model, what, "roofline"] for what in ("4x bandwidth alone", "3x FP8 alone", "6x FP4 alone, in FP4")
        )
        together = rows[model, "all three", "roofline"]
        # Decoding 64 requests waits for memory, a prompt for multiplication.
        assert 1 < memory.decode.value <= 4
        assert memory.prompt.value == pytest.approx(1)
        assert fp8.decode.value == pytest.approx(1)
        assert 1 < fp8.prompt.value <= fp4.prompt.value <= 6
        assert memory.decode.value <= together.decode.value <= 4 + 1e-9
        for row in (together, rows[model, "all three", "calibrated"]):
            for ratio in (row.decode, row.prompt, row.request):
                low, high = ratio.interval
                assert low < ratio.value <= high
                assert ratio.klass == "assumed"
        assert rows[model, "all three", "calibrated"].decode.value < together.decode.value
        assert {memory.decode.klass, fp4.prompt.klass} == {"derived"}


def test_what_trainium3_would_mean() -> None:
    rows = {(row.model, row.what, row.layer): row for row in consequences() if row.over == TRAINIUM3}
    for model in MODELS:
        same, fp8, fp4, wide = (
            rows[model, what, "roofline"]
            for what in ("BF16 on both", "FP8 to MXFP8", "FP8 to MXFP4 weights", "BF16 to MXFP4 weights")
        )
        # Without a format only the bandwidth is new; prompts wait for the BF16 rate, which is 0.6 % higher.
        assert 671 / 667 - 1e-9 <= same.prompt.value <= same.decode.value <= 4.9 / 2.9 + 1e-9
        # MXFP8 costs 3 % more bytes than FP8 and multiplies 1.94 times as fast.
        assert fp8.decode.value <= 4.9 / 2.9
        assert fp8.prompt.value <= 2517 / 1299 + 1e-9
        assert fp8.decode.value < fp4.decode.value < wide.decode.value
        assert same.prompt.value < fp8.prompt.value <= wide.prompt.value
        assert wide.decode.klass == "derived"
        assert rows[model, "BF16 to MXFP4 weights", "calibrated"].decode.low is not None


def test_llama_decode_by_hand() -> None:
    """Llama-3.1-405B, decode from Trainium2 in FP8 to Trainium3 in MXFP8, both waiting for memory."""
    (row,) = [
        row
        for row in consequences()
        if (row.over, row.model, row.what) == (TRAINIUM3, "Llama-3.1-405B", "FP8 to MXFP8")
    ]
    # Weights of the layers in 8 or 8.25 bits, the head's in 16; norms are nothing. 126 layers x 16 x 128 cached
    # elements of a byte for 64 sequences of 8192 + 512 tokens.
    head = 16_384 * 128_256
    layers = 405.853e9 - 2 * head
    cache = 64 * 126 * 2 * 8 * 128 * (8192 + 512)
    old, new = layers + 2 * head + cache, layers * 8.25 / 8 + 2 * head + cache
    assert row.decode.value == pytest.approx((old / 2.9) / (new / 4.9), rel=1e-3)


def test_a_consequence_is_the_ratio_of_two_deployments() -> None:
    (row,) = [
        row
        for row in consequences()
        if (row.model, row.what, row.layer) == ("Llama-3.1-70B", "4x bandwidth alone", "roofline")
    ]
    as_trainium3 = dict.fromkeys(("fp32", "bf16", "fp8", "fp4", "hbm_bytes"), "x1") | {"hbm_bandwidth": "x4"}
    old = Deployment.of("Llama-3.1-70B", get_chip("trn3"), "mxfp4-a8", "fp8")
    new = Deployment.of("Llama-3.1-70B", get_chip("trn4", figures=as_trainium3), "mxfp4-a8", "fp8")
    assert row.decode.value == pytest.approx(float(speedup(old, new, "roofline", BATCH, PROMPT, ANSWER).decode))
    assert row.as_dict()["decode"]["value"] == row.decode.value
