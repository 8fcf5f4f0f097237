"""Training steps: published activation memory, bubbles, and arithmetic written out."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from trnlab.models.parallel.collectives import all_reduce, all_to_all, point_to_point
from trnlab.models.parallel.partitioning import Partitioning, Splits
from trnlab.models.projection.constants import layer_of
from trnlab.models.projection.machine import Machine
from trnlab.models.projection.method import ROOFLINE
from trnlab.models.projection.training import (
    activation_bytes,
    pipeline_bubble,
    training_step,
    upper_bound,
)
from trnlab.models.projection.training_fit import best_training, possible, smallest_training_fit
from trnlab.models.projection.training_outcome import TrainingSetup
from trnlab.models.projection.training_point import project_training
from trnlab.models.projection.training_states import OPTIMIZER_BYTES
from trnlab.models.quantity import ModelError
from trnlab.models.workloads.catalogue import get_model
from trnlab.models.workloads.formats import get_precision
from trnlab.models.workloads.parameters import parameters_of
from trnlab.models.workloads.work import training_flops_per_token

LLAMA = get_model("Llama-3.1-70B")
BF16 = get_precision("bf16")
TRN2 = Machine.of("trn2")


def on_one(*degrees: int) -> Splits:
    return Splits.of([Partitioning(*degrees)], ())


def test_a_step_at_peak_is_its_flop_over_the_chips() -> None:
    step = training_step(LLAMA, BF16, TRN2, ROOFLINE, on_one(8, 1, 1, 4), 8192, 64, recompute="none")
    work = float(training_flops_per_token(LLAMA, 8192)) * 8192 * 64
    assert float(step.total) == pytest.approx(work / (32 * 667e12), rel=1e-4)
    assert float(step.mfu) == pytest.approx(1)
    assert float(step.tokens_per_second_per_chip) == pytest.approx(upper_bound(LLAMA, BF16, TRN2, 8192, 1.0))


def test_recomputation_is_a_fourth_pass_that_mfu_does_not_count() -> None:
    kept = training_step(LLAMA, BF16, TRN2, ROOFLINE, on_one(8, 1, 1, 4), 8192, 64, recompute="none")
    again = training_step(LLAMA, BF16, TRN2, ROOFLINE, on_one(8, 1, 1, 4), 8192, 64, recompute="full")
    assert float(again.compute / kept.compute) == pytest.approx(4 / 3)
    assert float(again.mfu) == pytest.approx(0.75)
    assert float(again.activations) < float(kept.activations)


def test_a_pipelines_bubble_is_p_minus_1_over_m_plus_p_minus_1() -> None:
    step = training_step(LLAMA, BF16, TRN2, ROOFLINE, on_one(8, 1, 4, 2), 8192, 64)
    micro_batches = 32
    assert float(step.bubble / step.total) == pytest.approx(3 / (micro_batches + 3))
    assert float(pipeline_bubble(4, micro_batches)) == pytest.approx(3 / 35)
    assert float(pipeline_bubble(1, 5)) == 0


def test_collectives_of_a_step() -> None:
    method = layer_of("efficiencies", TRN2).decode
    step = training_step(LLAMA, BF16, TRN2, method, on_one(8, 1, 1, 4), 8192, 16, recompute="none")
    within = all_reduce(TRN2.fabric, 8192 * 8192 * 2, 8)
    gradients = all_reduce(TRN2.fabric, 2 * parameters_of(LLAMA).total / 8, 4)  # 32 chips are in one domain
    expected = 4 * 80 * 4 * float(within.total) + float(gradients.total)  # 4 micro-batches
    assert float(step.collectives) == pytest.approx(expected)


def test_gradients_of_more_replicas_than_a_domain_holds_cross_the_network() -> None:
    """TP32 on a domain of 64: two replicas a domain, four domains; ring between them over each chip's half."""
    method = layer_of("efficiencies", TRN2).decode
    step = training_step(LLAMA, BF16, TRN2, method, on_one(32, 1, 1, 8), 8192, 8, recompute="none")
    size = 2 * parameters_of(LLAMA).total / 32
    inside, fabric = all_reduce(TRN2.fabric, size, 2), TRN2.fabric
    assert fabric.outer_bandwidth is not None
    assert fabric.outer_latency is not None
    between = 2 * 3 * fabric.outer_latency.value + 2 * 3 / 4 * (size / 2) / fabric.outer_bandwidth.value
    within = all_reduce(TRN2.fabric, 8192 * 8192 * 2, 32)
    assert float(step.collectives) == pytest.approx(4 * 80 * float(within.total) + float(inside.total) + between)


