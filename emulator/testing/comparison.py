"""A comparison of two arrays as data: absolute, relative and ULP errors, SQNR, and where the worst element is."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from trnlab.emulator.dtypes import DType, element_of
from trnlab.emulator.errors import ShapeError
from trnlab.emulator.source import fail
from trnlab.emulator.testing.figures import Drawing
from trnlab.emulator.testing.formats import Array, Floats, Integers, as_array, decode, decode_wide, dtype_of, round_to
from trnlab.emulator.testing.tables import Table, number
from trnlab.emulator.testing.ulp import NAN_DISTANCE, ulp_distance

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from trnlab.emulator.testing.figures import Place


@dataclass(frozen=True, slots=True)
class UlpBin:
    """`count` elements whose distance is low <= d <= high."""

    low: int
    high: int
    count: int

    def __str__(self) -> str:
        if self.low >= NAN_DISTANCE:
            return "NaN"
        return str(self.low) if self.low == self.high else f"{self.low}-{self.high}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """How far `actual` is from `expected`, both of `shape`.

    dtype:          the format in which ulps are counted
    max_abs, max_rel: over elements finite on both sides; the relative error leaves out expected zeros
    rms, rms_expected: root mean squares of the error and of the expected values, over the same elements
    sqnr_db:        10 log10(sum expected**2 / sum error**2); infinite without error
    ulps:           how many elements are how far from `expected` rounded once into `dtype`
    worst_index:    the element farthest in ulps (of several the one with the largest absolute error)
    worst_actual, worst_expected: its two values
    nan_mismatches, inf_mismatches: elements that are NaN, or infinite, on one side only (or of the other sign)
    """

    name: str
    dtype: DType
    shape: tuple[int, ...]
    max_abs: float
    max_rel: float
    rms: float
    rms_expected: float
    sqnr_db: float
    ulps: tuple[UlpBin, ...]
    max_ulp: int
    worst_index: tuple[int, ...]
    worst_actual: float
    worst_expected: float
    nan_mismatches: int
    inf_mismatches: int

    @property
    def count(self) -> int:
        """Elements compared."""
        return math.prod(self.shape)

    @property
    def relative_rms(self) -> float:
        """Root mean square of the error over that of the expected values; 0 where neither has any."""
        if self.rms == 0:
            return 0.0
        return self.rms / self.rms_expected if self.rms_expected else math.inf

    def table(self) -> Table:
        """The comparison as a table."""
        rows = [
            ("elements", f"{self.count} of {self.dtype}, shape {list(self.shape)}"),
            ("max absolute error", number(self.max_abs)),
            ("max relative error", number(self.max_rel)),
            ("rms error / rms expected", number(self.relative_rms)),
            ("SQNR", f"{number(self.sqnr_db, 4)} dB"),
            ("worst element", f"{list(self.worst_index)}: {self.worst_actual!r}, expected {self.worst_expected!r}"),
            ("worst distance", "NaN on one side" if self.max_ulp == NAN_DISTANCE else f"{self.max_ulp} ulp"),
            ("NaN, infinity on one side", f"{self.nan_mismatches}, {self.inf_mismatches}"),
        ]
        rows += [(f"{bin_} ulp", str(bin_.count)) for bin_ in self.ulps if bin_.count]
        return Table(f"comparison {self.name}".rstrip(), ("measure", "value"), tuple(rows), left=(0, 1))

    def __str__(self) -> str:
        return str(self.table())

    def __rich__(self) -> Any:
        """The table for rich's consoles."""
        return self.table().__rich__()

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()

    def to_json(self) -> str:
        """All fields as JSON text; infinite and undefined numbers as strings."""
        return json.dumps(plain(asdict(self)), sort_keys=True)

    def plot(self, place: Place = None) -> Figure:
        """The histogram of ulp distances, into axes, into a file, or as a new figure.

        Raises:
            TrnlabError: matplotlib is not installed.
        """
        drawing = Drawing(place, (5.6, 3.4))
        labels = [str(bin_) for bin_ in self.ulps]
        drawing.axes.bar(labels, [bin_.count for bin_ in self.ulps], color="#4477aa")
        drawing.axes.set_yscale("log")
        drawing.axes.set_ylim(bottom=0.5)
        drawing.axes.set_xlabel(f"distance from the expected value, ulp of {self.dtype!s}")
        drawing.axes.set_ylabel("elements")
        drawing.axes.set_title(f"{self.name or 'comparison'}: SQNR {number(self.sqnr_db, 4)} dB", fontsize=10)
        return drawing.finish()


