"""Who wrote which bytes of a PSUM buffer so far: what decides whether a matmul overwrites or accumulates.

A view's footprint is a range of partitions and a set of bytes inside each, held as the bits of one integer, so that
strided and interleaved views are told apart exactly. A `WriteRecord` keeps disjoint bands of partitions, each with
three such sets: written by the Tensor Engine, set to zero, written otherwise.

Source: NKI reference, nisa.nc_matmul, accumulation mode; NKI architecture guide, near-memory accumulation in PSUM.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from functools import lru_cache
from typing import NamedTuple, NoReturn

from trnlab.emulator.errors import ArgumentError, ShapeError
from trnlab.emulator.program import Signature
from trnlab.emulator.source import fail
from trnlab.emulator.target import Engine, Feature, Target
from trnlab.emulator.tensor import NkiTensor

_SOURCE = "NKI reference, nisa.nc_matmul: accumulation mode"
_BANK_SOURCE = "NKI architecture guide, Tensor Engine: one matmul writes to one PSUM bank"


class Origin(IntEnum):
    """What wrote a byte last. Zero is told apart because overwriting it and adding to it come to the same."""

    MATMUL = 0
    ZERO = 1
    OTHER = 2


class Footprint(NamedTuple):
    """The bytes a view reaches: partitions first <= p < end, and in each the bytes whose bit is set."""

    first: int
    end: int
    bytes: int

    @property
    def byte_range(self) -> tuple[int, int]:
        """The first byte, and one past the last, inside a partition."""
        return (self.bytes & -self.bytes).bit_length() - 1, self.bytes.bit_length()


def _repeat(pattern: int, step: int, count: int) -> int:
    """The bits of `pattern` shifted by 0, step, 2 step, ... (count - 1) step."""
    done = 1
    while done < count:
        more = min(done, count - done)
        pattern |= pattern << (more * step)
        done += more
    return pattern


@lru_cache(maxsize=65536)
def _footprint(
    shape: tuple[int, ...], strides: tuple[int, ...], offset: int, itemsize: int, row: int
) -> Footprint | None:
    """The footprint in partitions of `row` elements; None when the partitions are not neighbours, or it leaves them."""
    first, start = divmod(offset, row)
    if shape[0] > 1 and strides[0] != row:
        return None
    bits = (1 << itemsize) - 1
    for count, stride in zip(shape[1:], strides[1:], strict=True):
        bits = _repeat(bits, abs(stride) * itemsize, count)
        start += min(stride, 0) * (count - 1)
    inside = start >= 0 and bits.bit_length() <= (row - start) * itemsize
    return Footprint(first, first + shape[0], bits << (start * itemsize)) if inside else None


def footprint(view: NkiTensor) -> Footprint | None:
    """The bytes the view reaches; None where the trace cannot know them (a run-time offset, a skewed pattern)."""
    if view.indirection is not None:
        return None
    return _footprint(view.shape, view.strides, view.offset, view.dtype.itemsize, view.partition_elements)


@dataclass(slots=True)
class _Band:
    """Neighbouring partitions with one history: the bytes of each origin, disjoint."""

    first: int
    end: int
    written: tuple[int, int, int] = (0, 0, 0)

    def write(self, bits: int, origin: Origin) -> None:
        kept = [old & ~bits for old in self.written]
        kept[origin] |= bits
        self.written = (kept[0], kept[1], kept[2])


@dataclass(slots=True)
class WriteRecord:
    """The writes to one PSUM buffer so far.

    is_complete: False once something was written at a place the trace cannot know
    settled:     views whose whole footprint has this one origin, the short way for repeated writes
    """

    is_complete: bool = True
    bands: list[_Band] = field(default_factory=list)
    settled: dict[tuple[object, ...], Origin] = field(default_factory=dict)

    def settled_as(self, view: NkiTensor, origin: Origin) -> bool:
        """Whether the record knows at once that the whole view was last written by this origin."""
        return self.settled.get((view.offset, view.shape, view.strides, view.dtype)) is origin

    def note(self, view: NkiTensor, origin: Origin) -> None:
        """Record that an instruction wrote the view."""
        if self.settled_as(view, origin):
            return
        place = footprint(view)
        if place is None:
            self.is_complete = False
            self.settled.clear()
            return
        if any(other is not origin for other in self.settled.values()):
            self.settled.clear()
        self.settled[(view.offset, view.shape, view.strides, view.dtype)] = origin
        for band in self._covering(place.first, place.end):
            band.write(place.bytes, origin)

    def _covering(self, first: int, end: int) -> list[_Band]:
        """Bands that cover first..end exactly, split or created where needed."""
        for edge in (first, end):
            self._split(edge)
        inside = sorted((band for band in self.bands if first <= band.first < end), key=lambda band: band.first)
        edges = [first, *(edge for band in inside for edge in (band.first, band.end)), end]
        gaps = [_Band(low, high) for low, high in zip(edges[::2], edges[1::2], strict=True) if low < high]
        self.bands += gaps
        return inside + gaps

    def _split(self, edge: int) -> None:
        for band in self.bands:
            if band.first < edge < band.end:
                self.bands.append(_Band(edge, band.end, band.written))
                band.end = edge
                return

    def history(self, place: Footprint) -> _History:
        """Which origins the bytes of the footprint have."""
        found = [0, 0, 0]
        missing, covered = False, 0
        for band in self.bands:
            rows = min(band.end, place.end) - max(band.first, place.first)
            if rows > 0:
                covered += rows
                parts = [bits & place.bytes for bits in band.written]
                found = [old | new for old, new in zip(found, parts, strict=True)]
                missing |= parts[0] | parts[1] | parts[2] != place.bytes
        missing |= covered < place.end - place.first
        return _History(bool(found[0]), bool(found[1]), bool(found[2]), missing)


class _History(NamedTuple):
    """Whether some byte of a view was written by a matmul, set to zero, written otherwise, never written."""

    matmul: bool = False
    zero: bool = False
    other: bool = False
    nothing: bool = False


def record_of(view: NkiTensor) -> WriteRecord:
    """The record of the view's buffer, made when first asked for."""
    allocation = view._allocation
    if allocation.writes is None:
        allocation.writes = WriteRecord()
    record: WriteRecord = allocation.writes
    return record


