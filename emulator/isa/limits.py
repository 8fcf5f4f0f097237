"""Documented limits as data: each judges a call and says what it found and what is allowed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from trnlab.emulator.dtypes import DType
from trnlab.emulator.errors import ArgumentError, BufferError, DtypeError, GenerationError, ShapeError
from trnlab.emulator.isa.registry import Breach, Call, LimitText, OperandView
from trnlab.emulator.memory import MemoryRegion
from trnlab.emulator.target import Feature, Target

Bound = int | Callable[[Target], int]
"""A number, or how to read it off the target."""

Words = str | Callable[[Target], str]
"""A text, or how to write it with the target's numbers."""


def _value(bound: Bound, target: Target) -> int:
    return bound(target) if callable(bound) else bound


@dataclass(frozen=True, slots=True)
class _Measured:
    """A limit on one number measured on one operand."""

    operand: str
    bound: Bound
    source: str = ""
    what: ClassVar[str]

    def _measure(self, view: OperandView) -> int:
        raise NotImplementedError

    def _keeps(self, value: int, bound: int) -> bool:
        return value <= bound

    def _rule(self, bound: int) -> str:
        return f"at most {bound}"

    def check(self, call: Call) -> Breach | None:
        """None when the operand is absent or keeps the bound."""
        if self.operand not in call:
            return None
        view, bound = call[self.operand], _value(self.bound, call.target)
        value = self._measure(view)
        if self._keeps(value, bound):
            return None
        return Breach(
            error=ShapeError,
            operand=self.operand,
            found=f"{view}, {self.what} {value}",
            allowed=f"{self.what} {self._rule(bound)}",
            source=self.source,
        )

    def describe(self, target: Target) -> LimitText:
        """The bound in words."""
        return LimitText((self.operand,), f"{self.what} {self._rule(_value(self.bound, target))}", self.source)


class MaxFree(_Measured):
    """At most `bound` elements per partition."""

    what = "free size"

    def _measure(self, view: OperandView) -> int:
        return view.free_elements


class MinFree(_Measured):
    """At least `bound` elements per partition."""

    what = "free size"

    def _measure(self, view: OperandView) -> int:
        return view.free_elements

    def _keeps(self, value: int, bound: int) -> bool:
        return value >= bound

    def _rule(self, bound: int) -> str:
        return f"at least {bound}"


class ExactFree(_Measured):
    """Exactly `bound` elements per partition."""

    what = "free size"

    def _measure(self, view: OperandView) -> int:
        return view.free_elements

    def _keeps(self, value: int, bound: int) -> bool:
        return value == bound

    def _rule(self, bound: int) -> str:
        return f"exactly {bound}"


class FreeMultipleOf(_Measured):
    """Elements per partition a multiple of `bound`."""

    what = "free size"

    def _measure(self, view: OperandView) -> int:
        return view.free_elements

    def _keeps(self, value: int, bound: int) -> bool:
        return value % bound == 0

    def _rule(self, bound: int) -> str:
        return f"a multiple of {bound}"


class MaxPartitions(_Measured):
    """At most `bound` partitions."""

    what = "partition count"

    def _measure(self, view: OperandView) -> int:
        return view.partitions


class PartitionsMultipleOf(_Measured):
    """Partitions a multiple of `bound`."""

    what = "partition count"

    def _measure(self, view: OperandView) -> int:
        return view.partitions

    def _keeps(self, value: int, bound: int) -> bool:
        return value % bound == 0

    def _rule(self, bound: int) -> str:
        return f"a multiple of {bound}"


class MaxDims(_Measured):
    """At most `bound` dimensions."""

    what = "number of dimensions"

    def _measure(self, view: OperandView) -> int:
        return len(view.shape)


class _Compared:
    """A relation between one property of several operands; the first one present is the standard."""

    what = ""
    error: type[ShapeError | DtypeError] = ShapeError

    def __init__(self, *operands: str, source: str = "") -> None:
        self.operands = operands
        self.source = source

    def _property(self, view: OperandView) -> Any:
        raise NotImplementedError

    def check(self, call: Call) -> Breach | None:
        """None when all operands present agree."""
        views = call.present(*self.operands)
        for view in views[1:]:
            if self._property(view) != self._property(views[0]):
                return Breach(
                    error=self.error,
                    operand=view.name,
                    found=f"{view}, {self.what} {self._property(view)}",
                    allowed=f"{self.what} {self._property(views[0])}, as {views[0].name} {views[0]} has",
                    source=self.source,
                )
        return None

    def describe(self, target: Target) -> LimitText:
        """The relation in words."""
        return LimitText(self.operands, f"the same {self.what}", self.source)


