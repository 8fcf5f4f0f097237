"""Trainium1 to Trainium4 as chips: a target's core record plus the figures of AWS's chip pages.

The pages print more than cores x core rate (Trainium2: 667 TFLOP/s BF16 against 8 x 78.6 = 629), so a chip's peaks
come from the page and a core's from the engine; `Chip.core_peak` gives the second scaled to the chip.
A projected chip scales Trainium3's page by the ratio of the two targets, so both levels tell one story.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, partial
from typing import Final

from trnlab.emulator.target import ANNOUNCED_TRAINIUM4, Generation, Target, get_target
from trnlab.emulator.target.facts import CHIP_PAGES, GUIDES, ULTRASERVER_PAGES, VARIANTS
from trnlab.models.chips.record import Chip, chip_flops, over_variants
from trnlab.models.chips.topology import Kind, Topology
from trnlab.models.frozen import FrozenMapping
from trnlab.models.quantity import Quantity, QuantityClass, weakest

# TFLOP/s per chip and DMA bytes per second, as the chip pages print them. Trainium1's "fp8" is cFP8.
_PAGE_TFLOPS: Final[dict[Generation, dict[str, float]]] = {
    Generation.V2: {"fp32": 47.5, "bf16": 190, "fp8": 190, "int8": 380},
    Generation.V3: {"fp32": 181, "bf16": 667, "fp8": 1299, "sparse": 2563},
    Generation.V4: {"fp32": 183, "bf16": 671, "mxfp8": 2517, "mxfp4": 2517, "sparse": 2517},
}
_PAGE_DMA: Final = {Generation.V2: 1e12, Generation.V3: 3.5e12, Generation.V4: 4.9e12}
_ANNOUNCED_RATES: Final = {"mxfp8": "fp8_speedup", "mxfp4": "fp4_speedup"}

COLLECTIVES_GUIDE: Final = "AWS Neuron collective communication deep dive"
_HOP: Final = Quantity(2e-6, "s", f"{COLLECTIVES_GUIDE}: 1-2 µs a ring hop inside an instance", "published", 1e-6, 2e-6)
SWITCH_STEP: Final = Quantity(
    3e-6,
    "s",
    "assumed: a hop into the switch and one out, no figure of NeuronSwitch is published",
    "assumed",
    2e-6,
    4e-6,
)
FABRIC: Final = "assumed: NVLink Fusion in an MGX rack of up to 72 accelerators (press), NeuronSwitch in the others"

POWER: Final[dict[Generation, Quantity]] = {
    Generation.V3: Quantity(500, "W", "analysts' estimate; AWS has not published it", "assumed", 400, 600),
    Generation.V4: Quantity(
        692,
        "W",
        "assumed: 500 W x 1.938 in FP8 / 1.4 in performance per watt; an AWS hint says 1 kW",
        "assumed",
        500,
        1000,
    ),
    Generation.V5: Quantity(1500, "W", "assumed: nothing has been said; twice Trainium3", "assumed", 1000, 2500),
}
"""Watts per chip. Nothing is known of Trainium1."""

_SBUF_V3: Final = 10e12
"""B/s of one NeuronCore-v3, as the memory figure of AWS's Trainium2 guide prints it, rounded."""


def one_direction(link: Quantity, what: str = "half of both directions summed") -> Quantity:
    """Half of a link bandwidth that counts both directions."""
    half = link * 0.5
    return Quantity(half.value, half.unit, f"{link.source}; {what}", half.klass, half.low, half.high)


# Trainium3's links: 2.56 TB/s, 2,048 GiB/s and 704 GB/s are all printed, so a value between them stands for all.
_TRAINIUM3_LINK: Final = Quantity(
    1.0e12,
    "B/s",
    f"assumed: between the three figures that {CHIP_PAGES} and {ULTRASERVER_PAGES} print",
    "assumed",
    0.352e12,
    1.28e12,
)


def _scale_up(target: Target, link: Quantity) -> Topology:
    """The UltraServer, for Trainium1 the instance; a projection's domain is an assumption of its variant."""
    if target.generation is Generation.V2:
        return Topology(kind="torus", shape=(4, 4), bandwidth=one_direction(link), step_latency=_HOP)
    if target.generation is Generation.V3:
        # 1,024 of the 1,280 GB/s stay inside an instance of 4 x 4, 256 join its four places to other instances.
        shares = (0.4, 0.4, 0.2)
        return Topology(kind="torus", shape=(4, 4, 4), bandwidth=one_direction(link), step_latency=_HOP, shares=shares)
    if target.generation is Generation.V4:
        return switch(144, _TRAINIUM3_LINK, SWITCH_STEP)
    return switch(*DOMAINS[target.variant], SWITCH_STEP)


_NVLINK: Final = Quantity(
    1.8e12, "B/s", "assumed: NVLink 6 through NVLink Fusion, half of 3.6 TB/s", "assumed", 1.0e12, 1.8e12
)
_KEPT_LINK: Final = Quantity(1.0e12, "B/s", f"Trainium3's, {_TRAINIUM3_LINK.source}", "assumed", 1.0e12, 1.8e12)
DOMAINS: Final[Mapping[str, tuple[int, Quantity]]] = {
    "low": (64, _KEPT_LINK),
    "central": (72, _NVLINK),
    "high": (144, _NVLINK),
}
"""Trainium4's scale-up domain and B/s in one direction, by variant. All of it assumed."""