def origin_of(signature: Signature, immediates: Sequence[float]) -> Origin:
    """What a write by this instruction counts as; a Tensor Engine transpose counts as a matmul."""
    if signature.engine is Engine.TENSOR:
        return Origin.MATMUL
    zeroes = signature.opcode == "memset" and len(immediates) == 1 and immediates[0] == 0
    return Origin.ZERO if zeroes else Origin.OTHER


_EXPLICIT = "accumulate=True or accumulate=False"
_UNDEFINED = "accumulation onto a place that a matmul with accumulate=False wrote before"
_OVERWRITES = "without accumulate, the first matmul overwrites the zeros"


def accumulates(subject: str, dst: NkiTensor, asked: bool | None, target: Target, *, predates_loop: bool) -> bool:
    """Whether a matmul adds to `dst`: as asked; where None, the first write overwrites and later ones accumulate.

    predates_loop: `dst` was allocated outside the run-time loop that this matmul stands in

    Raises:
        ShapeError: see `check_bank`.
        ArgumentError: accumulation onto a place never written, or (NeuronCore-v2 and v3) written by something other
            than a matmul, both undefined on the hardware; or None where the two answers mix or cannot be known.
    """
    record = record_of(dst)
    if record.settled_as(dst, Origin.MATMUL):
        return asked is not False
    check_bank(subject, dst, target)
    if asked is False:
        return False
    place = footprint(dst)
    if place is None or not record.is_complete:
        if asked is None:
            _reject(subject, dst, target, "accumulate=None on a place known only at run time", _EXPLICIT)
        return True
    history = record.history(place)
    if not target.has(Feature.PSUM_ACCUMULATE_ANY):
        if history.other or (asked and history.zero):
            found = "a place written by another instruction than a matmul"
            _reject(subject, dst, target, found, _UNDEFINED if history.other else f"{_UNDEFINED}; {_OVERWRITES}")
        # Zeros may be overwritten instead: the sum is the same, and only matmul results can be added to here.
        history = _History(history.matmul, nothing=history.nothing or history.zero)
    if asked:
        if history.nothing:
            _reject(subject, dst, target, "accumulate=True on a place that is not initialised", _UNDEFINED)
        return True
    return _inferred(subject, dst, target, history, predates_loop)


def _inferred(subject: str, dst: NkiTensor, target: Target, history: _History, predates_loop: bool) -> bool:
    is_written = history.matmul or history.zero or history.other
    if is_written and history.nothing:
        found = "accumulate=None on a place of which a part was written before"
        _reject(subject, dst, target, found, f"{_EXPLICIT}, or a view written as a whole")
    if history.nothing and predates_loop:
        found = "accumulate=None for the first write, in a run-time loop, to PSUM allocated outside of the loop"
        _reject(subject, dst, target, found, f"{_EXPLICIT}: one instruction stands for every iteration")
    return is_written


def _reject(subject: str, dst: NkiTensor, target: Target, found: str, allowed: str) -> NoReturn:
    fail(
        ArgumentError,
        subject,
        operand="accumulate",
        found=f"{found} ({dst.describe()})",
        allowed=allowed,
        generation=target.generation.label,
        source=_SOURCE,
    )


def check_bank(subject: str, dst: NkiTensor, target: Target) -> None:
    """Raise ShapeError where one matmul writes across PSUM banks on a generation whose matmuls cannot.

    A buffer that was not placed by hand counts from the start of a bank.
    """
    bank = target.psum_bank_bytes
    place = footprint(dst)
    if place is None or target.matmul_moving_free_max_fp32 * 4 > bank:
        return
    address = dst._allocation.buffer.address
    base = address[1] if address else 0
    low, high = place.byte_range
    if high - low > bank:
        return  # too large for any bank: the limit of the moving's columns says so
    if (base + low) // bank != (base + high - 1) // bank:
        fail(
            ShapeError,
            subject,
            operand="dst",
            found=f"{dst.describe()}, bytes {base + low} to {base + high - 1} of a partition",
            allowed=f"a result inside one PSUM bank of {bank} bytes",
            generation=target.generation.label,
            source=_BANK_SOURCE,
        )
