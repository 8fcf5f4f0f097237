"""What measured decode steps and matmuls demand of the model's constants, with residuals.

Decode:   measured = a x (weight bytes / HBM) + b x (cache bytes / HBM) + c(chip) x layers, least squares of the
          relative error over AWS's own rows. 1 / a and 1 / b are the shares of HBM bandwidth that are reached, c the
          fixed cost of a layer. The caches of these runs were copied to every rank beyond their heads, which the bytes
          contain.
GEMM:     measured = launch + FLOP / rate, least squares of the relative error.

Leave-one-out: every row predicted by constants that were fitted to the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Final

import numpy as np

from trnlab.models.arrays import Array, array
from trnlab.models.frozen import FrozenMapping
from trnlab.models.parallel.partitioning import Partitioning, Splits
from trnlab.models.projection.decode import decode_step
from trnlab.models.projection.machine import Machine
from trnlab.models.projection.measured_rows import (
    DECODE_ROWS,
    GEMM_ROWS,
    MeasuredDecode,
    MeasuredGemm,
)
from trnlab.models.projection.method import ROOFLINE
from trnlab.models.projection.runtime import Runtime
from trnlab.models.quantity import ModelError
from trnlab.models.workloads.catalogue import get_model
from trnlab.models.workloads.formats import get_precision

GEMM_PEAK: Final = 671e12 / 4
"""FLOP/s in BF16 of a pair of Trainium3 cores: a quarter of the chip page's figure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Residual:
    """One row: measured and modelled seconds, and modelled by constants fitted without it (None: not fitted)."""

    name: str
    measured: float
    modelled: float
    left_out: float | None

    @property
    def error(self) -> float:
        """Signed relative error, modelled over measured."""
        return self.modelled / self.measured - 1

    @property
    def left_out_error(self) -> float | None:
        """Signed relative error when the row was left out of the fit."""
        return None if self.left_out is None else self.left_out / self.measured - 1


def mean_absolute_error(residuals: Sequence[Residual], *, left_out: bool = False) -> float:
    """Mean of |relative error| over the rows.

    Raises:
        ModelError: no rows.
    """
    errors = [row.left_out_error if left_out else row.error for row in residuals]
    counted = [abs(error) for error in errors if error is not None]
    if not counted:
        raise ModelError("rows of a mean error", 0, "at least one")
    return float(np.mean(counted))


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodeFit:
    """measured = weight_factor x weight bytes / HBM + cache_factor x cache bytes / HBM + fixed_seconds[chip] x layers.

    fixed_range: least and largest fixed cost that makes one row of a chip come out exactly.
    """

    weight_factor: float
    cache_factor: float
    fixed_seconds: Mapping[str, float]
    fixed_range: Mapping[str, tuple[float, float]]
    residuals: tuple[Residual, ...]

    @property
    def weight_efficiency(self) -> float:
        """Share of HBM bandwidth that reading weights reaches."""
        return 1 / self.weight_factor

    @property
    def cache_efficiency(self) -> float:
        """Share of HBM bandwidth that reading the cache reaches."""
        return 1 / self.cache_factor

    def moved(self, row: MeasuredDecode) -> float:
        """Seconds of a row that its bytes take by these constants."""
        weights, cache, _ = _decode_terms(row)
        return self.weight_factor * weights + self.cache_factor * cache

    def predict(self, row: MeasuredDecode) -> float:
        """Seconds of a row by these constants."""
        return self.moved(row) + self.fixed_seconds[row.chip] * get_model(row.model).layers


COPIED: Final = Runtime(split_kv=False)
"""How Neuron's software of the measured rows held caches."""


def _decode_terms(row: MeasuredDecode) -> tuple[float, float, int]:
    """(weight bytes / HBM of one chip, cache bytes / HBM, layers)."""
    model, machine = get_model(row.model), Machine.of(row.chip)
    splits = Splits.of([Partitioning(tp=row.chips)], ())
    step = decode_step(model, get_precision(row.precision), machine, ROOFLINE, splits, row.batch, row.context, COPIED)
    weights, cache = float(step.dense.bytes + step.experts.bytes), float(step.attention.bytes)
    return weights / machine.hbm_bytes_per_second, cache / machine.hbm_bytes_per_second, model.layers


def _relative_least_squares(terms: Array, measured: Array) -> Array:
    """x that makes terms @ x / measured nearest to 1."""
    return array(np.linalg.lstsq(terms / measured[:, None], np.ones_like(measured), rcond=None)[0])


def _decode_fit(rows: Sequence[MeasuredDecode]) -> DecodeFit:
    """The fit to these rows, without residuals."""
    chips = sorted({row.chip for row in rows})
    columns = []
    for row in rows:
        weights, cache, layers = _decode_terms(row)
        columns.append([weights, cache, *(layers * (row.chip == chip) for chip in chips)])
    measured = np.array([row.seconds for row in rows])
    weight, cached, *fixed = _relative_least_squares(np.array(columns, np.float64), measured).tolist()
    bare = DecodeFit(
        weight_factor=weight,
        cache_factor=cached,
        fixed_seconds=FrozenMapping(dict(zip(chips, fixed, strict=True))),
        fixed_range=FrozenMapping({}),
        residuals=(),
    )
    costs = {
        chip: [(row.seconds - bare.moved(row)) / get_model(row.model).layers for row in rows if row.chip == chip]
        for chip in chips
    }
    return replace(bare, fixed_range=FrozenMapping({chip: (min(one), max(one)) for chip, one in costs.items()}))


@cache
def fit_decode() -> DecodeFit:
    """The fit to AWS's decode rows, with every published row's residual; rows not fitted have no left-out value."""
    rows = [row for row in DECODE_ROWS if row.stack == "AWS"]
    fit = _decode_fit(rows)
    residuals = []
    for row in DECODE_ROWS:
        others = [other for other in rows if other is not row]
        left = _decode_fit(others).predict(row) if row in rows else None
        residuals.append(Residual(name=row.name, measured=row.seconds, modelled=fit.predict(row), left_out=left))
    return replace(fit, residuals=tuple(residuals))


@dataclass(frozen=True, slots=True, kw_only=True)
class GemmFit:
    """measured = launch_seconds + FLOP / flops_per_second, on one pair of Trainium3 cores."""

    launch_seconds: float
    flops_per_second: float
    residuals: tuple[Residual, ...]

    @property
    def efficiency(self) -> float:
        """Share of the peak that large matrices approach."""
        return self.flops_per_second / GEMM_PEAK


def _solve_gemm(rows: Sequence[MeasuredGemm]) -> tuple[float, float]:
    terms = np.array([[1.0, row.flops] for row in rows])
    launch, slope = _relative_least_squares(terms, np.array([row.seconds for row in rows])).tolist()
    return launch, 1 / slope


def fit_gemm(rows: Sequence[MeasuredGemm] = GEMM_ROWS) -> GemmFit:
    """The fit to measured matrix multiplications.

    Raises:
        ModelError: fewer than three rows, of which leaving one out leaves nothing to fit.
    """
    if len(rows) < 3:
        raise ModelError("GEMM rows to fit", len(rows), "at least 3")
    launch, rate = _solve_gemm(rows)
    residuals = []
    for row in rows:
        start, speed = _solve_gemm([other for other in rows if other is not row])
        residuals.append(
            Residual(
                name=f"{row.rows} x {row.columns} x {row.depth}",
                measured=row.seconds,
                modelled=launch + row.flops / rate,
                left_out=start + row.flops / speed,
            )
        )
    return GemmFit(launch_seconds=launch, flops_per_second=rate, residuals=tuple(residuals))
