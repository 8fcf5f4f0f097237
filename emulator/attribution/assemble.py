"""From a program and its inputs to an error report: one walk, and for an exact report a second one with more worlds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trnlab.emulator.attribution.measure import LineSums, Measurement, squares
from trnlab.emulator.attribution.memory import Window, words_of
from trnlab.emulator.attribution.report import ErrorReport, LineError, OutputError
from trnlab.emulator.attribution.twin import Twin
from trnlab.emulator.attribution.verdict import judge
from trnlab.emulator.attribution.worlds import World
from trnlab.emulator.errors import ShapeError, SourceLocation
from trnlab.emulator.memory import Buffer
from trnlab.emulator.program import Program
from trnlab.emulator.source import fail, location_of
from trnlab.emulator.target import NumericsPolicy, Target
from trnlab.emulator.testing.comparison import compare
from trnlab.emulator.testing.formats import Floats, as_array, decode
from trnlab.emulator.view_algebra import row_major

TOLERANCE = 1e-5
"""Relative rms up to which the twin counts as agreeing with an oracle: above what an oracle in float32 errs by."""


class Output(NamedTuple):
    """A result of the kernel: its name, and where its elements lie."""

    name: str
    window: Window


class _Found(NamedTuple):
    """A result after the walk: as stored, its values, and those of every world, the twin first."""

    output: Output
    words: NDArray[Any]
    true: Floats
    worlds: list[Floats]


def attribute(
    program: Program,
    target: Target,
    inputs: Sequence[NDArray[Any]],
    outputs: Sequence[Output] | None = None,
    *,
    expected: Sequence[Any] | None = None,
    recorded: Sequence[Any] = (),
    exact: bool = False,
    tolerance: float = TOLERANCE,
) -> ErrorReport:
    """The error report of a program on given inputs (arrays in `program.inputs` order, in storage dtypes).

    outputs:  what counts as a result; default: the buffers that the program returns, or else the inputs that it writes
    expected: the oracle's results, one for each output
    recorded: the results of the run that is explained, to tell whether this is the same
    exact:    run again with one more world for every line that errs, to find each line's share

    Raises:
        ShapeError: results of the oracle that do not fit the outputs.
        BoundsError: a run-time index out of bounds.
    """
    outputs = results_of(program) if outputs is None else outputs
    _check(outputs, expected)
    measured, found = _walked(program, target, inputs, outputs, [])
    erring = sorted(line for line, sums in measured.lines.items() if sums.local > 0)
    shares: dict[int, float] = {}
    if exact and erring:
        _, again = _walked(program, target, inputs, outputs, erring)
        shares = {line: _share(again, 1 + place) for place, line in enumerate(erring)}
    lines = _lines(program, measured, shares if exact else None)
    results = [_output(one, None if expected is None else expected[at]) for at, one in enumerate(found)]
    bad = sum(int(np.sum(np.isfinite(one.worlds[0]) & ~np.isfinite(one.true))) for one in found)
    verdict = judge(
        [result.precision for result in results],
        [result.kernel for result in results if result.kernel is not None],
        tolerance,
        _in_words(lines),
        bad,
    )
    return ErrorReport(
        kernel=program.kernel,
        target=target.name,
        numerics=_policy(target.numerics),
        exact=exact,
        lines=lines,
        outputs=tuple(results),
        as_it_is={name: count for name, count in measured.as_it_is.items() if count},
        dropped={name: count for name, count in measured.dropped.items() if count},
        integers=measured.integers,
        unlike_the_run=sum(_unlike(one, array) for one, array in zip(found, recorded, strict=False)),
        verdict=verdict,
    )


def _policy(policy: NumericsPolicy) -> str:
    return f"overflow to {policy.overflow.value}, subnormals: {policy.subnormals.value}, rounding: {policy.rounding}"


def results_of(program: Program) -> tuple[Output, ...]:
    """The buffers that a program returns, whole; where it returns none, the inputs that it writes."""
    numbers = dict.fromkeys(program.outputs or program.mutated_inputs)
    return tuple(Output(program.buffers[number].name, _whole(program.buffers[number])) for number in numbers)


def _whole(buffer: Buffer) -> Window:
    return Window(buffer.number, buffer.dtype, buffer.shape, row_major(buffer.shape), 0)


def _unlike(found: _Found, recorded: Any) -> int:
    """How many elements differ in value from those of the run."""
    values = decode(as_array(recorded), found.output.window.dtype)
    return int(np.sum(~((values == found.true) | (np.isnan(values) & np.isnan(found.true)))))


def _check(outputs: Sequence[Output], expected: Sequence[Any] | None) -> None:
    if expected is None:
        return
    if len(expected) != len(outputs):
        found, allowed = f"{len(expected)} arrays", f"{len(outputs)}, as many as the kernel returns"
        fail(ShapeError, "error_report", operand="oracle", found=found, allowed=allowed)
    for output, array in zip(outputs, expected, strict=True):
        shape = tuple(np.shape(array))
        if shape != output.window.shape:
            found, allowed = f"{output.name} of shape {shape}", f"shape {output.window.shape}"
            fail(ShapeError, "error_report", operand="oracle", found=found, allowed=allowed)


def _walked(
    program: Program, target: Target, inputs: Sequence[NDArray[Any]], outputs: Sequence[Output], without: list[int]
) -> tuple[Measurement, list[_Found]]:
    """One walk with the twin and a world without each of the lines."""
    worlds = [World(lambda line: False), *(World(_all_but(line)) for line in without)]
    twin, measured = Twin(program, target, inputs, worlds), Measurement()
    twin.run(measured.observe)
    found = []
    for output in outputs:
        words = words_of(twin.memory, output.window)
        values = [world.value(twin.memory, output.window) for world in worlds]
        found.append(_Found(output, words, decode(words, output.window.dtype), values))
    return measured, found


def _all_but(line: int) -> Any:
    return lambda other: other != line


def _share(found: Sequence[_Found], world: int) -> float:
    """1 - E(without the line) / E, the squared errors of all results relative to the twin's squares."""
    whole = rest = 0.0
    for one in found:
        twin, without = one.worlds[0], one.worlds[world]
        finite = np.isfinite(twin) & np.isfinite(without) & np.isfinite(one.true)
        scale = squares(twin[finite]) or 1.0
        whole += squares(one.true[finite] - twin[finite]) / scale
        rest += squares(without[finite] - twin[finite]) / scale
    return 1 - rest / whole if whole > 0 else 0.0


