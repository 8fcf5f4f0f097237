"""The error report: which source lines make the error of a run's results, as data, table and figure."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from trnlab.emulator.attribution.kinds import ErrorKind
from trnlab.emulator.attribution.verdict import Verdict
from trnlab.emulator.errors import SourceLocation, shown_file
from trnlab.emulator.testing.comparison import Comparison, plain
from trnlab.emulator.testing.figures import Drawing
from trnlab.emulator.testing.tables import Table, number

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from trnlab.emulator.testing.figures import Place

SHOWN = 12
"""Lines in the table; the data holds all of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LineError:
    """What one source line adds to the error.

    opcodes:    executions of its instructions by opcode
    local:      rms of the local error over rms of the results: the noise that the line adds to its own results
    inherited:  the same for the error that its operands brought along
    kinds:      `local` by kind; squared, the kinds of a line need not add up to its square
    estimate:   local**2 over the sum of it over all lines: the line's share of the error if every line's relative error
                reached the results alike. A first-order guess; it knows no cancellation and no data flow
    share:      exact reports only: 1 - E(without) / E, E being the squared error of the results and E(without) that
                in the world without this line's errors; negative where the line's error cancels others
    overflows:  elements that became infinite or NaN here and are finite in wide arithmetic
    worst:      the instruction with the largest relative local error
    """

    location: SourceLocation | None
    opcodes: Mapping[str, int]
    local: float
    inherited: float
    kinds: Mapping[ErrorKind, float]
    estimate: float
    share: float | None
    overflows: int
    worst: int

    @property
    def kind(self) -> ErrorKind | None:
        """The kind that makes most of the local error; None where there is no error."""
        found = {kind: size for kind, size in self.kinds.items() if size > 0}
        return max(found, key=lambda kind: found[kind]) if found else None

    @property
    def where(self) -> str:
        """File and line, short."""
        if self.location is None:
            return "unknown line"
        return f"{os.path.basename(shown_file(self.location.file))}:{self.location.line}"


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputError:
    """One result of the kernel.

    precision: the result against the twin's: what finite precision costs
    kernel:    the twin's result against the oracle's: what no precision mends; None without an oracle
    total:     the result against the oracle's
    """

    name: str
    precision: Comparison
    kernel: Comparison | None
    total: Comparison | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorReport:
    """Where the error of one run comes from; see `trnlab.emulator.attribution` for what is measured.

    numerics:  the policy that results were rounded by
    lines:     every line that executed, the worst first: by share where the report is exact, else by estimate
    as_it_is:  executions by opcode that have no wide form; the twin took over what the program computed
    dropped:   of those, and of reads of bits as another dtype, how many dropped errors on the way: what they carried
               is missing from the figures
    integers:  integer elements (indices, masks) that the twin would have written differently
    unlike_the_run: elements of the results that came out differently than in the run itself; more than none if the
               arguments have changed since
    """

    kernel: str
    target: str
    numerics: str
    exact: bool
    lines: tuple[LineError, ...]
    outputs: tuple[OutputError, ...]
    as_it_is: Mapping[str, int]
    dropped: Mapping[str, int]
    integers: int
    unlike_the_run: int
    verdict: Verdict

    def table(self) -> Table:
        """The worst lines as a table, the results' figures and the verdict below."""
        measure = "share" if self.exact else "estimate"
        heads = ("line", "instructions", "kind", "local", "inherited", measure, "overflows", "source")
        shown = [line for line in self.lines if line.local > 0 or line.overflows][:SHOWN]
        rows = tuple(self._row(line) for line in shown)
        title = f"error of {self.kernel} on {self.target}, by source line"
        return Table(title, heads, rows, tuple(self._notes(len(shown))), left=(0, 1, 2, 7))

    def _row(self, line: LineError) -> tuple[str, ...]:
        part = line.share if self.exact else line.estimate
        names = ", ".join(f"{name} x{count}" for name, count in line.opcodes.items())
        text = "" if line.location is None else line.location.text
        size = [number(line.local), number(line.inherited), "-" if part is None else f"{100 * part:.1f}%"]
        return (line.where, names, line.kind.value if line.kind else "", *size, str(line.overflows), text[:60])

    def _notes(self, shown: int) -> list[str]:
        rest = sum(line.local > 0 or line.overflows > 0 for line in self.lines) - shown
        notes = [f"{rest} more lines with an error"] if rest > 0 else []
        for output in self.outputs:
            parts = [f"{output.name}: SQNR {number(output.precision.sqnr_db, 4)} dB against wide arithmetic"]
            if output.kernel is not None and output.total is not None:
                parts.append(f"{number(output.total.sqnr_db, 4)} dB against the oracle")
                parts.append(f"wide arithmetic itself {number(output.kernel.sqnr_db, 4)} dB")
            notes.append(", ".join(parts))
        if self.as_it_is:
            names = ", ".join(f"{name} x{count}" for name, count in self.as_it_is.items())
            notes.append(f"executed in their own precision: {names}")
        if self.dropped:
            names = ", ".join(f"{name} x{count}" for name, count in self.dropped.items())
            notes.append(f"errors dropped on the way (the figures miss them): {names}")
        if self.integers:
            notes.append(f"integers that differ in wide arithmetic: {self.integers}")
        if self.unlike_the_run:
            notes.append(f"not the run's results: {self.unlike_the_run} elements differ; have its arguments changed?")
        return [*notes, f"stored with {self.numerics}; wide arithmetic is float64", str(self.verdict)]

    def __str__(self) -> str:
        return str(self.table())

    def __rich__(self) -> Any:
        """The table for rich's consoles."""
        return self.table().__rich__()

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()

    def to_json(self) -> str:
        """Everything as JSON text; numbers that are not finite as strings."""
        data = asdict(self)
        for line, shown in zip(data["lines"], self.lines, strict=True):
            line["kinds"] = {kind.value: size for kind, size in shown.kinds.items()}
        data["verdict"]["cause"] = self.verdict.cause.value
        data["verdict"]["text"] = self.verdict.text
        return json.dumps(plain(data), sort_keys=True)

    def plot(self, place: Place = None) -> Figure:
        """The worst lines' local errors by kind, on a logarithmic axis; into axes, a file, or a new figure.

        Raises:
            TrnlabError: matplotlib is not installed.
        """
        shown = [line for line in self.lines if line.local > 0][:SHOWN][::-1]
        drawing = Drawing(place, (7.2, 1.4 + 0.32 * max(1, len(shown))))
        axes, height = drawing.axes, 0.8 / len(ErrorKind)
        for row, kind in enumerate(ErrorKind):
            sizes = [(at, line.kinds.get(kind, 0.0)) for at, line in enumerate(shown)]
            present = [(at + (row - 2) * height, size) for at, size in sizes if size > 0]
            if present:
                axes.barh([at for at, _ in present], [size for _, size in present], height, label=kind.value)
        axes.set_yticks(range(len(shown)), [f"{line.where}  {next(iter(line.opcodes))}" for line in shown], fontsize=8)
        axes.set_xscale("log")
        axes.set_xlabel("rms of the error added / rms of the line's results")
        axes.set_title(f"{self.kernel} on {self.target}: error added by source line", fontsize=10)
        if shown:
            axes.legend(fontsize=8, loc="lower right")  # the short bars are below
        return drawing.finish()