class SamePartitions(_Compared):
    """All named operands have the same partition count."""

    what = "partition count"

    def _property(self, view: OperandView) -> int:
        return view.partitions


class SameFree(_Compared):
    """All named operands have the same number of elements per partition."""

    what = "free size"

    def _property(self, view: OperandView) -> int:
        return view.free_elements


class SameElements(_Compared):
    """All named operands have the same number of elements."""

    what = "number of elements"

    def _property(self, view: OperandView) -> int:
        return view.elements


class SameDtype(_Compared):
    """All named operands have the same dtype."""

    what = "dtype"
    error = DtypeError

    def _property(self, view: OperandView) -> DType:
        return view.dtype


@dataclass(frozen=True, slots=True)
class NotAllIn:
    """The named operands may not all live in the region at once."""

    region: MemoryRegion
    operands: tuple[str, ...]
    source: str = ""

    def check(self, call: Call) -> Breach | None:
        """None when one of the operands lives elsewhere or is absent."""
        views = call.present(*self.operands)
        if len(views) < len(self.operands) or any(view.region is not self.region for view in views):
            return None
        names = " and ".join(self.operands)
        return Breach(
            error=BufferError,
            operand=self.operands[-1],
            found=f"{names} both in {self.region.value}",
            allowed=f"at most one of {names} in {self.region.value}",
            source=self.source,
        )

    def describe(self, target: Target) -> LimitText:
        """The rule in words."""
        return LimitText(
            self.operands, f"at most one of {' and '.join(self.operands)} in {self.region.value}", self.source
        )


@dataclass(frozen=True, slots=True)
class AttributeIn:
    """An attribute takes one of the listed values (None, "not given", is always allowed)."""

    attribute: str
    values: tuple[Any, ...]
    source: str = ""

    def check(self, call: Call) -> Breach | None:
        """None when the attribute's value is listed."""
        value = call.attributes.get(self.attribute)
        if value is None or value in self.values:
            return None
        return Breach(
            error=ArgumentError,
            operand=self.attribute,
            found=f"{value}",
            allowed=self._allowed,
            source=self.source,
        )

    @property
    def _allowed(self) -> str:
        return ", ".join(str(item) for item in self.values)

    def describe(self, target: Target) -> LimitText:
        """The values."""
        return LimitText((self.attribute,), self._allowed, self.source)


@dataclass(frozen=True, slots=True)
class Needs:
    """A use of the instruction, recognised by `applies`, that exists only where the target has a feature."""

    feature: Feature
    what: str
    applies: Callable[[Call], bool]
    source: str = ""

    def check(self, call: Call) -> Breach | None:
        """None when the use does not apply or the target has the feature."""
        if not self.applies(call) or call.target.has(self.feature):
            return None
        return Breach(
            error=GenerationError,
            found=self.what,
            allowed=f"{self.what} only where the core has {self.feature.description}",
            source=self.source,
        )

    def describe(self, target: Target) -> LimitText:
        """Whether the use exists, or from which generation on."""
        first = self.feature.first_generation.label
        return LimitText(
            (), f"{self.what} allowed" if target.has(self.feature) else f"no {self.what}: from {first} on", self.source
        )


@dataclass(frozen=True, slots=True)
class Rule:
    """Any other documented limit: `broken` says what it found, or None; `allowed` is the rule in words.

    allowed: the words, or how to read them off the call where they depend on it
    words:   the rule without a call, on a target; needed where `allowed` depends on the call or says too little alone

    Raises:
        TypeError: `allowed` depends on the call and there are no words.
    """

    broken: Callable[[Call], str | None]
    allowed: str | Callable[[Call], str]
    operand: str = ""
    error: type[ArgumentError | ShapeError | DtypeError | BufferError] = ShapeError
    source: str = ""
    words: Words = ""

    def __post_init__(self) -> None:
        if callable(self.allowed) and not self.words:
            raise TypeError(f"the rule on {self.operand or 'the call'} needs words: what it allows depends on the call")

    def check(self, call: Call) -> Breach | None:
        """None when the call keeps the rule."""
        found = self.broken(call)
        if found is None:
            return None
        allowed = self.allowed(call) if callable(self.allowed) else self.allowed
        return Breach(error=self.error, operand=self.operand, found=found, allowed=allowed, source=self.source)

    def describe(self, target: Target) -> LimitText:
        """The rule in words."""
        words = self.words(target) if callable(self.words) else self.words or str(self.allowed)
        return LimitText((self.operand,) if self.operand else (), words, self.source)
