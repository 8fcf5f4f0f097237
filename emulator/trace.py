"""Calls a kernel and records its program, with source lines; executes along the way when it has an executor.

A `Trace` is one kernel call. The public NKI face finds it through `current()` and asks it for three things: memory
(`allocate`), instructions (`emit`) and structured loops (`loop`). What has been judged once is not judged again: an
instruction's signature is checked against its facts when it first appears, later only its offsets are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from types import CodeType
from typing import Any, NamedTuple, NoReturn

import numpy as np

from trnlab.emulator.dtypes import DType
from trnlab.emulator.errors import ArgumentError, SourceLocation, TensorLifetimeError, TraceError, Violation
from trnlab.emulator.isa.registry import InstructionSpec
from trnlab.emulator.loops import Executor as Executor, LoopBody, Runner, Step  # noqa: PLC0414 - belongs to Trace
from trnlab.emulator.memory import (
    HBM_REGIONS,
    ON_CHIP_REGIONS,
    Allocation,
    Buffer,
    BufferKind,
    MemoryRegion,
    as_element,
    as_region,
    as_sizes,
    check_hbm,
    check_on_chip,
    to_bytes,
    uninitialised_bytes,
)
from trnlab.emulator.numerics.microscaling_policies import DEFAULT_MX, MxChoice
from trnlab.emulator.ordering import NkiInstruction as NkiInstruction  # noqa: PLC0414 - belongs to Trace
from trnlab.emulator.program import Loop, Program, Signature
from trnlab.emulator.psum import origin_of, record_of
from trnlab.emulator.register_loops import RegisterLoops
from trnlab.emulator.signing import (
    check_columns,
    check_starts,
    index_tensor,
    is_label,
    number,
    sign,
    starting_operands,
    takes_columns,
)
from trnlab.emulator.source import caller, caller_frame, fail
from trnlab.emulator.target import Engine, Target
from trnlab.emulator.tensor import NkiTensor, VirtualRegister

_current: ContextVar[Trace | None] = ContextVar("trnlab_trace", default=None)


def active() -> Trace | None:
    """The kernel call being traced, or None outside kernels."""
    return _current.get()


def current(subject: str) -> Trace:
    """The kernel call being traced.

    Raises:
        TraceError: `subject` was called outside a kernel.
    """
    trace = _current.get()
    if trace is None:
        fail(TraceError, subject, found="a call outside a kernel", allowed="a call inside a kernel under @nki.jit")
    return trace


class _Known(NamedTuple):
    """A signature already judged: its number, itself, what executes it, and whose start partitions still vary."""

    number: int
    signature: Signature
    run: Runner | None
    positions: tuple[int, ...]
    good_starts: set[tuple[int, ...]]
    takes_columns: bool


class Trace:
    """One kernel call on one target: records the program, owns its tensors, executes when given an executor."""

    def __init__(
        self, kernel: str, target: Target, executor: Executor | None = None, *, mx: MxChoice = DEFAULT_MX
    ) -> None:
        self.kernel = kernel
        self.target = target
        self.executor = executor
        self.mx = mx
        self.is_open = False
        self._buffers: list[Buffer] = []
        self._hbm_bytes = 0
        self._classes: dict[tuple[MemoryRegion, tuple[int, ...], DType], int] = {}
        self._known: dict[tuple[Any, ...], _Known] = {}
        self._signature_ids: list[int] = []
        self._rows: list[int] = []
        self._immediates: list[float] = []
        self._locations: dict[tuple[CodeType, int], int] = {}
        self._location_ids: list[int] = []
        self._names: dict[int, str] = {}
        self._edges: list[tuple[int, int]] = []
        self._loops: list[Loop] = []
        self._open_loops: list[LoopBody] = []
        self._constants: dict[int, bytes] = {}
        self._state: dict[str, NkiTensor] = {}
        self._written: set[int] = set()
        self._broken_loop: SourceLocation | None = None
        self._register_loops = RegisterLoops()
        self._ordered_blocks = 0

    @contextmanager
    def opened(self) -> Iterator[Trace]:
        """Make this the current kernel call for the duration of the block."""
        token = _current.set(self)
        self.is_open = True
        try:
            yield self
        finally:
            self.is_open = False
            _current.reset(token)

    # -- memory -----------------------------------------------------------------------------------------------------

    def allocate(
        self,
        shape: Sequence[int],
        dtype: Any,
        region: MemoryRegion | str = MemoryRegion.sbuf,
        *,
        name: str = "",
        address: tuple[int, int] | None = None,
        kind: BufferKind = "local",
        contents: np.ndarray[Any, Any] | None = None,
        subject: str = "nl.ndarray",
    ) -> NkiTensor:
        """A tensor over a new buffer; fresh memory shows its use (NaN, or a sentinel for integers).

        Raises:
            ShapeError, PartitionError, CapacityError, ArgumentError: see `memory.check_on_chip`, `check_hbm`.
            DtypeError: no NKI dtype of that name.
        """
        sizes = as_sizes(subject, shape)
        element = as_element(subject, dtype)
        place = as_region(region)
        label = name or f"t{len(self._buffers)}"
        # Where a kernel was called from is no part of its program.
        line = -1 if kind == "input" else self._locate()
        buffer = Buffer(len(self._buffers), place, sizes, element, label, kind, address, line)
        if place in ON_CHIP_REGIONS:
            check_on_chip(subject, buffer, self.target)
        elif place in HBM_REGIONS:
            self._hbm_bytes += buffer.nbytes
            check_hbm(subject, buffer, self._hbm_bytes, self.target)
        self._buffers.append(buffer)
        if kind in ("constant", "state") and contents is not None:
            self._written.add(buffer.number)
            self._constants[buffer.number] = to_bytes(contents).tobytes()
        class_id = self._classes.setdefault((place, sizes, element), len(self._classes))
        return NkiTensor(sizes, element, Allocation(buffer, self, self._bytes_of(buffer, contents), class_id))

    def _bytes_of(self, buffer: Buffer, contents: np.ndarray[Any, Any] | None) -> Any:
        if self.executor is None:
            return None
        return uninitialised_bytes(buffer.dtype, buffer.nbytes) if contents is None else to_bytes(contents)

    def register(self, name: str = "") -> VirtualRegister:
        """A fresh 32-bit sequencer register."""
        label = name or f"r{len(self._buffers)}"
        return VirtualRegister(self.allocate((1,), "int32", MemoryRegion.register, name=label))

    def engine_state(
        self, name: str, words: int = 1, dtype: Any = "float32", initial: np.ndarray[Any, Any] | None = None
    ) -> NkiTensor:
        """Registers of an engine that outlive its instructions, `words` in each lane; made at first use."""
        if name not in self._state:
            self._state[name] = self.allocate(
                (self.target.partitions, words), dtype, MemoryRegion.register, name=name, kind="state", contents=initial
            )
        return self._state[name]

    def was_written(self, tensor: NkiTensor) -> bool:
        """Whether any instruction so far wrote the tensor's buffer, or it is a constant."""
        return tensor._allocation.buffer.number in self._written

    def predates_loop(self, tensor: NkiTensor) -> bool:
        """Whether the tensor was allocated outside the structured loop that is being recorded."""
        return bool(self._open_loops) and tensor._allocation.buffer.number < self._open_loops[-1].first_buffer

    def assign(self, view: NkiTensor, value: Any) -> None:
        """`tensor[key] = value`: a store, a copy or a fill, by where the two live."""
        from trnlab.emulator.nki.assignment import assign

        assign(view, value)

    def condition(self, register: VirtualRegister) -> bool:
        """What `while register:` asks: whether Python shall go into the body (see `register_loops`)."""
        return self._register_loops.ask(register, self.loop)

    # -- instructions -----------------------------------------------------------------------------------------------

    def emit(
        self,
        spec: InstructionSpec,
        operands: Sequence[Any],
        attributes: tuple[Any, ...] = (),
        immediates: Sequence[float] = (),
        engine: Engine | None = None,
        name: str | None = None,
    ) -> NkiInstruction:
        """Record one instruction, and execute it when the trace executes.

        operands: in the order of the spec; a tensor, a register, a number where the operand may be immediate, or None
        attributes, immediates: values in the order of the spec

        Raises:
            KernelError: the call breaks a rule of the instruction on this target; the subclass says which kind.
            TensorLifetimeError: an operand of another kernel call, or a kernel call that has ended.
        """
        tensors: list[NkiTensor] = []
        values: list[float] = []
        row: list[int] = []
        key: list[Any] = [spec.name, engine, attributes]
        for position, operand in enumerate(operands):
            if type(operand) is NkiTensor:
                self._take(spec, position, operand, tensors, row, key)
            elif operand is None:
                key.append(None)
            elif type(operand) is VirtualRegister:
                self._take(spec, position, operand.tensor, tensors, row, key)
            else:
                values.append(number(spec, spec.operands[position], operand))
                key.append(0)
        values += immediates
        identity = tuple(key)
        known = self._known.get(identity)
        if known is None:
            known = self._known[identity] = self._learn(spec, operands, attributes, engine)
        if known.positions:
            self._check_starts(spec, known, tensors)
        return self._append(known, tensors, row, values, name)

    def _take(
        self,
        spec: InstructionSpec,
        position: int,
        tensor: NkiTensor,
        tensors: list[NkiTensor],
        row: list[int],
        key: list[Any],
    ) -> None:
        """Add a tensor, and the index of its indirection, to the instruction being built."""
        allocation, indirection = tensor._allocation, tensor.indirection
        if allocation.owner is not self or not self.is_open or tensor.fault is not None:
            self._reject(spec, position, tensor)
        tensors.append(tensor)
        row += (allocation.buffer.number, tensor.offset)
        how = None if indirection is None else (indirection.kind, indirection.stride, indirection.extent)
        key.append((allocation.class_id, tensor.dtype, tensor.shape, tensor.strides, how))
        index = index_tensor(tensor)
        if index is not None:
            self._take(spec, position, index, tensors, row, key)

    def _reject(self, spec: InstructionSpec, position: int, tensor: NkiTensor) -> NoReturn:
        tensor.require_reachable()
        fail(
            TensorLifetimeError,
            f"nisa.{spec.name}",
            operand=spec.operands[position].name,
            found=f"{tensor.describe()}, which belongs to {'another' if self.is_open else 'an ended'} kernel call",
            allowed="a tensor of this kernel call",
        )

    def _learn(
        self, spec: InstructionSpec, operands: Sequence[Any], attributes: tuple[Any, ...], engine: Engine | None
    ) -> _Known:
        signature = sign(spec, operands, attributes, engine, self.target)
        run = None if self.executor is None else self.executor.prepare(signature)
        return _Known(len(self._known), signature, run, starting_operands(signature), set(), takes_columns(signature))

    def _check_starts(self, spec: InstructionSpec, known: _Known, tensors: list[NkiTensor]) -> None:
        starts = tuple([tensors[position].start_partition for position in known.positions])
        if starts not in known.good_starts:
            check_starts(spec, known.signature, known.positions, starts, self.target)
            known.good_starts.add(starts)
        if known.takes_columns:
            check_columns(spec, known.signature, tensors, self.target)

    def _append(
        self, known: _Known, tensors: list[NkiTensor], row: list[int], values: list[float], name: str | None
    ) -> NkiInstruction:
        index = len(self._signature_ids)
        self._signature_ids.append(known.number)
        self._rows += row
        self._immediates += values
        self._location_ids.append(self._locate())
        if name is not None and is_label(known.signature.opcode, name):
            self._names[index] = name
        for operand, tensor in zip(known.signature.operands, tensors, strict=True):
            if operand.access != "read":
                self._written.add(tensor._allocation.buffer.number)
                if operand.region is MemoryRegion.psum:
                    record_of(tensor).note(tensor, origin_of(known.signature, values))
        if known.run is not None:
            if self._open_loops:
                frame = caller_frame()
                self._open_loops[-1].steps.append(Step(known.run, tensors, values, frame.f_code, frame.f_lineno))
            else:
                known.run(tensors, values)
        return NkiInstruction(self, index)

    def add_edge(self, producer: int, consumer: int) -> None:
        """Order instruction `consumer` after `producer`, which must be the earlier one."""
        if producer >= consumer:
            fail(ArgumentError, "depends_on", found="a producer recorded after its consumer", allowed="an earlier one")
        self._edges.append((producer, consumer))

    @contextmanager
    def in_order(self) -> Iterator[None]:
        """Order every instruction of the block after the one before it (`nl.no_reorder`)."""
        begin = len(self._signature_ids)
        self._ordered_blocks += 1
        try:
            yield
        finally:
            self._ordered_blocks -= 1
        if not self._ordered_blocks:  # the outermost block orders those inside it too
            self._edges += [(number, number + 1) for number in range(begin, len(self._signature_ids) - 1)]

    def _locate(self) -> int:
        frame = caller_frame(2)
        return self._locations.setdefault((frame.f_code, frame.f_lineno), len(self._locations))

    # -- structured loops -------------------------------------------------------------------------------------------

    @contextmanager
    def loop(self, body: LoopBody) -> Iterator[None]:
        """Record the instructions of the block as the body of one structured loop, then execute it.

        Raises:
            TraceError: the loop stands inside `in_order`, or (when the kernel ends) it was left by `break` or `return`.
        """
        if self._ordered_blocks:
            found, allowed = "a dynamic loop inside nl.no_reorder", "nl.no_reorder inside the loop's body"
            fail(TraceError, "nl.no_reorder", found=found, allowed=allowed, source="NKI guide, dynamic loops")
        body.begin, body.first_buffer = len(self._signature_ids), len(self._buffers)
        condition = body.register._allocation.buffer.number
        self._written.discard(condition)
        self._open_loops.append(body)
        try:
            yield
        except GeneratorExit:
            # Nothing may be raised while a generator is closed, so the kernel's end reports it.
            self._broken_loop = caller()
            raise
        finally:
            self._open_loops.pop()
        if body.kind == "while" and condition not in self._written:
            fail(TraceError, "while", found="a body that never writes the condition", allowed="a loop that can end")
        self._loops.append(body.close(len(self._signature_ids)))
        if self._open_loops:
            self._open_loops[-1].steps.append(body)
        elif self.executor is not None:
            body.replay()

    # -- the result -------------------------------------------------------------------------------------------------

    def program(self, inputs: Sequence[NkiTensor], outputs: Sequence[NkiTensor]) -> Program:
        """Everything recorded, as immutable data."""
        self._register_loops.require_closed()
        if self._broken_loop is not None or self._open_loops:
            found, allowed = "a dynamic loop left by break or return", "a body that always runs to its end"
            violation = Violation(
                subject="nl.dynamic_range", found=found, allowed=allowed, location=self._broken_loop or caller()
            )
            raise TraceError(violation)
        codes = [(code.co_filename, line, code.co_qualname) for code, line in self._locations]
        return Program(
            kernel=self.kernel,
            target_name=self.target.name,
            buffers=tuple(self._buffers),
            signatures=tuple(known.signature for known in self._known.values()),
            signature_ids=np.asarray(self._signature_ids, np.int32),
            operands=np.asarray(self._rows, np.int64).reshape(-1, 2),
            immediates=np.asarray(self._immediates, np.float64),
            locations=tuple(codes),
            location_ids=np.asarray(self._location_ids, np.int32),
            loops=tuple(self._loops),
            inputs=tuple(tensor._allocation.buffer.number for tensor in inputs),
            outputs=tuple(tensor._allocation.buffer.number for tensor in outputs),
            names=self._names,
            edges=tuple(self._edges),
            constants=self._constants,
        )
