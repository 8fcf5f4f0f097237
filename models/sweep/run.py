"""`sweep`: every block of the axes, one after the other or on joblib's workers, as one table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final

import numpy as np

from trnlab.emulator.errors import TrnlabError
from trnlab.models.projection.constants import layer_of
from trnlab.models.quantity import ModelError
from trnlab.models.sweep.axes import Axes, Job
from trnlab.models.sweep.block import Columns, evaluate
from trnlab.models.sweep.table import SweepTable

BACKENDS: Final = ("sequential", "loky", "threading", "dask", "ray")
"""joblib's own workers on this machine, and its doors to a Dask or a Ray cluster."""
TEXTS: Final = ("model", "chip", "precision", "layer", "note")
Progress = Callable[[int, int], None]
"""(points done, points in all)."""


def sweep(
    axes: Axes,
    *,
    backend: str = "sequential",
    workers: int = 1,
    progress: Progress = lambda done, total: None,
) -> SweepTable:
    """Every possible point of the axes.

    backend: "sequential", or one of joblib's: "loky" and "threading" here, "dask" on the current `distributed.Client`,
    "ray" on the current Ray cluster. workers: for the backends on this machine.

    Raises:
        ModelError: an unknown backend, workers below 1, or axes without a possible point.
        TrnlabError: a backend's package is not installed, or no Dask client is there.
    """
    if backend not in BACKENDS:
        raise ModelError("backend of a sweep", backend, ", ".join(BACKENDS))
    if workers < 1:
        raise ModelError("workers of a sweep", workers, "a whole number >= 1")
    jobs = axes.jobs()
    total = sum(job.points for job in jobs)
    found, done = [], 0
    progress(0, total)
    for job, columns in zip(jobs, _results(jobs, backend, workers), strict=True):
        found.append(columns)
        done += job.points
        progress(done, total)
    return _joined(jobs, found)


def _results(jobs: Sequence[Job], backend: str, workers: int) -> Iterable[Columns]:
    return map(evaluate, jobs) if backend == "sequential" else _on_joblib(jobs, backend, workers)


def _on_joblib(jobs: Sequence[Job], backend: str, workers: int) -> Iterator[Columns]:
    try:
        import joblib
    except ImportError as error:
        raise TrnlabError(
            f"backend {backend} needs joblib, which is not installed: pip install trnlab[sweep]"
        ) from error
    _register(backend)
    local = backend in ("loky", "threading")
    options: dict[str, Any] = {"n_jobs": workers if local else -1}
    with joblib.parallel_config(backend=backend, **options):
        # joblib hands results back in order as they come, which keeps progress honest.
        yield from joblib.Parallel(return_as="generator" if local else "list")(
            joblib.delayed(evaluate)(job) for job in jobs
        )


def _register(backend: str) -> None:
    """Make joblib know a cluster's backend."""
    if backend not in ("dask", "ray"):
        return
    try:
        if backend == "ray":
            from ray.util.joblib import register_ray

            register_ray()
        else:
            import distributed

            distributed.get_client()
    except ImportError as error:
        package = {"dask": "distributed", "ray": "ray"}[backend]
        raise TrnlabError(f"backend {backend} needs the package {package}, which is not installed") from error
    except ValueError as error:
        raise TrnlabError("backend dask needs a distributed.Client that is already connected") from error


def _joined(jobs: Sequence[Job], found: Sequence[Columns]) -> SweepTable:
    texts: dict[str, list[str]] = {
        "model": [job.model.name for job in jobs],
        "chip": [job.machine.label for job in jobs],
        "precision": [job.precision.name for job in jobs],
        "layer": [job.layer for job in jobs],
        "note": [layer_of(job.layer, job.machine).note for job in jobs],
    }
    sizes = [job.points for job in jobs]
    columns: Columns = {}
    names: dict[str, tuple[str, ...]] = {}
    for title in TEXTS:
        names[title] = tuple(dict.fromkeys(texts[title]))
        codes = np.array([names[title].index(text) for text in texts[title]], np.int16)
        columns[title] = np.repeat(codes, sizes)
    columns["answer"] = np.repeat(np.array([job.answer for job in jobs], np.int64), sizes)
    for title in found[0]:
        columns[title] = np.concatenate([part[title] for part in found])
    return SweepTable(columns=columns, names=names)
