"""A user's own chip: a TOML file with the fields of `Chip`, checked against a schema.

    name = "Example"
    vendor = "Somebody"
    source = "data sheet, November 2026"     # of every figure that names no other
    cores = 8
    hbm_bytes = "96 GiB"                     # a number in base units, or a text with a unit
    hbm_bandwidth = "2.9 TB/s"
    link_bandwidth = { value = "1.28 TB/s", low = "1 TB/s", high = "1.3 TB/s", class = "assumed", source = "a guess" }

    [peaks]                                  # dense FLOP/s
    bf16 = "667 TFLOP/s"
    fp8 = "1.3 PFLOP/s"

    [scale_up]                               # bandwidth: one direction; half of link_bandwidth when not given
    kind = "torus"
    shape = [4, 4]
    step_latency = "2 us"

Every fault of the file is reported at once, each with its line.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

from trnlab.emulator.errors import TrnlabError
from trnlab.models.chips.record import RATES, Chip
from trnlab.models.chips.toml_lines import line_of_key, line_of_syntax_error
from trnlab.models.chips.topology import KINDS, Topology
from trnlab.models.chips.trainium import one_direction
from trnlab.models.quantity import CLASSES, ModelError, Quantity, QuantityClass

Path_ = tuple[str, ...]

_LARGEST: Final = 1e30
_LINES: Final = 1000
_TEXTS: Final = ("name", "vendor", "source")
QUANTITIES: Final[Mapping[str, str]] = {
    "hbm_bytes": "B",
    "hbm_bandwidth": "B/s",
    "link_bandwidth": "B/s",
    "dma_bandwidth": "B/s",
    "dma_effective_bandwidth": "B/s",
    "sbuf_bytes": "B",
    "sbuf_bandwidth": "B/s",
    "power": "W",
}
"""Figures of a chip that are neither peaks nor its domain's, with their units."""
_REQUIRED: Final = (*_TEXTS, "cores", "hbm_bytes", "hbm_bandwidth", "link_bandwidth", "peaks", "scale_up")
_SCALE_UP: Final = ("kind", "shape", "step_latency", "bandwidth", "shares")
_SCALE_UP_REQUIRED: Final = ("kind", "shape", "step_latency")
_FIGURE: Final = ("value", "low", "high", "class", "source")


@dataclass(frozen=True, slots=True)
class ChipFileProblem:
    """One fault of a chip's file: its line, the key ("peaks.bf16"), what it has and may have.

    line: 0 where the file cannot be read. key: "" for the whole file.
    """

    line: int
    key: str
    found: str
    allowed: str

    def __str__(self) -> str:
        return f"{self.key or 'file'}: found {self.found}; allowed: {self.allowed}"


class ChipFileError(TrnlabError, ValueError):
    """A chip's file breaks the schema; `path` and `problems` are the data."""

    def __init__(self, path: Path, problems: tuple[ChipFileProblem, ...]) -> None:
        self.path, self.problems = path, problems
        places = (f"{path}:{problem.line}" if problem.line else str(path) for problem in problems)
        super().__init__("\n".join(f"{place}: {problem}" for place, problem in zip(places, problems, strict=True)))


def load_chip(path: Path) -> Chip:
    """The chip that a TOML file describes; its figures are published unless the file says otherwise.

    Raises:
        ChipFileError: the file cannot be read, is no TOML, or breaks the schema; lists every fault with its line.
    """
    try:
        text = path.read_bytes().decode("utf-8")
    except OSError as error:
        problem = ChipFileProblem(0, "", error.strerror or str(error), "a TOML file that can be read")
        raise ChipFileError(path, (problem,)) from error
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise ChipFileError(path, (ChipFileProblem(line, "", "bytes that are no UTF-8", "UTF-8 text"),)) from error
    return parse_chip(text, path)


def parse_chip(text: str, path: Path) -> Chip:
    """The chip that a text in TOML describes; `path` is where it came from, for messages.

    Raises:
        ChipFileError: see `load_chip`.
    """
    # Universal newlines, as TOML allows both kinds and line numbers count each once.
    text = text.replace("\r\n", "\n")
    if text.count("\n") > _LINES:
        problem = ChipFileProblem(_LINES + 1, "", f"{text.count(chr(10))} lines", f"at most {_LINES} lines")
        raise ChipFileError(path, (problem,))
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        problem = ChipFileProblem(line_of_syntax_error(text, error), "", str(error), "TOML")
        raise ChipFileError(path, (problem,)) from error
    except RecursionError:
        problem = ChipFileProblem(1, "", "values nested too deeply", "tables and lists of the schema")
        raise ChipFileError(path, (problem,)) from None
    reader = _Reader(text, data)
    chip = reader.chip()
    if chip is None:
        raise ChipFileError(path, tuple(sorted(reader.problems, key=lambda problem: (problem.line, problem.key))))
    return chip


