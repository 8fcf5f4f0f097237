"""The best partitioning for a serving point, and Pareto fronts of throughput against interactivity."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from trnlab.models.chips import Chip
from trnlab.models.parallel.memory import require_fit
from trnlab.models.parallel.partitioning import Partitioning
from trnlab.models.projection.machine import Machine
from trnlab.models.projection.method import LayerName
from trnlab.models.projection.runtime import Runtime
from trnlab.models.projection.serving_point import ServingPoint
from trnlab.models.quantity import ModelError
from trnlab.models.sweep.axes import Axes
from trnlab.models.sweep.run import sweep
from trnlab.models.sweep.table import SweepTable
from trnlab.models.workloads.formats import Precision
from trnlab.models.workloads.model import LanguageModel

KINDS: tuple[str, ...] = ("tp", "ep", "pp", "dp", "cp")


def partitioning_table(
    model: LanguageModel,
    chip: Chip,
    chips: int,
    point: ServingPoint,
    precision: Precision,
    *,
    layer: LayerName = "calibrated",
    parallelism: Sequence[str] = KINDS,
    runtime: Runtime | None = None,
) -> SweepTable:
    """The serving point under every possible partitioning over exactly `chips` chips.

    Raises:
        ModelError: no partitioning is possible, or the chip lacks a matmul rate that the precision needs.
    """
    Machine.of(chip).require(precision)
    axes = Axes(
        models=(model,),
        chips=(chip,),
        precisions=(precision,),
        batches=(point.batch,),
        prompts=(point.prompt,),
        answer=point.answer,
        chip_counts=(chips,),
        parallelism=parallelism,
        layer=layer,
        runtime=runtime or Runtime(),
    )
    return sweep(axes)


def split_of(table: SweepTable, index: int) -> Partitioning:
    """The partitioning of one point."""
    return Partitioning(*(int(table.columns[name][index]) for name in Partitioning._fields))


def best_partitioning(
    model: LanguageModel,
    chip: Chip,
    chips: int,
    point: ServingPoint,
    precision: Precision,
    *,
    most_tpot: float | None = None,
    most_ttft: float | None = None,
    layer: LayerName = "calibrated",
    runtime: Runtime | None = None,
) -> Partitioning:
    """The fitting partitioning with the most tokens per second, its TPOT and TTFT at most so many seconds.

    Raises:
        ModelError: none is possible; none fits, by how much and on how many chips one would; none meets the goals.
    """
    table = partitioning_table(model, chip, chips, point, precision, layer=layer, runtime=runtime)
    if not table.columns["fits"].any():
        held = table.columns["weight_bytes"] + table.columns["kv_bytes"]
        machine, options = Machine.of(chip), runtime or Runtime()
        require_fit(
            model,
            precision,
            split_of(table, int(np.argmin(held))),
            machine.hbm_bytes,
            point.batch,
            point.prompt + point.answer,
            machine.fabric,
            window_aware=options.window_aware,
            split_kv=options.split_kv,
            ranks=machine.ranks,
        )
    row = table.best("tokens_per_second", most_tpot=most_tpot, most_ttft=most_ttft)
    return Partitioning(*(row[name] for name in Partitioning._fields))


def pareto(values: npt.NDArray[np.float64], others: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Which points no other one beats in both (more is better); of equal points the first is kept.

    Raises:
        ModelError: NaN among the values, or different lengths.
    """
    if values.shape != others.shape or np.isnan(values).any() or np.isnan(others).any():
        raise ModelError("values of a Pareto front", values.shape, "two columns of one length without NaN")
    order = np.lexsort((np.arange(len(values)), -others, -values))
    seen = np.maximum.accumulate(np.concatenate([[-np.inf], others[order][:-1]])) if len(values) else others
    kept = np.zeros(len(values), np.bool_)
    kept[order] = others[order] > seen
    return kept


def frontier(table: SweepTable) -> SweepTable:
    """The fitting points that no other beats in tokens per second and chip and in tokens per second and user.

    Ordered by interactivity, slowest first.
    """
    usable = table.fitting()
    throughput = usable.columns["tokens_per_second_per_chip"]
    interactivity = usable.columns["tokens_per_second_per_user"]
    best = usable.where(pareto(throughput, interactivity))
    order = np.argsort(best.columns["tokens_per_second_per_user"], kind="stable")
    return SweepTable(columns={name: values[order] for name, values in best.columns.items()}, names=best.names)
