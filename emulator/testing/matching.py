"""A kernel against an oracle, within a bound that follows from the formats."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np

from trnlab.emulator.arguments import bind, kind_of, map_tensors
from trnlab.emulator.dtypes import DType, element_of
from trnlab.emulator.errors import ArgumentError, ShapeError, UsageError
from trnlab.emulator.launch import Kernel, Run, run
from trnlab.emulator.source import fail
from trnlab.emulator.target import Target
from trnlab.emulator.testing.comparison import Comparison, compare
from trnlab.emulator.testing.formats import Array, Floats, as_array, decode, decode_wide, dtype_of, round_to, spacing
from trnlab.emulator.testing.mismatch import MismatchError
from trnlab.emulator.testing.oracle import arrays_in, ask, magnitudes, widened
from trnlab.emulator.testing.reproduce import expression, name_of

Modes = Literal["compiled", "reference", "both"]
MODES: Final = {"compiled": ("compiled",), "reference": ("reference",), "both": ("reference", "compiled")}

UNIT_ROUNDOFF: Final = 2.0**-24
"""Of float32, in which every engine computes."""

SMALLEST_NORMAL: Final = 2.0**-126
"""Of float32: what a product or a sum may lose where subnormals flush."""


@dataclass(frozen=True, slots=True)
class Bound:
    """How far a result may be from the oracle's value e, element by element:

        |actual - e| <= accumulated + ulps * ulp(|e| + accumulated) + atol
        accumulated   = (gamma(contraction) + rtol) * S + contraction * 2**-126

    gamma(n) = n u / (1 - n u) with u = 2**-24 bounds a float32 sum of n exact products in any order and blocking, the
    products' magnitudes adding up to S (Higham, Accuracy and Stability of Numerical Algorithms, section 3.1; the
    second term is for sums that flush subnormals). ulp(x) is the spacing at x of the result's format: half of it is
    one rounding to nearest. Beyond the largest value, what e -+ accumulated round to is right as well.

    contraction: n, or None where the result is no sum of products; S is then |e|
    ulps:        half an ulp with a contraction and for integers, else one ulp
    """

    contraction: int | None = None
    ulps: float | None = None
    rtol: float = 0.0
    atol: float = 0.0

    def allowed(self, actual: Floats, expected: Floats, magnitude: Floats, dtype: DType) -> Any:
        """Whether each element is within the bound."""
        accumulated = self.accumulated(magnitude)
        ulps = self.ulps if self.ulps is not None else 0.5 if self.contraction or dtype.is_integer else 1.0
        with np.errstate(invalid="ignore"):
            room = accumulated + ulps * spacing(np.abs(expected) + accumulated, dtype) + self.atol
            near = np.abs(actual - expected) <= room
            ends = [round_to(expected + sign * accumulated, dtype) for sign in (-1, 1)]
        same = (actual == ends[0]) | (actual == ends[1]) | (np.isnan(ends[0]) & np.isnan(actual))
        return (near & np.isfinite(actual)) | same

    def accumulated(self, magnitude: Floats) -> Floats:
        """The bound before the result is rounded."""
        count = self.contraction or 0
        gamma = count * UNIT_ROUNDOFF / (1 - count * UNIT_ROUNDOFF)
        return (gamma + self.rtol) * magnitude + count * SMALLEST_NORMAL


def assert_matches(
    kernel: Kernel | Callable[..., Any],
    oracle: Callable[..., Any],
    /,
    *args: Any,
    contraction: int | None = None,
    magnitude: Callable[..., Any] | None = None,
    ulps: float | None = None,
    rtol: float = 0.0,
    atol: float = 0.0,
    mode: Modes = "compiled",
    target: Target | str | None = None,
    **kwargs: Any,
) -> tuple[Comparison, ...]:
    """Run a kernel and its oracle on the arguments; every result is within the `Bound`. Returns the comparisons.

    kernel:      called with the arguments as they are; arrays that it writes are copied first
    oracle:      called with the same arguments, float arrays widened to float64, so that NumPy gives the truth
    contraction: length of the sums of products in the results, see `Bound`
    magnitude:   a function like the oracle for the S of the bound; default: the oracle on absolute values, which is
                 right for sums of products
    ulps, rtol, atol: see `Bound`; rtol is for what is rounded to narrower formats on the way
    mode:        "compiled", "reference", or "both", which then must also agree bit for bit
    target:      as in `run`
    A kernel that returns nothing is judged by the arguments it wrote.

    Raises:
        MismatchError: (an AssertionError) with the worst element, the comparison and a line that reproduces it.
        ShapeError: the oracle's results have other shapes, or there is another number of them.
        ArgumentError: an unknown mode, or a contraction that float32 cannot bound.
        KernelError: what running the kernel raises.
    """
    if mode not in MODES:
        fail(ArgumentError, "assert_matches", operand="mode", found=repr(mode), allowed=", ".join(MODES))
    if contraction is not None and not 0 < contraction < 1 / UNIT_ROUNDOFF:
        fail(ArgumentError, "assert_matches", operand="contraction", found=str(contraction), allowed="1 to 2**24 - 1")
    bound = Bound(contraction, ulps, rtol, atol)
    name = target.name if isinstance(target, Target) else target
    options = {"contraction": contraction, "ulps": ulps, "rtol": rtol, "atol": atol, "target": name}
    given = {option: repr(value) for option, value in options.items() if value}
    given |= {} if magnitude is None else {"magnitude": name_of(magnitude)}
    given |= {} if mode == "compiled" else {"mode": repr(mode)}
    reproduce = _line(kernel, oracle, args, kwargs, given)
    runs = {ran: _run(kernel, args, kwargs, ran, target) for ran in MODES[mode]}
    expected = arrays_in(ask(oracle, args, kwargs))
    sizes = expected
    if contraction is not None or magnitude is not None:
        wide = magnitudes(widened(list(args))), magnitudes(widened(kwargs))
        sizes = arrays_in((magnitude or oracle)(*wide[0], **wide[1]))
    found = []
    for ran, results in runs.items():
        _same_number(results, expected)
        for (where, actual), (_, truth), (_, size) in zip(results, expected, sizes, strict=True):
            found.append(_judge(f"{where} ({ran})", actual, truth, size, bound, reproduce))
    if mode == "both":
        _same_bits(runs["reference"], runs["compiled"], reproduce)
    return tuple(found)


def _run(kernel: Any, args: tuple[Any, ...], kwargs: dict[str, Any], mode: Any, target: Any) -> list[tuple[str, Any]]:
    """The kernel's results; the arguments it wrote where it returns none."""
    own, named = _copied(list(args)), _copied(kwargs)
    result: Run = run(kernel, *own, target=target, mode=mode, **named)
    found = arrays_in(result.outputs)
    if found:
        return found
    function = kernel.function if isinstance(kernel, Kernel) else kernel
    bound = bind(name_of(kernel), function, tuple(own), named)
    numbers = dict(zip(result.program.inputs, arrays_in(dict(bound.arguments), "argument"), strict=True))
    return [numbers[number] for number in result.program.mutated_inputs]


