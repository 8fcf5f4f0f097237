"""Per signature of a timeline's program: the source lines of the kernel on which it stands."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from trnlab.emulator.timing.timeline import Timeline


def source_lines(timeline: Timeline) -> list[tuple[str, ...]]:
    """For each signature the lines "file:line" of its instructions, each once, in program order."""
    program = timeline.program
    pairs = np.stack([program.signature_ids, program.location_ids])
    _, first = np.unique(pairs, axis=1, return_index=True)
    lines: list[dict[str, None]] = [{} for _ in timeline.costs]
    for number in sorted(first.tolist()):
        where = program.location_of(number)
        if where is not None:
            lines[int(program.signature_ids[number])][f"{where.file}:{where.line}"] = None
    return [tuple(found) for found in lines]
