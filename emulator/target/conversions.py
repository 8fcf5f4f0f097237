"""Which formats a generation has, and which it converts into which: `conversion(source, destination, target)`.

Every engine and the DMA engines convert through float32, so on one generation every unpacked format becomes every
other; only quantize_mx writes packed words from numbers, and nothing on the device unpacks them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from trnlab.emulator.dtypes import (
    DTYPES,
    DType,
    as_dtype,
    bfloat16,
    float4_e2m1fn,
    float4_e2m1fn_x4,
    float8_e3m4,
    float8_e4m3fn,
    float8_e8m0fnu,
    float16,
    float32,
)
from trnlab.emulator.errors import DtypeError, GenerationError, KernelError, Violation
from trnlab.emulator.target.facts import FactClass
from trnlab.emulator.target.features import Feature, Generation
from trnlab.emulator.target.record import Target

HOST_ONLY: Final = (float4_e2m1fn,)
"""Formats without a tensor form in NKI: hosts prepare them, devices hold them in packed words only."""

_TABLE: Final = "NKI reference 2.32, Supported Data Types"
_V4_ONLY: Final = "NKI reference 2.32, Supported Data Types: packed types are NeuronCore-v4's; OCP MX needs its parts"
_ENGINES: Final = "NKI reference 2.32, nisa.tensor_scalar and nisa.dma_copy: cast to float32, then to dst's type"
_QUANTIZE: Final = "NKI reference 2.32, nisa.quantize_mx"
_COMPILER: Final = "AWS Neuron compiler, error EVRF051: F8E4M3FN is refused on Trainium1 and Trainium2"
_GUIDE: Final = "AWS NKI Trainium2 architecture guide: FP8_E3 is kept from NeuronCore-v2"


@dataclass(frozen=True, slots=True, kw_only=True)
class Availability:
    """The first generation that has a format, and how well that is known."""

    since: Generation
    klass: FactClass
    source: str


def availability(dtype: DType) -> Availability:
    """Where the format exists: from this generation on."""
    since = Generation(dtype.format.first_generation)
    klass, source = _ORIGINS.get(dtype, ("documented", _TABLE))
    return Availability(since=since, klass=klass, source=source)


_ORIGINS: Final[dict[DType, tuple[FactClass, str]]] = {
    float8_e4m3fn: ("documented", _COMPILER),
    float8_e3m4: ("documented", _GUIDE),
    float8_e8m0fnu: ("assumed", _V4_ONLY),
    float4_e2m1fn: ("assumed", _V4_ONLY),
    **{dtype: ("documented", _V4_ONLY) for dtype in DTYPES if dtype.is_packed},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversion:
    """One format made of another: by what, whether every value survives, and how well that is known."""

    source: DType
    destination: DType
    by: str
    exact: bool
    klass: FactClass
    origin: str


def conversions(target: Target) -> tuple[Conversion, ...]:
    """Every conversion between different formats that the target has."""
    return tuple(_conversions(target))


def _conversions(target: Target) -> Iterator[Conversion]:
    for source in DTYPES:
        for destination in DTYPES:
            found = None if source == destination else _between(source, destination, target)
            if found is not None:
                yield found


def conversion(source: Any, destination: Any, target: Target) -> Conversion:
    """How the target converts `source` into `destination`, each an NKI dtype or what `as_dtype` takes.

    Raises:
        TypeError: no NKI dtype (there are no 64-bit types).
        GenerationError: the target's generation lacks one of the formats.
        DtypeError: equal formats, or a pair that nothing converts (packed words, formats of the host).
    """
    pair = as_dtype(source), as_dtype(destination)
    for operand, dtype in zip(("source", "destination"), pair, strict=True):
        if not target.has_dtype(dtype):
            since = availability(dtype)
            _refuse(GenerationError, target, operand, dtype, f"{dtype} from {since.since.label} on", since.source)
    found = None if pair[0] == pair[1] else _between(*pair, target)
    if found is None:
        _refuse(DtypeError, target, "destination", f"{pair[0]} to {pair[1]}", _allowed(pair[0], target), _ENGINES)
    return found


def _between(source: DType, destination: DType, target: Target) -> Conversion | None:
    if not (target.has_dtype(source) and target.has_dtype(destination)) or {source, destination} & set(HOST_ONLY):
        return None
    if destination.is_packed:
        return _quantized(source, destination, target)
    if source.is_packed:
        return None
    klass: FactClass = "assumed" if float8_e8m0fnu in (source, destination) else "documented"
    return Conversion(
        source=source,
        destination=destination,
        by="engines and DMA, through float32",
        exact=_holds(source, destination),
        klass=_weaker(klass, target),
        origin=_ENGINES,
    )


def _quantized(source: DType, destination: DType, target: Target) -> Conversion | None:
    if source not in (bfloat16, float16) or not target.has(Feature.QUANTIZE_MX):
        return None
    if destination == float4_e2m1fn_x4:
        return None  # quantize_mx writes FP8 only
    return Conversion(
        source=source,
        destination=destination,
        by="quantize_mx, with block scales",
        exact=False,
        klass=_weaker("documented", target),
        origin=_QUANTIZE,
    )


def _weaker(klass: FactClass, target: Target) -> FactClass:
    return "assumed" if target.generation is Generation.V5 else klass


def _holds(source: DType, destination: DType) -> bool:
    """Whether float32 and the destination have every number of the source, infinities and NaN included."""
    return all(_contains(form, source) for form in (float32, destination))


def _contains(wide: DType, source: DType) -> bool:
    has, needs = wide.format, source.format
    if source.is_integer:
        return _holds_integers(wide, source)
    if wide.is_integer or wide.format.kind == "scale":
        return False
    specials = (has.has_infinity or not needs.has_infinity) and (has.has_nan or not needs.has_nan)
    precise = has.mantissa_bits >= needs.mantissa_bits and has.max >= needs.max
    # The smallest number of a scale format is 2**-bias; it has no subnormals.
    smallest = 2.0**-needs.bias if needs.kind == "scale" else needs.smallest_subnormal
    return specials and precise and has.smallest_subnormal <= smallest


def _holds_integers(wide: DType, source: DType) -> bool:
    signed = source.format.kind == "int"
    if wide.is_integer:
        return wide.format.max >= source.format.max and (wide.format.kind == "int" or not signed)
    # Integers up to 2**(mantissa_bits + 1); -2**(bits - 1) is a power of two.
    return wide.is_float and source.format.max <= min(2.0 ** (wide.format.mantissa_bits + 1), wide.format.max)


def _allowed(source: DType, target: Target) -> str:
    names = [str(found.destination) for found in conversions(target) if found.source == source]
    return f"{source} to {', '.join(names)}" if names else f"{source} is converted to nothing on the device"


def _refuse(
    error: type[KernelError], target: Target, operand: str, found: object, allowed: str, source: str
) -> NoReturn:
    raise error(
        Violation(
            subject="conversion",
            operand=operand,
            found=str(found),
            allowed=allowed,
            generation=target.generation.label,
            source=source,
        )
    )
