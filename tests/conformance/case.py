"""A conformance case, where the checkouts are, and one attempt to run a case."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.conformance.outcome import Outcome, SkippedError, Stage, outcome_of

VARIABLES = {"library": "NKI_LIBRARY_DIR", "samples": "NKI_SAMPLES_DIR", "sdk": "NEURON_SDK_DIR"}
OPTIONS = {"library": "--nki-library", "samples": "--nki-samples", "sdk": "--neuron-sdk"}
GENERATIONS = {"trn1": "gen2", "trn2": "gen3", "trn3": "gen4"}  # the library's names of them, by NKI's
MODES = ("reference", "compiled")


@dataclass(frozen=True, kw_only=True)
class Subject:
    """Something that runs and has an outcome.

    name:    the configuration; unique
    kernel:  the kernel it belongs to, with its checkout: "library:topk"
    limit:   seconds
    known:   why it cannot pass, where the fault is its own or its reference's; it still counts as not passed
    symptom: what the message then contains; with another one the fault may be the emulator's after all
    """

    name: str
    group: str
    kernel: str
    limit: float = 180.0
    generation: str = "trn2"
    known: str = ""
    symptom: str = ""


@dataclass(frozen=True, kw_only=True)
class Case(Subject):
    """One launch, or a few, of a public kernel.

    checkout: a key of `VARIABLES`
    run:      runs it within an attempt and gives the largest differences; raises what went wrong
    tier:     1 takes seconds, 2 up to a minute, 3 is heavy
    """

    checkout: str
    run: Callable[[Attempt], dict[str, float]]
    tier: int = 1


@dataclass(frozen=True)
class Checkouts:
    """The folders of AWS's repositories; "" where there is none."""

    library: str = ""
    samples: str = ""
    sdk: str = ""

    def folder(self, checkout: str) -> Path:
        """The folder of a checkout; raises SkippedError where it is not given, NotADirectoryError where it is wrong."""
        named = getattr(self, checkout)
        if not named:
            raise SkippedError(f"no checkout: {OPTIONS[checkout]} DIR or {VARIABLES[checkout]}")
        if not Path(named).is_dir():
            raise NotADirectoryError(f"{OPTIONS[checkout]}: {named} is no folder")
        return Path(named).resolve()


def checkouts_of_environment() -> Checkouts:
    """The folders that the environment variables name."""
    return Checkouts(**{checkout: os.environ.get(variable, "") for checkout, variable in VARIABLES.items()})


@dataclass
class Attempt:
    """One run of a case.

    one_core: run launches on two cores on one
    mode:     "reference" is `nki.simulate(kernel)`; "compiled" calls the kernel itself
    """

    checkouts: Checkouts
    generation: str = "trn2"
    one_core: bool = False
    mode: str = "reference"
    stage: Stage = Stage.INPUTS
    cores: int = 0
    forced: bool = field(default=False)

    def launch(
        self, kernel: Any, cores: int, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """The kernel's results on that many cores, as it is published; on one core where the attempt forces that."""
        import nki

        self.stage, self.cores = Stage.KERNEL, max(self.cores, cores)
        self.forced |= self.one_core and cores > 1
        chosen = (kernel if hasattr(kernel, "__getitem__") else nki.jit(kernel))[1 if self.one_core else cores]
        function = nki.simulate(chosen) if self.mode == "reference" else chosen
        outputs = function(*args, **(kwargs or {}))
        self.stage = Stage.COMPARISON
        return outputs

    def set_generation(self, generation: str) -> None:
        """Launch on that generation from now on: the variable of NKI's simulator, and the one the library reads."""
        self.generation = generation
        os.environ["NEURON_PLATFORM_TARGET_OVERRIDE"] = generation
        os.environ["NKI_NC_VERSION"] = GENERATIONS[generation]


def attempt(case: Case, checkouts: Checkouts, *, one_core: bool = False, mode: str = "reference") -> Outcome:
    """Run a case in this process; never raises but KeyboardInterrupt."""
    trial = Attempt(checkouts, one_core=one_core, mode=mode)
    start, errors, raised = time.perf_counter(), {}, None
    try:
        checkouts.folder(case.checkout)
        trial.set_generation(case.generation)
        errors = case.run(trial)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001  (kernels and tests may raise anything; the outcome tells of it)
        raised = error
    return outcome_of(
        raised,
        stage=str(trial.stage),
        cores=trial.cores,
        forced=trial.forced,
        errors=errors,
        seconds=time.perf_counter() - start,
    )
