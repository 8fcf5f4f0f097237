"""The formats as a reference: `format_page(name)` gathers what is known of one element format, as plain data.

Nothing is written here a second time: the numbers are those of `dtypes`, the generations and conversions those of
`target.conversions`, the value of a code is what the emulator widens it to.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Final

import numpy as np

from trnlab.emulator.dtypes import DTYPES, DType, as_dtype
from trnlab.emulator.errors import GenerationError, TrnlabError, Violation
from trnlab.emulator.numerics.casts import widen
from trnlab.emulator.target import Target
from trnlab.emulator.target.conversions import HOST_ONLY, availability, conversions

MOST_BITS_LISTED: Final = 8
"""Formats of at most so many bits are shown code by code."""


class FormatNameError(TrnlabError, LookupError):
    """A format that does not exist; `found` and `allowed` are the data."""

    def __init__(self, found: str) -> None:
        self.found, self.allowed = found, tuple(str(dtype) for dtype in DTYPES)
        near = difflib.get_close_matches(found, self.allowed, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        super().__init__(f"no element format {found!r}{hint}; there are {', '.join(self.allowed)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """One bit pattern: its number, its fields (sign exponent mantissa), its class and its value as text."""

    code: int
    fields: str
    klass: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversionPage:
    """What a target converts the format into, and what into the format, by dtype name; exact: no value changes."""

    target: str
    into: tuple[str, ...]
    exactly_into: tuple[str, ...]
    from_: tuple[str, ...]
    assumed: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FormatPage:
    """One element format. Codes are numbers of `bits` bits; of tfloat32, the upper 19 of its 32.

    max, smallest: the largest finite and the least positive value; of packed words, their elements'
    bias: None but for floats and scales; smallest_normal, smallest_subnormal: None but for floats
    epsilon: distance from 1 to the next larger number; None for packed words and bool
    infinity_codes, nan_codes: the codes with the sign bit clear, as (first, last); with it set they are the same + sign
    """

    name: str
    kind: str
    bits: int
    itemsize: int
    sign_bits: int
    exponent_bits: int
    mantissa_bits: int
    bias: int | None
    max: float
    smallest: float
    smallest_normal: float | None
    smallest_subnormal: float | None
    epsilon: float | None
    has_signed_zero: bool
    infinity_codes: tuple[int, int] | None
    nan_codes: tuple[int, int] | None
    element: str
    lanes: int
    has_tensors: bool
    since: str
    since_class: str
    source: str
    conversions: tuple[ConversionPage, ...]
    codes: tuple[Code, ...]


def format_page(dtype: object, targets: Sequence[Target], *, with_codes: bool = True) -> FormatPage:
    """What is known of one format on these targets, code by code where it has at most eight bits.

    Raises:
        TypeError: no NKI dtype; the text lists those that exist.
        GenerationError: none of the targets has the format.
    """
    found = as_dtype(dtype)
    having = [target for target in targets if target.has_dtype(found)]
    where = availability(found)
    if targets and not having:
        violation = Violation(
            subject="dtype",
            found=f"{found} on {', '.join(target.label for target in targets)}",
            allowed=f"{found} from {where.since.label} on",
            source=where.source,
        )
        raise GenerationError(violation)
    form = found.format
    binary = form.kind in ("float", "scale")
    return FormatPage(
        name=str(found),
        kind=form.kind,
        bits=form.bits,
        itemsize=form.itemsize,
        sign_bits=_sign_bits(found),
        exponent_bits=form.exponent_bits,
        mantissa_bits=form.mantissa_bits,
        bias=form.bias if binary else None,
        max=form.max,
        smallest=_smallest(found),
        smallest_normal=form.smallest_normal if found.is_float else None,
        smallest_subnormal=form.smallest_subnormal if found.is_float else None,
        epsilon=None if found.is_packed or form.kind == "bool" else 2.0**-form.mantissa_bits,
        has_signed_zero=found.is_float,
        infinity_codes=_infinity_codes(found),
        nan_codes=_nan_codes(found),
        element=form.element,
        lanes=form.lanes,
        has_tensors=found not in HOST_ONLY,
        since=where.since.label,
        since_class=where.klass,
        source=where.source,
        conversions=tuple(_conversions(found, target) for target in having),
        codes=codes(found) if with_codes else (),
    )


def page_named(name: str, targets: Sequence[Target]) -> FormatPage:
    """The page of the format with that name.

    Raises:
        FormatNameError: no such format; lists those that exist and the nearest name.
        GenerationError: none of the targets has the format.
    """
    try:
        dtype = as_dtype(name)
    except TypeError:
        raise FormatNameError(name) from None
    return format_page(dtype, targets)


def format_pages(targets: Sequence[Target]) -> tuple[FormatPage, ...]:
    """The pages of every format that one of the targets has, without their codes."""
    names = [dtype for dtype in DTYPES if any(target.has_dtype(dtype) for target in targets)]
    return tuple(format_page(dtype, targets, with_codes=False) for dtype in names)


def as_json(found: FormatPage | Iterable[FormatPage]) -> str:
    """A page as a JSON object, or several as an array; nothing but the fields of the dataclasses."""
    data = asdict(found) if isinstance(found, FormatPage) else [asdict(page) for page in found]
    return json.dumps(data, indent=2, allow_nan=False)


# -------------------------------------------------------------------------------------------------------- the parts


def _sign_bits(dtype: DType) -> int:
    return int(dtype.is_float or dtype.format.kind == "int")


def _smallest(dtype: DType) -> float:
    """The least positive value; of packed words, their elements'."""
    form = as_dtype(dtype.format.element).format if dtype.is_packed else dtype.format
    if form.kind == "scale":
        return float(2.0**-form.bias)
    return form.smallest_subnormal if form.kind == "float" else 1.0


