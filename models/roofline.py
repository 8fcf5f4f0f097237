"""Rooflines of a core or a chip: peaks by dtype, HBM and DMA roofs, and what bounds a kernel.

The time of a kernel is at least the largest of its resource times,

    tensor: sum over dtypes of FLOP / peak(dtype)      HBM: HBM bytes / HBM rate      DMA: DMA bytes / DMA rate,

each resource working alone and perfectly (S. Williams et al., "Roofline", CACM 52(4), 2009, with one compute roof
and two memory roofs). The Vector, Scalar and GpSimd Engines are not in it: their time is the timeline's business.

Two levels that must not be mixed. `Roofline.of_core` takes the engine's figures (8 x 78.6 TFLOP/s BF16 on Trainium2)
and the core's share of HBM; `Roofline.of_chip` takes the chip page's (667 TFLOP/s). `basis` says which.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from trnlab.emulator.target import TARGETS, Generation, Target, get_target, matmul_rate
from trnlab.emulator.target.facts import VARIANTS
from trnlab.models.chips import Chip, get_chip
from trnlab.models.frozen import FrozenMapping
from trnlab.models.quantity import ModelError, Quantity, QuantityClass, weakest

Resource = Literal["tensor", "HBM", "DMA"]
Memory = Literal["HBM", "DMA"]

CORE_BASIS: Final = "one NeuronCore: Tensor Engine peak, an equal share of the chip's HBM, its 16 DMA engines"
CHIP_BASIS: Final = "one chip: peaks and HBM of the chip page, all DMA engines at their effective rate"


@dataclass(frozen=True, slots=True)
class Roof:
    """A memory roof: a slope of `bytes_per_second` in the roofline diagram."""

    name: Memory
    bytes_per_second: Quantity


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelPoint:
    """What a kernel does, and how long it took if that is known.

    flops: FLOP by matmul rate or NKI dtype ("bf16", "float8_e4m3", ...); a multiply-add is 2 FLOP.
    hbm_bytes: bytes read from and written to HBM. dma_bytes: bytes moved by DMA engines, wherever they go.
    target: the label of the roofline that `time_seconds` belongs to; "" for any.

    Raises:
        ModelError: a negative or non-finite number, a time of zero, no work at all, or an unknown dtype.
    """

    name: str
    flops: Mapping[str, float]
    hbm_bytes: float
    dma_bytes: float
    time_seconds: float | None = None
    target: str = ""

    def __post_init__(self) -> None:
        work = {**self.flops, "hbm_bytes": self.hbm_bytes, "dma_bytes": self.dma_bytes}
        for key, amount in work.items():
            if not 0 <= amount < math.inf:
                raise ModelError(f"{key} of kernel {self.name!r}", amount, "a finite number >= 0")
        if not any(work.values()):
            raise ModelError(f"work of kernel {self.name!r}", 0, "some FLOP or bytes")
        if self.time_seconds is not None and not 0 < self.time_seconds < math.inf:
            raise ModelError(f"time_seconds of kernel {self.name!r}", self.time_seconds, "a finite number > 0, or None")
        for dtype in self.flops:
            matmul_rate(dtype)
        object.__setattr__(self, "flops", FrozenMapping(self.flops))

    @property
    def total_flops(self) -> float:
        """FLOP of all dtypes."""
        return math.fsum(self.flops.values())

    def intensity(self, memory: Memory = "HBM") -> float:
        """Arithmetic intensity, FLOP per byte of that memory; infinite for a kernel that moves none."""
        moved = self.hbm_bytes if memory == "HBM" else self.dma_bytes
        return self.total_flops / moved if moved else math.inf

    @property
    def flops_per_second(self) -> float | None:
        """Achieved rate; None when the time is not known."""
        return None if self.time_seconds is None else self.total_flops / self.time_seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """The least time of a kernel on a roofline, and the resource that sets it.

    times: seconds by resource. klass: the weakest class among the peaks and roofs that were used.
    percent_of_roofline: 100 x time_seconds / measured time, None without a measured time. Above 100 the measurement
    beats the bound: then a figure is wrong, and it is reported rather than clipped.
    """

    point: KernelPoint
    roofline: str
    resource: Resource
    time_seconds: float
    times: Mapping[Resource, float]
    intensity: float
    klass: QuantityClass
    percent_of_roofline: float | None

    def percent_of(self, resource: Resource) -> float:
        """100 x this resource's time / the bounding resource's time: how near it is to being the bound."""
        return 100 * self.times[resource] / self.time_seconds


@dataclass(frozen=True, kw_only=True)
class Roofline:
    """Peaks and memory roofs of one core or one chip."""

    name: str
    scope: Literal["core", "chip"]
    basis: str
    target: Target = field(repr=False)
    peaks: Mapping[str, Quantity] = field(repr=False)
    hbm: Roof
    dma: Roof

    @classmethod
    def of_core(cls, target: str | Target, variant: str | None = None) -> Roofline:
        """The roofline of one NeuronCore.

        Raises:
            TargetError: no such target.
        """
        record = get_target(target, variant)

        def fact(name: str) -> Quantity:
            return Quantity.from_fact(record.provenance[name])

        return cls(
            name=f"{record} core",
            scope="core",
            basis=CORE_BASIS,
            target=record,
            peaks=FrozenMapping({r: fact(f"tensor_{r}_flops_per_second") for r in record.matmul_rates()}),
            hbm=Roof("HBM", fact("hbm_bytes_per_second_per_core")),
            dma=Roof("DMA", fact("dma_bytes_per_second_per_core")),
        )

    @classmethod
    def of_chip(cls, chip: str | Chip | Target, variant: str | None = None) -> Roofline:
        """The roofline of one chip.

        Raises:
            TargetError: no such chip.
        """
        record = chip if isinstance(chip, Chip) else get_chip(chip, variant)
        return cls(
            name=f"{record.target} chip",
            scope="chip",
            basis=CHIP_BASIS,
            target=record.target,
            peaks=record.peaks,
            hbm=Roof("HBM", record.hbm_bandwidth),
            dma=Roof("DMA", record.dma_effective_bandwidth),
        )

    def peak(self, dtype: str) -> Quantity:
        """Compute roof of a matmul rate or NKI dtype.

        Raises:
            ModelError: this core or chip cannot multiply it.
        """
        found = self.peaks.get(matmul_rate(dtype))
        if found is None:
            raise ModelError(f"dtype on {self.name}", str(dtype), ", ".join(self.peaks))
        return found

    def roof(self, memory: str) -> Roof:
        """The memory roof by name.

        Raises:
            ModelError: neither "HBM" nor "DMA".
        """
        roofs = {"HBM": self.hbm, "DMA": self.dma}
        if memory not in roofs:
            raise ModelError(f"memory of {self.name}", memory, ", ".join(roofs))
        return roofs[memory]

    def ridge_point(self, dtype: str, memory: Memory = "HBM") -> Quantity:
        """peak(dtype) / memory rate, in FLOP/B: the intensity from which the Tensor Engine can be the bound.

        The band of a projection spans the ridges of its three variants, since peak and memory vary together.
        """
        ridge = self.peak(dtype) / self.roof(memory).bytes_per_second
        if self.target.generation is not Generation.V5 or self.target not in TARGETS:
            return ridge
        variants = [self._of_variant(variant) for variant in VARIANTS]
        ridges = [line.peak(dtype).value / line.roof(memory).bytes_per_second.value for line in variants]
        return replace(ridge, low=min(ridges), high=max(ridges))

    def _of_variant(self, variant: str) -> Roofline:
        target = get_target(self.target, variant)
        return Roofline.of_core(target) if self.scope == "core" else Roofline.of_chip(target)

    def attainable_flops_per_second(self, dtype: str, intensity: float, memory: Memory = "HBM") -> float:
        """min(peak(dtype), intensity x memory rate): the height of the roof at an intensity in FLOP/B."""
        return min(self.peak(dtype).value, intensity * self.roof(memory).bytes_per_second.value)

    def bound(self, point: KernelPoint) -> Bound:
        """The least time of the kernel here: max over Tensor Engine, HBM and DMA.

        On a tie the first of tensor, HBM, DMA is named.

        Raises:
            ModelError: it multiplies a dtype that this core or chip cannot, or its time was taken on another target.
        """
        if point.target and point.target != self.name:
            raise ModelError(f"roofline for {point.name!r}", self.name, point.target)
        times: dict[Resource, float] = {
            "tensor": math.fsum(flops / self.peak(dtype).value for dtype, flops in point.flops.items()),
            "HBM": point.hbm_bytes / self.hbm.bytes_per_second.value,
            "DMA": point.dma_bytes / self.dma.bytes_per_second.value,
        }
        resource = max(times, key=lambda key: times[key])
        least = times[resource]
        used = [self.peak(dtype).klass for dtype, flops in point.flops.items() if flops]
        moved = ((point.hbm_bytes, self.hbm), (point.dma_bytes, self.dma))
        used += [roof.bytes_per_second.klass for amount, roof in moved if amount]
        return Bound(
            point=point,
            roofline=self.name,
            resource=resource,
            time_seconds=least,
            times=FrozenMapping(times),
            intensity=point.intensity(),
            klass=weakest(used),
            percent_of_roofline=None if point.time_seconds is None else 100 * least / point.time_seconds,
        )