def _lines(program: Program, measured: Measurement, shares: dict[int, float] | None) -> tuple[LineError, ...]:
    total = sum(sums.local**2 for sums in measured.lines.values())
    found = [
        _line(program, index, sums, total, None if shares is None else shares.get(index, 0.0))
        for index, sums in measured.lines.items()
    ]
    return tuple(sorted(found, key=lambda line: (-(line.share or 0.0), -line.estimate, -line.overflows)))


def _line(program: Program, index: int, sums: LineSums, total: float, share: float | None) -> LineError:
    return LineError(
        location=_location(program, index),
        opcodes=dict(sums.opcodes),
        local=sums.local,
        inherited=sums.inherited,
        kinds=sums.kinds,
        estimate=sums.local**2 / total if 0 < total < np.inf else 0.0,
        share=share,
        overflows=sums.overflows,
        worst=sums.worst,
    )


def _location(program: Program, index: int) -> SourceLocation | None:
    return None if index < 0 else location_of(*program.locations[index])


def _in_words(lines: Sequence[LineError]) -> str:
    """The worst line, its instructions and its kind of error; "" where no line errs."""
    worst = next((line for line in lines if line.local > 0), None)
    if worst is None:
        return ""
    kind = "" if worst.kind is None else f", {worst.kind.value}"
    return f"{worst.where} ({', '.join(worst.opcodes)}{kind})"


def _output(found: _Found, expected: Any) -> OutputError:
    name, dtype, twin = found.output.name, found.output.window.dtype, found.worlds[0]
    precision = compare(found.words, twin if not dtype.is_packed else found.words, dtype, f"{name} and wide arithmetic")
    if expected is None:
        return OutputError(name=name, precision=precision, kernel=None, total=None)
    return OutputError(
        name=name,
        precision=precision,
        kernel=compare(twin, expected, "float32", f"{name} in wide arithmetic and the oracle"),
        total=compare(found.words, expected, dtype, f"{name} and the oracle"),
    )
