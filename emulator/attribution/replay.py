"""The error report of a run: its arguments again, its results by name, and what the oracle says of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from trnlab.emulator.arguments import TensorArgument, map_tensors
from trnlab.emulator.attribution.assemble import Output, attribute, results_of
from trnlab.emulator.attribution.memory import Window
from trnlab.emulator.attribution.report import ErrorReport
from trnlab.emulator.errors import ArgumentError
from trnlab.emulator.program import Program
from trnlab.emulator.source import fail
from trnlab.emulator.target import Target
from trnlab.emulator.tensor import NkiTensor
from trnlab.emulator.testing.oracle import arrays_in, ask


class Replay(Protocol):
    """What is needed of `launch.Replay`."""

    args: tuple[Any, ...]
    kwargs: Any
    tensors: tuple[TensorArgument, ...]
    inputs: tuple[TensorArgument, ...]
    returned: Any


class Run(Protocol):
    """What is needed of `launch.Run`."""

    @property
    def program(self) -> Program:
        """The program that ran."""
        ...

    @property
    def target(self) -> Target:
        """What it ran on."""
        ...

    @property
    def outputs(self) -> Any:
        """The kernel's results."""
        ...

    @property
    def replay(self) -> Any:
        """The arguments."""
        ...


def error_report(run: Run, oracle: Any, *, exact: bool, tolerance: float) -> ErrorReport:
    """See `launch.Run.error_report`."""
    replay: Replay = run.replay
    if any(argument.abstract for argument in replay.tensors):
        allowed = "a run on arrays with values"
        fail(ArgumentError, "error_report", found="a run under a JAX transformation", allowed=allowed)
    if len(replay.inputs) != len(run.program.inputs):
        found, allowed = "a run whose arguments were not kept", "one made by trnlab.emulator.run"
        fail(ArgumentError, "error_report", found=found, allowed=allowed)
    inputs = [np.ascontiguousarray(argument.as_numpy()) for argument in replay.inputs]
    expected = None if oracle is None else [array for _, array in arrays_in(_asked(replay, oracle))]
    return attribute(
        run.program,
        run.target,
        inputs,
        _outputs(run.program, replay),
        recorded=[array for _, array in arrays_in(run.outputs)],
        expected=expected,
        exact=exact,
        tolerance=tolerance,
    )


def _asked(replay: Replay, oracle: Any) -> Any:
    """The oracle's results on the arguments as they were before the run."""
    before = {id(now.value): then.value for now, then in zip(replay.tensors, replay.inputs, strict=True)}

    def restore(_: str, leaf: Any) -> Any:
        return before.get(id(leaf), leaf)

    args = map_tensors(tuple(replay.args), "argument", restore)
    return ask(oracle, args, map_tensors(dict(replay.kwargs), "argument", restore))


def _outputs(program: Program, replay: Replay) -> Sequence[Output]:
    """The tensors that the kernel returned, which may be views; the arguments that it wrote where it returned none."""
    found: list[Output] = []

    def note(name: str, leaf: Any) -> Any:
        if isinstance(leaf, NkiTensor):
            buffer = leaf._allocation.buffer.number
            found.append(Output(name, Window(buffer, leaf.dtype, leaf.shape, leaf.strides, leaf.offset)))
        return leaf

    map_tensors(replay.returned, "result", note)
    return found or results_of(program)
