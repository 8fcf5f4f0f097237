"""The operators that engine instructions take as `op`: which names, where they run, and how a body applies them.

The operators themselves are `numerics.elementwise.ALU_OPS`; this file says which of them are instructions and
states, as limits, what a choice of operator asks of dtypes, operands, engines and generations.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import jax.numpy as jnp
from jax import Array, lax

from trnlab.emulator.dtypes import DType
from trnlab.emulator.errors import ArgumentError, DtypeError, EngineError, GenerationError
from trnlab.emulator.isa.limits import Words
from trnlab.emulator.isa.registry import Breach, Call, LimitText
from trnlab.emulator.numerics.elementwise import ALU_OPS, REDUCTIONS
from trnlab.emulator.target import Engine, Generation, Target

ALU_SOURCE: Final = "NKI reference, ISA API common fields, supported math operators"

REFERENCE: Final = "NKI reference, nisa."

EngineSet = tuple[tuple[Engine, ...], str]
"""The engines that can run a call, and why not others."""

VECTOR_FIRST: Final = "where the compiler would select the engine, Vector is taken: it reaches PSUM and has every mode"

_NOT_INSTRUCTIONS: Final = frozenset({"divide", "mod", "fmod", "logical_not"})
"""Names of nki.language that no engine runs: the operator table lacks them, and the NKI 0.3.0 release notes (known
issues, math operations) say of the first three that the hardware has no such instruction."""

_SINCE: Final = {"square": Generation.V4, "relu": Generation.V4}
"""Later than the operator's own first generation (NKI 0.4.0 release notes: accepted by tensor_scalar on trn3)."""


def _names(arity: int, *, bitvec: bool) -> tuple[str, ...]:
    return tuple(
        op.name
        for op in ALU_OPS.values()
        if op.arity == arity and (op.kind == "bitvec") is bitvec and op.name not in _NOT_INSTRUCTIONS
    )


BINARY_ARITHMETIC: Final = _names(2, bitvec=False)
UNARY_ARITHMETIC: Final = _names(1, bitvec=False)
ARITHMETIC: Final = BINARY_ARITHMETIC + UNARY_ARITHMETIC
BINARY_BITVEC: Final = _names(2, bitvec=True)
BITVEC: Final = BINARY_BITVEC + _names(1, bitvec=True)
UNARY: Final = frozenset(op.name for op in ALU_OPS.values() if op.arity == 1)
REDUCIBLE: Final = tuple(op.name for op in ALU_OPS.values() if op.is_legal_reduction)
COMPARISONS: Final = ("equal", "less", "less_equal", "greater", "greater_equal")


def is_bitvec(name: str) -> bool:
    """Whether the operator works on bit patterns; False for a name that is no operator."""
    return name in BITVEC


def first_generation(name: str) -> Generation:
    """The first generation whose engines have the operator as an instruction."""
    return max(Generation(ALU_OPS[name].first_generation), _SINCE.get(name, Generation.V2))


def is_unary(name: str | None) -> bool:
    """Whether the operator takes the data alone; False for a name that is no operator."""
    return name in UNARY


def chosen(call: Call, *attributes: str) -> list[str]:
    """The operators given by the named attributes."""
    return [call.attributes[name] for name in attributes if call.attributes[name] is not None]


def uses_bitvec(*attributes: str) -> Callable[[Call], bool]:
    """Whether a call's operators work on bit patterns."""
    return lambda call: any(map(is_bitvec, chosen(call, *attributes)))


def uses_arithmetic(*attributes: str) -> Callable[[Call], bool]:
    """Whether a call's operators work on float32."""
    return lambda call: not all(map(is_bitvec, chosen(call, *attributes)))


# --------------------------------------------------------------------------------------------------- application


def apply(name: str, data: Array, operand: Any = None, reverse: bool = False) -> Array:
    """`data <name> operand`, or `operand <name> data` when reversed; a unary operator takes the data alone."""
    op = ALU_OPS[name]
    if op.arity == 1:
        return op.function(data)
    return op.function(operand, data) if reverse else op.function(data, operand)


def fold(name: str, data: Array) -> Array:
    """The operator folded over the last axis."""
    return REDUCTIONS[name](data)


def pattern_of(x: Array) -> Array:
    """The bit pattern of each integer as uint32: unsigned, zeros above (assumed for mixed widths)."""
    return lax.bitcast_convert_type(x, f"uint{8 * x.dtype.itemsize}").astype(jnp.uint32)


def from_pattern(bits: Array, dtype: Any) -> Array:
    """The low-order bits of uint32 patterns, as an integer dtype."""
    width = 8 * jnp.dtype(dtype).itemsize
    return lax.bitcast_convert_type(bits.astype(f"uint{width}"), dtype)


