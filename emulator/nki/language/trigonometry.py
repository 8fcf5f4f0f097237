"""Sine, cosine, tangent and arctangent over their full domain, composed of instructions with a reduced argument.

Each docstring states the composition and how exact it is; intermediate tiles are float32. What AWS's compiler expands
these functions to is not public, so their instruction counts here are trnlab's own.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any, Final

import trnlab.emulator.nki.isa as nisa
from trnlab.emulator.dtypes import float32, int32
from trnlab.emulator.nki.language import operators as op
from trnlab.emulator.nki.language.tiles import given, new_tile, require_tile
from trnlab.emulator.tensor import NkiTensor


def _split(value: Fraction, *widths: int) -> tuple[float, ...]:
    """The value as a sum of floats with that many significant bits each, largest first."""
    parts = []
    for bits in widths:
        unit = Fraction(2) ** (math.frexp(float(value))[1] - bits)
        parts.append(float(round(value / unit) * unit))
        value -= Fraction(parts[-1])
    return tuple(parts)


_PI: Final = Fraction("3.14159265358979323846264338327950288419716939937510")
_PI_PARTS: Final = _split(_PI, 8, 9, 24)
"""Pi as a sum of floats; an integer below 2**15 times either of the first two is exact in float32."""


def _less_multiples(subject: str, tile: NkiTensor, count: NkiTensor, unit: float) -> NkiTensor:
    """tile - count * unit * pi in a new float32 tile (Cody-Waite reduction, three constants)."""
    angle = tile
    for part in _PI_PARTS:
        rest = new_tile(subject, tile.shape, float32)
        nisa.scalar_tensor_tensor(rest, count, op.multiply, -unit * part, op.add, angle)
        angle = rest
    return angle


def _alternate(subject: str, count: NkiTensor, value: NkiTensor, even: float, dtype: Any) -> NkiTensor:
    """value * even where the int32 count is even, value * -even where it is odd."""
    odd = new_tile(subject, count.shape, int32)
    nisa.tensor_scalar(odd, count, op.bitwise_and, 1)
    return op.multiply(value, op.scale_shift(subject, odd, op.multiply, -2.0 * even, op.add, even), dtype=dtype)


def _sine(subject: str, tile: NkiTensor, dtype: Any) -> NkiTensor:
    """sin(tile) = (-1)**k sin(tile - k pi) with k = int32(tile / pi) to nearest."""
    count = new_tile(subject, tile.shape, int32)
    nisa.tensor_scalar(count, tile, op.multiply, 1.0 / math.pi)
    angle = _less_multiples(subject, tile, count, 1.0)
    return _alternate(subject, count, op.activate(subject, sin, angle, float32), 1.0, dtype)


def _cosine(subject: str, tile: NkiTensor, dtype: Any) -> NkiTensor:
    """cos(tile) = -(-1)**k sin(tile - (2k + 1) pi/2) with k = int32(tile / pi - 1/2) to nearest."""
    count = new_tile(subject, tile.shape, int32)
    nisa.tensor_scalar(count, tile, op.multiply, 1.0 / math.pi, op1=op.subtract, operand1=0.5)
    halves = op.scale_shift(subject, count, op.multiply, 2.0, op.add, 1.0)
    angle = _less_multiples(subject, tile, halves, 0.5)
    return _alternate(subject, count, op.activate(subject, sin, angle, float32), -1.0, dtype)


def sin(x: Any, dtype: Any = None) -> NkiTensor:
    """Sine of x, element by element, also outside the valid range [-pi, pi] of nisa.activation(op=nl.sin).

    Composition: x less its nearest multiple k of pi (3 steps), activation, times -1 where k is odd. The reduction adds
    at most 2e-7 to the error while |x| <= 2**14 pi = 51,471 and at most 2**-23 |x| beyond; from |x| = 2**22 pi = 1.3e7
    on, k is not the nearest multiple any more and the result has no meaning.
    Source: NKI reference, ISA common fields: nl.sin reduces its range, the activation does not.
    """
    tile = require_tile("nl.sin", "x", x)
    return _sine("nl.sin", tile, given(dtype, tile.dtype))


def cos(x: Any, dtype: Any = None) -> NkiTensor:
    """Cosine of x, element by element.

    Composition: as `sin`, with the nearest odd multiple of pi/2. Bounds as in `sin`.
    """
    tile = require_tile("nl.cos", "x", x)
    return _cosine("nl.cos", tile, given(dtype, tile.dtype))


def tan(x: Any, dtype: Any = None) -> NkiTensor:
    """Tangent of x, element by element.

    Composition: sin(x) * (1 / cos(x)), each as above. The cosine's absolute error, at most 3e-7 while |x| <= 51,471,
    is what limits it: the relative error is about 3e-7 / |cos(x)|.
    """
    tile = require_tile("nl.tan", "x", x)
    inverse = op.reciprocal(_cosine("nl.tan", tile, float32))
    return op.multiply(_sine("nl.tan", tile, float32), inverse, dtype=given(dtype, tile.dtype))


def arctan(x: Any, dtype: Any = None) -> NkiTensor:
    """Inverse tangent of x, element by element, also outside [-pi/2, pi/2], the range of nisa.activation(op=nl.arctan).

    Composition: a = arctan(m) for m = min(|x|, 1/|x|); a + (|x| > 1) * (pi/2 - 2a); times sign(x). The relative error
    that this adds is at most 3e-7. The reference names no reduction for nl.arctan.
    """
    subject = "nl.arctan"
    tile = require_tile(subject, "x", x)
    magnitude = op.abs(tile, dtype=float32)
    inner = op.activate(subject, arctan, op.minimum(magnitude, op.reciprocal(magnitude)), float32)
    mirror = op.scale_shift(subject, inner, op.multiply, -2.0, op.add, math.pi / 2)
    unsigned = op.add(inner, op.multiply(mirror, op.greater(magnitude, 1.0)))
    return op.multiply(unsigned, op.sign(tile, dtype=float32), dtype=given(dtype, tile.dtype))


op.as_operator("sin", sin)
op.as_operator("arctan", arctan)
