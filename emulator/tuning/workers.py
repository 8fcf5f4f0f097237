"""Where the settings of a sweep are measured: here, on all local cores, or on a Dask or Ray cluster, through joblib."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final, TypeVar

from trnlab.emulator.errors import ArgumentError, TrnlabError, Violation

T = TypeVar("T")
R = TypeVar("R")

BACKENDS: Final = ("local", "dask", "ray")


@dataclass(frozen=True, slots=True)
class Workers:
    """jobs: how many at once, -1 for one per core; 1 stays in this process. scheduler: address of a cluster.

    Raises:
        ArgumentError: no such backend, no such number of jobs, or a scheduler without a cluster backend.
    """

    jobs: int = 1
    backend: str = "local"
    scheduler: str | None = None

    def __post_init__(self) -> None:
        if self.backend not in BACKENDS:
            raise _error("backend", repr(self.backend), ", ".join(BACKENDS))
        if self.jobs == 0 or self.jobs < -1:
            raise _error("jobs", str(self.jobs), "a positive number, or -1 for one per core")
        if self.scheduler is not None and self.backend == "local":
            raise _error("scheduler", repr(self.scheduler), "a scheduler together with the backend dask or ray")

    def map(self, function: Callable[[T], R], items: Sequence[T]) -> Iterator[R]:
        """function(item) for every item, as they get ready, in any order.

        Raises:
            TrnlabError: joblib, or the backend's package, is not installed.
        """
        if self.backend == "local" and self.jobs == 1:
            yield from map(function, items)
            return
        joblib = _package("joblib")
        with self._cluster(joblib):
            jobs = self.jobs if self.backend == "local" else -1
            parallel = joblib.Parallel(n_jobs=jobs, return_as="generator_unordered")
            yield from parallel(joblib.delayed(function)(item) for item in items)

    def _cluster(self, joblib: Any) -> AbstractContextManager[Any]:
        if self.backend == "dask":
            client = _package("dask.distributed").Client(self.scheduler)
            return joblib.parallel_config(backend="dask", client=client)  # type: ignore[no-any-return]
        if self.backend == "ray":
            _package("ray").init(address=self.scheduler, ignore_reinit_error=True)
            _package("ray.util.joblib").register_ray()
            return joblib.parallel_config(backend="ray")  # type: ignore[no-any-return]
        return nullcontext()


def _package(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError as error:
        package = name.partition(".")[0]
        wanted = "'trnlab[tune]'" if package == "joblib" else f"'trnlab[tune]' {package}"
        raise TrnlabError(f"a sweep on several workers needs {package}: pip install {wanted}") from error


def _error(name: str, found: str, allowed: str) -> ArgumentError:
    return ArgumentError(Violation(subject="tune", operand=name, found=found, allowed=allowed))
