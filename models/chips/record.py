"""A chip as a record of quantities: peaks by dtype, memory, links, power, and the scale-up domain it sits in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final

from trnlab.emulator.target import MATMUL_RATES, TARGETS, Fact, Generation, Target, TargetError, get_target, matmul_rate
from trnlab.emulator.target.facts import VARIANTS, band_of
from trnlab.models.chips.topology import Topology
from trnlab.models.frozen import FrozenMapping
from trnlab.models.quantity import ModelError, Quantity, QuantityClass

GIB: Final = 1024**3
RATES: Final = (*MATMUL_RATES, "tf32", "int8")
"""The classes of matmul throughput of all chips: those of the Tensor Engine, and two that others have besides."""


def rate_of(name: str) -> str:
    """The rate class of an NKI dtype, "tf32", "int8" or a rate class itself.

    Raises:
        TargetError: neither a rate class nor a dtype that a chip here multiplies.
    """
    if name in RATES:
        return str(name)
    try:
        return matmul_rate(name)
    except TargetError as error:
        raise TargetError("matmul rate or dtype", str(name), (*error.allowed, "tf32", "int8")) from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One figure, or set of figures, that may stand in a chip: an official figure among several, or an assumption.

    changes: what it replaces, by the chip's field; "peaks.bf16" is one peak, "scale_up.bandwidth" and "scale_up.shape"
        are parts of the domain.
    target: numbers of the core's target that follow, by field.
    """

    name: str
    source: str
    changes: Mapping[str, Quantity | tuple[int, ...]] = field(default_factory=dict)
    target: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "changes", FrozenMapping(self.changes))
        object.__setattr__(self, "target", FrozenMapping(self.target))


@dataclass(frozen=True, kw_only=True)
class Chip:
    """One accelerator chip; every figure is a `Quantity` with its source, None where nobody printed one.

    target: the core's record; Trainium only.
    cores: NeuronCores, streaming multiprocessors, TensorCores or compute units, as the vendor counts.
    peaks: dense FLOP/s by rate ("fp32", "tf32", "bf16", "fp8", "mxfp8", "mxfp4", "int8"; "sparse" is Trainium's dense
        equivalent). Integer operations count as FLOP; formats with block scales stand under the MX rate.
    dma_bandwidth: the page's aggregate. dma_effective_bandwidth: engines x effective rate, what copies reach.
    sbuf_bytes, sbuf_bandwidth: the on-chip memory that software manages, all cores together.
    link_bandwidth: scale-up links of one chip as printed, both directions summed.
    scale_up: the largest domain announced for the chip; its bandwidth is one direction.
    power: W of one chip or module.
    alternatives: by topic, the other figures that `get_chip(..., figures={topic: name})` can select.
    selected: the topics and names that were selected.
    """

    name: str
    vendor: str
    target: Target | None = field(default=None, repr=False)
    cores: int
    peaks: Mapping[str, Quantity] = field(repr=False)
    hbm_bytes: Quantity
    hbm_bandwidth: Quantity
    dma_bandwidth: Quantity | None = None
    dma_effective_bandwidth: Quantity | None = None
    sbuf_bytes: Quantity | None = None
    sbuf_bandwidth: Quantity | None = None
    link_bandwidth: Quantity
    scale_up: Topology = field(repr=False)
    power: Quantity | None = None
    alternatives: Mapping[str, tuple[Choice, ...]] = field(default_factory=dict, repr=False, compare=False)
    selected: Mapping[str, str] = field(default_factory=dict)
    assumptions: str = "published"

    def __post_init__(self) -> None:
        for name in ("peaks", "alternatives", "selected"):
            object.__setattr__(self, name, FrozenMapping(getattr(self, name)))

    @property
    def variant(self) -> str:
        """The set of assumptions: "published", or a projection's "low", "central", "high" or a named one."""
        return self.assumptions

    @property
    def label(self) -> str:
        """The name with what was chosen: "Trainium4 (central)", "Trainium3 (link: chip page)"."""
        parts = [] if self.assumptions == "published" else [self.assumptions]
        parts += [f"{topic}: {name}" for topic, name in self.selected.items()]
        return f"{self.name} ({', '.join(parts)})" if parts else self.name

    @property
    def link_bandwidth_one_direction(self) -> Quantity:
        """B/s that one chip can send to its scale-up domain."""
        return self.scale_up.bandwidth

    def peak(self, rate: str) -> Quantity:
        """Dense peak of the chip as its page gives it, for a rate or an NKI dtype.

        Raises:
            ModelError: the chip has no such rate.
            TargetError: there is no such rate or dtype.
        """
        return peak_of(self.peaks, rate, self.label)

    def core_peak(self, rate: str) -> Quantity:
        """Cores x the Tensor Engine's peak: what the core-level figures add up to.

        Raises:
            ModelError: the chip is no Trainium, so nothing here knows its cores.
            TargetError: the core has no such rate.
        """
        if self.target is None:
            raise ModelError(f"core-level figures of {self.label}", self.vendor, "a Trainium chip")
        source = self.target.provenance["tensor_bf16_flops_per_second"].source.replace("bf16", matmul_rate(rate))
        return over_variants(self.target, partial(chip_flops, rate=rate), "FLOP/s", f"cores x {source}")

    def _repr_html_(self) -> str:
        """The spec sheet, for notebooks."""
        from trnlab.models.spec_sheet import sheet_html

        return sheet_html(self)

    def to_pandas(self) -> Any:
        """The spec sheet as a pandas DataFrame, the figures that contradict it in rows of their own.

        Raises:
            TrnlabError: pandas is not installed.
        """
        from trnlab.models.spec_sheet import sheet_frame

        return sheet_frame(self)

    def with_choice(self, topic: str, choice: Choice) -> Chip:
        """The chip with another figure in place, and the numbers of its target that follow from it."""
        parts: dict[str, dict[str, Any]] = {"peaks": {}, "scale_up": {}, "": {}}
        for key, new in choice.changes.items():
            whole, _, part = key.rpartition(".")
            parts[whole][part] = new
        values = parts[""]
        if parts["peaks"]:
            values["peaks"] = FrozenMapping({**self.peaks, **parts["peaks"]})
        if parts["scale_up"]:
            values["scale_up"] = replace(self.scale_up, **parts["scale_up"])
        if choice.target and self.target is not None:
            values["target"] = _with_numbers(self.target, f"{topic}: {choice.name}", choice)
        return replace(self, **values, selected=FrozenMapping({**self.selected, topic: choice.name}))


