"""`project_training`: one training set-up on one chip in the three layers, with its memory.

The calibrated layer takes the model FLOP utilisation that AWS publishes for Trainium1, of which bubbles and
collectives are part: time = model FLOP at peak / utilisation.
"""

from __future__ import annotations

from dataclasses import replace
from statistics import median
from typing import Final

from trnlab.emulator.target import Generation
from trnlab.models.arrays import Array
from trnlab.models.chips import Chip
from trnlab.models.parallel.memory import USABLE
from trnlab.models.parallel.partitioning import Partitioning, Splits, check
from trnlab.models.projection.constants import layer_of
from trnlab.models.projection.machine import Machine, machine_at
from trnlab.models.projection.method import CASES, LAYERS, Case, LayerName, Method, everywhere, exact
from trnlab.models.projection.training import TrainingStep, training_step
from trnlab.models.projection.training_fit import require_training_fit
from trnlab.models.projection.training_outcome import TrainingOutcome, TrainingProjection, TrainingSetup
from trnlab.models.quantity import Quantity, QuantityClass, weakest
from trnlab.models.workloads.catalogue import get_model
from trnlab.models.workloads.formats import Precision, get_precision
from trnlab.models.workloads.model import LanguageModel

PUBLISHED_MFU: Final = (0.258, 0.2965, 0.277, 0.3314, 0.148, 0.308)
"""BERT-Large, GPT-3 23B, 46B and 175B, Llama-2-7B twice, on Trainium1 (AWS Neuron benchmark tables)."""


def published_utilisation(chip: Chip) -> Quantity:
    """Model FLOP utilisation of training: the median AWS publishes for Trainium1, assumed for every other chip."""
    source = "AWS Neuron benchmark tables, training on Trainium1, median of six"
    first = chip.target is not None and chip.target.generation is Generation.V2
    klass: QuantityClass = "fitted" if first else "assumed"
    middle = median(PUBLISHED_MFU)
    return Quantity(middle, "", source, klass, min(PUBLISHED_MFU), max(PUBLISHED_MFU))


def training_method(name: LayerName, machine: Machine) -> Method:
    """The layer's constants; the calibrated one has the published utilisation and nothing besides.

    Raises:
        ModelError: no such layer.
    """
    if name != "calibrated":
        return layer_of(name, machine).decode
    used = published_utilisation(machine.chip)
    note = "the calibrated layer's published utilisation contains bubbles, collectives and recomputation"
    if used.klass == "assumed":
        note += f"; it is Trainium1's, assumed for {machine.label}"
    base = layer_of("efficiencies", machine).decode
    return replace(base, name="calibrated", compute=everywhere(used), exposed=exact(0.0), note=note)


def project_training(
    model: str | LanguageModel,
    chip: str | Chip,
    partitioning: Partitioning,
    setup: TrainingSetup,
    *,
    precision: str | Precision = "bf16",
) -> TrainingProjection:
    """A training step in the three layers.

    Raises:
        TargetError, ModelError: an unknown name, a rate that the chip lacks, an impossible partitioning, a batch that
            replicas and micro-batches do not divide, or a step that does not fit the memory, by how much, and the
            fewest chips that would hold it.
    """
    shape, machine, recipe = get_model(model), Machine.of(chip), get_precision(precision)
    machine.require(recipe)
    check(shape, partitioning, machine.fabric)
    step = _step("roofline", "central", shape, recipe, machine, partitioning, setup)
    require_training_fit(shape, recipe, machine, partitioning, setup, step)

    def size(value: Array, source: str) -> Quantity:
        return Quantity(float(value), "B", source, "derived")

    return TrainingProjection(
        model=shape.name,
        chip=machine.label,
        precision=recipe.name,
        partitioning=partitioning,
        setup=setup,
        layers=tuple(_outcome(name, shape, recipe, machine, partitioning, setup) for name in LAYERS),
        weights=size(step.states.weights, "bf16 weights of the longest stage"),
        gradients=size(step.states.gradients, "FP32 gradients of the same"),
        optimizer=size(step.states.optimizer, "two Adam moments and an FP32 master copy, divided over replicas"),
        activations=size(step.activations, "Korthikanti et al. (arXiv 2205.05198)"),
        available=Quantity(float(step.available), "B", f"{USABLE:v} of HBM; {USABLE.source}", "assumed"),
        notes=_notes(shape, setup),
    )


def _notes(model: LanguageModel, setup: TrainingSetup) -> tuple[str, ...]:
    notes = ["efficiencies are those of large matrices; no training kernel of ours is timed"]
    if setup.recompute != "full":
        what = "experts and gated feed-forwards keep more" if model.is_mixture else "gated feed-forwards keep more"
        notes.append(f"activations are those of a GPT layer with a feed-forward of 4 times its width: {what}")
    return tuple(notes)


def _step(
    name: LayerName,
    case: Case,
    model: LanguageModel,
    precision: Precision,
    machine: Machine,
    split: Partitioning,
    setup: TrainingSetup,
) -> TrainingStep:
    found = training_step(
        model,
        precision,
        machine_at(machine, case),
        training_method(name, machine).at(case),
        Splits.of([split], ()),
        setup.sequence,
        setup.batch,
        micro_batch=setup.micro_batch,
        recompute=setup.recompute if name != "calibrated" else "none",
    )
    return replace(found, bubble=found.bubble * 0.0) if name == "calibrated" else found


def _outcome(
    name: LayerName,
    model: LanguageModel,
    precision: Precision,
    machine: Machine,
    split: Partitioning,
    setup: TrainingSetup,
) -> TrainingOutcome:
    steps = {case: _step(name, case, model, precision, machine, split, setup) for case in CASES}
    method = training_method(name, machine)
    peaks = (peak.klass for peak in machine.chip.peaks.values())
    klass = weakest((*(value.klass for _, value in method.constants), *peaks, "derived"))

    def quantity(attribute: str, unit: str) -> Quantity:
        values = {case: float(getattr(step, attribute)) for case, step in steps.items()}
        low, high = min(values.values()), max(values.values())
        band = (low, high) if low < high else (None, None)
        return Quantity(values["central"], unit, f"{name} layer, {machine.label}", klass, *band)

    return TrainingOutcome(
        name=name,
        step=quantity("total", "s"),
        chip_rate=quantity("tokens_per_second_per_chip", "token/s/chip"),
        mfu=quantity("mfu", ""),
        compute=quantity("compute", "s"),
        bubble=quantity("bubble", "s"),
        collectives=quantity("collectives", "s"),
        note=method.note,
    )