# -------------------------------------------------------------------------------------------------------- limits


@dataclass(frozen=True, slots=True)
class DtypesWhen:
    """Where `applies` holds, the named operands have one of the dtypes; `why` ends the sentence."""

    applies: Callable[[Call], bool]
    operands: tuple[str, ...]
    dtypes: frozenset[DType]
    why: str
    source: str = ALU_SOURCE

    def check(self, call: Call) -> Breach | None:
        """None when it does not apply or every operand present has such a dtype."""
        if not self.applies(call):
            return None
        for view in call.present(*self.operands):
            if view.dtype not in self.dtypes:
                return Breach(
                    error=DtypeError,
                    operand=view.name,
                    found=str(view),
                    allowed=self._allowed,
                    source=self.source,
                )
        return None

    @property
    def _allowed(self) -> str:
        return f"{', '.join(sorted(self.dtypes))} {self.why}"

    def describe(self, target: Target) -> LimitText:
        """The dtypes and when they are asked for."""
        return LimitText(self.operands, self._allowed, self.source)


@dataclass(frozen=True, slots=True)
class OperatorExists:
    """The operators given by the named attributes exist on the target's generation."""

    attributes: tuple[str, ...]

    def check(self, call: Call) -> Breach | None:
        """None when every operator given exists there."""
        for attribute in self.attributes:
            name = call.attributes[attribute]
            if name not in ALU_OPS:
                continue
            first = first_generation(name)
            if call.target.generation < first:
                return Breach(
                    error=GenerationError,
                    operand=attribute,
                    found=f"{name} on {call.target.generation.label}",
                    allowed=f"{name} exists from {first.label} on",
                    source=f"{ALU_OPS[name].source}; NKI 0.4.0 release notes",
                )
        return None

    def describe(self, target: Target) -> LimitText:
        """The operators that only later generations have."""
        later = [name for name in ALU_OPS if first_generation(name) > target.generation]
        words = f"operators that the generation has: not {', '.join(later)}" if later else "operators of any generation"
        return LimitText(self.attributes, words, "NKI 0.4.0 release notes")


@dataclass(frozen=True, slots=True)
class OperandSuitsOperator:
    """A binary operator has its operand; a unary one, or none, has no operand."""

    attribute: str
    operand: str

    def check(self, call: Call) -> Breach | None:
        """None when the operand is given exactly where the operator needs it."""
        name = call.attributes[self.attribute]
        is_given = self.operand in call or self.operand in call.immediates
        needs = name is not None and not is_unary(name)
        if is_given == needs:
            return None
        what = f"the {'binary' if needs else 'unary'} operator {name}" if name else f"{self.attribute}=None"
        return Breach(
            error=ArgumentError,
            operand=self.operand,
            found="an operand" if is_given else "None",
            allowed=f"{'a number or a (P, 1) tensor' if needs else 'None or 0' if name else 'None'} for {what}",
            source=ALU_SOURCE,
        )

    def describe(self, target: Target) -> LimitText:
        """When the operand is given."""
        words = f"given where {self.attribute} is a binary operator; None where it is None; None or 0 where it is unary"
        return LimitText((self.operand,), words, ALU_SOURCE)


def _named(engines: EngineSet) -> str:
    able, why = engines
    return f"{', '.join(engine.value for engine in able)} {why}".strip()


def _unable(call: Call, engines: EngineSet, source: str) -> Breach | None:
    if call.engine in engines[0]:
        return None
    found = str(call.engine.value if call.engine else None)
    return Breach(error=EngineError, operand="engine", found=found, allowed=_named(engines), source=source)


@dataclass(frozen=True, slots=True)
class RunsOn:
    """The engines that can run this very call, fewer than the instruction's; `engines` names them and why.

    words: the same without a call
    """

    engines: Callable[[Call], EngineSet]
    source: str
    words: Words

    def check(self, call: Call) -> Breach | None:
        """None when the call's engine is one of them."""
        return _unable(call, self.engines(call), self.source)

    def describe(self, target: Target) -> LimitText:
        """Which engines run which calls."""
        return LimitText(("engine",), self.words(target) if callable(self.words) else self.words, self.source)


@dataclass(frozen=True, slots=True)
class RunsHere:
    """The engines that run the instruction on the target's generation; `engines` names them and why."""

    engines: Callable[[Target], EngineSet]
    source: str

    def check(self, call: Call) -> Breach | None:
        """None when the call's engine is one of them."""
        return _unable(call, self.engines(call.target), self.source)

    def describe(self, target: Target) -> LimitText:
        """The engines on the target."""
        return LimitText(("engine",), _named(self.engines(target)), self.source)
