"""Programs without a kernel: any sequence of instructions over tiles, for what only looks at the columns."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trnlab.emulator.dtypes import float32
from trnlab.emulator.memory import Buffer, BufferKind, MemoryRegion
from trnlab.emulator.program import Loop, OperandSignature, Program, Signature
from trnlab.emulator.target import Engine

WIDTHS = (64, 128)


def word(opcodes: np.ndarray, rows: np.ndarray, tiles: int = 50) -> Program:
    """A program given by columns, which is quick for long ones: opcodes by number, and a row per instruction.

    rows: [instructions, operands, 2], tile numbers and offsets
    """
    recorder = Recorder()
    for _ in range(tiles):
        recorder.tile()
    for number in range(int(opcodes.max()) + 1):
        recorder.emit(f"op{number}", *[(0, 0)] * rows.shape[1])
    return recorder.program().replace(
        signature_ids=opcodes.astype(np.int32),
        operands=rows.reshape(-1, 2).astype(np.int64),
        location_ids=np.zeros(len(opcodes), np.int32),
    )


class Recorder:
    """Records instructions; opcodes are letters, one source line each."""

    def __init__(self) -> None:
        self.buffers: list[Buffer] = []
        self.signatures: dict[Signature, int] = {}
        self.ids: list[int] = []
        self.lines: list[int] = []
        self.rows: list[tuple[int, int]] = []
        self.immediates: list[float] = []

    def tile(self, width: int = WIDTHS[0], kind: BufferKind = "local") -> int:
        """A new buffer."""
        number = len(self.buffers)
        self.buffers.append(Buffer(number, MemoryRegion.sbuf, (128, width), float32, f"t{number}", kind))
        return number

    def emit(self, opcode: str, *rows: tuple[int, int], values: Sequence[float] = (), line: int = 0) -> None:
        """An instruction on (buffer, offset) rows, the first of them written."""
        operands = tuple(
            OperandSignature(
                f"operand{position}",
                "read" if position else "write",
                MemoryRegion.sbuf,
                self.buffers[buffer].shape,
                float32,
                float32,
                (128, 8),
                (64, 1),
            )
            for position, (buffer, _) in enumerate(rows)
        )
        names = tuple(f"value{position}" for position in range(len(values)))
        signature = Signature(opcode, Engine.VECTOR, (), operands, names)
        self.ids.append(self.signatures.setdefault(signature, len(self.signatures)))
        self.lines.append(line)
        self.rows += rows
        self.immediates += values

    def program(self, loops: Sequence[Loop] = ()) -> Program:
        """What was recorded."""
        return Program(
            kernel="synthetic",
            target_name="trn2",
            buffers=tuple(self.buffers),
            signatures=tuple(self.signatures),
            signature_ids=np.asarray(self.ids, np.int32),
            operands=np.asarray(self.rows, np.int64).reshape(-1, 2),
            immediates=np.asarray(self.immediates, np.float64),
            locations=tuple(("kernel.py", line + 1, "kernel") for line in range(max(self.lines, default=0) + 1)),
            location_ids=np.asarray(self.lines, np.int32),
            loops=tuple(loops),
        )
