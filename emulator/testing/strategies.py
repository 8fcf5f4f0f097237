"""Hypothesis strategies for arrays of every NKI dtype.

Arrays are drawn as unsigned words and read as elements, never number by number. The first words are drawn bytes, which
shrink one by one; the rest comes from a drawn seed n: first n itself, then random words from 0 to n, so zeros where the
seed is 0. Every array is three choices whatever its size, because a shrinker prefers few choices: shapes shrink first.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np

from trnlab.emulator.dtypes import DType, as_dtype, element_of, float8_e4m3
from trnlab.emulator.errors import ArgumentError, DtypeError, TrnlabError
from trnlab.emulator.source import fail
from trnlab.emulator.testing.distributions import (
    DISTRIBUTIONS,
    FINITE,
    Choice,
    Words,
    applies,
    block_numbers,
    integer_codes,
)
from trnlab.emulator.testing.formats import Array

if TYPE_CHECKING:
    from hypothesis.strategies import DrawFn, SearchStrategy

    Arrays = SearchStrategy[Array]
    Shape = tuple[int, ...]

MANY_BYTES, MOST_BYTES = 64, 1024
"""Of an array's first words, in half of the draws: 16 to 256 of them."""

_LARGEST_WORD: Final = 2**32 - 1


def hypothesis_strategies() -> Any:
    """`hypothesis.strategies`, imported when a strategy is made.

    Raises:
        TrnlabError: hypothesis is not installed.
    """
    try:
        from hypothesis import strategies
    except ImportError as error:
        raise TrnlabError("strategies need hypothesis, which is not installed: pip install trnlab[testing]") from error
    return strategies


def arrays(
    dtype: Any,
    shape: Shape | int | SearchStrategy[Any],
    *,
    distribution: str = "finite",
    block: int | tuple[int, ...] = 32,
    onto: Any = None,
) -> Arrays:
    """NumPy arrays of an NKI dtype.

    dtype:        any NKI dtype; packed ones give words, their elements drawn from the distribution
    shape:        a shape, or a strategy of shapes; of packed dtypes in words
    distribution: for floats and scales one of `DISTRIBUTIONS`, or "stress" for any finite one of them; integers are
                  drawn from all of theirs whatever it says
    block:        elements that share a scale, along the last axis or as a tile of the trailing ones: (8, 4) in the
                  sources of quantize_mx
    onto:         for "ties", the narrower format (default: float8_e4m3)

    Raises:
        DtypeError: no such dtype, or one that has no values of that distribution.
        ArgumentError: an unknown distribution, or a block that is not positive.
        TrnlabError: hypothesis is not installed.
    """
    st = hypothesis_strategies()
    shapes = shape if isinstance(shape, st.SearchStrategy) else st.just(_as_shape(shape))
    draw_one = drawing(dtype, distribution, block, onto)
    drawn = st.composite(lambda draw: draw_one(draw, draw(shapes)))()
    return cast("Arrays", drawn)


def drawing(
    dtype: Any, distribution: str, block: int | tuple[int, ...], onto: Any = None
) -> Callable[[DrawFn, Any], Array]:
    """A function that draws an array of a given shape; see `arrays` for the rest."""
    element = checked_dtype(dtype)
    narrow = float8_e4m3 if onto is None else checked_dtype(onto)
    _check_distribution(element_of(element), distribution, narrow)
    tile = (block,) if isinstance(block, int) else tuple(block)
    if not tile or min(tile) < 1:
        fail(ArgumentError, "testing.arrays", operand="block", found=repr(block), allowed="positive sizes")
    return lambda draw, shape: _draw_array(draw, element, _as_shape(shape), distribution, tile, narrow)


def _as_shape(shape: Any) -> Shape:
    return tuple(shape) if isinstance(shape, (tuple, list)) else (int(shape),)


def checked_dtype(dtype: Any) -> DType:
    """The NKI dtype; raises DtypeError where there is none."""
    try:
        return as_dtype(dtype)
    except TypeError as error:
        fail(DtypeError, "testing.arrays", operand="dtype", found=repr(dtype), allowed=str(error))


def _check_distribution(element: DType, distribution: str, onto: DType) -> None:
    if distribution != "stress" and distribution not in DISTRIBUTIONS:
        allowed = f"stress, {', '.join(DISTRIBUTIONS)}"
        fail(ArgumentError, "testing.arrays", operand="distribution", found=repr(distribution), allowed=allowed)
    if element.is_integer or distribution == "stress" or applies(distribution, element, onto):
        return
    allowed = ", ".join(name for name in DISTRIBUTIONS if applies(name, element, onto))
    found = f"{distribution} of {element!r}" + (f" onto {onto!r}" if distribution == "ties" else "")
    fail(DtypeError, "testing.arrays", operand="distribution", found=found, allowed=allowed)


def _draw_array(
    draw: DrawFn, dtype: DType, shape: Shape, distribution: str, block: tuple[int, ...], onto: DType
) -> Array:
    element = element_of(dtype)
    full = (*shape[:-1], shape[-1] * dtype.format.lanes)
    words = _draw_words(draw, full)
    if element.is_integer:
        return integer_codes(words, element).astype(element.storage)
    codes = _draw_codes(draw, words, element, distribution, block, onto)
    return _stored(codes, dtype)


def _draw_codes(
    draw: DrawFn, words: Words, element: DType, distribution: str, block: tuple[int, ...], onto: DType
) -> Any:
    st = hypothesis_strategies()
    if distribution == "stress":
        distribution = draw(st.sampled_from([name for name in FINITE if applies(name, element, onto)]))
    reach = min(20, element.format.bias)
    choice = Choice(
        low=draw(st.integers(-reach, reach)) if distribution in ("window", "outlier", "ties") else 0,
        width=draw(st.integers(0, 20)) if distribution in ("window", "ties") else 2,
        gap=draw(st.integers(1, 30)) if distribution == "outlier" else 0,
        onto=onto,
        blocks=block_numbers(words.shape, block),
    )
    return DISTRIBUTIONS[distribution](words, element.format, choice)


def _draw_words(draw: DrawFn, shape: Shape) -> Words:
    st = hypothesis_strategies()
    size, seed = prod(shape), draw(st.integers(0, _LARGEST_WORD))
    # Bounds that do not depend on the shape: a smaller shape keeps the bytes that a larger one drew.
    # What was drawn as many bytes shrinks as few, which may be deleted.
    data = draw(st.binary(max_size=MOST_BYTES) | st.binary(min_size=MANY_BYTES, max_size=MOST_BYTES))
    words = np.random.default_rng(seed).integers(0, seed, size, np.uint32, endpoint=True)
    words[0] = seed  # which then shrinks as the one element of a smallest array does
    first = np.frombuffer(data[: len(data) // 4 * 4], ">u4")[:size]
    words[: first.size] = first
    return words.reshape(shape)


def _stored(codes: Any, dtype: DType) -> Array:
    """Codes as elements of the dtype's storage, packed four by four where it is packed."""
    element = element_of(dtype)
    if not dtype.is_packed:
        shift = 13 if element == "tfloat32" else 0
        return cast("Array", (codes << shift).astype(f"u{element.itemsize}").view(element.storage))
    lanes = codes.reshape(*codes.shape[:-1], -1, 4).astype(np.uint32)
    words = (lanes << (np.arange(4, dtype=np.uint32) * element.format.bits)).sum(axis=-1, dtype=np.uint32)
    structured: Array = words.astype(dtype.storage).view(np.dtype([(str(dtype), dtype.storage)]))
    return structured
