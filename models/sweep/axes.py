"""The axes of a sweep and the jobs they fall into: one model, chip and precision with a block of partitionings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product
from numbers import Integral

from trnlab.models.chips import Chip
from trnlab.models.parallel.partitioning import Partitioning, partitionings
from trnlab.models.projection.machine import Machine
from trnlab.models.projection.method import LAYERS, LayerName
from trnlab.models.projection.runtime import Runtime
from trnlab.models.projection.serving_point import default_precision
from trnlab.models.quantity import ModelError
from trnlab.models.workloads.catalogue import get_model
from trnlab.models.workloads.formats import Precision, get_precision
from trnlab.models.workloads.model import LanguageModel

BLOCK_POINTS = 1 << 16
"""Points that are computed at a time: enough that NumPy's own time counts, few enough for the caches."""


def _whole(value: object, name: str) -> int:
    """The value as an int; NumPy's whole numbers are taken, too."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
        raise ModelError(f"{name} of a sweep", value, "whole numbers >= 1")
    return int(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One block: every combination of its partitionings, batches and prompts."""

    model: LanguageModel
    machine: Machine
    precision: Precision
    layer: LayerName
    splits: tuple[Partitioning, ...]
    batches: tuple[int, ...]
    prompts: tuple[int, ...]
    answer: int
    runtime: Runtime

    @property
    def points(self) -> int:
        """Points of the block."""
        return len(self.splits) * len(self.batches) * len(self.prompts)


@dataclass(frozen=True, kw_only=True)
class Axes:
    """What to sweep over; every combination that is possible becomes a point.

    models, chips: names or records. precisions: names, recipes, or None for the default of model and chip; `kv` applies
    to all. chip_counts: every partitioning over each count, using the kinds in `parallelism`; or `splits`: these
    partitionings, where the model and fabric allow them. prompts: tokens; answer: tokens; layer: of the projection.

    Raises:
        ModelError: an empty axis, a number below 1, both or neither of chip_counts and splits, an unknown layer.
    """

    models: Sequence[str | LanguageModel]
    chips: Sequence[str | Chip]
    batches: Sequence[int]
    prompts: Sequence[int]
    answer: int = 1024
    precisions: Sequence[str | Precision | None] = (None,)
    kv: str | None = None
    chip_counts: Sequence[int] = ()
    splits: Sequence[Partitioning] = ()
    parallelism: Sequence[str] = ("tp", "ep", "pp", "dp")
    layer: LayerName = "calibrated"
    runtime: Runtime = field(default_factory=Runtime)

    def __post_init__(self) -> None:
        for name in ("models", "chips", "precisions", "batches", "prompts"):
            if not len(getattr(self, name)):
                raise ModelError(f"{name} of a sweep", (), "at least one")
        for name in ("batches", "prompts", "chip_counts"):
            object.__setattr__(self, name, tuple(_whole(value, name) for value in getattr(self, name)))
        if bool(self.chip_counts) == bool(self.splits):
            raise ModelError(
                "chip_counts and splits of a sweep", (self.chip_counts, self.splits), "exactly one of them"
            )
        object.__setattr__(self, "answer", _whole(self.answer, "answer"))
        if self.layer not in LAYERS:
            raise ModelError("layer of a sweep", self.layer, ", ".join(LAYERS))

    def jobs(self) -> tuple[Job, ...]:
        """The blocks, in order: models, chips, precisions, partitionings; what is impossible is in `left_out`.

        Raises:
            TargetError, ModelError: an unknown name; no combination at all that is possible.
        """
        found = tuple(job for name in self.models for job in self._of_model(get_model(name)))
        if not found:
            allowed = "partitionings and rates that the chips have"
            raise ModelError("sweep", "; ".join(("no possible combination", *self.left_out())), allowed)
        return found

    def left_out(self) -> tuple[str, ...]:
        """Why combinations of model, chip and precision or count have no points, in words.

        Raises:
            TargetError, ModelError: an unknown name.
        """
        found: dict[str, None] = {}
        for model, chip in product(map(get_model, self.models), self.chips):
            machine = Machine.of(chip)
            possible = {split.chips for split in self._splits(model, machine)}
            wanted = self.chip_counts or sorted({split.chips for split in self.splits})
            for count in (count for count in wanted if count not in possible):
                found[f"{model.name} on {count} x {machine.label}: no partitioning of those asked for"] = None
            for precision in (self._precision(name, model, machine) for name in self.precisions):
                if not machine.can(precision):
                    missing = ", ".join(rate for rate in precision.rates if rate not in machine.rates)
                    found[f"{precision.name} on {machine.label}: no {missing} rate"] = None
        return tuple(found)

    def _precision(self, wanted: str | Precision | None, model: LanguageModel, machine: Machine) -> Precision:
        return get_precision(default_precision(model, machine.chip) if wanted is None else wanted, self.kv)

    def _of_model(self, model: LanguageModel) -> Iterator[Job]:
        for chip in self.chips:
            machine = Machine.of(chip)
            splits = self._splits(model, machine)
            for wanted in self.precisions:
                precision = self._precision(wanted, model, machine)
                if machine.can(precision):
                    yield from self._blocks(model, machine, precision, splits)

    def _splits(self, model: LanguageModel, machine: Machine) -> tuple[Partitioning, ...]:
        counts = self.chip_counts or sorted({split.chips for split in self.splits})
        kinds = self.parallelism if self.chip_counts else Partitioning._fields
        possible = [split for count in counts for split in partitionings(model, count, machine.fabric, axes=kinds)]
        wanted = set(self.splits)
        return tuple(split for split in possible if not wanted or split in wanted)

    def _blocks(
        self, model: LanguageModel, machine: Machine, precision: Precision, splits: Sequence[Partitioning]
    ) -> Iterator[Job]:
        each = max(1, BLOCK_POINTS // (len(self.batches) * len(self.prompts)))
        for start in range(0, len(splits), each):
            yield Job(
                model=model,
                machine=machine,
                precision=precision,
                layer=self.layer,
                splits=tuple(splits[start : start + each]),
                batches=tuple(self.batches),
                prompts=tuple(self.prompts),
                answer=self.answer,
                runtime=self.runtime,
            )
