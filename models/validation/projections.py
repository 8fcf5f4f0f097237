"""`trnlab validate projections`: published end-to-end figures and cross-checks beside ours, with signed errors."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from trnlab.models.frames import data_frame, html_table
from trnlab.models.parallel.partitioning import Partitioning, Splits
from trnlab.models.projection.calibration import (
    DecodeFit,
    GemmFit,
    Residual,
    fit_decode,
    fit_gemm,
    mean_absolute_error,
)
from trnlab.models.projection.constants import layer_of
from trnlab.models.projection.decode import decode_step
from trnlab.models.projection.efficiency import EfficiencyTable
from trnlab.models.projection.kernel_shapes import DEFAULTS, with_kernels
from trnlab.models.projection.machine import Machine
from trnlab.models.projection.measured_rows import DECODE_ROWS, MeasuredDecode
from trnlab.models.projection.prompt_rows import PrefillFit, fit_prefill
from trnlab.models.projection.trainium3_rows import Trainium3Fit, fit_trainium3
from trnlab.models.validation.checks import CrossCheck
from trnlab.models.validation.checks_gpt_oss import GPT_OSS_CHECKS
from trnlab.models.validation.checks_inference import INFERENCE_CHECKS
from trnlab.models.validation.checks_training import TRAINING_CHECKS
from trnlab.models.validation.checks_trainium import TRAINIUM_CHECKS
from trnlab.models.validation.gemm_files import read_gemms
from trnlab.models.validation.projection_views import residual_chart, residual_records
from trnlab.models.validation.serving_rows import ServingResult, median_achieved, serving_results
from trnlab.models.workloads.catalogue import get_model
from trnlab.models.workloads.formats import get_precision

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CROSS_CHECKS: Final[tuple[CrossCheck, ...]] = (
    *INFERENCE_CHECKS,
    *TRAINING_CHECKS,
    *TRAINIUM_CHECKS,
    *GPT_OSS_CHECKS,
)


@dataclass(frozen=True, kw_only=True)
class ProjectionValidation:
    """Everything that is compared, as data."""

    decode: DecodeFit
    trainium3: Trainium3Fit
    kernels: tuple[Residual, ...]
    prefill: PrefillFit
    gemm: GemmFit
    serving: tuple[ServingResult, ...]
    checks: tuple[CrossCheck, ...]

    @classmethod
    def make(cls, gemm_folder: Path | None = None) -> ProjectionValidation:
        """All of it; the GEMM rows of a folder instead of the six that are quoted here.

        Raises:
            ModelError: the folder holds no GEMM profiles.
        """
        return cls(
            decode=fit_decode(),
            trainium3=fit_trainium3(),
            kernels=kernel_residuals(),
            prefill=fit_prefill(),
            gemm=fit_gemm() if gemm_folder is None else fit_gemm(read_gemms(gemm_folder)),
            serving=serving_results(),
            checks=CROSS_CHECKS,
        )

    @property
    def summary(self) -> dict[str, float]:
        """The means: absolute relative errors by group, fitted and left out, and the fitted constants."""
        fitted = [row for row in self.decode.residuals if row.left_out is not None]
        others = [row for row in self.decode.residuals if row.left_out is None]
        prompts = [row for row in self.prefill.residuals if row.left_out is not None]
        unfitted = [row for row in self.prefill.residuals if row.left_out is None]
        return {
            "decode rows, AWS": mean_absolute_error(fitted),
            "decode rows, AWS, each left out": mean_absolute_error(fitted, left_out=True),
            "decode rows, third party, not fitted": mean_absolute_error(others),
            "decode rows, AWS, middle layer, nothing fitted": mean_absolute_error(
                [row for row in self.kernels if row.name in {other.name for other in fitted}]
            ),
            "decode rows of Trainium3, third party": mean_absolute_error(self.trainium3.residuals),
            "decode rows of Trainium3, each left out": mean_absolute_error(self.trainium3.residuals, left_out=True),
            "prompt rows": mean_absolute_error(prompts),
            "prompt rows, each left out": mean_absolute_error(prompts, left_out=True),
            "prompt rows, not fitted": mean_absolute_error(unfitted),
            "GEMM rows": mean_absolute_error(self.gemm.residuals),
            "GEMM rows, each left out": mean_absolute_error(self.gemm.residuals, left_out=True),
            "serving rows, middle layer": float(np.mean([abs(row.error) for row in self.serving])),
            "cross-checks": float(np.mean([abs(check.error) for check in self.checks])),
        }

    @property
    def groups(self) -> dict[str, tuple[Residual, ...]]:
        """Rows with a measured time, by what they are of."""
        return {
            "decode, AWS and third party": self.decode.residuals,
            "decode on one Trainium3, third party": self.trainium3.residuals,
            "decode, middle layer": self.kernels,
            "prompts": self.prefill.residuals,
            "matmuls on a pair of Trainium3 cores": self.gemm.residuals,
        }

    def _rows(self) -> tuple[tuple[str, str], ...]:
        means = tuple((f"mean absolute error, {name}", f"{value:.1%}") for name, value in self.summary.items())
        return (*((name, f"{value:.4g}") for name, value in constants(self).items()), *means)

    def __str__(self) -> str:
        return "\n".join(f"{name}: {value}" for name, value in self._rows())

    def _repr_html_(self) -> str:
        """Constants and means, for notebooks; the rows are in `to_pandas`."""
        return html_table("Projections beside published measurements", ("", ""), self._rows())

    def to_pandas(self) -> Any:
        """One row per measured time: group, name, seconds, signed errors.

        Raises:
            TrnlabError: pandas is not installed.
        """
        return data_frame(residual_records(self.groups))

    def plot(self) -> Figure:
        """Modelled over measured seconds, by group.

        Raises:
            TrnlabError: matplotlib is not installed.
        """
        return residual_chart(self.groups)

    def to_json(self) -> str:
        """Rows, constants and means as JSON."""
        data = {
            "summary": self.summary,
            "constants": constants(self),
            "decode": [_residual(row) for row in self.decode.residuals],
            "decode_trainium3": [_residual(row) for row in self.trainium3.residuals],
            "decode_middle_layer": [_residual(row) for row in self.kernels],
            "prompts": [_residual(row) for row in self.prefill.residuals],
            "gemm": [_residual(row) for row in self.gemm.residuals],
            "serving": [_serving(row) for row in self.serving],
            "cross_checks": [_check(check) for check in self.checks],
        }
        return json.dumps(data, indent=2, allow_nan=False)


def kernel_residuals() -> tuple[Residual, ...]:
    """The decode rows by the middle layer with the timelines of our own kernels: nothing in it is fitted to them."""
    table = EfficiencyTable(DEFAULTS)
    return tuple(_kernel_residual(row, table) for row in DECODE_ROWS)


def _kernel_residual(row: MeasuredDecode, table: EfficiencyTable) -> Residual:
    model, machine, precision = get_model(row.model), Machine.of(row.chip), get_precision(row.precision)
    split = Partitioning(tp=row.chips)
    layer, _ = with_kernels(
        layer_of("efficiencies", machine), table, model, precision, machine, split, row.batch, int(row.context)
    )
    splits = Splits.of([split], ())
    step = decode_step(model, precision, machine, layer.decode, splits, row.batch, row.context)
    return Residual(name=row.name, measured=row.seconds, modelled=float(step.total), left_out=None)


def constants(found: ProjectionValidation) -> dict[str, float]:
    """The fitted constants, in base units."""
    fixed = {f"fixed cost per layer, {chip} (s)": value for chip, value in found.decode.fixed_seconds.items()}
    return {
        "HBM efficiency of weights, decode": found.decode.weight_efficiency,
        "HBM efficiency of the cache, decode": found.decode.cache_efficiency,
        **fixed,
        "fixed cost per layer, trn3 (s)": found.trainium3.fixed_seconds,
        **{f"compute efficiency of prompts, {chip}": value for chip, value in found.prefill.efficiency.items()},
        "launch of a matmul (s)": found.gemm.launch_seconds,
        "compute efficiency of large matmuls": found.gemm.efficiency,
        "median of measured over roofline, NVIDIA serving": median_achieved(),
    }


def _residual(row: Residual) -> dict[str, Any]:
    return {
        "name": row.name,
        "measured_seconds": row.measured,
        "modelled_seconds": row.modelled,
        "error": row.error,
        "left_out_error": row.left_out_error,
    }


def _serving(row: ServingResult) -> dict[str, Any]:
    names = ("name", "measured", "batch", "roofline", "efficiencies", "achieved", "error")
    return {name: getattr(row, name) for name in names}


def _check(check: CrossCheck) -> dict[str, Any]:
    names = ("name", "source", "inputs", "unit", "expected", "ours", "error", "tolerance", "passes", "flaw")
    return {name: getattr(check, name) for name in names}