def test_experts_across_replicas_dispatch_and_reduce_over_their_own_copies() -> None:
    """EP4 over two replicas of TP2, four replicas in all: two copies of the experts, four of the rest."""
    model, method = get_model("Mixtral-8x7B"), layer_of("efficiencies", TRN2).decode
    step = training_step(model, BF16, TRN2, method, on_one(2, 4, 1, 4), 4096, 4, recompute="full")
    activations = 4096 * 4096 * 2
    reduced = all_reduce(TRN2.fabric, activations, 2).total * 3 * 32  # the second reduction is the experts' exchange
    exchanged = all_to_all(TRN2.fabric, activations * 2 / 2, 4).total * 3 * 2 * 32
    found = parameters_of(model)
    dense = all_reduce(TRN2.fabric, 2 * (found.total - found.experts) / 2, 4).total
    experts = all_reduce(TRN2.fabric, 2 * found.experts / 4, 2).total
    assert float(step.collectives) == pytest.approx(float(reduced + exchanged + dense + experts))
    assert float(step.states.optimizer) == pytest.approx(
        OPTIMIZER_BYTES * ((found.total - found.experts) / 2 / 4 + found.experts / 4 / 2)
    )


def test_context_rings_and_pipeline_hops_are_counted() -> None:
    method = layer_of("efficiencies", TRN2).decode
    alone = training_step(LLAMA, BF16, TRN2, method, on_one(8, 1, 1, 1, 2), 8192, 1, recompute="none")
    half = 4096 * 8192 * 2
    ring = point_to_point(TRN2.fabric, 4096 * 2 * 8 * 128 * 2 / 8, 2).total * 3 * 80  # forward once, backward twice
    assert float(alone.collectives) == pytest.approx(float(all_reduce(TRN2.fabric, half, 8).total) * 4 * 80 + ring)
    staged = training_step(LLAMA, BF16, TRN2, method, on_one(8, 1, 2), 8192, 4, recompute="none")
    whole = 2 * half
    hops = point_to_point(TRN2.fabric, whole, 2).total * 2 * 4
    assert float(staged.collectives) == pytest.approx(
        float(all_reduce(TRN2.fabric, whole, 8).total) * 4 * 40 * 4 + hops
    )


def test_memory_of_a_step() -> None:
    step = training_step(LLAMA, BF16, TRN2, ROOFLINE, on_one(8, 1, 1, 4), 8192, 16)
    count = parameters_of(LLAMA).total
    assert float(step.states.weights) == pytest.approx(2 * count / 8)
    assert float(step.states.gradients) == pytest.approx(4 * count / 8)  # whole on every replica
    assert float(step.states.optimizer) == pytest.approx(12 * count / 8 / 4)  # divided over 4 replicas
    assert float(step.activations) == pytest.approx(80 * 2 * 8192 * 8192 / 8)  # layer inputs, sequence parallel
    assert float(step.memory) == pytest.approx(float(sum(step.states) + step.activations))


def test_selective_recomputation_computes_attention_once_more() -> None:
    steps = {
        kind: training_step(LLAMA, BF16, TRN2, ROOFLINE, on_one(8), 8192, 4, recompute=kind)  # type: ignore[arg-type]
        for kind in ("none", "selective")
    }
    attention = 4 * 64 * 128 * 80 * 8192 * 8193 / 2 * 4 / (8 * 667e12)
    assert float(steps["selective"].compute - steps["none"].compute) == pytest.approx(attention)


def test_unequal_stages_go_at_the_pace_of_the_longest() -> None:
    """80 layers on 3 stages: 27 in the longest; 8 micro-batches, 2 stages to fill."""
    step = training_step(LLAMA, BF16, TRN2, ROOFLINE, on_one(8, 1, 3), 8192, 8)
    assert float(step.total / step.compute) == pytest.approx(81 / 80 * (1 + 2 / 8))


def test_a_first_stage_keeps_no_more_micro_batches_than_there_are() -> None:
    many = training_step(LLAMA, BF16, TRN2, ROOFLINE, on_one(8, 1, 4, 1), 8192, 64)
    two = training_step(LLAMA, BF16, TRN2, ROOFLINE, on_one(8, 1, 4, 1), 8192, 2)
    layer = 2 * 8192 * 8192 / 8
    assert float(many.activations) == pytest.approx(4 * 20 * layer)  # four waiting, 20 layers each
    assert float(two.activations) == pytest.approx(2 * 20 * layer)


@pytest.mark.parametrize(
    ("tp", "recompute", "factor"), [(1, "none", 34), (1, "selective", 34), (8, "selective", 34 / 8)]
)
def test_activations_are_those_of_the_published_formula(tp: int, recompute: str, factor: float) -> None:
    s, b, h, heads = 2048, 4, 6144, 64
    scores = 5 * heads * s / h / tp if recompute == "none" else 0
    found = activation_bytes(h, heads, s, b, tp, recompute=recompute, sequence_parallel=True)  # type: ignore[arg-type]
    assert float(found) == pytest.approx(s * b * h * (factor + scores))


def test_wrong_input_is_refused() -> None:
    with pytest.raises(ModelError, match="batch of a training step"):
        training_step(LLAMA, BF16, TRN2, ROOFLINE, on_one(8, 1, 1, 4), 8192, 6)
    with pytest.raises(ModelError, match="recomputation"):
        activation_bytes(1, 1, 1, 1, 1, recompute="some")  # type: ignore[arg-type]
    for mfu in (0, 1.5):
        with pytest.raises(ModelError, match="mfu"):
            upper_bound(LLAMA, BF16, TRN2, 8192, mfu)


