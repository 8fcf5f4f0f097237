"""The result of a sweep: columns of equal length, names as codes, written out as CSV, Parquet or a data frame."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from trnlab.emulator.errors import TrnlabError
from trnlab.models.arrays import array
from trnlab.models.files import write_whole
from trnlab.models.quantity import ModelError
from trnlab.models.sweep.block import Columns

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CSV_ROWS = 1 << 16
HTML_ROWS = 10
ENDINGS = (".csv", ".parquet")


@dataclass(frozen=True, kw_only=True)
class SweepTable:
    """Points as columns. `names` holds, for each of its columns, the texts that the column's codes number.

    Units are in the columns' names, bytes and seconds; NaN is "not known". The column "note" says what a row's layer
    rests on where it is not measured, such as a fallback.
    """

    columns: Columns
    names: Mapping[str, tuple[str, ...]]

    def __len__(self) -> int:
        return len(self.columns["batch"])

    def __str__(self) -> str:
        fitting = int(self.columns["fits"].sum())
        named = {name: texts for name, texts in self.names.items() if name != "note"}
        axes = ", ".join(f"{len(texts)} {name}{'s' if len(texts) > 1 else ''}" for name, texts in named.items())
        return f"{len(self):,} points ({axes}), {fitting:,} of them fit their memory"

    @property
    def notes(self) -> tuple[str, ...]:
        """What the layers rest on, each once."""
        return tuple(note for note in self.names.get("note", ()) if note)

    def _repr_html_(self) -> str:
        """The summary, the first rows and the notes, for notebooks."""
        head = "".join(f"<th>{escape(name)}</th>" for name in self.order)
        shown = [self.row(index) for index in range(min(len(self), HTML_ROWS))]
        body = "".join(
            f"<tr>{''.join(f'<td>{escape(_shown(row[name]))}</td>' for name in self.order)}</tr>" for row in shown
        )
        notes = "".join(f"<li>{escape(note)}</li>" for note in self.notes)
        table = f"<caption>{escape(str(self))}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody>"
        return f"<table>{table}</table><ul>{notes}</ul>"

    @property
    def order(self) -> tuple[str, ...]:
        """Column names, texts first."""
        return (*self.names, *(name for name in self.columns if name not in self.names))

    def column(self, name: str) -> npt.NDArray[Any]:
        """A column; texts instead of codes.

        Raises:
            ModelError: no such column.
        """
        if name not in self.columns:
            raise ModelError("column of a sweep", name, ", ".join(self.order))
        values = self.columns[name]
        return np.array(self.names[name])[values] if name in self.names else values

    def where(self, mask: npt.NDArray[np.bool_]) -> SweepTable:
        """The points for which the mask is true."""
        return SweepTable(columns={name: values[mask] for name, values in self.columns.items()}, names=self.names)

    def row(self, index: int) -> dict[str, Any]:
        """One point as plain Python values."""
        return {name: self.column(name)[index].item() for name in self.order}

    def fitting(self) -> SweepTable:
        """The points whose memory suffices."""
        return self.where(self.columns["fits"])

    def shortfall(self) -> npt.NDArray[np.float64]:
        """Bytes that the fullest chip of each point lacks; 0 where it fits."""
        held = self.columns["weight_bytes"] + self.columns["kv_bytes"]
        return array(np.maximum(held - self.columns["memory_bytes"], 0.0))

    def best(
        self,
        column: str = "tokens_per_second_per_chip",
        *,
        most_tpot: float | None = None,
        most_ttft: float | None = None,
    ) -> dict[str, Any]:
        """The fitting point with the largest value of a column, TPOT and TTFT at most so many seconds.

        Raises:
            ModelError: no point fits, or none meets a goal; says how near it comes.
        """
        usable = self.fitting()
        if not len(usable):
            short = f"{float(self.shortfall().min()) / 1e9:,.1f} GB a chip short at the least" if len(self) else "none"
            raise ModelError("points of the sweep that fit their memory", short, "more chips or fewer bits")
        usable = usable.within("tpot_seconds", "goal for TPOT", most_tpot)
        usable = usable.within("ttft_seconds", "goal for TTFT", most_ttft)
        return usable.row(int(np.argmax(usable.columns[column])))

    def within(self, column: str, what: str, most: float | None) -> SweepTable:
        """The points whose seconds in a column are at most `most`; all of them where it is None.

        Raises:
            ModelError: `most` is not above 0, or no point is within it; says how near they come.
        """
        if most is None:
            return self
        if not 0 < most < math.inf:
            raise ModelError(what, f"{most * 1e3:g} ms", "above 0")
        found = self.where(self.columns[column] <= most)
        if not len(found):
            near = float(self.columns[column].min())
            raise ModelError(what, f"{most * 1e3:g} ms", f"{near * 1e3:.3g} ms or more here")
        return found

    def to_pandas(self) -> Any:
        """The table as a pandas DataFrame, texts as categories.

        Raises:
            TrnlabError: pandas is not installed.
        """
        pandas = _needed("pandas")
        made = {
            name: pandas.Categorical.from_codes(self.columns[name], list(self.names[name]))
            if name in self.names
            else self.columns[name]
            for name in self.order
        }
        return pandas.DataFrame(made)

    def plot(self) -> Figure:
        """Throughput per chip against interactivity: the Pareto front of every model, chip and precision.

        Raises:
            ModelError: no point fits its memory.
            TrnlabError: matplotlib is not installed.
        """
        from trnlab.models.sweep.charts import pareto_chart

        return pareto_chart(self)

    def to_parquet(self, path: str | Path) -> None:
        """Write a Parquet file, texts dictionary-encoded; whole or not at all.

        Raises:
            TrnlabError: pyarrow is not installed, or the file cannot be written.
        """
        arrow, parquet = _needed("pyarrow"), _needed("pyarrow.parquet")
        made = {
            name: arrow.DictionaryArray.from_arrays(self.columns[name], list(self.names[name]))
            if name in self.names
            else arrow.array(self.columns[name])
            for name in self.order
        }
        write_whole(Path(path), lambda temporary: parquet.write_table(arrow.table(made), temporary))

    def to_csv(self, path: str | Path) -> None:
        """Write a CSV file with a header; whole or not at all. An empty field is "not known".

        Raises:
            TrnlabError: the file cannot be written.
        """

        def write(temporary: Path) -> None:
            with temporary.open("w", newline="", encoding="utf-8") as file:
                writer = csv.writer(file)
                writer.writerow(self.order)
                for block in self._text_blocks():
                    writer.writerows(zip(*block, strict=True))

        write_whole(Path(path), write)

    def _text_blocks(self) -> Iterator[list[Sequence[Any]]]:
        for start in range(0, len(self), CSV_ROWS):
            part = slice(start, start + CSV_ROWS)
            columns = [(self.names.get(name), self.columns[name][part]) for name in self.order]
            yield [_plain(values) if texts is None else [texts[code] for code in values] for texts, values in columns]

    def write(self, path: str | Path) -> None:
        """Write CSV or Parquet, as the path's ending says.

        Raises:
            ModelError: another ending.
            TrnlabError: as `to_csv` and `to_parquet`.
        """
        check_table_path(Path(path))
        writers: dict[str, Callable[[str | Path], None]] = {".csv": self.to_csv, ".parquet": self.to_parquet}
        writers[Path(path).suffix.lower()](path)


def check_table_path(path: Path) -> None:
    """A table can be written there, as far as can be told before it is computed.

    Raises:
        ModelError: an ending of no known format.
        TrnlabError: no such folder.
    """
    if path.suffix.lower() not in ENDINGS:
        raise ModelError("ending of a table's file", path.suffix, ", ".join(ENDINGS))
    if not path.absolute().parent.is_dir():
        raise TrnlabError(f"cannot write {path}: no such folder")


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _plain(values: npt.NDArray[Any]) -> list[Any]:
    if values.dtype.kind != "f":
        return list(values.tolist())
    return ["" if math.isnan(value) else value for value in values.tolist()]


def _needed(name: str) -> Any:
    try:
        return __import__(name, fromlist=["_"])
    except ImportError as error:
        missing = name.split(".", maxsplit=1)[0]
        raise TrnlabError(f"this needs {missing}, which is not installed: pip install trnlab[tables]") from error
