"""Does a training step fit, on how few chips would it, and which partitioning trains the most tokens a second."""

from __future__ import annotations

from typing import Final

import numpy as np

from trnlab.models.parallel.memory import MOST_CHIPS
from trnlab.models.parallel.partitioning import Partitioning, Splits, partitionings
from trnlab.models.projection.constants import layer_of
from trnlab.models.projection.machine import Machine
from trnlab.models.projection.method import ROOFLINE, Method
from trnlab.models.projection.training import TrainingStep, training_step
from trnlab.models.projection.training_collectives import replicas_can_meet
from trnlab.models.projection.training_outcome import TrainingSetup
from trnlab.models.quantity import ModelError
from trnlab.models.workloads.formats import Precision
from trnlab.models.workloads.model import LanguageModel

KINDS: Final = ("tp", "ep", "pp", "dp", "cp")


def possible(model: LanguageModel, machine: Machine, chips: int, setup: TrainingSetup) -> tuple[Partitioning, ...]:
    """Every partitioning over exactly so many chips whose replicas and micro-batches divide the batch, and can meet."""
    found = partitionings(model, chips, machine.fabric, axes=KINDS)
    divided = (split for split in found if setup.batch % (split.dp * setup.micro_batch) == 0)
    return tuple(split for split in divided if replicas_can_meet(machine.fabric, split))


def _steps(
    model: LanguageModel,
    precision: Precision,
    machine: Machine,
    method: Method,
    splits: Splits,
    setup: TrainingSetup,
) -> TrainingStep:
    return training_step(
        model,
        precision,
        machine,
        method,
        splits,
        setup.sequence,
        setup.batch,
        micro_batch=setup.micro_batch,
        recompute=setup.recompute,
    )


def smallest_training_fit(
    model: LanguageModel, precision: Precision, machine: Machine, setup: TrainingSetup
) -> Partitioning | None:
    """The emptiest partitioning over the fewest chips on which a step fits; None if none does up to `MOST_CHIPS`."""
    whole = training_step(
        model, precision, machine, ROOFLINE, Splits.of([Partitioning()], ()), setup.sequence, setup.micro_batch,
        micro_batch=setup.micro_batch, recompute=setup.recompute,
    )  # fmt: skip
    # Splitting never makes the sum over the chips smaller: fewer chips than this cannot hold it.
    fewest = max(1, int(float(sum(whole.states)) // float(whole.available)))
    for chips in range(fewest, MOST_CHIPS + 1):
        splits = possible(model, machine, chips, setup)
        if splits:
            found = _steps(model, precision, machine, ROOFLINE, Splits.of(splits), setup)
            if found.fits.any():
                return splits[int(np.argmin(found.memory))]
    return None


def require_training_fit(
    model: LanguageModel,
    precision: Precision,
    machine: Machine,
    split: Partitioning,
    setup: TrainingSetup,
    step: TrainingStep,
) -> None:
    """The step of that partitioning fits.

    Raises:
        ModelError: it does not; says by how much, and the fewest chips on which it would.
    """
    if step.fits:
        return
    least = smallest_training_fit(model, precision, machine, setup)
    advice = f"no partitioning over up to {MOST_CHIPS} chips here; shorter sequences or more recomputation"
    if least is not None:
        advice = f"at least {least.chips} chips ({least})"
    held, room = float(step.memory), float(step.available)
    raise ModelError(
        f"memory of training {model.name} on {split.chips} x {machine.label} ({split})",
        f"{held / 1e9:.1f} GB a chip ({float(step.activations) / 1e9:.1f} activations), "
        f"{(held - room) / 1e9:.1f} GB too much",
        f"{room / 1e9:.1f} GB a chip: {advice}",
    )


def best_training(
    model: LanguageModel, precision: Precision, machine: Machine, chips: int, setup: TrainingSetup
) -> Partitioning:
    """The fitting partitioning with the shortest step in the layer with efficiencies.

    The calibrated layer cannot choose: its utilisation contains whatever the published runs' partitionings cost.

    Raises:
        ModelError: none is possible, or none fits; by how much, and on how few chips one would.
    """
    machine.require(precision)
    splits = possible(model, machine, chips, setup)
    if not splits:
        allowed = f"a count that splits {model.name} and a batch that dp x micro_batch = {setup.micro_batch} divides"
        raise ModelError("--chips", chips, allowed)
    found = _steps(model, precision, machine, layer_of("efficiencies", machine).decode, Splits.of(splits), setup)
    if not found.fits.any():
        emptiest = splits[int(np.argmin(found.memory))]
        alone = _steps(model, precision, machine, ROOFLINE, Splits.of([emptiest], ()), setup)
        require_training_fit(model, precision, machine, emptiest, setup, alone)
    return splits[int(np.argmin(np.where(found.fits, found.total, np.inf)))]
