"""Calls as data: an instruction's published function with its arguments, varied one at a time, and judged by a trace.

A judgement traces and runs nothing. It also keeps the call as the rules saw it, so that a test can say which rules a
refused call breaks: the one under test, and no other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import Any, NamedTuple
from unittest import mock

from trnlab.emulator import signing
from trnlab.emulator.errors import KernelError
from trnlab.emulator.isa import sync, validate
from trnlab.emulator.isa.catalogue import CATALOGUE
from trnlab.emulator.isa.registry import Breach, Call, Limit, OperandView
from trnlab.emulator.isa.tensor_indirection import USES
from trnlab.emulator.nki import isa as nisa, language as nl
from trnlab.emulator.target import Feature, Target, get_target
from trnlab.emulator.tensor import NkiTensor
from trnlab.emulator.trace import Trace, current

TARGETS = ("trn1", "trn2", "trn3", "trn4")


@dataclass(frozen=True, slots=True)
class Tile:
    """A tensor argument, to be allocated in the call.

    start:   the view's first partition inside its buffer
    spread:  elements of the buffer for each one of the view, along the last dimension
    columns: the index of tensor indirection
    rows:    the index of a vector of row numbers, for a tensor in HBM
    moved:   whether a register offsets the view's dimension 0 at run time
    """

    shape: tuple[int, ...]
    dtype: str = "float32"
    region: str = "sbuf"
    start: int = 0
    spread: int = 1
    columns: Tile | None = None
    rows: Tile | None = None
    moved: bool = False

    def of(self, **changes: Any) -> Tile:
        """The same but for the fields given."""
        return replace(self, **changes)

    @property
    def free(self) -> int:
        """Elements per partition."""
        return prod(self.shape[1:])

    def with_partitions(self, count: int) -> Tile:
        """The same free dimensions over another number of partitions."""
        return self.of(shape=(count, *self.shape[1:]))

    def with_free(self, count: int) -> Tile:
        """Another number of elements per partition; leading free dimensions of one stay."""
        lead = self.shape[1:-1] if set(self.shape[1:-1]) <= {1} else ()
        return self.of(shape=(self.shape[0], *lead, count))

    def with_dimensions(self, count: int) -> Tile:
        """The same elements per partition in that many dimensions."""
        return self.of(shape=(self.shape[0], *(1,) * (count - 2), self.free))

    def build(self, indices: dict[Tile, Any]) -> Any:
        """The tensor, in the kernel being traced; `indices` holds those of tensor indirection, equal ones once."""
        if self.region == "register":
            return nisa.register_alloc()
        if self.rows is not None or self.moved:
            return self._addressed()
        height, free = self.start + self.shape[0], self.shape[1:]
        lanes = (self.spread,) if self.spread > 1 else ()
        whole = nl.ndarray((height, *free, *lanes), dtype=self.dtype, buffer=getattr(nl, self.region))
        view = whole[self.start : height] if self.start else whole
        view = view.select(view.ndim - 1, 0) if lanes else view
        if self.columns is None:
            return view
        if self.columns not in indices:
            indices[self.columns] = self.columns.build(indices)
        return view.indirect(indices[self.columns], self.free)

    def _addressed(self) -> NkiTensor:
        whole = nl.ndarray(self.shape, dtype=self.dtype, buffer=getattr(nl, self.region))
        pattern = [[stride, size] for stride, size in zip(whole.strides, whole.shape, strict=True)]
        if self.rows is not None:
            return whole.ap(pattern, vector_offset=self.rows.build({}))
        return whole.ap(pattern, scalar_offset=nisa.register_alloc(0))


class Same(NamedTuple):
    """An argument that is the very tensor of another one."""

    argument: str


@dataclass(frozen=True)
class Example:
    """One use of an instruction: its published name and the arguments, tensors among them as `Tile`."""

    instruction: str
    arguments: Mapping[str, Any]

    def having(self, **changes: Any) -> Example:
        """The same call with other arguments."""
        return Example(self.instruction, {**self.arguments, **changes})

    def tile(self, operand: str) -> Tile:
        """The tensor argument of that name."""
        found = self.arguments[operand]
        assert isinstance(found, Tile), f"{operand} of {self.instruction} is no tensor in the example"
        return found

    @property
    def tiles(self) -> dict[str, Tile]:
        """The tensor arguments."""
        return {name: value for name, value in self.arguments.items() if isinstance(value, Tile)}

    def emit(self) -> None:
        """Call the published function in the kernel being traced."""
        indices: dict[Tile, Any] = {}
        built = {name: v.build(indices) if isinstance(v, Tile) else v for name, v in self.arguments.items()}
        built = {name: built[v.argument] if isinstance(v, Same) else v for name, v in built.items()}
        if self.instruction == "device_print":
            current("device_print").emit(sync.device_print, (built["data"],), ("prefix",))
            return
        if self.instruction == "dma_compute":
            names = [name for name in built if name.startswith("src")]
            built["srcs"] = [built.pop(name) for name in names]
        getattr(nisa, self.instruction)(**built)


class Altered(NamedTuple):
    """A call that no published function makes: an example's call, changed as data."""

    example: Example
    change: Callable[[Call], Call]


Case = Example | Altered


class Judgement(NamedTuple):
    """What became of a call: as the rules saw it (None where none saw it), the rules it breaks, the error raised."""

    call: Call | None
    broken: tuple[Breach, ...]
    error: KernelError | None


def judge(case: Case, target: str) -> Judgement:
    """Trace the call on the target."""
    if isinstance(case, Altered):
        call = case.change(call_of(case.example, target))
        return Judgement(call, broken_rules(call), None)
    seen: list[Call] = []

    def watched(spec: Any, call: Call) -> Any:
        seen.append(call)
        return validate.breaches(spec, call)

    trace, error = Trace("edge", get_target(target)), None
    with trace.opened(), mock.patch.object(signing, "breaches", watched):
        try:
            case.emit()
        except KernelError as raised:
            error = raised
    judged = [call for call in seen if call.opcode == case.instruction]
    return Judgement(judged[0], broken_rules(judged[0]), error) if judged else Judgement(None, (), error)


def call_of(example: Example, target: str) -> Call:
    """The call of an example that is taken on the target."""
    judgement = judge(example, target)
    assert judgement.error is None, judgement.error
    assert judgement.call is not None
    return judgement.call


def broken_rules(call: Call) -> tuple[Breach, ...]:
    """Every rule that the call breaks."""
    return tuple(validate.breaches(CATALOGUE[call.opcode], call))


def limits_of(instruction: str, target: Target) -> tuple[Limit, ...]:
    """The instruction's own limits, with those that bind it under tensor indirection where the target has that."""
    use = USES.get(instruction) if target.has(Feature.TENSOR_INDIRECTION) else None
    return (*CATALOGUE[instruction].limits, *(use.limits if use else ()))


def altered(call: Call, operand: str, **changes: Any) -> Call:
    """The call with other facts of one operand; strides follow a new shape."""
    view = call[operand]
    if "shape" in changes:
        changes.setdefault("strides", tuple(prod(changes["shape"][i + 1 :]) for i in range(len(changes["shape"]))))
    changed: dict[str, OperandView] = {**call.operands, operand: replace(view, **changes)}
    return replace(call, operands=changed)


def exists(instruction: str, target: Target) -> bool:
    """Whether the target has the instruction."""
    spec = CATALOGUE[instruction]
    return target.generation >= spec.since and (spec.feature is None or target.has(spec.feature))
