"""Documented limits as data: each judges a call and says what it found and what is allowed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from trnlab.emulator.dtypes import DType
from trnlab.emulator.errors import ArgumentError, BufferError, DtypeError, GenerationError, ShapeError
from trnlab.emulator.isa.registry import Breach, Call, OperandView
from trnlab.emulator.memory import MemoryRegion
from trnlab.emulator.target import Feature, Target

Bound = int | Callable[[Call], int]
"""A number, or how to read it off the call (its target, the destination's dtype)."""


def _value(bound: Bound, call: Call) -> int:
    return bound(call) if callable(bound) else bound


def target_bound(read: Callable[[Target], int]) -> Callable[[Call], int]:
    """A bound that is a field of the target."""
    return lambda call: read(call.target)


@dataclass(frozen=True, slots=True)
class _Measured:
    """A limit on one number measured on one operand."""

    operand: str
    bound: Bound
    source: str = ""

    def _measure(self, view: OperandView) -> tuple[int, str]:
        raise NotImplementedError

    def _keeps(self, value: int, bound: int) -> bool:
        return value <= bound

    def _rule(self, bound: int) -> str:
        return f"at most {bound}"

    def check(self, call: Call) -> Breach | None:
        """None when the operand is absent or keeps the bound."""
        if self.operand not in call:
            return None
        view, bound = call[self.operand], _value(self.bound, call)
        value, what = self._measure(view)
        if self._keeps(value, bound):
            return None
        return Breach(
            error=ShapeError,
            operand=self.operand,
            found=f"{view}, {what} {value}",
            allowed=f"{what} {self._rule(bound)}",
            source=self.source,
        )


class MaxFree(_Measured):
    """At most `bound` elements per partition."""

    def _measure(self, view: OperandView) -> tuple[int, str]:
        return view.free_elements, "free size"


class MinFree(_Measured):
    """At least `bound` elements per partition."""

    def _measure(self, view: OperandView) -> tuple[int, str]:
        return view.free_elements, "free size"

    def _keeps(self, value: int, bound: int) -> bool:
        return value >= bound

    def _rule(self, bound: int) -> str:
        return f"at least {bound}"


class ExactFree(_Measured):
    """Exactly `bound` elements per partition."""

    def _measure(self, view: OperandView) -> tuple[int, str]:
        return view.free_elements, "free size"

    def _keeps(self, value: int, bound: int) -> bool:
        return value == bound

    def _rule(self, bound: int) -> str:
        return f"exactly {bound}"


class FreeMultipleOf(_Measured):
    """Elements per partition a multiple of `bound`."""

    def _measure(self, view: OperandView) -> tuple[int, str]:
        return view.free_elements, "free size"

    def _keeps(self, value: int, bound: int) -> bool:
        return value % bound == 0

    def _rule(self, bound: int) -> str:
        return f"a multiple of {bound}"


class MaxPartitions(_Measured):
    """At most `bound` partitions."""

    def _measure(self, view: OperandView) -> tuple[int, str]:
        return view.partitions, "partition count"


class PartitionsMultipleOf(_Measured):
    """Partitions a multiple of `bound`."""

    def _measure(self, view: OperandView) -> tuple[int, str]:
        return view.partitions, "partition count"

    def _keeps(self, value: int, bound: int) -> bool:
        return value % bound == 0

    def _rule(self, bound: int) -> str:
        return f"a multiple of {bound}"


class MaxDims(_Measured):
    """At most `bound` dimensions."""

    def _measure(self, view: OperandView) -> tuple[int, str]:
        return len(view.shape), "number of dimensions"


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
            allowed=", ".join(str(item) for item in self.values),
            source=self.source,
        )


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


@dataclass(frozen=True, slots=True)
class Rule:
    """Any other documented limit: `broken` says what it found, or None; `allowed` is the rule in words.

    allowed: the words, or how to read them off the call where they depend on it
    """

    broken: Callable[[Call], str | None]
    allowed: str | Callable[[Call], str]
    operand: str = ""
    error: type[ArgumentError | ShapeError | DtypeError | BufferError] = ShapeError
    source: str = ""

    def check(self, call: Call) -> Breach | None:
        """None when the call keeps the rule."""
        found = self.broken(call)
        if found is None:
            return None
        allowed = self.allowed(call) if callable(self.allowed) else self.allowed
        return Breach(error=self.error, operand=self.operand, found=found, allowed=allowed, source=self.source)
