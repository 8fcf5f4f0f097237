"""A number with its unit, source, class and interval; arithmetic keeps all four.

Units are products of base symbols written "FLOP/s", "B", "FLOP/B", "B/s/chip", "s^2"; values are in base units
(bytes, seconds, FLOP), so nothing is ever rescaled inside. Multiplying and dividing add and subtract the exponents
of equal symbols: (FLOP/s) / (B/s) is FLOP/B, and a quotient of equal units has the unit "". Symbols are never
converted into one another.

Why not a units library: pint 0.25 takes 22 µs to divide two quantities and 0.9 s to import, and knows nothing of
sources, classes or intervals; wrapping it would keep all of the code below and add its own cost. A division here, with
source, class and interval, takes about 15 µs; sweeps compute with plain arrays and wrap their results (both measured
on one core of a virtual x86 machine).

Intervals follow ordinary interval arithmetic, which treats the operands as independent: two uses of one uncertain
quantity in one expression make the band wider than it need be, never narrower.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from html import escape
from itertools import product
from numbers import Real
from typing import Final, Literal

from trnlab.emulator.errors import TrnlabError
from trnlab.emulator.target import Fact

QuantityClass = Literal["assumed", "fitted", "derived", "published"]
CLASSES: Final[tuple[QuantityClass, ...]] = ("assumed", "fitted", "derived", "published")
"""The classes, weakest first."""

_CLASS_OF_FACT: Final[dict[str, QuantityClass]] = {
    "documented": "published",
    "derived": "derived",
    "assumed": "assumed",
}
_PREFIXES: Final = {
    1e-12: "p", 1e-9: "n", 1e-6: "µ", 1e-3: "m", 1.0: "", 1e3: "k", 1e6: "M", 1e9: "G", 1e12: "T", 1e15: "P", 1e18: "E",
}  # fmt: skip
_BINARY_PREFIXES: Final = ("", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei")
_PREFIXED_SYMBOLS: Final = ("FLOP", "B", "s", "Hz", "W", "J")
_EXAMPLES: Final = {"s": 2.5e-6, "W": 500.0}
_UNIT_FACTOR: Final = re.compile(r"([^\^]+)(?:\^(\d+))?")


class ModelError(TrnlabError, ValueError):
    """A model was asked for something it cannot compute; `what`, `found` and `allowed` are the data."""

    def __init__(self, what: str, found: object, allowed: str) -> None:
        self.what, self.found, self.allowed = what, found, allowed
        super().__init__(f"{what}: found {found!r}; allowed: {allowed}")


@dataclass(frozen=True, slots=True)
class Quantity:
    """value in `unit`, with where it comes from (`source`), how good it is (`klass`) and an interval low..high.

    low and high are both None for a number without a band. A computed quantity has the weakest class among its
    operands and is at best "derived", since nobody published it; a plain number is an exact factor.

    Raises:
        ModelError: a value that is no finite number or lies outside low..high, only one of the two is given, or the
            class is unknown; in arithmetic, a sum of different units, a factor that is no number, or a division by an
            interval that contains zero.
    """

    value: float
    unit: str
    source: str
    klass: QuantityClass = "published"
    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        if self.klass not in CLASSES:
            raise ModelError("class of a quantity", self.klass, ", ".join(CLASSES))
        for number in (self.value, self.low, self.high):
            if number is not None and not _is_finite(number):
                raise ModelError("value of a quantity", number, "a finite number")
        low, high = self.interval
        if (self.low is None) != (self.high is None) or not low <= self.value <= high:
            raise ModelError("interval of a quantity", (self.low, self.high), f"low <= {self.value:g} <= high")

    @classmethod
    def from_fact(cls, fact: Fact) -> Quantity:
        """The quantity of a target's `Fact`; "documented" is called "published" here."""
        return cls(fact.value, fact.unit, fact.source, _CLASS_OF_FACT[fact.klass], fact.low, fact.high)

    @classmethod
    def parse(cls, text: str, unit: str, source: str, klass: QuantityClass = "published") -> Quantity:
        """The quantity written as "2.9 TB/s", "96 GiB", "2 us" or "667 TFLOPS", which must be in `unit`.

        Raises:
            ModelError: not a number and a unit, or another unit.
        """
        match = _WRITTEN.fullmatch(text.strip())
        scale = None if match is None else _scale_of(match["unit"], unit)
        if match is None or scale is None or not math.isfinite(float(match["number"]) * scale):
            example = f"{Quantity(_EXAMPLES.get(unit, 2.5e12), unit, ''):v}"
            raise ModelError("quantity", text, f"a number and a unit that is a multiple of {unit}, such as {example!r}")
        return cls(float(match["number"]) * scale, unit, source, klass)

    @property
    def interval(self) -> tuple[float, float]:
        """(low, high), or (value, value) without a band."""
        return (self.value if self.low is None else self.low, self.value if self.high is None else self.high)

    def __float__(self) -> float:
        return float(self.value)

    def __add__(self, other: Quantity) -> Quantity:
        (a, b), (c, d) = self.interval, _same_unit(self, other, "+").interval
        return _computed(self.value + other.value, self.unit, (self, other), (a + c, b + d))

    def __sub__(self, other: Quantity) -> Quantity:
        (a, b), (c, d) = self.interval, _same_unit(self, other, "-").interval
        return _computed(self.value - other.value, self.unit, (self, other), (a - d, b - c))

    def __mul__(self, other: Quantity | float) -> Quantity:
        return _combine(self, _lift(other), lambda x, y: x * y, 1)

    def __truediv__(self, other: Quantity | float) -> Quantity:
        divisor = _lift(other)
        low, high = divisor.interval
        if low <= 0 <= high:
            raise ModelError("divisor", (low, high), "an interval without zero")
        return _combine(self, divisor, lambda x, y: x / y, -1)

    def __radd__(self, other: object) -> Quantity:
        """Zero + quantity, with which `sum` starts; any other number has no unit."""
        if isinstance(other, (int, float)) and other == 0:
            return self
        raise ModelError("left operand of +", other, f"a quantity in {self.unit!r}")

    def __neg__(self) -> Quantity:
        return self * -1

    def __rmul__(self, other: float) -> Quantity:
        return self * other

    def __rtruediv__(self, other: float) -> Quantity:
        return _lift(other) / self

    def __str__(self) -> str:
        return format(self)

    def _repr_html_(self) -> str:
        """The value, its source shown when pointed at: what a notebook prints."""
        return f'<span title="{escape(self.source, quote=True)}">{escape(str(self))}</span>'

    def __format__(self, spec: str) -> str:
        """Engineering notation with band and class: "15.1 PFLOP/s [13.6, 15.1] (derived)".

        spec: significant digits (".3" is the default), then "i" for binary prefixes ("96 GiB"), then "v" to leave
        out band and class.

        Raises:
            ModelError: another spec.
        """
        match = re.fullmatch(r"(?:\.(\d+))?(i?)(v?)", spec)
        if match is None:
            raise ModelError("format of a quantity", spec, "[.digits][i][v]")
        digits = int(match[1] or 3)
        scale, prefix = _scale(self.value, self.unit, digits, binary=bool(match[2]))
        text = f"{_round(self.value / scale, digits)} {prefix}{self.unit}".rstrip()
        if match[3]:
            return text
        band = "" if self.low is None else " [{}, {}]".format(*(_round(x / scale, digits) for x in self.interval))
        return f"{text}{band} ({self.klass})"


