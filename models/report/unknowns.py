"""The unknowns of Trainium4, each with two named ends: the settings that the sensitivity moves."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal

from trnlab.models.chips import Chip, chip_named, get_chip
from trnlab.models.projection.constants import EXPOSED, fixed_cost
from trnlab.models.quantity import ModelError, Quantity
from trnlab.models.report.scenario import Scenario
from trnlab.models.workloads.formats import Precision

Kind = Literal["announced", "not announced", "software", "operating point"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One end of a swing: everything central but what is given."""

    label: str
    chip: Chip = field(default_factory=lambda: get_chip("trn4"))
    precision: Precision | None = None
    batch: int | None = None
    prompt: int | None = None
    fixed_seconds: float | None = None
    exposed: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Swing:
    """One unknown with its two ends. An announced figure is one too: its ends are what the words may stand for."""

    name: str
    kind: Kind
    ends: tuple[Setting, Setting]

    @property
    def label(self) -> str:
        """The unknown and its ends, in words."""
        return f"{self.name}: {self.ends[0].label} | {self.ends[1].label}"


def swings(scenario: Scenario) -> tuple[Swing, ...]:
    """The unknowns, by the assumption sets and alternatives that `trnlab chips` knows by name."""
    fixed = fixed_cost(get_chip("trn4"))
    if fixed is None:
        raise ModelError("fixed cost of trn4", None, "a quantity with a band")
    return (
        _sets("BF16 rate", "bf16 stays", "bf16 follows fp8"),
        _sets("HBM capacity", "memory stays", "memory x2.67", "announced"),
        _sets("power", "1 kW", "2.5 kW"),
        Swing(name="links", kind="not announced", ends=(_named("NeuronLink kept"), Setting(label="NVLink 6"))),
        _figures("HBM bandwidth", "hbm_bandwidth", "x3", "x4.5"),
        _figures("FP8 rate", "fp8", "x2.7", "x3.5"),
        _figures("FP4 rate, activations in FP4", "fp4", "x4", "x8", scenario.narrowest),
        Swing(
            name="activations",
            kind="software",
            ends=(Setting(label="MXFP8"), Setting(label="FP4", precision=scenario.narrowest)),
        ),
        Swing(name="fixed cost per layer", kind="software", ends=_ends(fixed, 1e6, " µs", "fixed_seconds")),
        Swing(name="exposed share of collectives", kind="software", ends=_ends(EXPOSED, 1, "", "exposed")),
        _halved("batch", scenario.batch, "requests"),
        _halved("prompt", scenario.prompt, "tokens"),
    )


def _named(name: str) -> Setting:
    return Setting(label=name, chip=chip_named(f"trn4-{name}"))


def _sets(name: str, first: str, second: str, kind: Kind = "not announced") -> Swing:
    return Swing(name=name, kind=kind, ends=(_named(first), _named(second)))


def _figures(name: str, topic: str, first: str, second: str, precision: Precision | None = None) -> Swing:
    """Two alternatives of one announced figure; a multiple is one of Trainium3's figure."""

    def end(choice: str) -> Setting:
        label = f"{choice[1:]}x Trainium3" if choice.startswith("x") else choice
        return Setting(label=label, chip=get_chip("trn4", figures={topic: choice}), precision=precision)

    return Swing(name=name, kind="announced", ends=(end(first), end(second)))


def _ends(band: Quantity, scale: float, unit: str, option: str) -> tuple[Setting, Setting]:
    low, high = (_moved(f"{end * scale:g}{unit}", option, end) for end in band.interval)
    return low, high


def _moved(label: str, option: str, value: float) -> Setting:
    """The central setting with one of its numbers replaced."""
    changes: dict[str, Any] = {option: value}
    return replace(Setting(label=label), **changes)


def _halved(option: str, value: int, unit: str) -> Swing:
    first, second = (_moved(f"{end:,} {unit}", option, end) for end in (max(1, value // 2), 2 * value))
    return Swing(
        name={"batch": "running requests", "prompt": "context"}[option], kind="operating point", ends=(first, second)
    )
