"""What an instruction is: facts in a decorator, meaning in a body, together one `InstructionSpec`.

    @instruction(
        engines=(Engine.VECTOR, Engine.GPSIMD),
        operands=(writes("dst"), reads("data1"), reads("data2")),
        attributes=("op",),
        limits=(SameElements("dst", "data1", "data2"), ...),
        source="NKI reference, nisa.tensor_tensor",
    )
    def tensor_tensor(data1, data2, *, op):
        \"\"\"dst = data1 <op> data2, element by element.\"\"\"

A body is pure JAX. It names what it wants: an operand it reads arrives as an array, an operand that is only
written arrives as a `jax.ShapeDtypeStruct`, an operand left out arrives as None, attributes and immediates arrive by
name; `dtypes` (the DType of each operand present, by name) and `math` (see below) arrive when asked for. It returns
one array per written operand that is present, in operand order. Reading through views, casting on write and the
target's `NumericsPolicy` belong to the executor (`backends.semantics`), never to a body: one of raw math that rounds
float32 itself asks for `narrow`, the executor's rounding.

How a body sees its operands follows from two facts of the spec:

math    "float32": operands are widened to float32, results are sealed and rounded to the destination's dtype.
        "raw": operands and results are storage elements, untouched. A function of the call chooses between them;
        an operand whose facts say so is raw in any case.
layout  "flat": on-chip operands are [partitions, elements per partition]. "view": operands keep their view's shape.
moves   the body returns its one source, element order kept: where its math is raw an executor may move bytes instead.
rows    where the rows of a source that a vector of indices gathers lie in the result: "first" or "last" dimension.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any, Literal, NamedTuple, Protocol

import jax

from trnlab.emulator.dtypes import DTYPES, DType
from trnlab.emulator.errors import KernelError
from trnlab.emulator.memory import ON_CHIP_REGIONS, MemoryRegion
from trnlab.emulator.program import Access, Signature
from trnlab.emulator.target import Engine, Feature, Generation, Target

Math = Literal["float32", "raw"]
Layout = Literal["flat", "view"]
Rows = Literal["first", "last"]
Narrow = Callable[[jax.Array, DType], jax.Array]
"""float32 rounded into a dtype as the target's `NumericsPolicy` says, as an array of the dtype's storage."""

SBUF = frozenset({MemoryRegion.sbuf})
PSUM = frozenset({MemoryRegion.psum})
ON_CHIP = frozenset(ON_CHIP_REGIONS)
HBM = frozenset({MemoryRegion.private_hbm, MemoryRegion.shared_hbm})
DMA_REACH = SBUF | HBM
REGISTER = frozenset({MemoryRegion.register})

ANY_DTYPE = frozenset(DTYPES)
UNPACKED_DTYPES = frozenset(dtype for dtype in DTYPES if not dtype.is_packed)
PACKED_DTYPES = frozenset(dtype for dtype in DTYPES if dtype.is_packed)
INTEGER_DTYPES = frozenset(dtype for dtype in DTYPES if dtype.is_integer)
FLOAT_DTYPES = frozenset(dtype for dtype in DTYPES if dtype.is_float)


@dataclass(frozen=True, slots=True, kw_only=True)
class Operand:
    """The facts of one operand.

    immediate:     may be a compile-time number instead of a tensor
    optional:      may be left out (None)
    per_partition: one element in each partition, broadcast along the free dimension
    quadrant_offsets: start partitions allowed inside a quadrant of 32 beyond 0 (MX scale tiles)
    update_if:     the attribute that, where it holds, makes this written operand one that is read as well
    update_values: the values of that attribute that do; without them, every value that counts as true
    keeps:         where update_if holds, it is read only to leave what the instruction does not write as it was
    starts_with:   operands whose partition counts bind its start partition too
    partitions_read: the partitions of its view that are read, where these are not all
    raw:           storage elements, untouched, even where the body's math is float32 (generator states, moved data)
    """

    name: str
    access: Access
    regions: frozenset[MemoryRegion] = ON_CHIP
    dtypes: frozenset[DType] = UNPACKED_DTYPES
    immediate: bool = False
    optional: bool = False
    per_partition: bool = False
    quadrant_offsets: tuple[int, ...] = (0,)
    update_if: str = ""
    update_values: frozenset[str] = frozenset()
    keeps: bool = False
    starts_with: tuple[str, ...] = ()
    partitions_read: Callable[[Signature], Sequence[int]] | None = None
    raw: bool = False

    def access_in(self, attributes: Mapping[str, Any]) -> Access:
        """How a call with these attributes uses the operand."""
        if not self.update_if:
            return self.access
        value = attributes[self.update_if]
        return "update" if (value in self.update_values if self.update_values else value) else self.access


def reads(name: str, **facts: Any) -> Operand:
    """An operand the instruction reads."""
    return Operand(name=name, access="read", **facts)


def writes(name: str, **facts: Any) -> Operand:
    """An operand the instruction writes; its old content does not matter."""
    return Operand(name=name, access="write", **facts)


def updates(name: str, **facts: Any) -> Operand:
    """An operand the instruction reads and writes."""
    return Operand(name=name, access="update", **facts)


@dataclass(frozen=True, slots=True)
class OperandView:
    """An operand of one call, as limits, engine rules and costs see it."""

    name: str
    access: Access
    region: MemoryRegion
    dtype: DType
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    indirect: str = ""  # "scalar", "vector" or "columns" where a run-time offset takes part

    @property
    def partitions(self) -> int:
        """Size of the partition dimension."""
        return self.shape[0]

    @property
    def free_elements(self) -> int:
        """Elements per partition."""
        return prod(self.shape[1:])

    @property
    def elements(self) -> int:
        """Elements in all."""
        return prod(self.shape)

    def __str__(self) -> str:
        return f"{self.dtype}{list(self.shape)} in {self.region.value}"


@dataclass(frozen=True, slots=True)
class Call:
    """One use of an instruction: its operands, attributes and engine on one target; no offsets, no values.

    immediates: names of the operands given as numbers
    """

    opcode: str
    operands: Mapping[str, OperandView]
    attributes: Mapping[str, Any]
    target: Target
    engine: Engine | None = None
    immediates: tuple[str, ...] = ()

    def __contains__(self, name: str) -> bool:
        return name in self.operands

    def __getitem__(self, name: str) -> OperandView:
        return self.operands[name]

    def present(self, *names: str) -> list[OperandView]:
        """Those of the named operands that are tensors in this call."""
        return [self.operands[name] for name in names if name in self.operands]


@dataclass(frozen=True, slots=True, kw_only=True)
class Breach:
    """How a call breaks a limit: the error's class and the parts of its `Violation`."""

    error: type[KernelError]
    found: str
    allowed: str
    operand: str = ""
    source: str = ""


