"""The constants that were fitted to measurements: what each does to the rows, and what the others predict without it.

A constant that differs between generations is fitted for each of them; one that does not, for all at once. Every other
constant of the timeline is documented, read off a published figure, or assumed with a range. A row's time is taken as a
product: its prediction times a factor for each constant that is moved, each factor from a run of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any, Final

import numpy as np

from trnlab.emulator.program import IndexArray, Program
from trnlab.emulator.repeats import Floats
from trnlab.emulator.target import Target
from trnlab.emulator.timing.timeline import schedule
from trnlab.models.validation.cases import MeasuredCase
from trnlab.models.validation.outcome import predicted_milliseconds
from trnlab.models.validation.statistics import mean


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedConstant:
    """A number of `Target` that measurements decided between its bounds.

    grid: the values tried; generations: those it is fitted for; basis: what else speaks for the chosen value
    """

    name: str
    grid: tuple[float, ...]
    generations: tuple[int, ...]
    basis: str

    @property
    def label(self) -> str:
        """Its name and generations, as "vector_static_cycles v2"."""
        return f"{self.name} {' '.join(f'v{generation}' for generation in self.generations)}"


_STATIC_CYCLES: Final = (0.0, 50.0, 100.0, 150.0, 200.0)
_OVERHEADS: Final = (0.0, 10e-6, 20e-6, 40e-6)
FITTED: Final[tuple[FittedConstant, ...]] = (
    FittedConstant(
        name="tensor_sustained_clock_factor",
        grid=(0.8, 0.83, 0.857, 0.9, 1.0),
        generations=(2,),
        basis="2.4 of 2.8 GHz; T1-4 and AO-10 ask for it independently. Not fitted on v3, where T2-7 reaches its peak.",
    ),
    FittedConstant(
        name="vector_static_cycles",
        grid=_STATIC_CYCLES,
        generations=(2,),
        basis="AWS guides say about 100; the active times of AO-7 and T3-4 give 107 and 112 per instruction.",
    ),
    FittedConstant(
        name="vector_static_cycles",
        grid=(25.0, 50.0, 75.0, 100.0),
        generations=(3,),
        basis="AWS guides say about 100; the active time of T2-7 gives 46. QL's rows would have less rather than more.",
    ),
    FittedConstant(
        name="dma_sustained_efficiency_floor",
        grid=(0.3, 0.36, 0.42, 0.5),
        generations=(2,),
        basis="the published throughput curve at 1 KiB per partition",
    ),
    FittedConstant(
        name="dma_minimum_descriptor_ns",
        grid=(20.0, 35.0, 50.0),
        generations=(2,),
        basis="512 B at the effective rate take 30 ns",
    ),
    FittedConstant(
        name="dma_descriptor_overhead_ns",
        grid=(0.0, 5.0, 10.0),
        generations=(3,),
        basis="DMA packet times of T2-4 and T2-5: 5.6 and 3.9 ns beyond the bytes",
    ),
    FittedConstant(
        name="dma_transfer_overhead_ns",
        grid=(0.0, 50.0, 90.0, 130.0),
        generations=(3,),
        basis="what DMA packet times of T2-4 and T2-5 leave of the active time of 16 engines: 112 and 88 ns",
    ),
    FittedConstant(
        name="dma_dynamic_start_ns",
        grid=(300.0, 400.0, 485.0, 600.0),
        generations=(3,),
        basis="T2-4 takes 604 ns a transfer; VA-1 486 for one row, VA-2 and VA-3 613 and 587 for 128",
    ),
    FittedConstant(
        name="dma_dynamic_descriptor_ns",
        grid=(0.7, 0.9, 1.0),
        generations=(3,),
        basis="the same rows; a cycle of GpSimd is 0.7 ns",
    ),
    FittedConstant(
        name="execution_overhead_seconds",
        grid=_OVERHEADS,
        generations=(2,),
        basis="T3-2, less its Vector time. It is part of what was measured, not of the timeline.",
    ),
    FittedConstant(
        name="execution_overhead_seconds",
        grid=_OVERHEADS,
        generations=(3,),
        basis="VA-4, less its DMA and Vector time; QL's 5 rows of quantisation agree.",
    ),
)
"""Every constant fitted to rows' times. `vector_reciprocal_cycles_per_element` of v2 follows active times alone."""


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

    central: by case; factors: by (case, label of the constant, value)
    """

    cases: tuple[MeasuredCase, ...]
    central: Mapping[str, float]
    factors: Mapping[tuple[str, str, float], float]

    @classmethod
    def of(cls, rows: Sequence[tuple[MeasuredCase, Program]]) -> Responses:
        """Run every case once for each value of each constant."""
        central = {case.name: _predict(case, program, case.hardware()) for case, program in rows}
        factors = {
            (case.name, constant.label, value): _factor(case, program, constant, value, central[case.name])
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
            constant.label: {
                value: mean(map(abs, self.errors({constant.label: value}).values())) for value in constant.grid
            }
            for constant in FITTED
        }

    def leave_one_out(self) -> tuple[LeftOut, ...]:
        """For each group the constants that fit the other groups best (each group weighing alike), and its errors."""
        names = np.array([case.name for case in self.cases])
        groups = np.array([case.group for case in self.cases])
        places = np.indices([len(constant.grid) for constant in FITTED]).reshape(len(FITTED), -1)
        errors = self._all_errors(places)
        found = []
        for group in dict.fromkeys(groups.tolist()):
            others = [abs(errors[:, groups == other]).mean(axis=1) for other in set(groups.tolist()) - {group}]
            best = int(np.mean(others, axis=0).argmin()) if others else 0
            chosen = {item.label: item.grid[place] for item, place in zip(FITTED, places[:, best], strict=True)}
            mine = groups == group
            own = dict(zip(names[mine].tolist(), errors[best, mine].tolist(), strict=True))
            found.append(LeftOut(group=group, chosen=chosen, errors=own))
        return tuple(found)

    def _all_errors(self, places: IndexArray) -> Floats:
        """[settings, cases]: signed errors; places[c, s]: which value of its grid constant c has in setting s."""
        times = np.array([[self.central[case.name] / case.milliseconds for case in self.cases]])
        for constant, mine in zip(FITTED, places, strict=True):
            table = [[self.factors[case.name, constant.label, value] for case in self.cases] for value in constant.grid]
            times = times * np.array(table)[mine]
        return times - 1


def _factor(case: MeasuredCase, program: Program, constant: FittedConstant, value: float, central: float) -> float:
    target = case.hardware()
    if target.generation not in constant.generations:
        return 1.0
    fact = target.provenance[constant.name]
    if value == fact.value:
        return 1.0
    changed = {constant.name: replace(fact, value=value, low=None, high=None)}
    return _predict(case, program, target.with_facts("refit", **changed)) / central


def _predict(case: MeasuredCase, program: Program, target: Target) -> float:
    return predicted_milliseconds(case, schedule(program, target, idle_neighbours=True))
