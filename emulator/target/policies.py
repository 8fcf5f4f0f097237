"""How results are rounded into their formats: overflow, subnormals, rounding; and what each generation does.

A `NumericsPolicy` holds the three choices as values; every `Target` has one, and the executors apply it wherever an
instruction's float32 result is narrowed. `statements_of` says of each choice how well it is known.

A policy does not reach instructions that move bits, quantize_mx (which has policies of its own), integers and bool.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import Enum
from types import MappingProxyType
from typing import Any, Final, Literal

from trnlab.emulator.errors import ArgumentError, Violation
from trnlab.emulator.target.features import Generation


class OverflowPolicy(Enum):
    """What a cast does with a finite value that rounds beyond the largest finite one of its format.

    Formats without an infinity: float8_e4m3fn gives NaN unless saturating; float4_e2m1fn, which has no NaN either,
    always gives its largest value.
    """

    INFINITY = "infinity"
    """The infinity of its sign (IEEE 754)."""
    NAN = "nan"
    """NaN. Infinities stay infinities where the format has one."""
    SATURATE = "saturate"
    """The largest finite value of its sign, for infinities too (OCP OFP8 v1.0, saturating mode)."""


class SubnormalPolicy(Enum):
    """What a cast does with a value that rounds to a subnormal number of its format. Operands are read as stored."""

    KEEP = "keep"
    """The subnormal number. Of float32 and bfloat16 only copies keep theirs: arithmetic on the host flushes results
    below 2**-126 before they are rounded, whatever the policy."""
    FLUSH = "flush"
    """Zero of the same sign; a value that rounds up to the smallest normal number is no subnormal."""


@dataclass(frozen=True, slots=True)
class NearestEven:
    """Round to the nearest representable value, ties to the even one."""

    def __str__(self) -> str:
        return "nearest even"


@dataclass(frozen=True, slots=True)
class Stochastic:
    """Round to one of the two neighbours, with the probability that makes the mean right; for floats only.

    seed: 0 <= seed < 2**32. The random bits are a function of the seed, the instruction's place in the order of
    execution, and the element (those of the hardware are not public). Reference mode only.

    Raises:
        ArgumentError: another seed.
    """

    seed: int = 0

    def __post_init__(self) -> None:
        if type(self.seed) is not int or not 0 <= self.seed < 2**32:
            raise _wrong("Stochastic", "seed", self.seed, "an integer, 0 <= seed < 2**32")

    def __str__(self) -> str:
        return f"stochastic, seed {self.seed}"


Rounding = NearestEven | Stochastic


@dataclass(frozen=True, slots=True, kw_only=True)
class NumericsPolicy:
    """How float32 results are rounded into the formats they are stored in; the default is that of every generation.

    Raises:
        ArgumentError: a field of another type.
    """

    overflow: OverflowPolicy = OverflowPolicy.INFINITY
    subnormals: SubnormalPolicy = SubnormalPolicy.KEEP
    rounding: Rounding = NearestEven()

    def __post_init__(self) -> None:
        for name, (kinds, allowed) in _KINDS.items():
            if not isinstance(getattr(self, name), kinds):
                raise _wrong("NumericsPolicy", name, getattr(self, name), allowed)

    @property
    def is_deterministic(self) -> bool:
        """Whether equal float32 results are always stored as equal bits."""
        return isinstance(self.rounding, NearestEven)


def _members(policy: type[Enum]) -> str:
    return ", ".join(f"{policy.__name__}.{member.name}" for member in policy)


_KINDS: Final[Mapping[str, tuple[Any, str]]] = {
    "overflow": (OverflowPolicy, _members(OverflowPolicy)),
    "subnormals": (SubnormalPolicy, _members(SubnormalPolicy)),
    "rounding": (Rounding, "NearestEven() or Stochastic(seed)"),
}


def _wrong(subject: str, operand: str, found: object, allowed: str) -> ArgumentError:
    return ArgumentError(Violation(subject=subject, operand=operand, found=repr(found), allowed=allowed))


def checked_policy(subject: str, value: object) -> NumericsPolicy:
    """The value, which is a policy.

    Raises:
        ArgumentError: something else.
    """
    if not isinstance(value, NumericsPolicy):
        raise _wrong(subject, "numerics", value, "a NumericsPolicy, or None for the target's own")
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """One choice of a policy with its origin.

    klass:     "documented", "assumed" (no document says), or "chosen" (replaces what the generation does)
    conflicts: (other behaviour, source) that another document gives
    """

    value: OverflowPolicy | SubnormalPolicy | Rounding
    klass: Literal["documented", "assumed", "chosen"]
    source: str
    conflicts: tuple[tuple[str, str], ...] = ()


_RANGE_SELECT: Final = (
    "NKI reference 2.32, nisa.range_select: the least float32 becomes -infinity in FP16, BF16 and FP8 results"
)
_NAN_BEYOND_240: Final = (
    "NaN in FP8 beyond 240",
    "AWS NxD Inference guide, custom quantization (Trainium1 and Trainium2)",
)
_NEAREST: Final = Statement(
    value=NearestEven(),
    klass="documented",
    source="AWS Neuron runtime configuration: stochastic rounding of internal casts is off unless asked for",
)
_SUBNORMALS: Final = Statement(
    value=SubnormalPolicy.KEEP, klass="assumed", source="no document says what engines do with subnormal results"
)


def _overflow(klass: Literal["documented", "assumed"], source: str, *conflicts: tuple[str, str]) -> Statement:
    return Statement(value=OverflowPolicy.INFINITY, klass=klass, source=source, conflicts=conflicts)


_OVERFLOW: Final[Mapping[Generation, Statement]] = {
    Generation.V2: _overflow("assumed", f"as NeuronCore-v3 ({_RANGE_SELECT})", _NAN_BEYOND_240),
    Generation.V3: _overflow("documented", _RANGE_SELECT, _NAN_BEYOND_240),
    Generation.V4: _overflow("assumed", f"{_RANGE_SELECT}; for float8_e4m3fn, which has none, no document says"),
    Generation.V5: _overflow("assumed", "not announced; NeuronCore-v4's kept"),
}
_KEPT_ROUNDING: Final = Statement(value=NearestEven(), klass="assumed", source="not announced; NeuronCore-v4's kept")


def hardware_statements(generation: Generation) -> Mapping[str, Statement]:
    """What the generation does, by field of `NumericsPolicy`."""
    rounding = _KEPT_ROUNDING if generation is Generation.V5 else _NEAREST
    return MappingProxyType({"overflow": _OVERFLOW[generation], "subnormals": _SUBNORMALS, "rounding": rounding})


def hardware_policy(generation: Generation) -> NumericsPolicy:
    """The policy that `hardware_statements` describes."""
    values: dict[str, Any] = {name: statement.value for name, statement in hardware_statements(generation).items()}
    return NumericsPolicy(**values)


def statements_of(policy: NumericsPolicy, generation: Generation) -> Mapping[str, Statement]:
    """The origin of each choice of a policy on a generation: the hardware's where they agree, else "chosen"."""
    hardware = hardware_statements(generation)
    found = {item.name: getattr(policy, item.name) for item in fields(policy)}
    return MappingProxyType(
        {
            name: hardware[name]
            if hardware[name].value == value
            else Statement(value=value, klass="chosen", source=f"replaces {generation.label}'s")
            for name, value in found.items()
        }
    )
