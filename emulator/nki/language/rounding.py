"""Division, remainders and rounding: elementwise functions that no engine has, composed of instructions.

Each docstring states the composition and how exact it is; intermediate tiles are float32. AWS's release notes list
nl.divide, nl.mod and nl.fmod as unsupported by its compiler, since the hardware lacks them (NKI 0.3.0, known issues).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

import trnlab.emulator.nki.isa as nisa
from trnlab.emulator.dtypes import float32, int32
from trnlab.emulator.memory import as_element
from trnlab.emulator.nki.language import operators as op
from trnlab.emulator.nki.language.tiles import given, is_number, new_tile, promote, require_tile
from trnlab.emulator.tensor import NkiTensor

_INTEGRAL_FROM: Final = 2.0**23
"""Every float32 of at least this magnitude is an integer."""


def _cast(subject: str, tile: NkiTensor, dtype: Any) -> NkiTensor:
    """The tile itself, or its copy in the dtype."""
    if tile.dtype == as_element(subject, dtype):
        return tile
    result = new_tile(subject, tile.shape, dtype)
    nisa.tensor_copy(result, tile)
    return result


# ------------------------------------------------------------------------------------------------------- rounding


def _less_fraction(subject: str, tile: NkiTensor, too_far: op.Operator, back: op.Operator) -> NkiTensor:
    """tile - (t - r), float32, with t = tile clamped to +-2**23 and r = int32(t) moved by one where it went too far.

    int32 rounds to nearest. Beyond the clamp every float32 is an integer and t - r is zero; infinities and NaN stay.
    """
    inner = op.scale_shift(subject, tile, op.minimum, _INTEGRAL_FROM, op.maximum, -_INTEGRAL_FROM)
    rounded = new_tile(subject, tile.shape, int32)
    nisa.tensor_copy(rounded, inner)
    whole = _apply(subject, back, rounded, _apply(subject, too_far, rounded, inner))
    return _apply(subject, op.subtract, tile, _apply(subject, op.subtract, inner, whole))


def _apply(subject: str, operator: op.Operator, x: NkiTensor, y: NkiTensor) -> NkiTensor:
    """x <op> y in a new float32 tile."""
    return op.combine(subject, operator, x, y, float32)


def _floor(subject: str, tile: NkiTensor) -> NkiTensor:
    return _less_fraction(subject, tile, op.greater, op.subtract)


def _ceil(subject: str, tile: NkiTensor) -> NkiTensor:
    return _less_fraction(subject, tile, op.less, op.add)


def _trunc(subject: str, tile: NkiTensor) -> NkiTensor:
    return _apply(subject, op.multiply, _floor(subject, op.abs(tile, dtype=float32)), op.sign(tile, dtype=float32))


def _rounding(subject: str, x: Any, dtype: Any, rounding: Callable[[str, NkiTensor], NkiTensor]) -> NkiTensor:
    """The rounding of a tile; integers, which have no fraction, are copied."""
    tile = require_tile(subject, "x", x)
    if tile.dtype.is_integer:
        result = new_tile(subject, tile.shape, given(dtype, tile.dtype))
        nisa.tensor_copy(result, tile)
        return result
    return _cast(subject, rounding(subject, tile), given(dtype, tile.dtype))


def floor(x: Any, dtype: Any = None) -> NkiTensor:
    """The largest integer <= x, exactly, for every float32 (subnormals count as zero); a zero result is +0.

    Composition: r = int32(t) rounds t, x clamped to +-2**23, to nearest; r - (r > t) is the floor of t; x less the
    fraction of t. Integer tiles are copied.
    """
    return _rounding("nl.floor", x, dtype, _floor)


def ceil(x: Any, dtype: Any = None) -> NkiTensor:
    """The smallest integer >= x, exactly, for every float32 (subnormals count as zero); a zero result is +0.

    Composition: as `floor`, with r + (r < t). Integer tiles are copied.
    """
    return _rounding("nl.ceil", x, dtype, _ceil)


def trunc(x: Any, dtype: Any = None) -> NkiTensor:
    """x without its fraction, exactly, for every float32 (subnormals count as zero).

    Composition: floor(|x|) as in `floor`, times sign(x). Integer tiles are copied.
    """
    return _rounding("nl.trunc", x, dtype, _trunc)


# ------------------------------------------------------------------------------------------ division and remainders


def divide(x: Any, y: Any, dtype: Any = None) -> NkiTensor:
    """x / y, element by element; x, y: tiles or numbers, not both numbers.

    Composition: x * (1 / y), the work-around of AWS's release notes: two roundings, so within 1.5 units in the last
    place of float32 of the quotient.
    """
    subject = "nl.divide"
    if is_number(y):
        inverse = 1.0 / float(y) if y else math.copysign(math.inf, y)
        return op.combine(subject, op.multiply, x, inverse, dtype)
    divisor = require_tile(subject, "y", y)
    like = divisor.dtype if is_number(x) else promote(subject, require_tile(subject, "x", x).dtype, divisor.dtype)
    return op.combine(subject, op.multiply, x, op.reciprocal(divisor, dtype=float32), given(dtype, like))


def _remainder(subject: str, x: NkiTensor, y: Any) -> NkiTensor:
    """x - floor(x / y) * y, moved by y once where the quotient was rounded across an integer; float32."""
    quotient = _floor(subject, divide(x, y, dtype=float32))
    rest = op.subtract(x, op.multiply(quotient, y, dtype=float32), dtype=float32)
    wrong_sign = op.less(op.multiply(rest, y, dtype=float32), 0.0)
    rest = op.add(rest, op.multiply(wrong_sign, y, dtype=float32))
    limit = abs(float(y)) if is_number(y) else op.abs(y, dtype=float32)
    too_large = op.greater_equal(op.abs(rest), limit)
    return op.subtract(rest, op.multiply(too_large, y, dtype=float32))


def _as_tile(subject: str, value: Any, like: Any) -> NkiTensor:
    """A number as a float32 tile of the other operand's shape; a tile as it is."""
    if not is_number(value):
        return require_tile(subject, "x", value)
    result = new_tile(subject, require_tile(subject, "y", like).shape, float32)
    nisa.memset(result, float(value))
    return result


