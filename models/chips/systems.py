"""Instances, UltraServers, boards, racks and pods: chips that share a scale-up domain, and their way out of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Final

from trnlab.emulator.target import Generation
from trnlab.emulator.target.facts import ULTRASERVER_PAGES
from trnlab.models.chips.lookup import get_chip
from trnlab.models.chips.record import GIB, Chip, peak_of
from trnlab.models.chips.topology import Topology
from trnlab.models.chips.trainium import COLLECTIVES_GUIDE
from trnlab.models.frozen import FrozenMapping
from trnlab.models.quantity import ModelError, Quantity

EFA_STEP: Final = Quantity(15e-6, "s", f"{COLLECTIVES_GUIDE}: 15 µs a hop over EFA")
"""Latency of one hop between systems over EFA, for Trainium."""


@dataclass(frozen=True, kw_only=True)
class System:
    """Chips that share a scale-up domain.

    topology: how they are wired. efa_bandwidth: B/s in one direction of the whole system to others, over EFA or the
    vendor's network; None where it is not known, so that nothing may be computed from it.
    """

    name: str
    chip: Chip = field(repr=False)
    topology: Topology
    efa_bandwidth: Quantity | None = None
    efa_step_latency: Quantity | None = None

    @property
    def chips(self) -> int:
        """Chips in the system."""
        return self.topology.size

    @property
    def efa_bandwidth_per_chip(self) -> Quantity | None:
        """One chip's part of `efa_bandwidth`."""
        return None if self.efa_bandwidth is None else self.efa_bandwidth / self.chips

    def chips_peak(self, rate: str) -> Quantity:
        """Chips x the chip page's peak: the total that the chip figures add up to.

        Raises:
            ModelError: the chip has no such rate.
        """
        return self.chips * self.chip.peak(rate)


@dataclass(frozen=True, kw_only=True)
class UltraServer(System):
    """A system for which AWS prints totals."""

    peaks: Mapping[str, Quantity] = field(repr=False)
    hbm_bytes: Quantity
    hbm_bandwidth: Quantity

    def peak(self, rate: str) -> Quantity:
        """Printed total, for a matmul rate or an NKI dtype.

        Raises:
            ModelError: no such total is printed.
        """
        return peak_of(self.peaks, rate, self.name)


def _efa(gigabits: float, source: str = ULTRASERVER_PAGES) -> Quantity:
    return Quantity(gigabits * 1e9 / 8, "B/s", source, "published" if source == ULTRASERVER_PAGES else "derived")


_PER_CHIP: Final = f"{ULTRASERVER_PAGES}: EFA of an instance over its chips"
_EFA_PER_CHIP: Final = {
    Generation.V2: _efa(50, _PER_CHIP),
    Generation.V3: _efa(200, _PER_CHIP),
    Generation.V4: _efa(200, _PER_CHIP),
    Generation.V5: Quantity(25e9, "B/s", "assumed: Trainium3's 200 Gb/s per chip kept", "assumed"),
}
_FOUR_INSTANCES: Final = (
    f"{ULTRASERVER_PAGES}: 4 instances x 3,200 Gb/s; the UltraServer table prints 3,200 for all four"
)

# Chip, chips (of its largest domain), EFA; figures to choose for the chip.
_INSTANCES: Final[Mapping[str, tuple[str, int, Quantity | None, Mapping[str, str]]]] = {
    "trn1.2xlarge": ("trn1", 1, None, {}),
    "trn1.32xlarge": ("trn1", 16, _efa(800), {}),
    "trn1n.32xlarge": ("trn1", 16, _efa(1600), {"link": "trn1n"}),
    "trn2.3xlarge": ("trn2", 1, None, {}),
    "trn2.48xlarge": ("trn2", 16, _efa(3200), {}),
}

# As AWS's UltraServer tables print them: chips, TFLOP/s by rate, HBM GiB, HBM TB/s; EFA.
_ULTRASERVERS: Final[Mapping[str, tuple[str, str, int, Mapping[str, float], int, float, Quantity]]] = {
    "trn2": (
        "Trn2 UltraServer",
        "trn2",
        64,
        {"fp8": 83_200, "bf16": 42_800},
        6 * 1024,
        185.6,
        _efa(12_800, _FOUR_INSTANCES),
    ),
    "trn3-gen1": (
        "Trn3 Gen1 UltraServer",
        "trn3",
        64,
        {"mxfp8": 161_088, "mxfp4": 161_088, "bf16": 42_944, "fp32": 11_712},
        9_216,
        313.6,
        _efa(12_800),
    ),
    "trn3-gen2": (
        "Trn3 Gen2 UltraServer",
        "trn3",
        144,
        {"mxfp8": 362_448, "mxfp4": 362_448, "bf16": 96_624, "fp32": 26_352},
        20_736,
        705.6,
        _efa(28_800),
    ),
}


@cache
def get_ultraserver(name: str) -> UltraServer:
    """The UltraServer "trn2" (64 chips), "trn3-gen1" (64) or "trn3-gen2" (144), in any case.

    Raises:
        ModelError: no such UltraServer. AWS has not described a Trainium4 one; `get_system("trn4")` assumes one.
    """
    row = _ULTRASERVERS.get(name.lower())
    if row is None:
        raise ModelError("UltraServer", name, ", ".join(_ULTRASERVERS))
    title, chip_name, chips, tflops, gib, terabytes, efa = row
    chip = get_chip(chip_name)
    return UltraServer(
        name=title,
        chip=chip,
        topology=chip.scale_up.group(chips),
        peaks=FrozenMapping(
            {rate: Quantity(value * 1e12, "FLOP/s", ULTRASERVER_PAGES) for rate, value in tflops.items()}
        ),
        hbm_bytes=Quantity(gib * GIB, "B", ULTRASERVER_PAGES),
        hbm_bandwidth=Quantity(terabytes * 1e12, "B/s", ULTRASERVER_PAGES),
        efa_bandwidth=efa,
        efa_step_latency=EFA_STEP,
    )


def system_names() -> tuple[str, ...]:
    """Names that `get_system` takes, besides those of chips."""
    return (*_INSTANCES, *_ULTRASERVERS)


def get_system(name: str | Chip) -> System:
    """An instance ("trn2.48xlarge"), an UltraServer ("trn3-gen1"), or the largest domain of a chip ("trn4", "h100").

    Raises:
        TargetError, ModelError: no such system or chip.
    """
    if isinstance(name, Chip):
        return domain_of(name)
    key = name.lower()
    if key in _INSTANCES:
        chip_name, chips, efa, figures = _INSTANCES[key]
        chip = get_chip(chip_name, figures=figures)
        return System(
            name=key,
            chip=chip,
            topology=chip.scale_up.group(chips),
            efa_bandwidth=efa,
            efa_step_latency=None if efa is None else EFA_STEP,
        )
    return get_ultraserver(key) if key in _ULTRASERVERS else domain_of(get_chip(name))


def domain_of(chip: Chip) -> System:
    """The chip's largest scale-up domain; what leads out of it is known, or assumed, for Trainium only."""
    gigabits = None if chip.target is None else _EFA_PER_CHIP[chip.target.generation] * chip.scale_up.size
    return System(
        name=f"{chip.label}, {chip.scale_up.label}",
        chip=chip,
        topology=chip.scale_up,
        efa_bandwidth=gigabits,
        efa_step_latency=None if gigabits is None else EFA_STEP,
    )
