"""Chips and UltraServers: a target's core record plus the figures of AWS's chip and UltraServer pages.

The pages print more than cores x core rate (Trainium2: 667 TFLOP/s BF16 against 8 x 78.6 = 629), so a chip's peaks
come from the page and a core's from the engine; `Chip.core_peak` gives the second scaled to the chip.
A projected chip scales Trainium3's page by the ratio of the two targets, so both levels tell one story.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Final

from trnlab.emulator.target import ANNOUNCED_TRAINIUM4, TARGETS, Generation, Target, get_target, matmul_rate
from trnlab.emulator.target.facts import CHIP_PAGES, ULTRASERVER_PAGES, VARIANTS, band_of
from trnlab.models.frozen import FrozenMapping
from trnlab.models.quantity import ModelError, Quantity, QuantityClass

GIB: Final = 1024**3


@dataclass(frozen=True, kw_only=True)
class Chip:
    """One Trainium chip; every figure is a `Quantity` with its source.

    peaks: dense FLOP/s by matmul rate ("fp32", "bf16", "fp8", "mxfp8", "mxfp4"; "sparse" is the dense equivalent).
    dma_bandwidth is the page's aggregate; dma_effective_bandwidth is engines x effective rate, what copies reach.
    """

    name: str
    target: Target = field(repr=False)
    cores: int
    peaks: Mapping[str, Quantity] = field(repr=False)
    hbm_bytes: Quantity
    hbm_bandwidth: Quantity
    dma_bandwidth: Quantity
    dma_effective_bandwidth: Quantity
    link_bandwidth: Quantity

    @property
    def variant(self) -> str:
        """The target's variant: "published", or the projection's "low", "central" or "high"."""
        return self.target.variant

    @property
    def label(self) -> str:
        """The name, with the variant for a projection: "Trainium4 (central)"."""
        return self.name if self.variant == "published" else f"{self.name} ({self.variant})"

    def peak(self, rate: str) -> Quantity:
        """Dense peak of the chip as its page gives it, for a matmul rate or an NKI dtype.

        Raises:
            ModelError: the chip has no such rate.
        """
        return _peak_of(self.peaks, rate, self.label)

    def core_peak(self, rate: str) -> Quantity:
        """Cores x the Tensor Engine's peak: what the core-level figures add up to.

        Raises:
            TargetError: the core has no such rate.
        """
        source = self.target.provenance["tensor_bf16_flops_per_second"].source.replace("bf16", matmul_rate(rate))
        return _over_variants(self.target, partial(_chip_flops, rate=rate), "FLOP/s", f"cores x {source}")


@dataclass(frozen=True, kw_only=True)
class UltraServer:
    """A scale-up domain of chips, with the totals that AWS prints for it."""

    name: str
    chip: Chip = field(repr=False)
    chips: int
    peaks: Mapping[str, Quantity] = field(repr=False)
    hbm_bytes: Quantity
    hbm_bandwidth: Quantity

    def peak(self, rate: str) -> Quantity:
        """Printed total, for a matmul rate or an NKI dtype.

        Raises:
            ModelError: no such total is printed.
        """
        return _peak_of(self.peaks, rate, self.name)

    def chips_peak(self, rate: str) -> Quantity:
        """Chips x the chip page's peak: the total that the chip figures add up to."""
        return self.chips * self.chip.peak(rate)


def _peak_of(peaks: Mapping[str, Quantity], rate: str, owner: str) -> Quantity:
    found = peaks.get(matmul_rate(rate))
    if found is None:
        raise ModelError(f"peak rate of {owner}", str(rate), ", ".join(peaks))
    return found


# TFLOP/s per chip and DMA bytes per second, as the chip pages print them. Trainium1's "fp8" is cFP8.
_PAGE_TFLOPS: Final[dict[Generation, dict[str, float]]] = {
    Generation.V2: {"fp32": 47.5, "bf16": 190, "fp8": 190},
    Generation.V3: {"fp32": 181, "bf16": 667, "fp8": 1299, "sparse": 2563},
    Generation.V4: {"fp32": 183, "bf16": 671, "mxfp8": 2517, "mxfp4": 2517, "sparse": 2517},
}
_PAGE_DMA: Final = {Generation.V2: 1e12, Generation.V3: 3.5e12, Generation.V4: 4.9e12}
_ANNOUNCED_RATES: Final = {"mxfp8": "fp8_speedup", "mxfp4": "fp4_speedup"}


def _over_variants(
    target: Target, compute: Callable[[Target], float], unit: str, source: str, klass: QuantityClass | None = None
) -> Quantity:
    """`compute(target)` as a Quantity; for a projection its band spans the three variants.

    The band is taken over whole variants, because cores per chip and rate per core vary together. The class is
    derived for a published target and assumed for a projection unless given.
    """
    if target.generation is not Generation.V5:
        return Quantity(compute(target), unit, source, klass or "derived")
    band = band_of(tuple(compute(get_target(target, variant)) for variant in VARIANTS))
    return Quantity(compute(target), unit, source, klass or "assumed", *band)


