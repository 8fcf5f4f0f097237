"""Rooflines of a core or a chip: peaks by dtype; HBM, DMA and SBUF roofs; and what bounds a kernel.

The time of a kernel is at least the largest of its resource times,

    tensor: sum over dtypes of FLOP / peak(dtype)      memory: bytes of that memory / its rate, for HBM, DMA, SBUF

each resource working alone and perfectly: its speed of light (S. Williams et al., "Roofline", CACM 52(4), 2009, with
one compute roof and a roof for each memory level). The Vector, Scalar and GpSimd Engines' arithmetic is not in it:
their time is the timeline's business; the bytes they move are, in SBUF's.

Two levels that must not be mixed. `Roofline.of_core` takes the engine's figures (8 x 78.6 TFLOP/s BF16 on Trainium2)
and the core's share of HBM; `Roofline.of_chip` takes the chip page's (667 TFLOP/s). `basis` says which. Chips of other
vendors have no DMA or SBUF roof: a kernel's bytes there bound nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from trnlab.emulator.target import TARGETS, Generation, Target, get_target
from trnlab.emulator.target.facts import VARIANTS
from trnlab.models.chips.lookup import get_chip
from trnlab.models.chips.record import Chip, rate_of
from trnlab.models.chips.trainium import core_sbuf_bandwidth
from trnlab.models.frames import data_frame, html_table
from trnlab.models.frozen import FrozenMapping
from trnlab.models.kernel_point import MEMORIES, Bound, KernelPoint, Memory, Resource
from trnlab.models.quantity import ModelError, Quantity, weakest

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["MEMORIES", "Bound", "KernelPoint", "Memory", "Resource", "Roof", "Roofline"]

CORE_BASIS: Final = "one NeuronCore: Tensor Engine peak, an equal share of the chip's HBM, its 16 DMA engines, its SBUF"
CHIP_BASIS: Final = "one chip: peaks and HBM of the chip page, all DMA engines at their effective rate, all cores' SBUF"
OTHER_BASIS: Final = "one chip: dense peaks and HBM of the vendor's data sheet"


@dataclass(frozen=True, slots=True)
class Roof:
    """A memory roof: a slope of `bytes_per_second` in the roofline diagram."""

    name: Memory
    bytes_per_second: Quantity


@dataclass(frozen=True, kw_only=True)
class Roofline:
    """Peaks and memory roofs of one core or one chip. target: None for a chip that is no Trainium."""

    name: str
    title: str
    scope: Literal["core", "chip"]
    basis: str
    target: Target | None = field(repr=False)
    peaks: Mapping[str, Quantity] = field(repr=False)
    roofs: tuple[Roof, ...]

    @classmethod
    def of_core(cls, target: str | Target, variant: str | None = None) -> Roofline:
        """The roofline of one NeuronCore.

        Raises:
            TargetError: no such target.
        """
        record = get_target(target, variant)

        def fact(name: str) -> Quantity:
            return Quantity.from_fact(record.provenance[name])

        label = str(record) if record in TARGETS else f"{record.name} ({record.variant})"
        chosen = "" if record in TARGETS else f" ({record.variant})"
        return cls(
            name=f"{label} core",
            title=f"Trainium{record.generation - 1}{chosen}, one NeuronCore-v{record.generation.value}",
            scope="core",
            basis=CORE_BASIS,
            target=record,
            peaks=FrozenMapping({r: fact(f"tensor_{r}_flops_per_second") for r in record.matmul_rates()}),
            roofs=(
                Roof("HBM", fact("hbm_bytes_per_second_per_core")),
                Roof("DMA", fact("dma_bytes_per_second_per_core")),
                Roof("SBUF", core_sbuf_bandwidth(record)),
            ),
        )

    @classmethod
    def of_chip(cls, chip: str | Path | Chip | Target, variant: str | None = None) -> Roofline:
        """The roofline of one chip.

        Raises:
            TargetError: no such chip.
        """
        record = chip if isinstance(chip, Chip) else get_chip(chip, variant)
        is_stock = record.target in TARGETS and not record.selected
        optional: tuple[tuple[Memory, Quantity | None], ...] = (
            ("HBM", record.hbm_bandwidth),
            ("DMA", record.dma_effective_bandwidth),
            ("SBUF", record.sbuf_bandwidth),
        )
        return cls(
            name=f"{record.target if is_stock else record.label} chip",
            title=f"{record.name if is_stock else record.label}, one chip",
            scope="chip",
            basis=CHIP_BASIS if record.target is not None else OTHER_BASIS,
            target=record.target,
            peaks=record.peaks,
            roofs=tuple(Roof(name, rate) for name, rate in optional if rate is not None),
        )

    def _repr_html_(self) -> str:
        """Peaks and ridge points, for notebooks."""
        names = [roof.name for roof in self.roofs]
        slopes = ", ".join(f"{roof.name} {roof.bytes_per_second}" for roof in self.roofs)
        rows = [
            (rate, str(peak), *(f"{self.ridge_point(rate, name):v}" for name in names))
            for rate, peak in self.peaks.items()
        ]
        header = ("dtype", "peak", *(f"ridge, {name}" for name in names))
        return html_table(f"{self.title}: {slopes}. {self.basis}", header, rows)

    def to_pandas(self) -> Any:
        """Peak, memory rate and ridge point by dtype and memory, in base units, as a pandas DataFrame.

        Raises:
            TrnlabError: pandas is not installed.
        """
        return data_frame(
            [
                {
                    "roofline": self.name,
                    "dtype": rate,
                    "memory": roof.name,
                    "peak_flops_per_second": peak.value,
                    "bytes_per_second": roof.bytes_per_second.value,
                    "ridge_flops_per_byte": self.ridge_point(rate, roof.name).value,
                    "class": weakest((peak.klass, roof.bytes_per_second.klass)),
                }
                for rate, peak in self.peaks.items()
                for roof in self.roofs
            ]
        )

    def plot(self, points: Iterable[KernelPoint] = (), memory: Memory = "HBM") -> Figure:
        """The roofline diagram with kernels as points.

        Raises:
            ModelError: a point that the plane cannot show, or no such memory.
            TrnlabError: matplotlib is not installed.
        """
        from trnlab.models.plots import draw

        return draw(points, [self], memory=memory)

    @property
    def hbm(self) -> Roof:
        """The HBM roof, which every roofline has."""
        return self.roof("HBM")

    @property
    def dma(self) -> Roof:
        """The DMA engines' roof.

        Raises:
            ModelError: a chip whose copies have no roof of their own.
        """
        return self.roof("DMA")

    @property
    def sbuf(self) -> Roof:
        """The roof of the on-chip memory.

        Raises:
            ModelError: a chip for which nobody printed it.
        """
        return self.roof("SBUF")

    def peak(self, dtype: str) -> Quantity:
        """Compute roof of a matmul rate or NKI dtype.

        Raises:
            ModelError: this core or chip cannot multiply it.
        """
        key = "tf32" if dtype == "tfloat32" and "tf32" in self.peaks else rate_of(dtype)
        if key not in self.peaks:
            raise ModelError(f"dtype on {self.name}", str(dtype), ", ".join(self.peaks))
        return self.peaks[key]

    def roof(self, memory: str) -> Roof:
        """The memory roof by name.

        Raises:
            ModelError: none of "HBM", "DMA", "SBUF", or one that this chip does not have.
        """
        for roof in self.roofs:
            if roof.name == memory:
                return roof
        raise ModelError(f"memory of {self.name}", memory, ", ".join(roof.name for roof in self.roofs))

    def variants(self) -> tuple[Roofline, ...]:
        """The low, central and high rooflines of a projection; the roofline alone for anything else."""
        if self.target is None or self.target.generation is not Generation.V5 or self.target not in TARGETS:
            return (self,)
        make = Roofline.of_core if self.scope == "core" else Roofline.of_chip
        return tuple(make(get_target(self.target, variant)) for variant in VARIANTS)

    def ridge_point(self, dtype: str, memory: Memory = "HBM") -> Quantity:
        """peak(dtype) / memory rate, in FLOP/B: the intensity from which the Tensor Engine can be the bound.

        The band of a projection spans the ridges of its three variants, since peak and memory vary together.
        """
        ridge = self.peak(dtype) / self.roof(memory).bytes_per_second
        variants = self.variants()
        if len(variants) == 1:
            return ridge
        ridges = [line.peak(dtype).value / line.roof(memory).bytes_per_second.value for line in variants]
        return replace(ridge, low=min(ridges), high=max(ridges))

    def attainable_flops_per_second(self, dtype: str, intensity: float, memory: Memory = "HBM") -> float:
        """min(peak(dtype), intensity x memory rate): the height of the roof at an intensity in FLOP/B."""
        return min(self.peak(dtype).value, intensity * self.roof(memory).bytes_per_second.value)

    def bound(self, point: KernelPoint) -> Bound:
        """The least time of the kernel here: max over the Tensor Engine and the memories that have a roof.

        On a tie the first of tensor, HBM, DMA, SBUF is named.

        Raises:
            ModelError: it multiplies a dtype that this core or chip cannot, or its time was taken on another target.
        """
        if point.target and point.target != self.name:
            raise ModelError(f"roofline for {point.name!r}", self.name, point.target)
        times: dict[Resource, float] = {
            "tensor": math.fsum(flops / self.peak(dtype).value for dtype, flops in point.flops.items())
        }
        times |= {roof.name: point.bytes_of(roof.name) / roof.bytes_per_second.value for roof in self.roofs}
        resource = max(times, key=lambda key: times[key])
        least = times[resource]
        if not least:
            raise ModelError(f"roofline for {point.name!r}", self.name, "one with a roof for the bytes it moves")
        used = [self.peak(dtype).klass for dtype, flops in point.flops.items() if flops]
        used += [roof.bytes_per_second.klass for roof in self.roofs if point.bytes_of(roof.name)]
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
