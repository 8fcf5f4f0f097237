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
from trnlab.models.files import write_whole
from trnlab.models.quantity import ModelError
from trnlab.models.sweep.block import Columns

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CSV_ROWS = 1 << 16
HTML_ROWS = 10


@dataclass(frozen=True, kw_only=True)
class SweepTable:
    """Points as columns. `names` holds, for each of its columns, the texts that the column's codes number.

    Units are in the columns' names, bytes and seconds; NaN is "not known".
    """

    columns: Columns
    names: Mapping[str, tuple[str, ...]]

    def __len__(self) -> int:
        return len(self.columns["batch"])

    def __str__(self) -> str:
        fitting = int(self.columns["fits"].sum())
        axes = ", ".join(f"{len(texts)} {name}{'s' if len(texts) > 1 else ''}" for name, texts in self.names.items())
        return f"{len(self):,} points ({axes}), {fitting:,} of them fit their memory"

    def _repr_html_(self) -> str:
        """The summary and the first rows, for notebooks."""
        head = "".join(f"<th>{escape(name)}</th>" for name in self.order)
        shown = [self.row(index) for index in range(min(len(self), HTML_ROWS))]
        body = "".join(
            f"<tr>{''.join(f'<td>{escape(_shown(row[name]))}</td>' for name in self.order)}</tr>" for row in shown
        )
        return (
            f"<table><caption>{escape(str(self))}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        )

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

    def best(self, column: str = "tokens_per_second_per_chip", *, most_tpot: float | None = None) -> dict[str, Any]:
        """The fitting point with the largest value of a column, TPOT at most `most_tpot` seconds.

        Raises:
            ModelError: no point fits, or none meets the goal; says how near it comes.
        """
        usable = self.fitting()
        if not len(usable):
            raise ModelError("points of the sweep that fit their memory", 0, "at least one: more chips or fewer bits")
        if most_tpot is not None:
            near = float(usable.columns["tpot_seconds"].min())
            usable = usable.where(usable.columns["tpot_seconds"] <= most_tpot)
            if not len(usable):
                raise ModelError("goal for TPOT", f"{most_tpot * 1e3:g} ms", f"{near * 1e3:.3g} ms or more here")
        return usable.row(int(np.argmax(usable.columns[column])))

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
            with temporary.open("w", newline="") as file:
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
        ending = Path(path).suffix.lower()
        writers: dict[str, Callable[[str | Path], None]] = {".csv": self.to_csv, ".parquet": self.to_parquet}
        if ending not in writers:
            raise ModelError("ending of a table's file", ending, ", ".join(writers))
        writers[ending](path)


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


def pareto(values: npt.NDArray[np.float64], others: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Which points no other one beats in both (more is better); of equal points the first is kept.

    Raises:
        ModelError: NaN among the values, or different lengths.
    """
    if values.shape != others.shape or np.isnan(values).any() or np.isnan(others).any():
        raise ModelError("values of a Pareto front", values.shape, "two columns of one length without NaN")
    order = np.lexsort((np.arange(len(values)), -others, -values))
    seen = np.maximum.accumulate(np.concatenate([[-np.inf], others[order][:-1]])) if len(values) else others
    kept = np.zeros(len(values), np.bool_)
    kept[order] = others[order] > seen
    return kept