def _top_exponent(dtype: DType) -> int:
    """The code with all exponent bits set and all others clear."""
    return int(2**dtype.format.exponent_bits - 1) << dtype.format.mantissa_bits


def _infinity_codes(dtype: DType) -> tuple[int, int] | None:
    return (_top_exponent(dtype), _top_exponent(dtype)) if dtype.format.has_infinity else None


def _nan_codes(dtype: DType) -> tuple[int, int] | None:
    """All-ones exponent with a mantissa that is not zero; where there is no infinity, all ones alone."""
    if not dtype.format.has_nan:
        return None
    top, mantissas = _top_exponent(dtype), 2**dtype.format.mantissa_bits
    last = top + mantissas - 1
    return (top + 1 if dtype.format.has_infinity else last, last)


def _conversions(dtype: DType, target: Target) -> ConversionPage:
    into = [found for found in conversions(target) if found.source == dtype]
    onto = [found for found in conversions(target) if found.destination == dtype]
    assumed = [found.destination for found in into if found.klass == "assumed"]
    assumed += [found.source for found in onto if found.klass == "assumed"]
    return ConversionPage(
        target=target.name,
        into=tuple(str(found.destination) for found in into),
        exactly_into=tuple(str(found.destination) for found in into if found.exact),
        from_=tuple(str(found.source) for found in onto),
        assumed=tuple(dict.fromkeys(str(other) for other in assumed)),
    )


def codes(dtype: DType) -> tuple[Code, ...]:
    """Every bit pattern of a format of at most eight bits, in order; empty for wider ones and packed words."""
    if dtype.format.bits > MOST_BITS_LISTED or dtype.is_packed:
        return ()
    patterns = np.arange(2**dtype.format.bits, dtype=np.uint8)
    values = np.asarray(widen(patterns.view(dtype.storage), dtype)).astype(np.float64).tolist()
    return tuple(_code(dtype, number, value) for number, value in enumerate(values))


def _code(dtype: DType, number: int, value: float) -> Code:
    form = dtype.format
    digits = f"{number:0{form.bits}b}"
    parts = (_sign_bits(dtype), form.exponent_bits, form.mantissa_bits)
    edges = np.cumsum([0, *parts]).tolist() if form.kind in ("float", "scale") else [0, form.bits]
    fields = " ".join(digits[low:high] for low, high in pairwise(edges) if high > low)
    text = {"infinity": "-infinity" if value < 0 else "infinity", "NaN": "NaN"}
    klass = _class_of(dtype, value)
    negative_zero = klass == "zero" and np.signbit(value)
    return Code(
        code=number, fields=fields, klass=klass, value="-0" if negative_zero else text.get(klass, f"{value:.17g}")
    )


def _class_of(dtype: DType, value: float) -> str:
    if np.isnan(value):
        return "NaN"
    if np.isinf(value):
        return "infinity"
    if value == 0:
        return "zero"
    return "subnormal" if dtype.is_float and abs(value) < dtype.format.smallest_normal else "normal"