def switch(chips: int, bandwidth: Quantity, step: Quantity) -> Topology:
    """A domain in which switches join all chips."""
    kind: Kind = "switch"
    return Topology(kind=kind, shape=(chips,), bandwidth=bandwidth, step_latency=step)


def _dma_page(target: Target) -> Quantity:
    if target.generation in _PAGE_DMA:
        return Quantity(_PAGE_DMA[target.generation], "B/s", CHIP_PAGES)
    return over_variants(
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
        return over_variants(
            target, partial(chip_flops, rate=rate), "FLOP/s", f"not on the chip page: cores x {rate} core rate"
        )
    trn3 = trainium(get_target("trn3"))
    now = trn3.peaks[rate].value / chip_flops(get_target("trn3"), rate)
    source = f"{CHIP_PAGES}: Trainium3's peak x the ratio of the assumed targets"
    klass: QuantityClass = "assumed"
    if rate in _ANNOUNCED_RATES and target.variant == "central":
        source = f"{CHIP_PAGES}: Trainium3's peak; {ANNOUNCED_TRAINIUM4[_ANNOUNCED_RATES[rate]].source}"
        klass = "derived"
    return over_variants(target, lambda t: chip_flops(t, rate) * now, "FLOP/s", source, klass)


def sbuf_port_bytes_per_second(target: Target) -> float:
    """What the ports of a core's four engines and its DMA move to and from SBUF per second, all at once.

    Engines read and write at their data-path width; the Tensor Engine only reads, its results go to PSUM.
    """
    vector = (
        max(2 * target.vector_width_two_byte_elements, 4 * target.vector_width_other_elements) * target.vector_clock_hz
    )
    scalar = (
        max(2 * target.scalar_width_two_byte_elements, 4 * target.scalar_width_other_elements) * target.scalar_clock_hz
    )
    gpsimd = 4 * target.gpsimd_width_elements * target.gpsimd_clock_hz
    per_cycle = (
        2 * target.tensor_bf16_macs_per_cycle,
        target.tensor_fp8_macs_per_cycle,
        target.tensor_mxfp8_macs_per_cycle,
    )
    # 2 x 128 inputs a cycle per multiply-accumulate of a processing element: 2 x 128 in BF16, 8 x 128 in MXFP8.
    tensor = 2 * target.tensor_rows * max(width or 0 for width in per_cycle) * target.tensor_clock_hz
    return tensor + 2 * (vector + scalar + gpsimd) + target.dma_bytes_per_second_per_core


def core_sbuf_bandwidth(target: Target) -> Quantity:
    """AWS's rounded figure for NeuronCore-v3, others in proportion to their ports; the ports alone are the low end."""
    scale = _SBUF_V3 / sbuf_port_bytes_per_second(get_target("trn2"))
    low = over_variants(target, sbuf_port_bytes_per_second, "B/s", "").interval[0]
    value = scale * sbuf_port_bytes_per_second(target)
    high = over_variants(target, lambda record: scale * sbuf_port_bytes_per_second(record), "B/s", "").interval[1]
    if target.generation is Generation.V3:
        source = f"{GUIDES}: about 10 TB/s per core, read off a figure; the engines' ports add up to the low end"
        return Quantity(value, "B/s", source, "published", low, high)
    source = "assumed: NeuronCore-v3's figure in proportion to the engines' ports, which are the low end"
    return Quantity(value, "B/s", source, "assumed", low, high)


def _sbuf_bandwidth(target: Target) -> Quantity:
    """Cores x the core's; for a projection the band spans its variants."""
    core = core_sbuf_bandwidth(target)
    variants = [get_target(target, name) for name in VARIANTS] if target.generation is Generation.V5 else [target]
    ends = [
        (x.cores_per_chip * core_sbuf_bandwidth(x).value, x.cores_per_chip * sbuf_port_bytes_per_second(x))
        for x in variants
    ]
    value, klass = target.cores_per_chip * core.value, weakest(("derived", core.klass))
    return Quantity(
        value, "B/s", f"cores x {core.source}", klass, min(low for _, low in ends), max(high for high, _ in ends)
    )


@cache
def trainium(target: Target) -> Chip:
    """The chip of a published target or of one of the projection's variants."""

    def fact(name: str) -> Quantity:
        return Quantity.from_fact(target.provenance[name])

    link = fact("link_bytes_per_second_per_chip")
    rates = dict.fromkeys((*target.matmul_rates(), *_PAGE_TFLOPS.get(target.generation, {})))
    return Chip(
        name=f"Trainium{target.generation - 1}",
        vendor="AWS",
        target=target,
        cores=target.cores_per_chip,
        peaks=FrozenMapping({rate: _peak(target, rate) for rate in rates}),
        hbm_bytes=fact("hbm_bytes_per_chip"),
        hbm_bandwidth=fact("hbm_bytes_per_second_per_chip"),
        dma_bandwidth=_dma_page(target),
        dma_effective_bandwidth=over_variants(
            target,
            lambda t: t.cores_per_chip * t.dma_bytes_per_second_per_core,
            "B/s",
            "DMA engines per chip x effective rate per engine",
        ),
        sbuf_bytes=over_variants(
            target,
            lambda t: t.cores_per_chip * t.partitions * t.sbuf_bytes_per_partition,
            "B",
            "cores x partitions x SBUF bytes per partition",
        ),
        sbuf_bandwidth=_sbuf_bandwidth(target),
        link_bandwidth=link,
        scale_up=_scale_up(target, link),
        power=POWER.get(target.generation),
        assumptions=target.variant,
    )
