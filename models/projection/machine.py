"""A chip as the plain numbers that the vectorised formulas take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Final

from trnlab.emulator.errors import TrnlabError
from trnlab.emulator.target import Generation
from trnlab.models.chips import Chip, get_chip
from trnlab.models.frozen import FrozenMapping
from trnlab.models.parallel.fabric import Fabric
from trnlab.models.projection.method import Case
from trnlab.models.quantity import ModelError
from trnlab.models.workloads.formats import Precision

TRAINIUM_ROWS: Final = 128
"""Rows of a Tensor Engine's array: fewer tokens than this take as long (AWS NKI architecture guides)."""
RANKS: Final = {Generation.V2: 2, Generation.V3: 4, Generation.V4: 4, Generation.V5: 8}
"""Ranks of a chip to Neuron's software: logical cores, of two cores each from Trainium2 on (AWS Neuron documentation,
logical NeuronCore configuration); Trainium4's are assumed."""


@dataclass(frozen=True, kw_only=True)
class Machine:
    """One chip's rates in FLOP/s and B/s, its memory in bytes, and its links.

    token_rows: tokens are multiplied in multiples of this; 1 where nothing is known of it. ranks: of one chip to the
    software, which copy the cache unless it is split.
    """

    chip: Chip
    rates: Mapping[str, float] = field(repr=False)
    hbm_bytes_per_second: float
    hbm_bytes: float
    fabric: Fabric = field(repr=False)
    token_rows: int
    ranks: int

    @property
    def label(self) -> str:
        """The chip's label."""
        return self.chip.label

    @classmethod
    def of(cls, chip: str | Chip, variant: str | None = None) -> Machine:
        """The machine of a chip, or of a chip's name and variant.

        Raises:
            TargetError, ModelError: no such chip or variant.
        """
        return _machine(chip if isinstance(chip, Chip) else get_chip(chip, variant))

    def require(self, precision: Precision) -> None:
        """The chip can multiply everything the precision asks for.

        Raises:
            ModelError: it has no such rate; lists those it has.
        """
        for rate in precision.rates:
            self.rate(rate, f"matmul rate of {precision.name} on {self.label}")

    def rate(self, name: str, what: str = "") -> float:
        """FLOP/s of a matmul rate.

        Raises:
            ModelError: the chip has none.
        """
        if name not in self.rates:
            raise ModelError(what or f"matmul rate of {self.label}", name, ", ".join(self.rates))
        return self.rates[name]

    def can(self, precision: Precision) -> bool:
        """Whether the chip can multiply everything the precision asks for."""
        try:
            self.require(precision)
        except TrnlabError:
            return False
        return True


@cache
def _machine(chip: Chip) -> Machine:
    return Machine(
        chip=chip,
        rates=FrozenMapping({rate: peak.value for rate, peak in chip.peaks.items()}),
        hbm_bytes_per_second=chip.hbm_bandwidth.value,
        hbm_bytes=chip.hbm_bytes.value,
        fabric=Fabric.of(chip),
        token_rows=1 if chip.target is None else TRAINIUM_ROWS,
        ranks=1 if chip.target is None else RANKS[chip.target.generation],
    )


_VARIANT: Final[dict[Case, str]] = {"fast": "high", "central": "central", "slow": "low"}


def machine_at(machine: Machine, case: Case) -> Machine:
    """The machine with its banded figures at one end: a projection's variant, or the ends of the links' band."""
    chip = machine.chip
    if case == "central":
        return machine
    if chip.target is not None and chip.target.generation is Generation.V5 and chip.variant == "central":
        return Machine.of(get_chip("trn4", _VARIANT[case], figures=chip.selected))
    end = 1 if case == "fast" else 0
    link, step = chip.scale_up.bandwidth, chip.scale_up.step_latency
    wired = replace(
        chip.scale_up,
        bandwidth=replace(link, value=link.interval[end], low=None, high=None),
        step_latency=replace(step, value=step.interval[1 - end], low=None, high=None),
    )
    domain = replace(machine.fabric, domain=wired)
    return replace(machine, fabric=domain)
