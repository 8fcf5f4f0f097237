"""Every executed instruction of a timeline as one table: columns for CSV and Parquet, and for the other exports."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from trnlab.emulator import TrnlabError
from trnlab.emulator.timing.schedule_plan import DMA_ENGINE, ENGINES, Wait
from trnlab.emulator.timing.timeline import Timeline

Column = np.ndarray[Any, Any]

COLUMNS: Final[Mapping[str, str]] = {
    "step": "number of the executed instruction",
    "instruction": "its number in the program; differs from step where structured loops repeat",
    "opcode": "name in nki.isa",
    "engine": "tensor, vector, scalar, gpsimd, sync or dma",
    "queue": "DMA queue; -1 for engines",
    "start_ns": "when it began to occupy its engine; for transfers the first byte",
    "end_ns": "when it ceased to; for transfers the last byte",
    "wait": "what it waited for last: start, data, engine, dma, hbm, sbuf, psum or port",
    "cause": "the step it waited for; -1 for none",
    "file": "the kernel's source file",
    "line": "the line in it; 0 when unknown",
    "name": "the name the kernel gave it",
}
"""The columns of the table and what they hold."""


@dataclass(frozen=True, eq=False)
class EventTable:
    """Columns of equal length, one row per executed instruction, in program order; see `COLUMNS`."""

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
    program, steps = timeline.program, timeline.steps
    ids = program.signature_ids[steps]
    places = np.asarray(program.location_ids)[steps]
    lines = [("", 0), *((file, line) for file, line, _ in program.locations)]
    columns = {
        "step": np.arange(len(steps)),
        "instruction": steps,
        "opcode": _named([signature.opcode for signature in program.signatures], ids),
        "engine": _named([engine.value for engine in ENGINES], timeline.engine),
        "queue": _queues(timeline),
        "start_ns": timeline.start_ps / 1000,
        "end_ns": timeline.end_ps / 1000,
        "wait": _named([wait.name.lower() for wait in Wait], timeline.played.wait),
        "cause": timeline.played.cause,
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
        if timeline.engine[step] == DMA_ENGINE:
            queues[step] = transfer.queue
    return queues
