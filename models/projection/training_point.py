"""`project_training`: one training set-up on one chip in the three layers, with its memory.

The calibrated layer takes the model FLOP utilisation that AWS publishes for Trainium1, of which bubbles and
collectives are part: time = model FLOP at peak / utilisation.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from html import escape
from statistics import median
from typing import Any, Final

from trnlab.emulator.target import Generation
from trnlab.models.chips import Chip
from trnlab.models.parallel.partitioning import Partitioning, Splits, check
from trnlab.models.projection.constants import layer_of
from trnlab.models.projection.machine import Machine, machine_at
from trnlab.models.projection.method import CASES, LAYERS, Case, LayerName, Method, everywhere, exact
from trnlab.models.projection.outcome import data_frame
from trnlab.models.projection.training import Recompute, TrainingStep, training_step
from trnlab.models.quantity import ModelError, Quantity, QuantityClass, weakest
from trnlab.models.workloads.catalogue import get_model
from trnlab.models.workloads.formats import Precision, get_precision
from trnlab.models.workloads.model import LanguageModel

PUBLISHED_MFU: Final = (0.258, 0.2965, 0.277, 0.3314, 0.148, 0.308)
"""BERT-Large, GPT-3 23B, 46B and 175B, Llama-2-7B twice, on Trainium1 (AWS Neuron benchmark tables)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSetup:
    """What is trained: tokens of a sequence, sequences of a step and of a micro-batch, and what is recomputed.

    Raises:
        ModelError: a number below 1.
    """

    sequence: int
    batch: int
    micro_batch: int = 1
    recompute: Recompute = "full"

    def __post_init__(self) -> None:
        for name in ("sequence", "batch", "micro_batch"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ModelError(name, value, "a whole number >= 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingOutcome:
    """What one layer says: seconds of a step, tokens per second and chip, MFU, and the parts of the step."""

    name: LayerName
    step: Quantity
    chip_rate: Quantity
    mfu: Quantity
    compute: Quantity
    bubble: Quantity
    collectives: Quantity
    note: str = ""


_ROWS: Final = (
    ("step", "step"),
    ("tokens/s per chip", "chip_rate"),
    ("model FLOP utilisation", "mfu"),
    ("compute", "compute"),
    ("bubble", "bubble"),
    ("collectives", "collectives"),
)


@dataclass(frozen=True, kw_only=True)
class TrainingProjection:
    """A training set-up in the three layers; weights, optimizer, activations: bytes on the fullest chip."""

    title: str
    layers: tuple[TrainingOutcome, ...]
    weights: Quantity
    optimizer: Quantity
    activations: Quantity
    available: Quantity
    fits: bool
    notes: tuple[str, ...] = field(default=())

    @property
    def memory_line(self) -> str:
        """Memory of the fullest chip, in one line."""
        parts = f"weights {self.weights:v} + optimizer {self.optimizer:v} + activations {self.activations:v}"
        return f"memory of a chip: {parts} of {self.available:v}: {'fits' if self.fits else 'does not fit'}"

    def table(self) -> tuple[tuple[str, ...], ...]:
        """Rows of text: the quantity, then one cell per layer."""
        return tuple((title, *(f"{getattr(found, name)}" for found in self.layers)) for title, name in _ROWS)

    def __str__(self) -> str:
        rows = [("", *(found.name for found in self.layers)), *self.table()]
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        return "\n".join([self.title, *lines, self.memory_line, *(f"note: {note}" for note in self.notes)])

    def _repr_html_(self) -> str:
        """A table for notebooks."""
        head = "".join(f"<th>{escape(cell)}</th>" for cell in ("", *(found.name for found in self.layers)))
        body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in self.table())
        notes = "".join(f"<li>{escape(note)}</li>" for note in (self.memory_line, *self.notes))
        return f"<table><caption>{escape(self.title)}</caption><tr>{head}</tr>{body}</table><ul>{notes}</ul>"

    def to_pandas(self) -> Any:
        """One record per quantity and layer, as a pandas DataFrame.

        Raises:
            TrnlabError: pandas is not installed.
        """
        values = [(found.name, title, getattr(found, name)) for found in self.layers for title, name in _ROWS]
        return data_frame(
            [
                {
                    "layer": layer,
                    "quantity": title,
                    "value": value.value,
                    "unit": value.unit,
                    "low": value.interval[0],
                    "high": value.interval[1],
                    "class": value.klass,
                    "source": value.source,
                }
                for layer, title, value in values
            ]
        )


def published_utilisation(chip: Chip) -> Quantity:
    """Model FLOP utilisation of training: the median AWS publishes for Trainium1, assumed for every other chip."""
    source = "AWS Neuron benchmark tables, training on Trainium1, median of six"
    first = chip.target is not None and chip.target.generation is Generation.V2
    klass: QuantityClass = "fitted" if first else "assumed"
    middle = median(PUBLISHED_MFU)
    return Quantity(middle, "", source, klass, min(PUBLISHED_MFU), max(PUBLISHED_MFU))


def _method(name: LayerName, machine: Machine) -> Method:
    """The layer's constants; the calibrated one has the published utilisation and nothing besides."""
    if name != "calibrated":
        return layer_of(name, machine).decode
    base = layer_of("efficiencies", machine).decode
    return replace(
        base,
        name="calibrated",
        compute=everywhere(published_utilisation(machine.chip)),
        exposed=exact(0.0),
        note="the published utilisation contains bubbles, collectives and recomputation",
    )


def project_training(
    model: str | LanguageModel,
    chip: str | Chip,
    partitioning: Partitioning,
    setup: TrainingSetup,
    *,
    precision: str | Precision = "bf16",
) -> TrainingProjection:
    """A training step in the three layers, and whether it fits.

    Raises:
        TargetError, ModelError: an unknown name, a rate that the chip lacks, an impossible partitioning, or a batch
            that replicas and micro-batches do not divide.
    """
    shape, machine, recipe = get_model(model), Machine.of(chip), get_precision(precision)
    machine.require(recipe)
    check(shape, partitioning, machine.fabric)
    layers = tuple(_outcome(name, shape, recipe, machine, partitioning, setup) for name in LAYERS)
    step = _step("roofline", "central", shape, recipe, machine, partitioning, setup)
    point = f"sequences of {setup.sequence}, {setup.batch} a step, recomputation {setup.recompute}"

    def size(value: Any, source: str) -> Quantity:
        return Quantity(float(value), "B", source, "derived")

    where = f"{partitioning.chips} x {machine.label}, {recipe.name}, {partitioning}"
    return TrainingProjection(
        title=f"training {shape.name} on {where}, {point}",
        layers=layers,
        weights=size(step.weights, "bf16 weights of the longest stage"),
        optimizer=size(step.optimizer, "Adam, FP32 master and gradient, divided over replicas"),
        activations=size(step.activations, "Korthikanti et al. (arXiv 2205.05198)"),
        available=replace(size(step.available, "share of HBM, assumed"), klass="assumed"),
        fits=bool(step.fits),
        notes=tuple(found.note for found in layers if found.note),
    )


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
        _method(name, machine).at(case),
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
    method = _method(name, machine)
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
        note=method.note if name == "calibrated" else "",
    )