def plain(value: Any) -> Any:
    """Values as JSON has them: tuples as lists, dtypes as names, numbers that are not finite as strings."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return str(value) if isinstance(value, str) else value


def compare(actual: Any, expected: Any, dtype: Any = None, name: str = "") -> Comparison:
    """Compare two arrays of one shape; `expected` may be wider, as a float64 oracle is.

    dtype: the format in which ulps are counted and in which `actual` is stored; default: that of `actual`. Packed
           words are compared lane by lane, as [..., F, 4].

    Raises:
        ShapeError: shapes that differ.
        DtypeError: a dtype that NKI does not have.
    """
    element = dtype_of(actual, dtype)
    left, right = _values(actual, element), _values(expected, element)
    if left.shape != right.shape:
        fail(ShapeError, "compare", operand="expected", found=f"{right.shape}", allowed=f"{left.shape}, as actual")
    rounded = right if element.is_packed else round_to(right, element)
    distance = ulp_distance(_stored(actual, element), _stored(expected, element), element)
    both = np.isfinite(left) & np.isfinite(right)
    signal, noise = right[both], (left - np.where(both, right, 0.0))[both]
    nonzero = signal != 0
    worst = _worst(distance, left, right)
    return Comparison(
        name=name,
        dtype=element_of(element),
        shape=left.shape,
        max_abs=float(np.abs(noise).max(initial=0.0)),
        max_rel=float(np.abs(noise[nonzero] / signal[nonzero]).max(initial=0.0)),
        rms=_rms(noise),
        rms_expected=_rms(signal),
        sqnr_db=decibels(float(np.sum(signal**2)), float(np.sum(noise**2))),
        ulps=_histogram(distance),
        max_ulp=int(distance.max(initial=0)),
        worst_index=worst,
        worst_actual=float(left[worst]),
        worst_expected=float(right[worst]),
        nan_mismatches=int(np.sum(np.isnan(left) != np.isnan(rounded))),
        inf_mismatches=int(np.sum(_other_infinity(left, rounded))),
    )


def _other_infinity(left: Floats, right: Floats) -> Any:
    is_number = ~np.isnan(left) & ~np.isnan(right)
    return is_number & (np.isinf(left) | np.isinf(right)) & (left != right)


def _values(values: Any, dtype: DType) -> Floats:
    return decode(values, dtype) if dtype.is_packed else decode_wide(values)


def _stored(values: Any, dtype: DType) -> Array:
    array = as_array(values)
    return array if array.dtype == dtype.storage else decode_wide(array)


def _rms(values: Floats) -> float:
    return math.sqrt(float(np.mean(values**2))) if values.size else 0.0


def decibels(signal: float, noise: float) -> float:
    """10 log10(signal / noise) of two sums of squares; infinite without noise, minus infinity without signal."""
    if noise == 0:
        return math.inf
    return 10 * math.log10(signal / noise) if signal else -math.inf


def _worst(distance: Integers, left: Floats, right: Floats) -> tuple[int, ...]:
    with np.errstate(invalid="ignore"):
        error = np.nan_to_num(np.abs(left - right), nan=0.0)
    farthest = distance == distance.max(initial=0)
    flat = int(np.argmax(np.where(farthest, error, -1.0)))
    return tuple(int(n) for n in np.unravel_index(flat, distance.shape))


def _histogram(distance: Integers) -> tuple[UlpBin, ...]:
    """Bins 0, 1, 2, 3-4, 5-8, ... as far as there are elements, empty ones in between included; NaNs last."""
    finite = distance[distance < NAN_DISTANCE]
    bins, low, high = [], 0, 0
    while low <= int(finite.max(initial=-1)):
        bins.append(UlpBin(low, high, int(np.sum((finite >= low) & (finite <= high)))))
        low, high = high + 1, max(1, 2 * high)
    missing = int(np.sum(distance >= NAN_DISTANCE))
    return (*bins, UlpBin(NAN_DISTANCE, NAN_DISTANCE, missing)) if missing else tuple(bins)