def _with_numbers(target: Target, variant: str, choice: Choice) -> Target:
    """The target with the choice's numbers; its variant lists what was chosen."""
    facts = {
        key: Fact(value=value, unit=target.provenance[key].unit, klass="assumed", source=choice.source)
        for key, value in choice.target.items()
    }
    return target.with_facts(variant if target.variant == "published" else f"{target.variant}, {variant}", **facts)


def peak_of(peaks: Mapping[str, Quantity], rate: str, owner: str) -> Quantity:
    """The peak of a rate or dtype; a chip that prints a TF32 peak has it for that dtype.

    Raises:
        ModelError: not among the peaks; lists them.
        TargetError: there is no such rate or dtype.
    """
    key = "tf32" if rate == "tfloat32" and "tf32" in peaks else rate_of(rate)
    if key not in peaks:
        raise ModelError(f"peak rate of {owner}", str(rate), ", ".join(peaks))
    return peaks[key]


def over_variants(
    target: Target, compute: Callable[[Target], float], unit: str, source: str, klass: QuantityClass | None = None
) -> Quantity:
    """`compute(target)` as a Quantity; for one of the projection's variants its band spans all three.

    The band is taken over whole variants, because cores per chip and rate per core vary together. The class is
    derived for a published target and assumed for a projection unless given.
    """
    if target.generation is not Generation.V5:
        return Quantity(compute(target), unit, source, klass or "derived")
    if target not in TARGETS:
        return Quantity(compute(target), unit, source, klass or "assumed")
    band = band_of(tuple(compute(get_target(target, variant)) for variant in VARIANTS))
    return Quantity(compute(target), unit, source, klass or "assumed", *band)


def chip_flops(target: Target, rate: str) -> float:
    """Cores x the core's peak, FLOP/s."""
    return target.cores_per_chip * target.matmul_flops_per_second(rate)
