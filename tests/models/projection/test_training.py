"""Training steps: published activation memory, bubbles, and arithmetic written out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from trnlab.models.parallel.collectives import all_reduce
from trnlab.models.parallel.partitioning import Partitioning, Splits
from trnlab.models.projection.constants import layer_of
from trnlab.models.projection.machine import Machine
from trnlab.models.projection.method import ROOFLINE
from trnlab.models.projection.training import (
    ADAM_BYTES,
    activation_bytes,
    pipeline_bubble,
    training_step,
    upper_bound,
)
from trnlab.models.projection.training_point import TrainingSetup, project_training
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
    gradients = all_reduce(TRN2.fabric, 2 * parameters_of(LLAMA).total / 8, 4)
    expected = 4 * 80 * 4 * float(within.total) + float(gradients.total)  # 4 micro-batches
    assert float(step.collectives) == pytest.approx(expected)


def test_memory_of_a_step() -> None:
    step = training_step(LLAMA, BF16, TRN2, ROOFLINE, on_one(8, 1, 1, 4), 8192, 16)
    count = parameters_of(LLAMA).total
    assert float(step.weights) == pytest.approx(2 * count / 8)
    assert float(step.optimizer) == pytest.approx(ADAM_BYTES * count / 8 / 4)  # divided over 4 replicas
    assert float(step.activations) == pytest.approx(80 * 2 * 8192 * 8192 / 8)  # layer inputs, sequence parallel


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
    assert found.fits
    assert "memory of a chip" in str(found)
    assert "<caption>training Llama-3.1-70B" in found._repr_html_()
    assert len(found.to_pandas()) == 18


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


@pytest.mark.parametrize("changes", [{"sequence": 0}, {"batch": 1.5}, {"micro_batch": True}])
def test_a_set_up_takes_whole_numbers(changes: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match=next(iter(changes))):
        TrainingSetup(**({"sequence": 1, "batch": 1} | changes))


def test_steps_broadcast() -> None:
    splits = Splits.of([Partitioning(8, 1, 1, 4), Partitioning(8, 1, 4, 1)])
    step = training_step(LLAMA, BF16, TRN2, ROOFLINE, splits, 8192, 64)
    assert step.total.shape == (2,)
    assert np.all(step.chips == 32)
