"""Every executed instruction of a timeline as one table: columns for CSV and Parquet, and for the other exports.

A transfer whose descriptors GpSimd writes has two rows: its own, and at the table's end GpSimd's, with the same step.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from trnlab.emulator import TrnlabError
from trnlab.emulator.timing.schedule_plan import DMA_ENGINE, ENGINES, GPSIMD_ENGINE, Wait
from trnlab.emulator.timing.timeline import Timeline

Column = np.ndarray[Any, Any]

COLUMNS: Final[Mapping[str, str]] = {
    "step": "number of the executed instruction",
    "instruction": "its number in the program; differs from step where structured loops repeat",
    "opcode": "name in nki.isa",
    "engine": "tensor, vector, scalar, gpsimd, sync or dma; gpsimd for the writing of a transfer's descriptors",
    "queue": "DMA queue; -1 for engines",
    "start_ns": "when it began to occupy its engine; for transfers the first byte",
    "end_ns": "when it ceased to; for transfers the last byte",
    "wait": "what it waited for last: start, data, engine, dma, hbm, sbuf, psum, port or descriptors",
    "cause": "the step it waited for, or whose descriptors; -1 for none",
    "file": "the kernel's source file",
    "line": "the line in it; 0 when unknown",
    "name": "the name the kernel gave it",
}
"""The columns of the table and what they hold."""


@dataclass(frozen=True, eq=False)
class EventTable:
    """Columns of equal length, a row for each executed instruction in program order; see `COLUMNS` and the module."""

    columns: Mapping[str, Column]

    def __len__(self) -> int:
        return len(self.columns["step"])

    def to_csv(self) -> str:
        """The table as CSV text with a heading."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self.columns)
        writer.writerows(zip(*(column.tolist() for column in self.columns.values()), strict=True))
        return text.getvalue()

    def to_parquet(self) -> bytes:
        """The table as a Parquet file.

        Raises:
            TrnlabError: pyarrow is not installed (extra `tables`).
        """
        arrow, parquet = _pyarrow()
        sink = io.BytesIO()
        parquet.write_table(arrow.table({name: arrow.array(c.tolist()) for name, c in self.columns.items()}), sink)
        return sink.getvalue()

    def to_pandas(self) -> Any:
        """The table as a pandas DataFrame.

        Raises:
            TrnlabError: pandas is not installed (extra `tables`).
        """
        try:
            import pandas as pd
        except ImportError as error:
            raise TrnlabError("a DataFrame needs pandas: pip install 'trnlab[tables]'") from error
        return pd.DataFrame(dict(self.columns))


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise TrnlabError("Parquet files need pyarrow: pip install 'trnlab[tables]'") from error
    return pyarrow, pyarrow.parquet


def event_table(timeline: Timeline) -> EventTable:
    """The table of a timeline."""
    program, played, writing = timeline.program, timeline.played, timeline.writing
    numbers = np.concatenate([np.arange(len(timeline)), writing.step])
    steps = timeline.steps[numbers]
    ids = program.signature_ids[steps]
    engine = np.concatenate([timeline.engine, np.full(len(writing.step), GPSIMD_ENGINE)])
    places = np.asarray(program.location_ids)[steps]
    lines = [("", 0), *((file, line) for file, line, _ in program.locations)]
    columns = {
        "step": numbers,
        "instruction": steps,
        "opcode": _named([signature.opcode for signature in program.signatures], ids),
        "engine": _named([engine.value for engine in ENGINES], engine),
        "queue": np.where(engine == DMA_ENGINE, _queues(timeline)[numbers], -1),
        "start_ns": np.concatenate([played.start_ps, writing.start_ps]) / 1000,
        "end_ns": np.concatenate([played.end_ps, writing.end_ps]) / 1000,
        "wait": _named([wait.name.lower() for wait in Wait], np.concatenate([played.wait, writing.wait])),
        "cause": np.concatenate([played.cause, writing.cause]),
        "file": _named([file for file, _ in lines], places + 1),
        "line": np.array([line for _, line in lines])[places + 1],
        "name": np.array([program.names.get(number, "") for number in steps.tolist()], object),
    }
    return EventTable(columns)


def _named(names: list[str], numbers: Column) -> Column:
    return np.array(names or [""], object)[np.asarray(numbers, np.int64)]


def _queues(timeline: Timeline) -> Column:
    queues = np.full(len(timeline), -1, np.int64)
    for step, transfer in timeline.plan.transfers.items():
        queues[step] = transfer.queue
    return queues
