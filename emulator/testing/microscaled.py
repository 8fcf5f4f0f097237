"""Exact comparison of microscaled tensors: packed words and scale codes."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from trnlab.emulator.dtypes import DType
from trnlab.emulator.errors import DtypeError, ShapeError
from trnlab.emulator.numerics.microscaling_layout import scale_partitions
from trnlab.emulator.source import fail
from trnlab.emulator.testing.formats import Array, as_array, decode, dtype_of
from trnlab.emulator.testing.mismatch import MismatchError

SHOWN: Final = 8
"""Differing words, and scales, that a failure lists."""

GROUP: Final = 8
BIAS: Final = 127
NOT_A_NUMBER: Final = 255


def assert_mx_equal(actual: tuple[Any, Any], expected: tuple[Any, Any], dtype: Any = None) -> None:
    """Both pairs (words, scales) have the same words and the same scale codes, bit for bit.

    words:  [P, F] packed words; scales: uint8 or float8_e8m0fnu, dense [P/8, F] or in their quadrants [>= P-28, F]
    dtype:  the packed dtype of the words, default: that of the actual ones, which must then be an array of it

    A relative tolerance cannot see a scale that is off by one, so there is none. A failure lists the first words and
    scales that differ, with the values that they stand for.

    Raises:
        MismatchError: (an AssertionError) something differs.
        ShapeError: shapes that differ.  DtypeError: words that are not packed, scales that are not one byte each.
    """
    packed = dtype_of(actual[0], dtype)
    if not packed.is_packed:
        allowed = "a packed dtype; pass dtype= for plain words"
        fail(DtypeError, "assert_mx_equal", operand="dtype", found=repr(packed), allowed=allowed)
    left, right = (_pair(pair, packed) for pair in (actual, expected))
    for place, what in enumerate(("words", "scales")):
        if left[place].shape != right[place].shape:
            found, allowed = f"{right[place].shape}", f"{left[place].shape}, as actual"
            fail(ShapeError, "assert_mx_equal", operand=what, found=found, allowed=allowed)
    lines = [*_differing_scales(left[1], right[1]), *_differing_words(left, right, packed)]
    if lines:
        raise MismatchError("\n".join([f"MX tensors of {packed!s} differ", *lines]))


def _pair(pair: tuple[Any, Any], packed: DType) -> tuple[Array, Array]:
    words, scales = (as_array(part) for part in pair)
    if words.dtype.itemsize != packed.itemsize:
        found, allowed = str(words.dtype), f"{packed.storage}, the words of {packed!s}"
        fail(DtypeError, "assert_mx_equal", operand="words", found=found, allowed=allowed)
    if scales.dtype.itemsize != 1:
        allowed = "uint8 or float8_e8m0fnu"
        fail(DtypeError, "assert_mx_equal", operand="scales", found=str(scales.dtype), allowed=allowed)
    return words.view(packed.storage), scales.view(np.uint8)


def _differing_scales(left: Array, right: Array) -> list[str]:
    places = np.argwhere(left != right)
    lines = [
        f"scale {place.tolist()}: code {left[tuple(place)]} ({_power(left[tuple(place)])}), "
        f"expected {right[tuple(place)]} ({_power(right[tuple(place)])})"
        for place in places[:SHOWN]
    ]
    return [f"{len(places)} of {left.size} scale codes differ", *lines] if lines else []


def _power(code: Any) -> str:
    return "NaN" if code == NOT_A_NUMBER else f"2**{int(code) - BIAS}"


def _differing_words(left: tuple[Array, Array], right: tuple[Array, Array], packed: DType) -> list[str]:
    places = np.argwhere(left[0] != right[0])
    lines = [
        f"word {place.tolist()}: {_shown(left, place, packed)}, expected {_shown(right, place, packed)}"
        for place in places[:SHOWN]
    ]
    return [f"{len(places)} of {left[0].size} words differ", *lines] if lines else []


def _shown(pair: tuple[Array, Array], place: Any, packed: DType) -> str:
    """The word, its elements, and the values that they stand for where the scale's place is known."""
    words, scales = pair
    index = tuple(place)
    elements = decode(words[index].reshape(1), packed)[0]
    text = f"0x{int(words[index]):0{2 * packed.itemsize}x} {elements.tolist()}"
    row = _scale_row(words.shape, scales.shape, int(place[0]))
    if row is None or words.ndim != 2:
        return text
    code = int(scales[row, place[1]])
    return f"{text} times {_power(code)}"


def _scale_row(words: tuple[int, ...], scales: tuple[int, ...], partition: int) -> int | None:
    """The row of a partition's scale: dense, or spread over the quadrants; None for another layout."""
    group = partition // GROUP
    if scales[0] * GROUP == words[0]:
        return group
    rows = np.asarray(scale_partitions(words[0]))
    return int(rows[group]) if group < len(rows) and rows[-1] < scales[0] else None
