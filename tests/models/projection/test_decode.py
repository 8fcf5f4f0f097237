"""Decode steps against arithmetic written out, and the properties any such model must have."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, strategies as st

from trnlab.models.chips import get_chip
from trnlab.models.parallel.collectives import all_reduce, all_to_all, point_to_point
from trnlab.models.parallel.partitioning import Partitioning, Splits, partitionings
from trnlab.models.projection.constants import layer_of
from trnlab.models.projection.decode import decode_step
from trnlab.models.projection.machine import Machine
from trnlab.models.projection.method import LAYERS, ROOFLINE, Method, everywhere, exact
from trnlab.models.projection.runtime import Runtime
from trnlab.models.quantity import ModelError
from trnlab.models.workloads.catalogue import get_model
from trnlab.models.workloads.formats import Precision, get_precision
from trnlab.models.workloads.model import LanguageModel

OSS, LLAMA, DEEPSEEK = (get_model(name) for name in ("gpt-oss-120b", "Llama-3.1-70B", "DeepSeek-V3"))
BF16, W4A8 = get_precision("bf16"), get_precision("experts-mxfp4-a8")
TRN2, TRN3, TRN4 = (Machine.of(name) for name in ("trn2", "trn3", "trn4"))


def on_one(*degrees: int) -> Splits:
    return Splits.of([Partitioning(*degrees)], ())


def seconds(
    model: LanguageModel,
    machine: Machine,
    split: Splits,
    batch: float,
    context: float,
    precision: Precision = BF16,
    method: Method = ROOFLINE,
    runtime: Runtime | None = None,
) -> float:
    return float(decode_step(model, precision, machine, method, split, batch, context, runtime).total)


def test_a_dense_model_on_one_chip_by_hand() -> None:
    batch, context = 4, 1000
    weights = 69.503e9  # parameters that a token meets; the norms' bytes are among them
    moved = 2 * weights + batch * 2 * (2 * 8 * 128) * 80 * context
    assert seconds(LLAMA, TRN2, on_one(1), batch, context) == pytest.approx(moved / 2.9e12, rel=1e-4)


def test_large_batches_are_bound_by_compute_group_by_group() -> None:
    batch, context = 4096, 16
    linear = 2 * (69.503e9 - 161 * 8192) * batch / 667e12
    cache = batch * 327_680 * context / 2.9e12
    assert seconds(LLAMA, TRN2, on_one(1), batch, context) == pytest.approx(linear + cache, rel=1e-4)


def test_latent_attention_is_bound_by_compute_where_its_intensity_exceeds_the_ridge() -> None:
    step = decode_step(DEEPSEEK, BF16, TRN3, ROOFLINE, on_one(1), 64, 8192)
    flops = 64 * 61 * 2 * 128 * (2 * 512 + 64) * 8192
    assert float(step.attention.compute) == pytest.approx(flops / 671e12)
    assert float(step.attention.memory) == pytest.approx(64 * 61 * 576 * 2 * 8192 / 4.9e12)
    # 242 FLOP/B lies above the 137 of Trainium3 in BF16.
    assert float(step.attention.time) == float(step.attention.compute)


def test_experts_are_read_as_far_as_tokens_choose_them() -> None:
    one = decode_step(OSS, W4A8, TRN3, ROOFLINE, on_one(1), 1, 1)
    matrices, biases = 36 * 4 * 3 * 2880 * 2880, 36 * 4 * (2 * 2880 + 2880)
    assert float(one.experts.bytes) == pytest.approx(matrices * 4.25 / 8 + 2 * biases)
    many = decode_step(OSS, W4A8, TRN3, ROOFLINE, on_one(1), 10_000, 1)
    assert float(many.experts.bytes) == pytest.approx(32 * float(one.experts.bytes), rel=1e-9)


def test_a_layers_fixed_cost_is_paid_once_a_layer() -> None:
    method = replace(ROOFLINE, fixed=exact(1e-4, "s"))
    gain = seconds(LLAMA, TRN2, on_one(8), 1, 100, method=method) - seconds(LLAMA, TRN2, on_one(8), 1, 100)
    assert gain == pytest.approx(80 * 1e-4)


def test_efficiencies_divide_their_own_resource() -> None:
    half = replace(ROOFLINE, memory=everywhere(exact(0.5)))
    # At batch 1 everything is bound by memory.
    assert seconds(LLAMA, TRN2, on_one(1), 1, 100, method=half) == pytest.approx(
        2 * seconds(LLAMA, TRN2, on_one(1), 1, 100)
    )


def test_collectives_are_two_all_reduces_a_layer() -> None:
    method = layer_of("efficiencies", TRN3).decode
    step = decode_step(LLAMA, BF16, TRN3, method, on_one(16), 32, 100)
    one = all_reduce(TRN3.fabric, 32 * 8192 * 2, 16)
    assert float(step.collectives) == pytest.approx(160 * float(one.total))


def test_a_pipeline_hands_activations_on() -> None:
    method = layer_of("efficiencies", TRN3).decode
    step = decode_step(LLAMA, BF16, TRN3, method, on_one(1, 1, 4, 1), 32, 100)
    hop = point_to_point(TRN3.fabric, 32 / 4 * 8192 * 2, 4)  # 8 sequences pass at a time, over 3 boundaries
    assert float(step.collectives) == pytest.approx(3 * float(hop.total))


def test_context_parallelism_adds_up_partial_outputs() -> None:
    method = layer_of("efficiencies", TRN3).decode
    step = decode_step(LLAMA, BF16, TRN3, method, on_one(1, 1, 1, 1, 4), 2, 100)
    one = all_reduce(TRN3.fabric, 2 * 64 * (128 + 2) * 4, 4)  # FP32, with a maximum and a sum per head
    assert float(step.collectives) == pytest.approx(80 * float(one.total))


def test_the_calibrated_layer_counts_the_bytes_of_collectives_and_not_their_latency() -> None:
    method = layer_of("calibrated", TRN3).decode
    step = decode_step(LLAMA, BF16, TRN3, method, on_one(16), 32, 100)
    one = all_reduce(TRN3.fabric, 32 * 8192 * 2, 16)
    assert float(step.collectives) == pytest.approx(160 * float(one.transfer))
    assert float(step.fixed) == pytest.approx(80 * method.fixed.value)


def test_experts_beyond_tensor_parallelism_dispatch_and_combine() -> None:
    method = layer_of("efficiencies", TRN3).decode
    step = decode_step(OSS, BF16, TRN3, method, on_one(4, 16, 1, 4), 64, 100)
    # 16 sequences a replica; each of its 4 chips sends a quarter of its tokens to 4 experts each.
    reduce = all_reduce(TRN3.fabric, 16 * 2880 * 2, 4)
    exchange = all_to_all(TRN3.fabric, 16 * 2880 * 2 * 4 / 4, 16)
    assert float(step.collectives) == pytest.approx(36 * float(reduce.total) + 72 * float(exchange.total))


def test_expert_parallelism_waits_for_the_busiest_rank() -> None:
    """One token needs 4 experts; on 64 ranks the busiest holds about one, not a sixteenth of one."""
    tensor = decode_step(OSS, W4A8, TRN3, ROOFLINE, on_one(64), 1, 1)
    expert = decode_step(OSS, W4A8, TRN3, ROOFLINE, on_one(64, 64), 1, 1)
    ratio = float(expert.experts.bytes / tensor.experts.bytes)
    assert ratio == pytest.approx(1.04 / (4 / 64), rel=0.02)  # 1.04: simulated in test_routing


def test_expert_parallelism_computes_at_the_pace_of_the_fullest_rank() -> None:
    """Batch 32 on 64 ranks: the fullest has 2.95 times the mean (simulated), and its compute takes as much longer."""
    tensor = decode_step(OSS, W4A8, TRN3, ROOFLINE, on_one(64), 32, 1)
    expert = decode_step(OSS, W4A8, TRN3, ROOFLINE, on_one(64, 64), 32, 1)
    assert float(expert.experts.compute / tensor.experts.compute) == pytest.approx(2.95, rel=0.02)
    assert float(expert.experts.flops) == float(tensor.experts.flops)


def test_few_tokens_of_an_expert_take_as_long_as_a_whole_tile_of_rows() -> None:
    method = layer_of("efficiencies", TRN3).decode
    step = decode_step(OSS, W4A8, TRN3, method, on_one(1), 8, 1)
    chosen = 128 * (1 - (1 - 4 / 128) ** 8)  # 28.7 experts, about one token each
    rows = 36 * chosen * 128 * 2 * 3 * 2880 * 2880
    assert float(step.experts.compute) == pytest.approx(rows / 2517e12 / method.compute["experts"].value)
    one_token = float(step.dense.flops) / 8
    assert float(step.dense.compute) == pytest.approx(128 * one_token / 671e12 / method.compute["dense"].value)


def test_idle_replicas_send_no_tokens_to_the_experts() -> None:
    """Two sequences on 8 replicas that share the experts need what two tokens need, not what eight would."""
    shared = decode_step(OSS, W4A8, TRN3, ROOFLINE, on_one(1, 8, 1, 8), 2, 1)
    eight = decode_step(OSS, W4A8, TRN3, ROOFLINE, on_one(1, 8, 1, 8), 8, 1)
    assert float(shared.experts.flops) == pytest.approx(float(eight.experts.flops) / 4)
    assert float(shared.experts.bytes) < float(eight.experts.bytes)


def test_a_pipeline_keeps_a_single_sequences_latency_at_its_stages_speed() -> None:
    whole = seconds(LLAMA, TRN2, on_one(4), 1, 100)
    staged = seconds(LLAMA, TRN2, on_one(4, 1, 4, 1), 1, 100)
    assert staged == pytest.approx(whole)  # 80 layers over 4 stages, each as fast as before
    uneven = seconds(LLAMA, TRN2, on_one(4, 1, 3, 1), 1, 100)
    assert uneven == pytest.approx(whole * 81 / 80)  # stages of 27 layers


def test_copied_caches_are_read_by_every_rank() -> None:
    split = decode_step(LLAMA, BF16, TRN3, ROOFLINE, on_one(16), 8, 8192)
    copied = decode_step(LLAMA, BF16, TRN3, ROOFLINE, on_one(16), 8, 8192, Runtime(split_kv=False))
    # 16 chips x 4 ranks read 8 heads: 8 times as much.
    assert float(copied.attention.bytes) == pytest.approx(8 * float(split.attention.bytes))


@given(
    model=st.sampled_from([OSS, LLAMA, DEEPSEEK]),
    machine=st.sampled_from([TRN2, TRN3, TRN4]),
    split=st.sampled_from(partitionings(OSS, 16, TRN3.fabric, axes=("tp", "pp", "dp"))),
    batch=st.integers(1, 2048),
    context=st.integers(1, 100_000),
)
def test_layers_only_add_time_and_work_only_grows(
    model: LanguageModel, machine: Machine, split: Partitioning, batch: int, context: int
) -> None:
    splits = Splits.of([split], ())
    times = [seconds(model, machine, splits, batch, context, method=layer_of(name, machine).decode) for name in LAYERS]
    assert times[0] <= min(times[1:])
    assert times[0] <= seconds(model, machine, splits, batch + 1, context) * (1 + 1e-12)
    assert times[0] <= seconds(model, machine, splits, batch, context + 1) * (1 + 1e-12)


@given(batch=st.integers(1, 1000), context=st.integers(1, 50_000))
def test_fewer_bits_never_take_longer(batch: int, context: int) -> None:
    order = ["bf16", "experts-mxfp8", "experts-mxfp4-a8", "mx"]
    times = [seconds(OSS, TRN3, on_one(16), batch, context, get_precision(name)) for name in order]
    assert times == sorted(times, reverse=True)


@given(batch=st.integers(1, 500), skew=st.floats(0.1, 2.0))
def test_skewed_routing_reads_fewer_experts(batch: int, skew: float) -> None:
    uniform = decode_step(OSS, W4A8, TRN3, ROOFLINE, on_one(16), batch, 100)
    skewed = decode_step(OSS, W4A8, TRN3, ROOFLINE, on_one(16), batch, 100, Runtime(skew=skew))
    assert float(skewed.experts.bytes) <= float(uniform.experts.bytes) * (1 + 1e-9)


def test_parts_add_up_and_arrays_are_the_numbers_one_by_one() -> None:
    splits = [Partitioning(16), Partitioning(4, 16, 1, 4), Partitioning(2, 2, 2, 4)]
    batches, contexts = np.array([1, 7, 512]), np.array([100, 9000])
    method = layer_of("calibrated", TRN3).decode
    block = decode_step(OSS, W4A8, TRN3, method, Splits.of(splits, (-1, 1, 1)), batches[:, None], contexts[None, :])
    for i, split in enumerate(splits):
        for j, batch in enumerate(batches.tolist()):
            for k, context in enumerate(contexts.tolist()):
                alone = decode_step(OSS, W4A8, TRN3, method, Splits.of([split], ()), batch, context)
                assert block.total[i, j, k] == pytest.approx(float(alone.total), rel=1e-12)
                assert sum(float(part) for part in alone.parts.values()) == pytest.approx(float(alone.total))


def test_a_rate_that_the_chip_lacks_is_refused() -> None:
    with pytest.raises(ModelError, match=r"mxfp8.*bf16"):
        seconds(OSS, TRN2, on_one(4), 1, 1, W4A8)
    assert not TRN2.can(W4A8)
    assert Machine.of(get_chip("h100")).can(get_precision("experts-mxfp4-a16"))