class _Reader:
    """Reads the tables of one file and collects what is wrong with them."""

    def __init__(self, text: str, data: dict[str, Any]) -> None:
        self.text, self.data = text, data
        self.problems: list[ChipFileProblem] = []
        self.klass: QuantityClass = "published"
        self.source = ""

    def fault(self, key: Path_, found: str, allowed: str) -> None:
        line = line_of_key(self.text, key)
        self.problems.append(ChipFileProblem(line, ".".join(key), found, allowed))

    def chip(self) -> Chip | None:
        """The chip, or None when there are problems."""
        self.keys((), self.data, (*_REQUIRED, *QUANTITIES, "class"), _REQUIRED)
        texts = {key: self.words(key) for key in _TEXTS if key in self.data}
        self.source = texts.get("source", "")
        self.klass = self.data.get("class", "published")
        if self.klass not in CLASSES:
            self.fault(("class",), repr(self.klass), ", ".join(CLASSES))
            self.klass = "published"
        cores = self.whole("cores") if "cores" in self.data else 0
        figures = {
            key: self.quantity((key,), self.data[key], unit) for key, unit in QUANTITIES.items() if key in self.data
        }
        peaks = self.peaks() if "peaks" in self.data else {}
        scale_up = self.scale_up(figures.get("link_bandwidth")) if "scale_up" in self.data else None
        if self.problems or scale_up is None:
            return None
        values: dict[str, Any] = {key: texts[key] for key in ("name", "vendor")}
        values |= figures
        return Chip(cores=cores, peaks=peaks, scale_up=scale_up, **values)

    def keys(self, where: Path_, table: Mapping[str, Any], known: tuple[str, ...], required: tuple[str, ...]) -> None:
        """Report keys that the schema does not know, and those it needs."""
        for key in table:
            if key not in known:
                close = get_close_matches(key, known, n=1)
                hint = f"; did you mean {close[0]!r}?" if close else ""
                self.fault((*where, key), f"unknown key {key!r}", ", ".join(dict.fromkeys(known)) + hint)
        for key in required:
            if key not in table:
                self.fault(where, f"no key {key!r}", f"{'.'.join((*where, key))}, which every chip needs")

    def words(self, key: str) -> str:
        value = self.data[key]
        if not isinstance(value, str) or not value.strip():
            self.fault((key,), repr(value), "a text that is not empty")
            return ""
        return value

    def whole(self, key: str) -> int:
        value = self.data[key]
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            self.fault((key,), repr(value), "a whole number >= 1")
            return 0
        return value

    def table(self, key: str) -> Mapping[str, Any]:
        value = self.data[key]
        if isinstance(value, dict):
            return value
        self.fault((key,), repr(value), f"a table [{key}]")
        return {}

    def peaks(self) -> dict[str, Quantity]:
        table = self.table("peaks")
        self.keys(("peaks",), table, RATES, ())
        if isinstance(self.data["peaks"], dict) and not table:
            self.fault(("peaks",), "no peak", ", ".join(RATES))
        read = {rate: self.quantity(("peaks", rate), table[rate], "FLOP/s") for rate in RATES if rate in table}
        return {rate: peak for rate, peak in read.items() if peak is not None}

    def scale_up(self, link: Quantity | None) -> Topology | None:
        table = self.table("scale_up")
        if not isinstance(self.data["scale_up"], dict):
            return None
        before = len(self.problems)
        self.keys(("scale_up",), table, _SCALE_UP, _SCALE_UP_REQUIRED)
        if table.get("kind", KINDS[0]) not in KINDS:
            self.fault(("scale_up", "kind"), repr(table["kind"]), ", ".join(KINDS))
        shape, shares = self.numbers("shape", int), self.numbers("shares", float)
        given = {
            key: self.quantity(("scale_up", key), table[key], unit)
            for key, unit in (("step_latency", "s"), ("bandwidth", "B/s"))
            if key in table
        }
        bandwidth = given.get("bandwidth") or (one_direction(link) if link else None)
        latency = given.get("step_latency")
        if len(self.problems) > before or bandwidth is None or latency is None:
            return None
        try:
            return Topology(kind=table["kind"], shape=shape, bandwidth=bandwidth, step_latency=latency, shares=shares)
        except ModelError as error:
            self.fault(("scale_up",), f"{error.what} {error.found!r}", error.allowed)
            return None

    def numbers(self, key: str, kind: type[int] | type[float]) -> tuple[Any, ...]:
        value = self.data["scale_up"].get(key, [])
        good = isinstance(value, list) and all(isinstance(x, (int, kind)) and not isinstance(x, bool) for x in value)
        if not good or (key in self.data["scale_up"] and not value):
            self.fault(
                ("scale_up", key), repr(value), "a list of numbers" if kind is float else "a list of whole numbers"
            )
            return ()
        return tuple(value)

    def quantity(self, key: Path_, value: Any, unit: str) -> Quantity | None:
        """A number, a text with a unit, or a table of value, low, high, class and source."""
        table = value if isinstance(value, dict) else {"value": value}
        if isinstance(value, dict):
            self.keys(key, value, _FIGURE, ("value",))
        numbers = {name: self.number(key, table[name], unit) for name in ("value", "low", "high") if name in table}
        klass, source = table.get("class", self.klass), table.get("source", self.source)
        if klass not in CLASSES:
            self.fault((*key, "class"), repr(klass), ", ".join(CLASSES))
        elif not isinstance(source, str):
            self.fault((*key, "source"), repr(source), "a text")
        elif "value" in numbers and None not in numbers.values():
            try:
                return Quantity(numbers["value"] or 0.0, unit, source, klass, numbers.get("low"), numbers.get("high"))
            except ModelError as error:
                self.fault(key, f"{error.what} {error.found!r}", error.allowed)
        return None

    def number(self, key: Path_, value: Any, unit: str) -> float | None:
        try:
            if isinstance(value, str):
                value = Quantity.parse(value, unit, "").value
        except ModelError as error:
            self.fault(key, repr(value), error.allowed)
            return None
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < _LARGEST:
            self.fault(key, repr(value), f"a number above zero in {unit}, or a text with its unit")
            return None
        return float(value)
