"""The three layers of a projection, which are never mixed: roofline, efficiencies, calibrated.

roofline      every unit at its peak, collectives hidden, no fixed cost: nothing can be faster
efficiencies  each operator at a share of the peak, collectives at their algorithm's time
calibrated    HBM at the share, and every layer with the fixed cost, that measured decode steps demand; the fixed cost
              contains the latency of collectives, of which only the bytes are added

An efficiency is a share of the bound (roofline time / time), for compute and for memory apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from trnlab.models.frozen import FrozenMapping
from trnlab.models.quantity import ModelError, Quantity

Operator = Literal["dense", "experts", "attention"]
OPERATORS: Final[tuple[Operator, ...]] = ("dense", "experts", "attention")
LayerName = Literal["roofline", "efficiencies", "calibrated"]
LAYERS: Final[tuple[LayerName, ...]] = ("roofline", "efficiencies", "calibrated")
Case = Literal["fast", "central", "slow"]
CASES: Final[tuple[Case, ...]] = ("fast", "central", "slow")


def exact(value: float, unit: str = "") -> Quantity:
    """A number that is so by definition of a layer."""
    return Quantity(value, unit, "by definition of the layer", "derived")


@dataclass(frozen=True, kw_only=True)
class Method:
    """The constants of one layer on one chip.

    compute, memory: efficiencies by operator. fixed: seconds per layer of the model and step. latency: whether
    collectives' latency is added, transfer: whether their bytes' time is. exposed: share of it that nothing hides.
    padded: operators whose tokens fill whole rows of the Tensor Engine. note: what the reader must know, such as a
    fallback.
    """

    name: LayerName
    compute: Mapping[Operator, Quantity]
    memory: Mapping[Operator, Quantity]
    fixed: Quantity
    latency: bool
    transfer: bool
    exposed: Quantity
    padded: frozenset[Operator]
    note: str = ""
    case: Case = field(default="central")

    def __post_init__(self) -> None:
        for title in ("compute", "memory"):
            table = getattr(self, title)
            for operator in OPERATORS:
                if operator not in table or not 0 < table[operator].value <= 1:
                    raise ModelError(f"{title} efficiency of {operator}", table.get(operator), "above 0, at most 1")
            object.__setattr__(self, title, FrozenMapping(table))
        if self.fixed.unit != "s" or self.fixed.value < 0:
            raise ModelError("fixed cost per layer", f"{self.fixed:v}", "seconds, not negative")
        if not 0 <= self.exposed.value <= 1:
            raise ModelError("exposed share of collectives", self.exposed.value, "0 to 1")

    def at(self, case: Case) -> Method:
        """The same with every banded constant at its fast or slow end.

        Raises:
            ModelError: no such case.
        """
        if case not in CASES:
            raise ModelError("case", case, ", ".join(CASES))
        if case == "central":
            return self
        up, down = (1, 0) if case == "fast" else (0, 1)
        return replace(
            self,
            compute={key: _end(value, up) for key, value in self.compute.items()},
            memory={key: _end(value, up) for key, value in self.memory.items()},
            fixed=_end(self.fixed, down),
            exposed=_end(self.exposed, down),
            case=case,
        )

    @property
    def constants(self) -> tuple[tuple[str, Quantity], ...]:
        """Every constant with its name, for tables."""
        rows = [(f"{key} compute efficiency", self.compute[key]) for key in OPERATORS]
        rows += [(f"{key} memory efficiency", self.memory[key]) for key in OPERATORS]
        return (*rows, ("fixed cost per layer", self.fixed), ("exposed share of collectives", self.exposed))


def _end(quantity: Quantity, end: int) -> Quantity:
    value = quantity.interval[end]
    return Quantity(value, quantity.unit, quantity.source, quantity.klass)


def everywhere(value: Quantity) -> dict[Operator, Quantity]:
    """One efficiency for every operator."""
    return dict.fromkeys(OPERATORS, value)


ROOFLINE: Final = Method(
    name="roofline",
    compute=everywhere(exact(1.0)),
    memory=everywhere(exact(1.0)),
    fixed=exact(0.0, "s"),
    latency=False,
    transfer=False,
    exposed=exact(0.0),
    padded=frozenset(),
    note="peaks of the chip page; collectives hidden; nothing can be faster",
)
