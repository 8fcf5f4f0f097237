"""What came of a simulation: when every step ran and why not sooner, parts of transfers, writing of descriptors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from trnlab.emulator.program import IndexArray
from trnlab.emulator.timing.skipping import Round


class Spans(NamedTuple):
    """One row per piece of a transfer: its step, the DMA engine that carried it, and when.

    Pieces of several queues overlap on an engine, which they share in turns; those of one queue do not.
    """

    step: IndexArray
    engine: IndexArray
    start_ps: IndexArray
    end_ps: IndexArray


class Writing(NamedTuple):
    """One row per transfer whose descriptors GpSimd wrote: its step, when that was, and what it had waited for."""

    step: IndexArray
    start_ps: IndexArray
    end_ps: IndexArray
    wait: IndexArray
    cause: IndexArray


@dataclass(frozen=True, eq=False)
class Played:
    """One row per step: when it ran, what it waited for last (`Wait`), and the step that it waited for, or -1.

    Where the wait is DESCRIPTORS, it is for the writing of that step's descriptors; else for the step itself.
    """

    start_ps: IndexArray
    end_ps: IndexArray
    wait: IndexArray
    cause: IndexArray
    spans: Spans
    writing: Writing


def spans_of(rows: list[tuple[int, int, int, int]], rounds: list[Round], engines: int) -> Spans:
    """The recorded pieces as columns; what engines carried alike is one row for each of them."""
    table = np.array(rows, np.int64).reshape(-1, 4)
    for item in reversed(rounds):
        mine = table[item.spans[0] : item.spans[1]]
        step = np.array([item.by_steps, 0, item.by_time, item.by_time], np.int64)
        copies = mine[None] + np.arange(1, item.copies + 1)[:, None, None] * step
        table = np.concatenate([table[: item.spans[1]], copies.reshape(-1, 4), table[item.spans[1] :]])
    row, engine = np.nonzero(table[:, 1, None] >> np.arange(engines) & 1)
    return Spans(table[row, 0], engine, table[row, 2], table[row, 3])
