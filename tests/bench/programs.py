"""Programs of any length without a kernel, for what only looks at their columns."""

from __future__ import annotations

import numpy as np

from tests.emulator.synthetic import Recorder
from trnlab.emulator.program import Program

INNER, INNERMOST, KEPT = 16, 20, 8
OUTER_LENGTH = 1 + INNER * (1 + INNERMOST) + 1
OPCODES, TILES, OFFSETS = 60, 50, 512


def nested(count: int) -> Program:
    """At least `count` instructions of three nested loops.

    They have double buffering, a list of tiles that is kept, a fresh tile an iteration, and a first iteration unlike
    the rest. Two outer iterations are recorded; the others continue the series.
    """
    trips = max(2, -(-count // OUTER_LENGTH))
    recorder = Recorder()
    source, *pair = (recorder.tile() for _ in range(3))
    kept = [recorder.tile() for _ in range(KEPT)]
    fresh = [recorder.tile() for _ in range(trips)]
    for outer in range(2):
        _iteration(recorder, outer, source, pair, kept, fresh[outer])
    two = recorder.program()
    first, second = np.split(two.operands, 2)
    steps = np.arange(trips, dtype=np.int64)[:, None, None]
    return two.replace(
        operands=(first + steps * (second - first)).reshape(-1, 2),
        signature_ids=np.tile(two.signature_ids[:OUTER_LENGTH], trips),
        location_ids=np.tile(two.location_ids[:OUTER_LENGTH], trips),
        immediates=np.tile(two.immediates[: len(two.immediates) // 2], trips),
    )


def _iteration(recorder: Recorder, outer: int, source: int, pair: list[int], kept: list[int], total: int) -> None:
    recorder.emit("load", (total, 0), (source, 8 * outer), line=0)
    for inner in range(INNER):
        buffer = pair[inner % 2]
        recorder.emit("load", (buffer, 0), (source, 64 * outer + inner), line=1)
        for step in range(INNERMOST):
            opcode = "sum" if inner or step else "first"
            recorder.emit(opcode, (total, 0), (buffer, step), (kept[step % KEPT], inner), values=(0.5,), line=2)
    recorder.emit("store", (source, outer), (total, 0), line=3)


def random(count: int, seed: int = 0) -> Program:
    """`count` instructions of 60 kinds on random places of 50 tiles: there is no loop to find."""
    draw = np.random.default_rng(seed)
    recorder = Recorder()
    tiles = [recorder.tile() for _ in range(TILES)]
    for opcode in range(OPCODES):
        recorder.emit(f"op{opcode}", (tiles[0], 0), (tiles[1], 0))
    rows = 2 * count
    return recorder.program().replace(
        operands=np.stack([draw.integers(0, TILES, rows), draw.integers(0, OFFSETS, rows)], axis=1),
        signature_ids=draw.integers(0, OPCODES, count, np.int32),
        location_ids=np.zeros(count, np.int32),
    )
