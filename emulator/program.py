"""The program: what tracing a kernel yields, as immutable plain data, in columns made for fast folding.

An instruction is a *signature* (everything that repeats from one loop iteration to the next) plus a *row* of numbers
(what may advance: which buffer and which element offset for every operand, and the immediates). The program stores
one signature number per instruction and the rows end to end; `program[i]` shows row and signature joined as an
`Instruction`. Structured loops are intervals over the rows. A *folded* program has repeats too: intervals executed
several times, their rows advancing (see `repeats`); its columns hold what the first iteration executes.

Relations that always hold: instruction i's row is `operands[starts[i] : starts[i+1]]` with one (buffer, offset) pair
per operand of its signature, in signature order; loops and repeats nest or are disjoint, and no loop lies inside a
repeat; buffers are numbered by allocation.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np

from trnlab.emulator.dtypes import DType
from trnlab.emulator.errors import SourceLocation
from trnlab.emulator.memory import Buffer, MemoryRegion
from trnlab.emulator.repeats import Repeat
from trnlab.emulator.target import Engine

Access = Literal["read", "write", "update"]
LoopKind = Literal["for", "while"]
IndexArray = np.ndarray[Any, np.dtype[np.int64]]
ValueArray = np.ndarray[Any, np.dtype[np.float64]]


class IndirectionSignature(NamedTuple):
    """The repeating part of a run-time address; the index is the operand that follows, named "<operand>.index".

    kind, stride, extent: see `runtime_index.Indirection`
    group: kind "columns" only: column i takes its offset from `index[i % group, i // group]`
    """

    kind: str
    stride: int
    extent: int
    group: int = 0


class OperandSignature(NamedTuple):
    """The repeating part of an operand: how it is used, the class of its buffer, and its access pattern."""

    name: str
    access: Access
    region: MemoryRegion
    buffer_shape: tuple[int, ...]
    buffer_dtype: DType
    dtype: DType
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    indirection: IndirectionSignature | None = None

    @property
    def reads(self) -> bool:
        """Whether the instruction sees the operand's old content."""
        return self.access != "write"

    @property
    def writes(self) -> bool:
        """Whether the instruction changes the operand."""
        return self.access != "read"


class Signature(NamedTuple):
    """All of an instruction but its row: opcode, engine, attributes, operands, and the names of its immediates."""

    opcode: str
    engine: Engine
    attributes: tuple[tuple[str, Any], ...]
    operands: tuple[OperandSignature, ...]
    immediates: tuple[str, ...] = ()

    def attribute(self, name: str, default: Any = None) -> Any:
        """The value of an attribute, or the default when the instruction was built without it."""
        return next((value for key, value in self.attributes if key == name), default)

    def operand(self, name: str) -> OperandSignature | None:
        """The operand of that name, or None when the instruction was built without it."""
        return next((operand for operand in self.operands if operand.name == name), None)


class OperandRecord(NamedTuple):
    """One operand of one instruction: its signature, its buffer and its element offset."""

    signature: OperandSignature
    buffer: Buffer
    offset: int


@dataclass(frozen=True, slots=True)
class Instruction:
    """A view of one row of a program."""

    number: int
    signature: Signature
    operands: tuple[OperandRecord, ...]
    immediates: Mapping[str, float]
    location: SourceLocation | None
    name: str = ""

    @property
    def opcode(self) -> str:
        """The instruction's published name."""
        return self.signature.opcode

    @property
    def engine(self) -> Engine:
        """The engine that executes it."""
        return self.signature.engine


@dataclass(frozen=True, slots=True, kw_only=True)
class Loop:
    """A structured loop over the instructions begin <= i < end, run with bounds known when the kernel runs.

    kind "for":   the register counts from lower to upper (exclusive) in steps of step.
    kind "while": the body runs as long as the register is not zero; the body's instructions update it.
    lower, upper: integers, or the number of the register buffer that holds the bound (`lower_register`, ...).
    """

    kind: LoopKind
    begin: int
    end: int
    register: int
    lower: int = 0
    upper: int = 0
    step: int = 1
    lower_register: int | None = None
    upper_register: int | None = None


