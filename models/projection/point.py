"""`project`: one serving point on one chip, checked, partitioned, and put into the three layers with bands.

A band spans three evaluations: every banded constant at its fast end, at its central value, at its slow end; for the
Trainium4 projection the chip's high, central and low variants with them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from trnlab.models.arrays import Array
from trnlab.models.chips import Chip
from trnlab.models.parallel.memory import USABLE, Footprint, require_fit
from trnlab.models.parallel.partitioning import Partitioning, Splits, check
from trnlab.models.projection.constants import Layer, layer_of
from trnlab.models.projection.decode import StepTime
from trnlab.models.projection.efficiency import EfficiencyTable
from trnlab.models.projection.kernel_shapes import DEFAULTS, UsedEfficiency, with_kernels
from trnlab.models.projection.machine import Machine, machine_at
from trnlab.models.projection.method import CASES, LAYERS, Case, LayerName
from trnlab.models.projection.outcome import LayerOutcome, Projection
from trnlab.models.projection.runtime import Runtime
from trnlab.models.projection.serving import ServingTime, serve
from trnlab.models.projection.serving_point import ServingPoint, default_precision
from trnlab.models.quantity import ModelError, Quantity, QuantityClass, weakest
from trnlab.models.workloads.catalogue import get_model
from trnlab.models.workloads.formats import Precision, get_precision
from trnlab.models.workloads.model import LanguageModel


class _Evaluation:
    """One layer at its three cases, and the quantities that come of them."""

    def __init__(self, found: dict[Case, ServingTime], klass: QuantityClass, source: str) -> None:
        self.found, self.klass, self.source = found, klass, source

    def quantity(self, get: Callable[[ServingTime], Array], unit: str) -> Quantity:
        values = [float(get(self.found[case])) for case in CASES]
        central = float(get(self.found["central"]))
        if min(values) == max(values):
            return Quantity(central, unit, self.source, self.klass)
        return Quantity(central, unit, self.source, self.klass, min(values), max(values))

    def parts(self, get: Callable[[ServingTime], StepTime]) -> dict[str, Quantity]:
        names = get(self.found["central"]).parts
        return {name: self.quantity(lambda time, name=name: get(time).parts[name], "s") for name in names}  # type: ignore[misc]


def _klass(layer: Layer, machine: Machine) -> QuantityClass:
    """The weakest class among the layer's constants and the chip's figures."""
    chip = machine.chip
    used = [value.klass for method in (layer.decode, layer.prefill) for _, value in method.constants]
    return weakest((*used, chip.hbm_bandwidth.klass, *(peak.klass for peak in chip.peaks.values()), "derived"))


def _outcome(
    layer: Layer,
    evaluation: _Evaluation,
    answer: int,
    power: Quantity | None,
    price: Quantity | None,
) -> LayerOutcome:
    make = evaluation.quantity
    rate = make(lambda time: time.tokens_per_second_per_chip, "token/s/chip")
    return LayerOutcome(
        name=layer.name,
        ttft=make(lambda time: time.ttft_seconds, "s"),
        tpot=make(lambda time: time.tpot_seconds, "s"),
        request=make(lambda time: time.ttft_seconds + answer * time.tpot_seconds, "s"),
        user_rate=make(lambda time: time.tokens_per_second_per_user, "token/s/user"),
        chip_rate=rate,
        rate=make(lambda time: time.tokens_per_second, "token/s"),
        decode_rate=make(lambda time: time.decode_tokens_per_second, "token/s"),
        mfu=make(lambda time: time.mfu, ""),
        hbm_share=make(lambda time: time.hbm_share, ""),
        energy=None if power is None else _per_second(power, "J") / rate,
        cost=None if price is None else (_per_second(price, "USD") / rate) * Quantity(1e6, "token/Mtoken", ""),
        parts=evaluation.parts(lambda time: time.decode),
        prompt_parts=evaluation.parts(lambda time: time.prefill),
        layer=layer,
    )


def _per_second(amount: Quantity, unit: str) -> Quantity:
    """The quantity with the unit of "J/s/chip" written out, so that the units of the quotient come out."""
    return replace(amount, unit=f"{unit}/s/chip")


def project(
    model: str | LanguageModel,
    chip: str | Chip,
    partitioning: Partitioning,
    point: ServingPoint,
    *,
    precision: str | Precision | None = None,
    kv: str | None = None,
    layers: Sequence[LayerName] = LAYERS,
    kernels: EfficiencyTable | bool = True,
    runtime: Runtime | None = None,
    watts: float | None = None,
    pue: float = 1.0,
    price_per_chip_hour: float | None = None,
    exposed: float | None = None,
    fixed_seconds: float | None = None,
) -> Projection:
    """What the chip would do at the serving point.

    kernels: True, or a table, takes the middle layer's efficiencies from the timelines of our own kernels at the
        point's per-core shapes, each standing alone; False takes those of large matrices.
    watts: power of one chip, instead of the chip's own figure. pue: power usage effectiveness of the data centre.
    price_per_chip_hour: in USD. exposed: share of collectives that nothing hides; fixed_seconds: of a layer and decode
    step, in the calibrated layer; both instead of the layers' own.

    Raises:
        TargetError, ModelError: an unknown name; a rate that the chip does not have; a partitioning that is impossible;
            a deployment that does not fit its memory, by how much, and the fewest chips that would hold it.
    """
    shape = get_model(model)
    machine = Machine.of(chip)
    recipe = get_precision(default_precision(shape, machine.chip) if precision is None else precision, kv)
    options = runtime or Runtime()
    held = _checked(shape, recipe, machine, partitioning, point, options)
    power, price = _rates(machine.chip, watts, pue, price_per_chip_hour)
    table = EfficiencyTable(DEFAULTS) if kernels is True else kernels
    used: tuple[UsedEfficiency, ...] = ()
    outcomes = []
    for name in layers:
        layer = layer_of(name, machine).told(exposed=exposed, fixed_seconds=fixed_seconds)
        if name == "efficiencies" and table is not False:
            layer, used = with_kernels(layer, table, shape, recipe, machine, partitioning, point.batch, point.prompt)
        evaluation = _evaluate(layer, shape, recipe, machine, partitioning, point, options)
        outcomes.append(_outcome(layer, evaluation, point.answer, power, price))
    weights, cached, memory = _memory(held)
    return Projection(
        model=shape.name,
        chip=machine.label,
        precision=recipe.name,
        partitioning=partitioning,
        batch=point.batch,
        prompt=point.prompt,
        answer=point.answer,
        weights=weights,
        kv=cached,
        memory=memory,
        layers=tuple(outcomes),
        efficiencies=used,
        notes=(*_notes(machine, point, partitioning, power), *_cache_notes(shape, machine, partitioning, options)),
    )


def _memory(held: Footprint) -> tuple[Quantity, Quantity, Quantity]:
    """Weights, cache, and what a chip has for both."""
    return (
        Quantity(float(held.weights), "B", "parameters x bits of their format", "derived"),
        Quantity(float(held.kv), "B", "cache elements x tokens x bits of their format", "derived"),
        Quantity(float(held.available), "B", f"{USABLE:v} of HBM; {USABLE.source}", "assumed"),
    )


def _checked(
    model: LanguageModel,
    precision: Precision,
    machine: Machine,
    split: Partitioning,
    point: ServingPoint,
    runtime: Runtime,
) -> Footprint:
    """What a deployment takes that the chip can multiply, partition and hold."""
    machine.require(precision)
    check(model, split, machine.fabric)
    return require_fit(
        model,
        precision,
        split,
        machine.hbm_bytes,
        point.batch,
        point.prompt + point.answer,
        machine.fabric,
        window_aware=runtime.window_aware,
        split_kv=runtime.split_kv,
        ranks=machine.ranks,
    )


def _evaluate(
    layer: Layer,
    model: LanguageModel,
    precision: Precision,
    machine: Machine,
    split: Partitioning,
    point: ServingPoint,
    runtime: Runtime,
) -> _Evaluation:
    splits = Splits.of([split], ())

    def time(case: Case) -> ServingTime:
        return serve(
            model,
            precision,
            machine_at(machine, case),
            layer.at(case),
            splits,
            point.batch,
            point.prompt,
            point.answer,
            chunk=point.chunk,
            runtime=runtime,
        )

    source = f"{layer.name} layer, {machine.label}"
    return _Evaluation({case: time(case) for case in CASES}, _klass(layer, machine), source)


def _rates(chip: Chip, watts: float | None, pue: float, price: float | None) -> tuple[Quantity | None, Quantity | None]:
    """Power of a chip with the data centre's overhead, and its price per second."""
    if not 1 <= pue < float("inf"):
        raise ModelError("pue", pue, ">= 1")
    for name, value in (("watts", watts), ("price_per_chip_hour", price)):
        if value is not None and not 0 < value < float("inf"):
            raise ModelError(name, value, "above 0")
    power = chip.power if watts is None else Quantity(watts, "W", "given by the user", "assumed")
    used = None if power is None else power * pue
    return used, None if price is None else Quantity(price / 3600, "USD/s/chip", "given by the user", "assumed")


def _notes(machine: Machine, point: ServingPoint, split: Partitioning, power: Quantity | None) -> tuple[str, ...]:
    notes = []
    if power is None:
        notes.append(f"no power of {machine.label} is known: no energy")
    elif power.klass == "assumed":
        notes.append(f"energy rests on an assumed power: {power} per chip")
    if point.batch < split.dp * split.pp:
        notes.append(f"batch {point.batch} leaves {split.dp * split.pp - point.batch} replicas or stages idle")
    if split.chips > machine.fabric.domain.size:
        notes.append(f"{split.chips} chips are more than one scale-up domain of {machine.fabric.domain.size}")
    return tuple(notes)


def _cache_notes(model: LanguageModel, machine: Machine, split: Partitioning, runtime: Runtime) -> tuple[str, ...]:
    ranks, heads = split.tp * machine.ranks, model.attention.cache_heads
    if not runtime.split_kv or ranks <= heads:
        return ()
    shared = f"{ranks} ranks share {heads} key/value head{'s' if heads > 1 else ''}"
    return (
        f"{shared}: the cache is divided along the sequence; software that copies it, as Neuron's does, reads more",
    )