_WRITTEN: Final = re.compile(r"(?P<number>[+-]?(?:\d[\d_]*)(?:\.\d+)?(?:[eE][+-]?\d+)?)\s*(?P<unit>[^\s\d].*)")


def _scale_of(written: str, unit: str) -> float | None:
    """How many of `unit` one of the written unit is; None when it is no multiple of it."""
    written = written.replace("FLOPS", "FLOP/s")
    scales: dict[str, float] = {prefix: factor for factor, prefix in _PREFIXES.items()} | {"u": 1e-6}
    if unit.partition("/")[0] not in _PREFIXED_SYMBOLS:
        return 1.0 if written == unit else None
    if unit.partition("/")[0] == "B":
        scales |= {prefix: 1024.0**step for step, prefix in enumerate(_BINARY_PREFIXES)}
    found = [factor for prefix, factor in scales.items() if written == prefix + unit]
    return found[0] if found else None


def weakest(klasses: Iterable[QuantityClass]) -> QuantityClass:
    """The weakest of the classes: assumed < fitted < derived < published."""
    return min(klasses, key=CLASSES.index)


def _is_finite(number: object) -> bool:
    """Whether it is a number, and neither NaN nor infinite; True and False are none."""
    return type(number) is not bool and isinstance(number, Real) and math.isfinite(number)