def test_a_projection_has_three_layers_bands_and_memory() -> None:
    setup = TrainingSetup(sequence=8192, batch=1024)
    found = project_training("Llama-3.1-70B", "trn4", Partitioning(8, 1, 1, 8), setup)
    assert [layer.name for layer in found.layers] == ["roofline", "efficiencies", "calibrated"]
    for layer in found.layers:
        assert layer.step.klass == "assumed"
        assert layer.step.low is not None
        parts = layer.compute.value + layer.bubble.value + layer.collectives.value
        assert parts == pytest.approx(layer.step.value)
        assert layer.chip_rate.value == pytest.approx(8192 * 1024 / 64 / layer.step.value)
    assert "memory of a chip" in str(found)
    assert "<caption>training Llama-3.1-70B" in found._repr_html_()
    assert len(found.to_pandas()) == 18
    figure = found.plot()
    assert figure.axes[0].get_xlabel().startswith("seconds per training step")
    assert len(figure.axes[0].patches) == 9  # three parts of three layers


def test_a_projection_is_json_with_its_memory_and_notes() -> None:
    found = project_training("Llama-3.1-8B", "trn2", Partitioning(8), TrainingSetup(sequence=4096, batch=8))
    data = json.loads(found.to_json())
    assert data["partitioning"]["tp"] == 8
    assert data["memory_bytes"]["gradients"] == pytest.approx(4 * parameters_of(get_model("Llama-3.1-8B")).total / 8)
    assert len(data["records"]) == 18
    assert any("assumed for Trainium2" in note for note in data["notes"])
    assert found.layer("calibrated").note in data["notes"]


def test_a_step_that_does_not_fit_says_by_how_much_and_how_few_chips_would_do() -> None:
    """405B: 6 bytes of weights and gradients and 12 of optimizer states a parameter; 7.3 TB in all, 92.8 GB a chip."""
    setup = TrainingSetup(sequence=4096, batch=16)
    with pytest.raises(ModelError, match="too much") as error:
        project_training("Llama-3.1-405B", "trn2", Partitioning(16), setup)
    model = get_model("Llama-3.1-405B")
    least = smallest_training_fit(model, BF16, TRN2, setup)
    assert least is not None
    assert f"at least {least.chips} chips ({least})" in str(error.value)
    room = 0.9 * 96 * 2**30
    assert least.chips >= 18 * parameters_of(model).total / room
    project_training(model, "trn2", least, setup)
    for chips in range(least.chips - 4, least.chips):
        for split in possible(model, TRN2, chips, setup):
            with pytest.raises(ModelError, match="too much"):
                project_training(model, "trn2", split, setup)


def test_the_best_partitioning_is_the_shortest_of_all_that_fit() -> None:
    setup, model = TrainingSetup(sequence=4096, batch=32), get_model("Llama-3.1-8B")
    method = layer_of("efficiencies", TRN2).decode
    best = best_training(model, BF16, TRN2, 16, setup)
    times = {}
    for split in possible(model, TRN2, 16, setup):
        step = training_step(model, BF16, TRN2, method, Splits.of([split], ()), 4096, 32)
        if step.fits:
            times[split] = float(step.total)
    assert len(times) > 5
    assert times[best] == min(times.values())
    with pytest.raises(ModelError, match="--chips"):
        best_training(model, BF16, TRN2, 37, TrainingSetup(sequence=4096, batch=3))
    with pytest.raises(ModelError, match="at least"):
        best_training(get_model("Llama-3.1-405B"), BF16, TRN2, 4, setup)


def test_the_calibrated_layer_has_the_published_utilisation() -> None:
    setup = TrainingSetup(sequence=8192, batch=1024)
    found = project_training("Llama-3.1-70B", "trn1", Partitioning(16, 1, 8, 4), setup)
    calibrated = found.layers[2]
    # Sorted: 14.8, 25.8, 27.7, 29.65, 30.8, 33.14 %; the median lies between the third and the fourth.
    assert calibrated.mfu.value == pytest.approx((0.277 + 0.2965) / 2)
    assert calibrated.mfu.interval == pytest.approx((0.148, 0.3314))
    assert calibrated.mfu.klass == "fitted"
    # AWS publishes 7.94 sequences a second for this model on 32 nodes of 16 chips, without the sequence's length.
    assert 1024 / calibrated.step.value == pytest.approx(7.94, rel=0.1)


@pytest.mark.parametrize("changes", [{"sequence": 0}, {"batch": 1.5}, {"micro_batch": True}, {"recompute": "some"}])
def test_a_set_up_takes_whole_numbers(changes: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match=next(iter(changes))):
        TrainingSetup(**({"sequence": 1, "batch": 1} | changes))


def test_steps_broadcast() -> None:
    splits = Splits.of([Partitioning(8, 1, 1, 4), Partitioning(8, 1, 4, 1)])
    step = training_step(LLAMA, BF16, TRN2, ROOFLINE, splits, 8192, 64)
    assert step.total.shape == (2,)
    assert np.all(step.chips == 32)