class LimitText(NamedTuple):
    """A limit in words that need no call: the operands or attributes it binds, what it admits, and its source.

    source: "" where it is the instruction's own page
    """

    operands: tuple[str, ...]
    allowed: str
    source: str = ""


class Limit(Protocol):
    """A documented limit of an instruction, as data that can judge a call and say on a target what it admits."""

    def check(self, call: Call) -> Breach | None:
        """None when the call keeps the limit."""
        ...

    def describe(self, target: Target) -> LimitText:
        """The limit in words, with the target's numbers."""
        ...


EngineRule = Callable[[Call], Engine]
MathRule = Callable[[Call], Math]


@dataclass(frozen=True, slots=True, kw_only=True)
class InstructionSpec:
    """One entry of the catalogue."""

    name: str
    engines: tuple[Engine, ...]
    operands: tuple[Operand, ...]
    attributes: tuple[str, ...]
    immediates: tuple[str, ...]
    limits: tuple[Limit, ...]
    since: Generation
    feature: Feature | None
    math: Math | MathRule
    layout: Layout
    moves: bool
    rows: Rows
    choose_engine: EngineRule
    body: Callable[..., Any]
    wants: frozenset[str]
    source: str
    assumptions: tuple[str, ...] = field(default=())

    @property
    def formula(self) -> str:
        """The first line of the body's docstring."""
        return (inspect.getdoc(self.body) or "").partition("\n")[0]

    def math_of(self, call: Call) -> Math:
        """How operands reach the body in this call."""
        return self.math(call) if callable(self.math) else self.math

    def operand(self, name: str) -> Operand:
        """The facts of the named operand."""
        return next(operand for operand in self.operands if operand.name == name)

    def math_for(self, name: str, math: Math) -> Math:
        """How the named operand reaches the body in a call with this math."""
        return "raw" if self.operand(name).raw else math


def instruction(
    *,
    engines: tuple[Engine, ...],
    operands: tuple[Operand, ...],
    source: str,
    attributes: tuple[str, ...] = (),
    immediates: tuple[str, ...] = (),
    limits: tuple[Limit, ...] = (),
    since: Generation = Generation.V2,
    feature: Feature | None = None,
    math: Math | MathRule = "float32",
    layout: Layout = "flat",
    moves: bool = False,
    rows: Rows = "first",
    choose_engine: EngineRule | None = None,
    assumptions: tuple[str, ...] = (),
) -> Callable[[Callable[..., Any]], InstructionSpec]:
    """Join the facts given here with the decorated body into the catalogue entry of the body's name."""

    def build(body: Callable[..., Any]) -> InstructionSpec:
        return InstructionSpec(
            name=body.__name__,
            engines=engines,
            operands=operands,
            attributes=attributes,
            immediates=immediates,
            limits=limits,
            since=since,
            feature=feature,
            math=math,
            layout=layout,
            moves=moves,
            rows=rows,
            choose_engine=choose_engine or (lambda call: engines[0]),
            body=body,
            wants=frozenset(inspect.signature(body).parameters),
            source=source,
            assumptions=assumptions,
        )

    return build