def _lift(other: Quantity | float) -> Quantity:
    return other if isinstance(other, Quantity) else Quantity(other, "", "")


def _same_unit(left: Quantity, right: Quantity, operator: str) -> Quantity:
    if not isinstance(right, Quantity) or left.unit != right.unit:
        raise ModelError(f"right operand of {operator}", getattr(right, "unit", right), f"a quantity in {left.unit!r}")
    return right


def _combine(left: Quantity, right: Quantity, operator: Callable[[float, float], float], sign: int) -> Quantity:
    corners = [operator(x, y) for x, y in product(left.interval, right.interval)]
    unit = _product(left.unit, right.unit, sign)
    return _computed(operator(left.value, right.value), unit, (left, right), (min(corners), max(corners)))


def _computed(value: float, unit: str, operands: tuple[Quantity, Quantity], interval: tuple[float, float]) -> Quantity:
    sources = "; ".join(dict.fromkeys(part for item in operands for part in item.source.split("; ") if part))
    klass = weakest((*(item.klass for item in operands), "derived"))
    if all(item.low is None for item in operands):
        return Quantity(value, unit, sources, klass)
    return Quantity(value, unit, sources, klass, *interval)


def _exponents(unit: str) -> Counter[str]:
    """The exponents of "FLOP/s/chip" are FLOP 1, s -1, chip -1."""
    numerator, *denominators = unit.split("/")
    powers: Counter[str] = Counter()
    for factors, sign in ((numerator.split("·"), 1), (denominators, -1)):
        for factor in factors:
            match = _UNIT_FACTOR.fullmatch(factor)
            if match is not None and factor != "1":
                powers[match[1]] += sign * int(match[2] or 1)
    return powers


@lru_cache(maxsize=4096)
def _product(left: str, right: str, sign: int) -> str:
    powers = _exponents(left)
    for symbol, power in _exponents(right).items():
        powers[symbol] += sign * power

    def written(symbol: str, power: int) -> str:
        return symbol if power == 1 else f"{symbol}^{power}"

    above = "·".join(written(symbol, power) for symbol, power in powers.items() if power > 0)
    below = "".join("/" + written(symbol, -power) for symbol, power in powers.items() if power < 0)
    return (above or "1") + below if below else above


def _round(value: float, digits: int) -> str:
    return f"{float(f'{value:.{digits}g}'):.15g}"


def _scale(value: float, unit: str, digits: int, *, binary: bool) -> tuple[float, str]:
    """The factor and prefix that put the rounded value between 1 and 1000 (1024); none for counts and ratios."""
    if unit.split("/", maxsplit=1)[0] not in _PREFIXED_SYMBOLS or unit == "FLOP/B" or value == 0:
        return 1.0, ""
    rounded = abs(float(f"{value:.{digits}g}"))
    if binary:
        step = max((k for k in range(len(_BINARY_PREFIXES)) if abs(value) >= 1024.0**k), default=0)
        return 1024.0**step, _BINARY_PREFIXES[step]
    factor = max((factor for factor in _PREFIXES if rounded >= factor), default=min(_PREFIXES))
    return factor, _PREFIXES[factor]
