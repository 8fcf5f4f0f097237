"""Prompts and serving points: arithmetic written out, limits, and chunks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, strategies as st

from trnlab.models.parallel.collectives import all_reduce, point_to_point
from trnlab.models.parallel.partitioning import Partitioning, Splits
from trnlab.models.projection.constants import layer_of
from trnlab.models.projection.machine import Machine
from trnlab.models.projection.method import ROOFLINE
from trnlab.models.projection.prefill import prefill_pass, prompts_per_second
from trnlab.models.projection.serving import PROMPT_TOKENS, serve
from trnlab.models.workloads.catalogue import get_model
from trnlab.models.workloads.formats import get_precision

OSS, LLAMA = get_model("gpt-oss-120b"), get_model("Llama-3.1-70B")
BF16 = get_precision("bf16")
TRN2, TRN3 = Machine.of("trn2"), Machine.of("trn3")


def on_one(*degrees: int) -> Splits:
    return Splits.of([Partitioning(*degrees)], ())


def test_a_long_prompt_is_its_flop_at_peak() -> None:
    tokens = 16_384
    body = 2 * (69.503e9 - 161 * 8192 - 128_256 * 8192) * tokens
    attention = 80 * 4 * 64 * 128 * tokens * (tokens + 1) / 2
    found = prefill_pass(LLAMA, BF16, TRN2, ROOFLINE, on_one(16), tokens)
    assert float(found.total) == pytest.approx((body + attention) / (16 * 667e12), rel=1e-3)


def test_a_short_prompt_still_reads_the_weights() -> None:
    found = prefill_pass(LLAMA, BF16, TRN2, ROOFLINE, on_one(1), 8)
    assert float(found.total) == pytest.approx(2 * 69.503e9 / 2.9e12, rel=1e-3)


def test_chunks_read_the_weights_again_and_the_cache_so_far() -> None:
    whole = prefill_pass(LLAMA, BF16, TRN2, ROOFLINE, on_one(8), 8192)
    parts = prefill_pass(LLAMA, BF16, TRN2, ROOFLINE, on_one(8), 8192, chunk=1024)
    assert float(parts.dense.bytes) == pytest.approx(8 * float(whole.dense.bytes))
    cache = 327_680 * 8192 / 8
    # Written once, read by the chunks: once whole, or 1/8 + 2/8 + ... + 8/8 = 4.5 times.
    assert float(whole.attention.bytes) == pytest.approx(2 * cache)
    assert float(parts.attention.bytes) == pytest.approx(5.5 * cache)
    assert float(parts.flops) == pytest.approx(float(whole.flops))


def test_a_pipeline_and_replicas_work_on_several_prompts() -> None:
    one, many = on_one(4), on_one(4, 1, 2, 3)
    alone = prefill_pass(LLAMA, BF16, TRN2, ROOFLINE, one, 8192)
    staged = prefill_pass(LLAMA, BF16, TRN2, ROOFLINE, many, 8192)
    assert float(staged.total) == pytest.approx(float(alone.total))  # a prompt passes stage after stage
    assert float(prompts_per_second(staged, many)) == pytest.approx(6 * float(prompts_per_second(alone, one)))


def test_context_parallelism_divides_a_prompt() -> None:
    alone = prefill_pass(LLAMA, BF16, TRN3, ROOFLINE, on_one(4), 65_536)
    divided = prefill_pass(LLAMA, BF16, TRN3, ROOFLINE, on_one(4, 1, 1, 1, 4), 65_536)
    assert float(divided.total) == pytest.approx(float(alone.total) / 4)


def test_context_parallelism_passes_keys_and_values_around() -> None:
    method = layer_of("efficiencies", TRN3).prefill
    found = prefill_pass(LLAMA, BF16, TRN3, method, on_one(1, 1, 1, 1, 4), 8192)
    hop = point_to_point(TRN3.fabric, 8192 / 4 * 2 * 8 * 128 * 2, 4)
    assert float(found.collectives) == pytest.approx(3 * 80 * float(hop.total))


def test_tensor_parallelism_adds_up_activations_once_a_chunk() -> None:
    method = layer_of("efficiencies", TRN3).prefill
    found = prefill_pass(LLAMA, BF16, TRN3, method, on_one(8), 8192, chunk=2048)
    one = all_reduce(TRN3.fabric, 2048 * 8192 * 2, 8)
    assert float(found.collectives) == pytest.approx(4 * 160 * float(one.total))


def test_the_calibrated_layer_of_prompts_contains_their_collectives() -> None:
    method = layer_of("calibrated", TRN2).prefill
    found = prefill_pass(LLAMA, BF16, TRN2, method, on_one(16), 8192)
    plain = prefill_pass(LLAMA, BF16, TRN2, ROOFLINE, on_one(16), 8192)
    assert float(found.collectives) == 0
    compute = sum(float(group.compute) for group in (plain.dense, plain.attention))
    expected = compute / method.compute["dense"].value + 80 * method.fixed.value
    assert float(found.total) == pytest.approx(expected)


def test_a_serving_point_is_a_cycle_of_prompts_and_steps() -> None:
    layer = layer_of("roofline", TRN3)
    batch, prompt, answer = 64, 8192, 1024
    found = serve(OSS, BF16, TRN3, layer, on_one(16), batch, prompt, answer)
    cycle = batch * float(found.prefill.total) + answer * float(found.decode.total)
    assert float(found.tokens_per_second) == pytest.approx(batch * answer / cycle)
    assert float(found.tokens_per_second_per_chip) == pytest.approx(batch * answer / cycle / 16)
    assert float(found.tokens_per_second_per_user) == pytest.approx(1 / float(found.tpot_seconds))
    assert float(found.decode_tokens_per_second) == pytest.approx(batch / float(found.tpot_seconds))
    assert float(found.ttft_seconds) == float(found.prefill.total)


def test_short_prompts_are_processed_together_up_to_a_limit() -> None:
    layer = layer_of("calibrated", TRN3)  # a pass has a fixed cost, so that it matters how many prompts share one
    for batch, together in ((200, PROMPT_TOKENS // 128), (10, 10)):  # no more than there are requests
        found = serve(OSS, BF16, TRN3, layer, on_one(16), batch, 128, 128)
        packed = prefill_pass(OSS, BF16, TRN3, layer.prefill, on_one(16), 128, prompts=together)
        cycle = batch / together * float(packed.total) + 128 * float(found.decode.total)
        assert float(found.tokens_per_second) == pytest.approx(batch * 128 / cycle, rel=1e-9)


def test_idle_replicas_process_no_prompts() -> None:
    layer = layer_of("roofline", TRN3)
    two = serve(OSS, BF16, TRN3, layer, on_one(4, 1, 1, 2), 2, 8192, 64)
    eight = serve(OSS, BF16, TRN3, layer, on_one(4, 1, 1, 8), 2, 8192, 64)
    assert float(eight.tokens_per_second) == pytest.approx(float(two.tokens_per_second))


def test_nothing_exceeds_its_peak() -> None:
    for name in ("roofline", "efficiencies", "calibrated"):
        batch = np.array([1, 16, 256, 4096])
        found = serve(OSS, BF16, TRN3, layer_of(name, TRN3), on_one(16), batch, 2048, 512)
        assert np.all(found.mfu <= 1 + 1e-9)
        assert np.all(found.hbm_share <= 1 + 1e-9)
        assert np.all(found.mfu > 0)


@given(batch=st.integers(1, 1024), prompt=st.integers(1, 60_000), answer=st.integers(1, 4000))
def test_throughput_never_exceeds_that_of_decode_alone(batch: int, prompt: int, answer: int) -> None:
    found = serve(OSS, BF16, TRN2, layer_of("calibrated", TRN2), on_one(4), batch, prompt, answer)
    assert 0 < float(found.tokens_per_second) < float(found.decode_tokens_per_second)
