"""`tune(kernel, space, ...)`: every setting of a kernel's keyword arguments by predicted time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from trnlab.emulator.arguments import describe
from trnlab.emulator.launch import Kernel
from trnlab.emulator.target import Target, get_target
from trnlab.emulator.tuning.identity import kernel_digest, model_digest
from trnlab.emulator.tuning.measure import Job, Measured, key_of, measure
from trnlab.emulator.tuning.results import check_writable, heading_of, read, write
from trnlab.emulator.tuning.space import Setting, settings
from trnlab.emulator.tuning.workers import Workers

_SAVE_SECONDS: Final = 1.0
Progress = Callable[[Measured, int, int], None]
"""Called with each result, how many are done and how many there are."""


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """What a sweep found; results are in the order of the space, the kernel's own defaults (setting {}) first."""

    target: Target
    results: tuple[Measured, ...]

    @property
    def ranked(self) -> tuple[Measured, ...]:
        """The settings that the kernel takes, fastest first; of equally fast ones the one with less SBUF."""
        ran = [result for result in self.results if result.seconds is not None]
        return tuple(sorted(ran, key=lambda r: (r.seconds, r.sbuf_bytes, r.key)))

    @property
    def refused(self) -> tuple[Measured, ...]:
        """The settings that the kernel refused, with its reasons."""
        return tuple(result for result in self.results if result.seconds is None)

    @property
    def default(self) -> Measured | None:
        """The kernel's own defaults."""
        return next((result for result in self.results if not result.setting), None)

    @property
    def best(self) -> Measured | None:
        """The fastest setting; never slower than the default, which is among those measured."""
        return self.ranked[0] if self.ranked else None

    @property
    def pareto(self) -> tuple[Measured, ...]:
        """The settings that no other beats in both time and SBUF use, fastest first."""
        front: list[Measured] = []
        for result in self.ranked:
            if not front or (result.sbuf_bytes or 0) < (front[-1].sbuf_bytes or 0):
                front.append(result)
        return tuple(front)


def tune(
    kernel: Kernel | Callable[..., Any],
    space: Mapping[str, Sequence[Any]],
    arguments: Mapping[str, Any],
    *,
    target: Target | str | None = None,
    workers: Workers | None = None,
    results_file: Path | str | None = None,
    progress: Progress | None = None,
    load: Callable[[], Kernel | Callable[..., Any]] | None = None,
) -> Tuning:
    """Predict the time of every setting in the space, and of the kernel's defaults.

    kernel, arguments: as for `trace`; arrays may be `jax.ShapeDtypeStruct`
    space:        values by keyword argument, crossed (see `settings`)
    results_file: continued when it belongs to this very sweep; written as results come in
    load:         how a worker process gets the kernel, for kernels that cannot be pickled; default: the kernel itself

    Raises:
        ArgumentError: a bad space or workers, or values that a results file cannot hold.
        ResultsFileError: the results file is damaged or another sweep's.
        TrnlabError: a library is missing, or the file cannot be written.
    """
    chosen = get_target(target) if target is not None else get_target("trn3")
    wanted: list[Setting] = list({key_of(setting): setting for setting in ({}, *settings(space))}.values())
    path = None if results_file is None else Path(results_file)
    heading: dict[str, Any] = {}
    found: dict[str, Measured] = {}
    if path is not None:
        check_writable(space)
        heading = heading_of(_about(kernel, arguments, chosen))
        found = {result.key: result for result in read(path, heading)}
    missing = [setting for setting in wanted if key_of(setting) not in found]
    job = Job(load=load or partial(_itself, kernel), arguments=dict(arguments), target=chosen)
    saved = time.monotonic()
    for result in (workers or Workers()).map(partial(measure, job), missing):
        found[result.key] = result
        if progress is not None:
            progress(result, len(found), len(wanted))
        if path is not None and time.monotonic() - saved > _SAVE_SECONDS:
            write(path, heading, found.values())
            saved = time.monotonic()
    if path is not None and missing:
        write(path, heading, found.values())
    return Tuning(target=chosen, results=tuple(found[key_of(setting)] for setting in wanted))


def _itself(kernel: Any) -> Any:
    return kernel


def _about(kernel: Any, arguments: Mapping[str, Any], target: Target) -> dict[str, Any]:
    """What must be the same for results to be comparable: the model, the kernel, its source, arguments, target."""
    function = kernel.function if isinstance(kernel, Kernel) else kernel
    return {
        "trnlab": version("trnlab"),
        "model_sha256": model_digest(),
        "kernel": function.__qualname__,
        "source_sha256": kernel_digest(function),
        "target": str(target),
        "arguments": dict(_described(arguments.items())),
    }


def _described(items: Iterable[tuple[str, Any]]) -> Iterable[tuple[str, str]]:
    for name, value in items:
        tensor = describe(name, value)
        yield name, repr(value) if tensor is None else f"{tensor.dtype}{list(tensor.shape)}"
