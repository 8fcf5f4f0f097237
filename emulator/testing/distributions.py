"""Values that stress a format, as pure functions from random words to element codes.

Every distribution reads one uint32 word per element, and word 0 is the simplest element that it has: a shrinker that
brings words down brings values down to 0, 1, few significant bits and exponents near 0.

A *block* is what shares a scale: a run of elements along the last axis, or a tile of the trailing axes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trnlab.emulator.dtypes import DType, Format

Words = NDArray[np.uint32]
Codes = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What one drawn array fixes for all of its elements.

    low, width: exponents of a window: low <= exponent <= low + width, relative to 1
    gap:        binades between an outlier and the largest exponent of its block
    onto:       the narrower format whose ties are meant
    blocks:     the block of every element, flat
    """

    low: int
    width: int
    gap: int
    onto: DType | None
    blocks: Codes


Distribution = Callable[[Words, Format, Choice], Codes]


def block_numbers(shape: tuple[int, ...], block: tuple[int, ...]) -> Codes:
    """The number of every element's block, flat; blocks tile the trailing axes, ragged at the ends."""
    extents = (1,) * (len(shape) - len(block)) + block[-len(shape) :]
    number = np.zeros((), np.int64)
    for count, extent in zip(shape, extents, strict=True):
        number = number[..., None] * -(-count // extent) + np.arange(count) // extent
    return number.reshape(-1)


# ------------------------------------------------------------------------------------------------------ the fields


def _exponent(words: Words) -> Codes:
    return (words & 0xFF).astype(np.int64)


def _sign(words: Words) -> Codes:
    return ((words >> 8) & 1).astype(np.int64)


def _mantissa(words: Words, bits: int) -> Codes:
    """The word's bits from bit 9 on, the first as the leading mantissa bit: small words have few significant bits."""
    result = np.zeros(words.shape, np.int64)
    for place in range(bits):
        result |= ((words >> (9 + place)) & 1).astype(np.int64) << (bits - 1 - place)
    return result


def _join(sign: Codes, field: Codes, mantissa: Codes, facts: Format) -> Codes:
    width = facts.exponent_bits + facts.mantissa_bits
    return (sign * (facts.kind == "float") << width) | (field << facts.mantissa_bits) | mantissa


def _largest(facts: Format) -> int:
    """The code of the largest finite value."""
    if facts.kind == "scale":
        return 254
    fraction, exponent = np.frexp(facts.max)
    field = int(exponent) - 1 + facts.bias
    return (field << facts.mantissa_bits) | int((2 * fraction - 1) * 2**facts.mantissa_bits)


def _finite_code(codes: Codes, facts: Format) -> Codes:
    """Codes with those that are no finite number brought to the exponent of 1."""
    width = facts.exponent_bits + facts.mantissa_bits
    magnitude = codes & ((1 << width) - 1)
    at_one = (codes - magnitude) | (facts.bias << facts.mantissa_bits) | (magnitude & ((1 << facts.mantissa_bits) - 1))
    return np.where(magnitude > _largest(facts), at_one, codes)


def _fields(words: Words, facts: Format, choice: Choice) -> Codes:
    """Exponent fields inside the window, as far as the format reaches."""
    wanted = facts.bias + choice.low + _exponent(words) % (choice.width + 1)
    return np.clip(wanted, 1, _largest(facts) >> facts.mantissa_bits)


def _by_simplicity(facts: Format) -> Codes:
    """Exponent fields, simplest first: zero, that of 1, its neighbours outwards, and last what is not finite."""
    count = 1 << facts.exponent_bits
    fields = np.arange(count)
    distance = 2 * np.abs(fields - facts.bias) - (fields > facts.bias)
    last = facts.has_infinity or facts.kind == "scale"
    distance[count - 1] += 2 * count if last else 0
    if facts.kind == "float":
        distance[0] = -1
    return np.argsort(distance, kind="stable")


# -------------------------------------------------------------------------------------------------- the distributions


def bits(words: Words, facts: Format, choice: Choice) -> Codes:
    """Every bit pattern, NaNs and infinities included; each word of the format's width gives another one."""
    del choice
    rank = (words & ((1 << facts.exponent_bits) - 1)).astype(np.int64)
    rest = words >> facts.exponent_bits
    sign = (rest & 1).astype(np.int64)
    # The mantissa is read from bit 9 of a word: bring its first bit there.
    mantissa = _mantissa(np.asarray(rest, np.uint64) >> 1 << 9, facts.mantissa_bits)  # type: ignore[arg-type]
    return _join(sign, _by_simplicity(facts)[rank], mantissa, facts)


def finite(words: Words, facts: Format, choice: Choice) -> Codes:
    """Every finite number of the format."""
    return _finite_code(bits(words, facts, choice), facts)


def window(words: Words, facts: Format, choice: Choice) -> Codes:
    """Normal numbers whose exponents lie in a window."""
    codes = _join(_sign(words), _fields(words, facts, choice), _mantissa(words, facts.mantissa_bits), facts)
    return _finite_code(codes, facts)


def outlier(words: Words, facts: Format, choice: Choice) -> Codes:
    """One element of each block `gap` binades above the window of the others."""
    fields = _fields(words, facts, choice)
    largest = _largest(facts) >> facts.mantissa_bits
    top = facts.bias + choice.low + choice.width + choice.gap
    fields = np.where(_is_chosen(words, choice), np.clip(top, 1, largest), fields)
    codes = _join(_sign(words), fields, _mantissa(words, facts.mantissa_bits), facts)
    return _finite_code(codes, facts)


def subnormal(words: Words, facts: Format, choice: Choice) -> Codes:
    """Subnormal numbers and zeros only."""
    del choice
    return _join(_sign(words), np.zeros(words.shape, np.int64), _mantissa(words, facts.mantissa_bits), facts)


def signed_zeros(words: Words, facts: Format, choice: Choice) -> Codes:
    """0.0 and -0.0."""
    del choice
    nothing = np.zeros(words.shape, np.int64)
    return _join(_sign(words), nothing, nothing, facts)


def near_overflow(words: Words, facts: Format, choice: Choice) -> Codes:
    """The largest finite value and the three below it, of both signs."""
    del choice
    magnitude = _largest(facts) - _exponent(words) % 4
    return _join(_sign(words), magnitude >> facts.mantissa_bits, magnitude & ((1 << facts.mantissa_bits) - 1), facts)


def constant(words: Words, facts: Format, choice: Choice) -> Codes:
    """Blocks of one finite value each."""
    return finite(_first_of_block(words, choice), facts, choice)


def ties(words: Words, facts: Format, choice: Choice) -> Codes:
    """Halfway between two neighbours of the narrower format `onto`, and one step of this format beside."""
    assert choice.onto is not None
    narrow = choice.onto.format
    kept = _mantissa(words, narrow.mantissa_bits) << (facts.mantissa_bits - narrow.mantissa_bits)
    half = 1 << (facts.mantissa_bits - narrow.mantissa_bits - 1)
    count = _largest(narrow) >> narrow.mantissa_bits  # exponents of the narrower format's normal numbers
    exponent = (choice.low + _exponent(words) % (choice.width + 1) + narrow.bias - 1) % count + 1 - narrow.bias
    fields = np.clip(facts.bias + exponent, 1, _largest(facts) >> facts.mantissa_bits)
    codes = _join(_sign(words), fields, kept | half, facts)
    return _finite_code(codes + np.array([0, 1, -1])[(words >> 30) % 3], facts)


def specials(words: Words, facts: Format, choice: Choice) -> Codes:
    """A NaN or an infinity, as far as the format has them, at one place of each block; finite numbers elsewhere."""
    beyond = 255 if facts.kind == "scale" else _largest(facts) + 1
    last = (1 << (facts.exponent_bits + facts.mantissa_bits)) - 1
    special = np.where((words >> 31) == 0, beyond, last)
    width = facts.exponent_bits + facts.mantissa_bits
    codes = (_sign(words) * (facts.kind == "float") << width) | special
    return np.where(_is_chosen(words, choice), codes, finite(words, facts, choice))


def _first_of_block(words: Words, choice: Choice) -> Words:
    """For every element the word of the first element of its block."""
    first = np.zeros(int(choice.blocks.max(initial=0)) + 1, np.uint32)
    flat = words.reshape(-1)
    first[choice.blocks[::-1]] = flat[::-1]  # of several assignments the last one stays: the block's first element
    return first[choice.blocks].reshape(words.shape)


def _is_chosen(words: Words, choice: Choice) -> NDArray[np.bool_]:
    """One element of each block: the one that the first element's word names."""
    counts = np.bincount(choice.blocks)[choice.blocks]
    rank = np.zeros(words.size, np.int64)
    order = np.argsort(choice.blocks, kind="stable")
    starts = np.flatnonzero(np.diff(choice.blocks[order], prepend=-1))
    rank[order] = np.arange(words.size) - np.repeat(starts, np.diff(np.append(starts, words.size)))
    chosen = (_first_of_block(words, choice).reshape(-1) >> 16) % counts
    found: NDArray[np.bool_] = (rank == chosen).reshape(words.shape)
    return found


DISTRIBUTIONS: Final[Mapping[str, Distribution]] = MappingProxyType(
    {
        function.__name__: function
        for function in (
            finite,
            bits,
            window,
            outlier,
            subnormal,
            signed_zeros,
            near_overflow,
            constant,
            ties,
            specials,
        )
    }
)
"""Every distribution by name."""

FLOATS_ONLY: Final = frozenset({"subnormal", "signed_zeros", "ties"})
"""Those that need a sign or subnormal numbers, which float8_e8m0fnu lacks."""

FINITE: Final = tuple(name for name in DISTRIBUTIONS if name not in ("bits", "specials"))


def applies(name: str, dtype: DType, onto: DType | None) -> bool:
    """Whether a float or scale format has such values."""
    facts = dtype.format
    if name == "ties":
        return facts.kind == "float" and onto is not None and facts.mantissa_bits > onto.format.mantissa_bits
    if name == "specials":
        return facts.has_nan or facts.has_infinity
    if name == "subnormal":
        return facts.kind == "float" and facts.mantissa_bits > 0
    return facts.kind == "float" or name not in FLOATS_ONLY


def integer_codes(words: Words, dtype: DType) -> Codes:
    """Integers of the dtype, small magnitudes from small words: 0, -1, 1, -2, 2, ..."""
    if dtype.format.kind == "bool":
        return (words & 1).astype(np.int64)
    masked = words & np.uint32((1 << dtype.format.bits) - 1)
    if dtype.format.kind == "uint":
        return masked.astype(np.int64)
    signed = masked.astype(np.int64)
    return (signed >> 1) ^ -(signed & 1)