@dataclass(frozen=True, eq=False)
class Program:
    """An immutable kernel program; compares, hashes and round-trips through JSON by content.

    repeats:  static loops of a folded program, inner before outer; `flat` is the program without them
    inputs:   buffers of the kernel's tensor arguments, in order
    outputs:  buffers returned, in order (an input may be returned)
    constants: data of the buffers of kind "constant", and what state holds before anything writes it
    edges:    extra (producer, consumer) orderings asked for with `depends_on`
    target_name, kernel: what it was traced for, and the kernel's name
    """

    kernel: str
    target_name: str
    buffers: tuple[Buffer, ...]
    signatures: tuple[Signature, ...]
    signature_ids: np.ndarray[Any, np.dtype[np.int32]]
    operands: IndexArray
    immediates: ValueArray
    locations: tuple[tuple[str, int, str], ...]
    location_ids: np.ndarray[Any, np.dtype[np.int32]]
    loops: tuple[Loop, ...] = ()
    repeats: tuple[Repeat, ...] = ()
    inputs: tuple[int, ...] = ()
    outputs: tuple[int, ...] = ()
    names: Mapping[int, str] = field(default_factory=dict)
    edges: tuple[tuple[int, int], ...] = ()
    constants: Mapping[int, bytes] = field(default_factory=dict)

    def __len__(self) -> int:
        """How many instructions are stored: a loop's body counts once. `len(program.flat)` counts repeats in full."""
        return len(self.signature_ids)

    @cached_property
    def flat(self) -> Program:
        """The program with its repeats written out; itself when it has none."""
        from trnlab.emulator.fold_flatten import flatten

        return flatten(self)

    @cached_property
    def operand_starts(self) -> IndexArray:
        """Where each instruction's operand rows start; one entry more than there are instructions."""
        return self._starts([len(signature.operands) for signature in self.signatures])

    @cached_property
    def immediate_starts(self) -> IndexArray:
        """Where each instruction's immediates start; one entry more than there are instructions."""
        return self._starts([len(signature.immediates) for signature in self.signatures])

    def _starts(self, widths: list[int]) -> IndexArray:
        counts = np.asarray(widths, np.int64)[self.signature_ids] if widths else np.zeros(0, np.int64)
        return np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])

    @cached_property
    def mutated_inputs(self) -> tuple[int, ...]:
        """Inputs that some instruction writes, in argument order."""
        if self.repeats:
            return self.flat.mutated_inputs
        written: set[int] = set()
        ids = self.signature_ids
        for number, signature in enumerate(self.signatures):
            for position, operand in enumerate(signature.operands):
                if operand.writes:
                    written.update(self.operands[self.operand_starts[:-1][ids == number] + position, 0].tolist())
        return tuple(number for number in self.inputs if number in written)

    def row(self, number: int) -> IndexArray:
        """The (buffer, offset) pairs of one instruction's operands."""
        return self.operands[self.operand_starts[number] : self.operand_starts[number + 1]]

    def immediate_row(self, number: int) -> ValueArray:
        """The immediates of one instruction, in signature order."""
        return self.immediates[self.immediate_starts[number] : self.immediate_starts[number + 1]]

    def signature_of(self, number: int) -> Signature:
        """The signature of one instruction."""
        return self.signatures[int(self.signature_ids[number])]

    def location_of(self, number: int) -> SourceLocation | None:
        """The kernel's source line of one instruction, when it is known."""
        index = int(self.location_ids[number])
        return None if index < 0 else SourceLocation(*self.locations[index])

    def __getitem__(self, number: int) -> Instruction:
        if not -len(self) <= number < len(self):
            raise IndexError(f"instruction {number} of a program of {len(self)}")
        number %= len(self)
        signature = self.signature_of(number)
        records = tuple(
            OperandRecord(operand, self.buffers[buffer], int(offset))
            for operand, (buffer, offset) in zip(signature.operands, self.row(number).tolist(), strict=True)
        )
        values = dict(zip(signature.immediates, self.immediate_row(number).tolist(), strict=True))
        return Instruction(number, signature, records, values, self.location_of(number), self.names.get(number, ""))

    def __iter__(self) -> Iterator[Instruction]:
        return (self[number] for number in range(len(self)))

    def count_by_opcode(self) -> dict[str, int]:
        """How many instructions of each opcode, most frequent first; bodies of loops and repeats count once."""
        totals: dict[str, int] = {}
        counts = np.bincount(self.signature_ids, minlength=len(self.signatures))
        for signature, count in zip(self.signatures, counts.tolist(), strict=True):
            totals[signature.opcode] = totals.get(signature.opcode, 0) + count
        return dict(sorted(totals.items(), key=lambda item: -item[1]))

    # -- identity ---------------------------------------------------------------------------------------------------

    def to_json(self) -> str:
        """The whole program as JSON text; `from_json` restores an equal program."""
        from trnlab.emulator.program_json import encode

        return json.dumps(encode(self), separators=(",", ":"), sort_keys=True)

    @staticmethod
    def from_json(text: str) -> Program:
        """The program that `to_json` wrote.

        Raises:
            ValueError: not a trnlab program, one of another format version, or a damaged one.
        """
        from trnlab.emulator.program_json import decode

        data = json.loads(text)
        try:
            return decode(data)
        except (KeyError, TypeError, AttributeError, IndexError) as error:
            raise ValueError(f"a damaged trnlab program: {type(error).__name__}: {error}") from error

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the program's content."""
        found = hashlib.sha256()
        for part in _content(self):
            found.update(part if isinstance(part, bytes) else repr(part).encode())
            found.update(b"|")
        return found.hexdigest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Program) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def replace(self, **changes: Any) -> Program:
        """A copy with some fields changed."""
        return replace(self, **changes)

    def __str__(self) -> str:
        from trnlab.emulator.listing import listing

        return listing(self)

    def __repr__(self) -> str:
        folded = f", {len(self.repeats)} repeats" if self.repeats else ""
        return (
            f"<Program {self.kernel} for {self.target_name}: {len(self)} instructions, {len(self.loops)} loops{folded}>"
        )


def _content(program: Program) -> Iterator[Any]:
    """Everything that makes a program, as bytes and as values whose representation is exact."""
    yield from (program.kernel, program.target_name, program.buffers, program.signatures, program.locations)
    yield from (program.loops, program.inputs, program.outputs, program.edges, sorted(program.names.items()))
    columns = (program.signature_ids, program.operands, program.immediates, program.location_ids)
    yield from ((column.dtype.str, column.shape) for column in columns)
    yield from (column.tobytes() for column in columns)
    for number, data in sorted(program.constants.items()):
        yield number
        yield data
    for repeat in program.repeats:
        yield repeat.begin, repeat.end, repeat.trips
        tables: list[tuple[int, int, Any]] = [(table.row, table.column, table.values) for table in repeat.tables]
        tables += [(table.number, -1, table.values) for table in repeat.immediates]
        tables += [] if repeat.trip_table is None else [(-1, -1, repeat.trip_table)]
        for row, column, values in [(0, 0, repeat.steps), *tables]:
            yield row, column, values.shape
            yield values.tobytes()
