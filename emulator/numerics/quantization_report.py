"""What quantising a tensor loses: signal to quantisation noise, overall and by block, and what was clipped or flushed.

    SQNR = 10 log10(sum x**2 / sum (x - q(x))**2) dB, sums in float64 over finite blocks

Nothing here prints or draws; `trnlab quantize` does.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trnlab.emulator.numerics.quantization_formats import Encoded, Floats, QuantizationFormat

PERCENTILES: Final = (0, 1, 5, 25, 50, 75, 95, 99, 100)
_LOWEST_BINADE, _HIGHEST_BINADE = -149, 127


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One block: where it starts in the tensor, its largest magnitude, its scale, its SQNR in dB."""

    start: tuple[int, ...]
    largest: float
    scale: float
    sqnr_db: float


class Binade(NamedTuple):
    """Elements x with floor(log2 |x|) = exponent, and how many of them were flushed or clipped."""

    exponent: int
    elements: int
    flushed: int
    clipped: int


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizationReport:
    """What a tensor loses in a format; counts are of elements unless they say blocks.

    rule:               of the block scale; empty for formats without one
    bits_per_element:   stored, scales included; a scale for the whole tensor is not counted
    sqnr_db:            over all finite blocks; infinite when nothing is lost
    block_sqnr_db:      percentiles over finite blocks that are not zero, the lower value where one falls between two
    clipped:            beyond the largest element under their scale
    flushed:            not zero, and zero afterwards
    non_finite_blocks:  that hold a NaN or an infinity, or whose scale is NaN; left out of everything above
    worst:              the finite block of lowest SQNR
    binades:            counts of elements by floor(log2 |x|), for each that occurs
    block_sqnr_counts:  blocks by whole dB, rounded down, where the SQNR is finite
    """

    format: str
    element: str
    source: str
    rule: str
    policy: str
    shape: tuple[int, ...]
    dtype: str
    axis: int
    block: int
    elements: int
    blocks: int
    bits_per_element: float
    sqnr_db: float
    block_sqnr_db: Mapping[int, float]
    largest_error: float
    clipped: int
    flushed: int
    zero_blocks: int
    non_finite_blocks: int
    worst: Block | None
    binades: tuple[Binade, ...]
    block_sqnr_counts: Mapping[int, int]

    def to_json(self) -> str:
        """The report as JSON; an infinite SQNR is null."""
        return json.dumps(_finite(asdict(self)), indent=2, allow_nan=False)


# ----------------------------------------------------------------------------------------------------- the tally


class Tally:
    """Sums over chunks, and the per-block figures that percentiles need."""

    def __init__(self, format: QuantizationFormat) -> None:
        self.format = format
        self.signal: list[NDArray[np.float64]] = []
        self.noise: list[NDArray[np.float64]] = []
        self.largest: list[NDArray[np.float64]] = []
        self.scales: list[NDArray[np.float64]] = []
        self.largest_error = 0.0
        self.counts = np.zeros((3, _HIGHEST_BINADE - _LOWEST_BINADE + 1), np.int64)

    def add(self, rows: Floats, encoded: Encoded) -> None:
        """Count one chunk [R, K]."""
        grouped = rows.astype(np.float64).reshape(-1, self.format.block)
        scales = encoded.scales.reshape(-1)
        is_finite = np.isfinite(grouped).all(axis=1) & np.isfinite(scales)
        exact = np.where(is_finite[:, None], grouped, 0.0)
        found = np.where(is_finite[:, None], encoded.decoded.astype(np.float64).reshape(exact.shape), 0.0)
        error = found - exact
        self.signal.append((exact**2).sum(axis=1))
        self.noise.append((error**2).sum(axis=1))
        self.largest.append(np.where(is_finite, np.abs(exact).max(axis=1), np.nan))
        self.scales.append(scales)
        self.largest_error = max(self.largest_error, float(np.abs(error).max(initial=0.0)))
        limit = np.where(is_finite, scales, 1.0)[:, None] * self.format.element.format.max
        self._count(exact, (exact != 0) & (found == 0), (np.abs(exact) > limit) & (found != 0))

    def _count(self, exact: NDArray[Any], is_flushed: NDArray[Any], is_clipped: NDArray[Any]) -> None:
        binade = np.clip(np.frexp(exact)[1] - 1, _LOWEST_BINADE, _HIGHEST_BINADE) - _LOWEST_BINADE
        for line, chosen in enumerate((exact != 0, is_flushed, is_clipped)):
            self.counts[line] += np.bincount(binade[chosen], minlength=self.counts.shape[1])

    def report(self, facts: Mapping[str, Any], leading: tuple[int, ...], axis: int) -> QuantizationReport:
        """Everything together; `leading` are the tensor's axes but the blocked one, `axis` its position."""
        format, shape = self.format, facts["shape"]
        signal, noise, largest = (np.concatenate(x) for x in (self.signal, self.noise, self.largest))
        sqnr = _decibels(signal, noise)
        live = np.flatnonzero(largest > 0)
        worst = None
        if live.size:
            index = int(live[np.argmin(sqnr[live])])
            start = _start(index, shape[axis] // format.block, leading, axis, format.block)
            scale = float(np.concatenate(self.scales)[index])
            worst = Block(start=start, largest=float(largest[index]), scale=scale, sqnr_db=float(sqnr[index]))
        return QuantizationReport(
            **facts,
            block=format.block,
            elements=signal.size * format.block,
            blocks=signal.size,
            bits_per_element=format.element.format.bits + format.scale_bits / format.block,
            sqnr_db=float(_decibels(signal.sum(), noise.sum())),
            block_sqnr_db=_percentiles(sqnr[live]),
            largest_error=self.largest_error,
            clipped=int(self.counts[2].sum()),
            flushed=int(self.counts[1].sum()),
            zero_blocks=int((largest == 0).sum()),
            non_finite_blocks=int(np.isnan(largest).sum()),
            worst=worst,
            binades=self._binades(),
            block_sqnr_counts=_by_decibel(sqnr[live]),
        )

    def _binades(self) -> tuple[Binade, ...]:
        return tuple(
            Binade(index + _LOWEST_BINADE, *(int(count) for count in self.counts[:, index]))
            for index in map(int, np.flatnonzero(self.counts[0]))
        )


def _percentiles(sqnr: NDArray[np.float64]) -> dict[int, float]:
    ordered = np.sort(sqnr)
    return {p: float(ordered[p * (len(ordered) - 1) // 100]) for p in PERCENTILES if len(ordered)}


def _by_decibel(sqnr: NDArray[np.float64]) -> dict[int, int]:
    whole, counts = np.unique(np.floor(sqnr[np.isfinite(sqnr)]).astype(int), return_counts=True)
    return {int(low): int(count) for low, count in zip(whole, counts, strict=True)}


def _decibels(signal: Any, noise: Any) -> Any:
    """10 log10(signal / noise); infinite without noise, NaN with neither."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return 10 * np.log10(np.divide(signal, noise))


def _start(block: int, per_row: int, leading: tuple[int, ...], axis: int, size: int) -> tuple[int, ...]:
    row, within = divmod(block, per_row)
    index = [int(i) for i in np.unravel_index(row, leading)]
    return (*index[:axis], within * size, *index[axis:])


def _finite(value: Any) -> Any:
    """The value with infinities as None, inside containers too; binades by the names of their counts."""
    if isinstance(value, Binade):
        return value._asdict()
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value