def _chip_flops(target: Target, rate: str) -> float:
    return target.cores_per_chip * target.matmul_flops_per_second(rate)


def _dma_page(target: Target) -> Quantity:
    if target.generation in _PAGE_DMA:
        return Quantity(_PAGE_DMA[target.generation], "B/s", CHIP_PAGES)
    return _over_variants(
        target,
        lambda t: t.dma_engines_per_chip * t.dma_theoretical_bytes_per_second_per_engine,
        "B/s",
        "DMA engines per chip x theoretical rate per engine",
    )


def _peak(target: Target, rate: str) -> Quantity:
    """The page's figure; for a projection Trainium3's figure x the ratio of the targets; else cores x core rate."""
    page = _PAGE_TFLOPS.get(target.generation, {})
    if rate in page:
        return Quantity(page[rate] * 1e12, "FLOP/s", CHIP_PAGES)
    if target.generation is not Generation.V5:
        return _over_variants(
            target, partial(_chip_flops, rate=rate), "FLOP/s", f"not on the chip page: cores x {rate} core rate"
        )
    trn3 = get_chip("trn3")
    now = trn3.peaks[rate].value / _chip_flops(trn3.target, rate)
    source = f"{CHIP_PAGES}: Trainium3's peak x the ratio of the assumed targets"
    klass: QuantityClass = "assumed"
    if rate in _ANNOUNCED_RATES and target.variant == "central":
        source = f"{CHIP_PAGES}: Trainium3's peak; {ANNOUNCED_TRAINIUM4[_ANNOUNCED_RATES[rate]].source}"
        klass = "derived"
    return _over_variants(target, lambda t: _chip_flops(t, rate) * now, "FLOP/s", source, klass)


@cache
def _chip(target: Target) -> Chip:
    def fact(name: str) -> Quantity:
        return Quantity.from_fact(target.provenance[name])

    return Chip(
        name=f"Trainium{target.generation - 1}",
        target=target,
        cores=target.cores_per_chip,
        peaks=FrozenMapping({rate: _peak(target, rate) for rate in target.matmul_rates()}),
        hbm_bytes=fact("hbm_bytes_per_chip"),
        hbm_bandwidth=fact("hbm_bytes_per_second_per_chip"),
        dma_bandwidth=_dma_page(target),
        dma_effective_bandwidth=_over_variants(
            target,
            lambda t: t.cores_per_chip * t.dma_bytes_per_second_per_core,
            "B/s",
            "DMA engines per chip x effective rate per engine",
        ),
        link_bandwidth=fact("link_bytes_per_second_per_chip"),
    )


def get_chip(name: str | Generation | Target, variant: str | None = None) -> Chip:
    """The chip of a target, by any name that `get_target` takes; trn4 is "low", "central" (default) or "high".

    Raises:
        TargetError: no such target or variant.
        ModelError: the target is not a published or projected one, so no chip page speaks of it.
    """
    target = get_target(name, variant)
    if target not in TARGETS:
        raise ModelError("target of a chip", target.variant, "a published or projected target")
    return _chip(target)


# As AWS's UltraServer tables print them: chips, TFLOP/s by rate, HBM GiB, HBM TB/s.
_ULTRASERVERS: Final = {
    "trn2": ("Trn2 UltraServer", "trn2", 64, {"fp8": 83_200, "bf16": 42_800}, 6 * 1024, 185.6),
    "trn3-gen1": (
        "Trn3 Gen1 UltraServer",
        "trn3",
        64,
        {"mxfp8": 161_088, "mxfp4": 161_088, "bf16": 42_944, "fp32": 11_712},
        9_216,
        313.6,
    ),
    "trn3-gen2": (
        "Trn3 Gen2 UltraServer",
        "trn3",
        144,
        {"mxfp8": 362_448, "mxfp4": 362_448, "bf16": 96_624, "fp32": 26_352},
        20_736,
        705.6,
    ),
}


def get_ultraserver(name: str) -> UltraServer:
    """The UltraServer "trn2" (64 chips), "trn3-gen1" (64) or "trn3-gen2" (144), in any case.

    Raises:
        ModelError: no such UltraServer. A Trainium4 one has not been described.
    """
    row = _ULTRASERVERS.get(name.lower())
    if row is None:
        raise ModelError("UltraServer", name, ", ".join(_ULTRASERVERS))
    title, chip, chips, tflops, gib, terabytes = row
    return UltraServer(
        name=title,
        chip=get_chip(chip),
        chips=chips,
        peaks=FrozenMapping(
            {rate: Quantity(value * 1e12, "FLOP/s", ULTRASERVER_PAGES) for rate, value in tflops.items()}
        ),
        hbm_bytes=Quantity(gib * GIB, "B", ULTRASERVER_PAGES),
        hbm_bandwidth=Quantity(terabytes * 1e12, "B/s", ULTRASERVER_PAGES),
    )
