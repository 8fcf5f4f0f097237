"""Sums over executed instructions: how much error each source line adds, of which kind, and how much it inherits."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from trnlab.emulator.attribution.kinds import ErrorKind, kinds_of
from trnlab.emulator.attribution.operators import Floats
from trnlab.emulator.attribution.twin import Executed, Result
from trnlab.emulator.dtypes import DType
from trnlab.emulator.testing.formats import round_to, spacing


@dataclass(slots=True)
class ResultSums:
    """Sums of squares over what one written operand of one line's instructions got, elements finite on every side.

    signal:    of the wide results from the program's operands
    local:     of true - wide
    inherited: of wide - twin
    kinds:     of the parts of the local error
    """

    signal: float = 0.0
    local: float = 0.0
    inherited: float = 0.0
    kinds: dict[ErrorKind, float] = field(default_factory=dict)

    def add(self, opcode: str, result: Result) -> None:
        """Count one result."""
        finite = np.isfinite(result.true) & np.isfinite(result.wide)
        wide = result.wide[finite]
        local = result.true[finite] - wide
        self.signal += squares(wide)
        self.local += squares(local)
        both = np.isfinite(result.wide) & np.isfinite(result.twin)
        self.inherited += squares(result.wide[both] - result.twin[both])
        parts = _parts(opcode, result.dtype, result.accumulates, wide, local)
        for kind, part in parts.items():
            self.kinds[kind] = self.kinds.get(kind, 0.0) + squares(part)


@dataclass(slots=True)
class LineSums:
    """What the instructions of one source line did.

    results:   by opcode and operand, for a row sum must not dilute the error of the row beside it
    overflows: elements that are not finite though their wide result is
    worst:     the instruction with the largest relative local error, and that error
    """

    opcodes: Counter[str] = field(default_factory=Counter)
    results: dict[tuple[str, str], ResultSums] = field(default_factory=dict)
    overflows: int = 0
    worst: int = -1
    worst_relative: float = -1.0

    def add(self, executed: Executed) -> None:
        """Count one executed instruction."""
        self.opcodes[executed.opcode] += 1
        for name, result in executed.results.items():
            self.overflows += int(np.sum(np.isfinite(result.wide) & ~np.isfinite(result.true)))
            alone = ResultSums()
            for sums in (self.results.setdefault((executed.opcode, name), ResultSums()), alone):
                sums.add(executed.opcode, result)
            relative = ratio(alone.local, alone.signal)
            if relative > self.worst_relative:
                self.worst, self.worst_relative = executed.number, relative

    @property
    def local(self) -> float:
        """The largest relative local error of the line's results."""
        return max((ratio(sums.local, sums.signal) for sums in self.results.values()), default=0.0)

    @property
    def inherited(self) -> float:
        """The largest relative inherited error of the line's results."""
        return max((ratio(sums.inherited, sums.signal) for sums in self.results.values()), default=0.0)

    @property
    def kinds(self) -> dict[ErrorKind, float]:
        """The largest relative local error of each kind."""
        found: dict[ErrorKind, float] = {}
        for sums in self.results.values():
            for kind, noise in sums.kinds.items():
                found[kind] = max(found.get(kind, 0.0), ratio(noise, sums.signal))
        return found


def _parts(opcode: str, dtype: DType, accumulates: bool, wide: Floats, local: Floats) -> dict[ErrorKind, Floats]:
    """The local error by kind; the parts add up to it, element by element.

    An error below one step of the format is the cast's, whichever way that rounded, and so is one that left zero or a
    saturated value; of a larger one the cast's part is that of a correctly rounded result, round(wide) - wide. The rest
    is what float32 inside the instruction adds.
    """
    cast_kind, rest_kind = kinds_of(opcode, dtype, accumulates)
    if cast_kind is rest_kind or dtype.is_packed:
        return {rest_kind: local}
    cast = round_to(wide, dtype) - wide
    is_cast = ~np.isfinite(cast) | (np.abs(local) < spacing(np.abs(wide), dtype)) | (local == -wide)
    cast = np.where(is_cast, local, cast)
    return {cast_kind: cast, rest_kind: local - cast}


def squares(values: Floats) -> float:
    """The sum of squares."""
    return float(np.sum(values * values))


def ratio(noise: float, signal: float) -> float:
    """sqrt(noise / signal) of two sums of squares; 0 without noise, infinite without signal."""
    if noise <= 0:
        return 0.0
    return math.sqrt(noise / signal) if signal > 0 else math.inf


@dataclass(slots=True)
class Measurement:
    """What one walk saw, by source line, and by opcode what it could not follow.

    as_it_is:  executions without a wide rule
    dropped:   those, and reads of bits as another dtype, that dropped errors
    integers:  integer elements written that differ in the twin
    """

    lines: dict[int, LineSums] = field(default_factory=dict)
    as_it_is: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    integers: int = 0

    def observe(self, executed: Executed) -> None:
        """Count one executed instruction."""
        self.as_it_is[executed.opcode] += executed.as_it_is
        self.dropped[executed.opcode] += executed.dropped
        self.integers += executed.integers
        self.lines.setdefault(executed.line, LineSums()).add(executed)