def _copied(value: Any) -> Any:
    def change(_: str, leaf: Any) -> Any:
        kind = kind_of(leaf)
        return leaf.copy() if kind == "numpy" else leaf.clone() if kind == "torch" else leaf

    return map_tensors(value, "argument", change)


def _same_number(results: list[Any], expected: list[Any]) -> None:
    if not expected:
        allowed = "a NumPy array, or several in a tuple, list or dict"
        fail(UsageError, "assert_matches", operand="oracle", found="no array returned", allowed=allowed)
    if len(results) != len(expected):
        found, allowed = f"{len(expected)} arrays", f"{len(results)}, as many as the kernel returns"
        fail(ShapeError, "assert_matches", operand="oracle", found=found, allowed=allowed)


def _judge(name: str, actual: Any, expected: Any, size: Any, bound: Bound, reproduce: str) -> Comparison:
    stored = as_array(actual)
    dtype = dtype_of(actual if kind_of(actual) != "torch" else stored)
    comparison = compare(stored if kind_of(actual) == "torch" else actual, expected, dtype, name)
    values = decode(stored, dtype)
    truth = decode(expected, dtype) if dtype.is_packed else decode_wide(expected)
    magnitude = np.broadcast_to(np.abs(decode_wide(size)), truth.shape) if not dtype.is_packed else np.abs(truth)
    is_good = bound.allowed(values, truth, magnitude, element_of(dtype))
    if not is_good.all():
        raise MismatchError(_text(name, values, truth, is_good, bound, comparison), comparison, reproduce)
    return comparison


def _text(name: str, values: Floats, truth: Floats, good: Any, bound: Bound, comparison: Comparison) -> str:
    first = tuple(int(n) for n in np.argwhere(~good)[0])
    head = f"{name}: {int(np.sum(~good))} of {good.size} elements beyond the bound"
    where = f"first at {list(first)}: {values[first]!s}, expected {truth[first]!s}"
    return f"{head}\n{where}\n{bound}\n{comparison}"


def _same_bits(reference: list[tuple[str, Any]], compiled: list[tuple[str, Any]], reproduce: str) -> None:
    for (name, left), (_, right) in zip(reference, compiled, strict=True):
        first, second = (_bits(value) for value in (left, right))
        if first != second:
            comparison = compare(left, right, name=f"{name}, reference and compiled")
            raise MismatchError(f"the two modes differ in bits\n{comparison}", comparison, reproduce)


def _bits(value: Any) -> bytes:
    array: Array = np.ascontiguousarray(as_array(value))
    return array.tobytes()


def _line(kernel: Any, oracle: Any, args: Any, kwargs: Any, options: dict[str, str]) -> str:
    parts = [name_of(kernel), name_of(oracle), *[expression(value) for value in args]]
    parts += [f"{name}={expression(value)}" for name, value in kwargs.items()]
    parts += [f"{name}={value}" for name, value in options.items()]
    return f"assert_matches({', '.join(parts)})"
