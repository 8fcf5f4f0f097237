"""The constants that were fitted to measurements: what each does to the rows, and what the others predict without it.

Every other constant of the timeline is documented, read off a published figure, or assumed with a range. A row's time
is taken as a product: its prediction times a factor for each constant that is moved, each factor from a run of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import prod
from typing import Any, Final

from trnlab.emulator.program import Program
from trnlab.emulator.target import Target
from trnlab.emulator.timing.timeline import schedule
from trnlab.models.validation.cases import MeasuredCase
from trnlab.models.validation.outcome import predicted_milliseconds
from trnlab.models.validation.statistics import by_group, mean


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedConstant:
    """A number of `Target` that measurements decided between its bounds.

    grid: the values tried; generations: those it is fitted for; basis: what else speaks for the chosen value
    """

    name: str
    grid: tuple[float, ...]
    generations: tuple[int, ...]
    basis: str


FITTED: Final[tuple[FittedConstant, ...]] = (
    FittedConstant(
        name="tensor_sustained_clock_factor",
        grid=(0.8, 0.83, 0.857, 0.9, 1.0),
        generations=(2,),
        basis="2.4 of 2.8 GHz; T1-4 and AO-10 ask for it independently. Not fitted on v3, where T2-7 reaches its peak.",
    ),
    FittedConstant(
        name="vector_static_cycles",
        grid=(0.0, 60.0, 100.0, 150.0, 200.0),
        generations=(2, 3),
        basis="AWS guides say about 100 cycles; the active times of AO-7 and T3-4 give 107 and 112 per instruction.",
    ),
    FittedConstant(
        name="dma_sustained_efficiency_floor",
        grid=(0.3, 0.36, 0.42, 0.5),
        generations=(2, 3),
        basis="the published throughput curve at 1 KiB per partition",
    ),
    FittedConstant(
        name="dma_minimum_descriptor_ns",
        grid=(20.0, 35.0, 50.0),
        generations=(2, 3),
        basis="512 B at the effective rate take 22 to 30 ns; a profile shows 8 descriptors of 256 B in 97 ns",
    ),
)
"""Every fitted constant."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """One source left out: the constants chosen from the others, and the errors they give on its rows."""

    group: str
    chosen: Mapping[str, float]
    errors: Mapping[str, float]

    @property
    def mean_absolute_error(self) -> float:
        """Over its rows."""
        return mean(map(abs, self.errors.values()))

    def as_data(self) -> dict[str, Any]:
        """The result as JSON-ready data."""
        return {
            "chosen": dict(self.chosen),
            "errors": dict(self.errors),
            "mean_absolute_error": self.mean_absolute_error,
        }


@dataclass(frozen=True, kw_only=True)
class Responses:
    """Predicted milliseconds of every case, and by what each fitted constant alone multiplies them.

    central: by case; factors: by (case, constant, value)
    """

    cases: tuple[MeasuredCase, ...]
    central: Mapping[str, float]
    factors: Mapping[tuple[str, str, float], float]

    @classmethod
    def of(cls, rows: Sequence[tuple[MeasuredCase, Program]]) -> Responses:
        """Run every case once for each value of each constant."""
        central = {case.name: _predict(case, program, case.hardware()) for case, program in rows}
        factors = {
            (case.name, constant.name, value): _factor(case, program, constant, value, central[case.name])
            for case, program in rows
            for constant in FITTED
            for value in constant.grid
        }
        return cls(cases=tuple(case for case, _ in rows), central=central, factors=factors)

    def errors(self, settings: Mapping[str, float]) -> dict[str, float]:
        """The signed error of every case with those values; constants that are not named stay as they are."""
        result = {}
        for case in self.cases:
            factor = prod(self.factors[case.name, name, value] for name, value in settings.items())
            result[case.name] = self.central[case.name] * factor / case.milliseconds - 1
        return result

    def effects(self) -> dict[str, dict[float, float]]:
        """For each constant and value the mean absolute error over all cases, the other constants as they are."""
        return {
            constant.name: {
                value: mean(map(abs, self.errors({constant.name: value}).values())) for value in constant.grid
            }
            for constant in FITTED
        }

    def leave_one_out(self) -> tuple[LeftOut, ...]:
        """For each group the constants that fit the other groups best (each group weighing alike), and its errors."""
        groups = {case.name: case.group for case in self.cases}
        names = [constant.name for constant in FITTED]
        settings = [dict(zip(names, values, strict=True)) for values in product(*(item.grid for item in FITTED))]
        table = [(setting, self.errors(setting)) for setting in settings]
        found = []
        for group in dict.fromkeys(groups.values()):
            chosen, errors = min(table, key=lambda item: _loss(item[1], groups, group))
            own = {name: error for name, error in errors.items() if groups[name] == group}
            found.append(LeftOut(group=group, chosen=chosen, errors=own))
        return tuple(found)


def _loss(errors: Mapping[str, float], groups: Mapping[str, str], left_out: str) -> float:
    kept = {name: error for name, error in errors.items() if groups[name] != left_out}
    return mean(by_group(kept, groups).values())


def _factor(case: MeasuredCase, program: Program, constant: FittedConstant, value: float, central: float) -> float:
    target = case.hardware()
    fact = target.provenance[constant.name]
    if target.generation not in constant.generations or value == fact.value:
        return 1.0
    changed = {constant.name: replace(fact, value=value, low=None, high=None)}
    return _predict(case, program, target.with_facts("refit", **changed)) / central


def _predict(case: MeasuredCase, program: Program, target: Target) -> float:
    return predicted_milliseconds(case, schedule(program, target, idle_neighbours=True))