def mod(x: Any, y: Any, dtype: Any = None) -> NkiTensor:
    """x - floor(x / y) * y, the remainder with the sign of y; x, y: tiles or numbers, not both numbers.

    Composition: the quotient as in `divide`, rounded down as in `floor`; the remainder, moved by y once where it left
    [0, y). Exact for integers below 2**24 in magnitude; otherwise the product's rounding leaves an absolute error of up
    to 2**-23 |x|, and next to a multiple of y the remainder may lie on its other side.
    """
    subject = "nl.mod"
    tile = _as_tile(subject, x, y)
    return _cast(subject, _remainder(subject, tile, y), given(dtype, _result_dtype(subject, x, y)))


def fmod(x: Any, y: Any, dtype: Any = None) -> NkiTensor:
    """x - trunc(x / y) * y, the remainder with the sign of x; x, y: tiles or numbers, not both numbers.

    Composition: mod(|x|, |y|) * sign(x), with the bounds of `mod`.
    """
    subject = "nl.fmod"
    tile = _as_tile(subject, x, y)
    divisor = abs(float(y)) if is_number(y) else op.abs(require_tile(subject, "y", y), dtype=float32)
    unsigned = _remainder(subject, op.abs(tile, dtype=float32), divisor)
    signed = op.multiply(unsigned, op.sign(tile, dtype=float32))
    return _cast(subject, signed, given(dtype, _result_dtype(subject, x, y)))


def _result_dtype(subject: str, x: Any, y: Any) -> Any:
    tiles = [value for value in (x, y) if not is_number(value)]
    return promote(subject, tiles[0].dtype, tiles[-1].dtype)


for _name, _function in (("divide", divide), ("mod", mod), ("fmod", fmod)):
    op.as_operator(_name, _function)
