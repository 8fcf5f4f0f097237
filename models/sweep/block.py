"""One block of a sweep, computed with the formulas of a single point: a point is the block of one."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from trnlab.models.arrays import Array, array
from trnlab.models.parallel.memory import footprint
from trnlab.models.parallel.partitioning import Splits
from trnlab.models.projection.constants import layer_of
from trnlab.models.projection.serving import serve
from trnlab.models.sweep.axes import Job

Columns = dict[str, npt.NDArray[Any]]
UNITS: Final = {
    "weight_bytes": "B",
    "kv_bytes": "B",
    "memory_bytes": "B",
    "ttft_seconds": "s",
    "tpot_seconds": "s",
    "tokens_per_second": "token/s",
    "tokens_per_second_per_user": "token/s/user",
    "tokens_per_second_per_chip": "token/s/chip",
    "mfu": "",
    "hbm_share": "",
    "joules_per_token": "J/token",
}
"""Units of the numeric results; what is not known is NaN, never zero."""


def evaluate(job: Job) -> Columns:
    """Every point of the block, one array per column: partitionings vary slowest, prompts fastest."""
    shape = (len(job.splits), len(job.batches), len(job.prompts))
    splits = Splits.of(job.splits, (-1, 1, 1))
    batch = np.array(job.batches, np.float64).reshape(1, -1, 1)
    prompt = np.array(job.prompts, np.float64).reshape(1, 1, -1)
    layer = layer_of(job.layer, job.machine)
    time = serve(job.model, job.precision, job.machine, layer, splits, batch, prompt, job.answer, runtime=job.runtime)
    held = footprint(
        job.model,
        job.precision,
        splits,
        job.machine.hbm_bytes,
        batch,
        prompt + job.answer,
        window_aware=job.runtime.window_aware,
        split_kv=job.runtime.split_kv,
        ranks=job.machine.ranks,
    )
    power = job.machine.chip.power
    watts = np.nan if power is None else power.value
    results: dict[str, Array] = {
        "weight_bytes": held.weights,
        "kv_bytes": held.kv,
        "memory_bytes": held.available,
        "ttft_seconds": time.ttft_seconds,
        "tpot_seconds": time.tpot_seconds,
        "tokens_per_second": time.tokens_per_second,
        "tokens_per_second_per_user": time.tokens_per_second_per_user,
        "tokens_per_second_per_chip": time.tokens_per_second_per_chip,
        "mfu": time.mfu,
        "hbm_share": time.hbm_share,
        "joules_per_token": array(watts / time.tokens_per_second_per_chip),
    }
    inputs = {name: getattr(splits, name) for name in ("tp", "ep", "pp", "dp", "cp", "chips")}
    inputs |= {"batch": batch.astype(np.int64), "prompt": prompt.astype(np.int64)}
    columns: Columns = {name: _flat(value, shape) for name, value in inputs.items()}
    columns["fits"] = _flat(held.fits.astype(np.bool_), shape)
    return columns | {name: _flat(value, shape) for name, value in results.items()}


def _flat(values: npt.NDArray[Any], shape: tuple[int, ...]) -> npt.NDArray[Any]:
    return np.broadcast_to(values, shape).reshape(-1)
