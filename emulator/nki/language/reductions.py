"""Reductions along the free dimensions of a tile, and the normalisations built from them.

The axes must be the last dimensions of the tile, without the partition dimension; negative numbers count from the end.
Removing every free axis leaves a tile of shape (P, 1), since tiles keep two dimensions. Sums are float32 inside the
engine; their order is that of nisa.tensor_reduce.

Source: NKI reference, nki.language (reduction operations) and nisa.tensor_reduce.
"""

from __future__ import annotations

from math import prod as product
from numbers import Integral
from typing import Any

import trnlab.emulator.nki.isa as nisa
from trnlab.emulator.dtypes import float32
from trnlab.emulator.errors import ArgumentError
from trnlab.emulator.nki.isa.convert import flag
from trnlab.emulator.nki.language import operators as op
from trnlab.emulator.nki.language.tiles import given, new_tile, number, require_tile
from trnlab.emulator.source import fail
from trnlab.emulator.tensor import NkiTensor

Axes = int | tuple[int, ...] | list[int]


def free_axes(subject: str, tile: NkiTensor, axis: Any) -> tuple[int, ...]:
    """The axes in increasing order.

    Raises:
        ArgumentError: not the last free dimensions of the tile.
    """
    given = tuple(axis) if isinstance(axis, (tuple, list)) else (axis,)
    axes = tuple(sorted(int(i) + tile.ndim * (i < 0) if isinstance(i, Integral) else 0 for i in given))
    choices = [tuple(range(first, tile.ndim)) for first in range(1, tile.ndim)]
    if axes not in choices:
        allowed = f"the last free dimensions: {' or '.join(map(str, choices))}"
        fail(ArgumentError, subject, operand="axis", found=f"{axis!r} of {tile.describe()}", allowed=allowed)
    return axes


def _kept(tile: NkiTensor, axes: tuple[int, ...]) -> tuple[int, ...]:
    """The tile's shape with the reduced axes of size 1."""
    return tuple(1 if dim in axes else size for dim, size in enumerate(tile.shape))


def _dropped(tile: NkiTensor, axes: tuple[int, ...]) -> tuple[int, ...]:
    """The tile's shape without the reduced axes; at least two dimensions."""
    shape = tuple(size for dim, size in enumerate(tile.shape) if dim not in axes)
    return shape if len(shape) > 1 else (*shape, 1)


def _reduce(subject: str, operator: op.Operator, tile: NkiTensor, axes: tuple[int, ...], dtype: Any) -> NkiTensor:
    """The reduction in a new tile, reduced axes kept with size 1."""
    result = new_tile(subject, _kept(tile, axes), dtype)
    nisa.tensor_reduce(result, operator, tile, axes, keepdims=True)
    return result


def _reduction(subject: str, operator: op.Operator, x: Any, axis: Any, dtype: Any, keepdims: bool) -> NkiTensor:
    tile = require_tile(subject, "x", x)
    axes = free_axes(subject, tile, axis)
    result = _reduce(subject, operator, tile, axes, given(dtype, tile.dtype))
    return result if flag(subject, "keepdims", keepdims) else result.reshape(_dropped(tile, axes))


def sum(x: Any, axis: Axes, dtype: Any = None, keepdims: bool = False) -> NkiTensor:
    """Sum of the elements along the axes."""
    return _reduction("nl.sum", op.add, x, axis, dtype, keepdims)


def prod(x: Any, axis: Axes, dtype: Any = None, keepdims: bool = False) -> NkiTensor:
    """Product of the elements along the axes."""
    return _reduction("nl.prod", op.multiply, x, axis, dtype, keepdims)


def max(x: Any, axis: Axes, dtype: Any = None, keepdims: bool = False) -> NkiTensor:
    """Largest element along the axes."""
    return _reduction("nl.max", op.maximum, x, axis, dtype, keepdims)


def min(x: Any, axis: Axes, dtype: Any = None, keepdims: bool = False) -> NkiTensor:
    """Smallest element along the axes."""
    return _reduction("nl.min", op.minimum, x, axis, dtype, keepdims)


# nisa.select_reduce and its like are also given nl.max and nl.min for the operators nl.maximum and nl.minimum.
op.as_operator("max", max)
op.as_operator("min", min)


def all(x: Any, axis: Axes, dtype: Any = None) -> NkiTensor:
    """1 where every element along the axes is nonzero, else 0."""
    return _reduction("nl.all", op.logical_and, x, axis, dtype, keepdims=False)


def _mean(subject: str, tile: NkiTensor, axes: tuple[int, ...], dtype: Any) -> NkiTensor:
    """Float32 sum times 1/n, reduced axes kept with size 1."""
    total = _reduce(subject, op.add, tile, axes, float32)
    return op.multiply(total, 1.0 / product(tile.shape[dim] for dim in axes), dtype=dtype)


def mean(x: Any, axis: Axes, dtype: Any = None, keepdims: bool = False) -> NkiTensor:
    """Arithmetic mean along the axes: the float32 sum times 1/n."""
    tile = require_tile("nl.mean", "x", x)
    axes = free_axes("nl.mean", tile, axis)
    result = _mean("nl.mean", tile, axes, given(dtype, tile.dtype))
    return result if flag("nl.mean", "keepdims", keepdims) else result.reshape(_dropped(tile, axes))


def var(x: Any, axis: Axes, dtype: Any = None, keepdims: bool = False) -> NkiTensor:
    """Mean of (x - mean(x))**2 along the axes, in two passes of float32.

    keepdims: ignored, as published: the reduced axes are always kept with size 1.
    """
    tile = require_tile("nl.var", "x", x)
    axes = free_axes("nl.var", tile, axis)
    deviation = op.subtract(tile, _mean("nl.var", tile, axes, float32), dtype=float32)
    return _mean("nl.var", op.multiply(deviation, deviation), axes, given(dtype, tile.dtype))


def softmax(x: Any, axis: Axes = -1, dtype: Any = None) -> NkiTensor:
    """exp(x - max(x)) / sum(exp(x - max(x))) along the axes.

    Composition, in float32: reduce maximum, subtract, exp, reduce add, reciprocal, multiply.
    """
    tile = require_tile("nl.softmax", "x", x)
    axes = free_axes("nl.softmax", tile, axis)
    largest = _reduce("nl.softmax", op.maximum, tile, axes, float32)
    powers = op.exp(op.subtract(tile, largest, dtype=float32))
    inverse = op.reciprocal(_reduce("nl.softmax", op.add, powers, axes, float32))
    return op.multiply(powers, inverse, dtype=given(dtype, tile.dtype))


def rms_norm(
    x: Any, w: Any, axis: Axes, n: int, epsilon: float = 1e-06, dtype: Any = None, compute_dtype: Any = None
) -> NkiTensor:
    """x / sqrt(sum(x**2) / n + epsilon) * w along the axes.

    w:             a tile that broadcasts to x (its partition count is that of x)
    compute_dtype: dtype of the intermediate tiles, float32 unless given

    Composition: square, reduce add, times 1/n plus epsilon, rsqrt, multiply by x, multiply by w.
    """
    tile = require_tile("nl.rms_norm", "x", x)
    weight = require_tile("nl.rms_norm", "w", w)
    axes = free_axes("nl.rms_norm", tile, axis)
    inner = given(compute_dtype, float32)
    squares = op.multiply(tile, tile, dtype=inner)
    total = _reduce("nl.rms_norm", op.add, squares, axes, inner)
    count, shift = number("nl.rms_norm", "n", n), number("nl.rms_norm", "epsilon", epsilon)
    if count <= 0:
        fail(ArgumentError, "nl.rms_norm", operand="n", found=repr(n), allowed="the number of values, at least 1")
    inverse = op.rsqrt(op.scale_shift("nl.rms_norm", total, op.multiply, 1.0 / count, op.add, shift))
    return op.multiply(op.multiply(tile, inverse, dtype=inner), weight, dtype=given(dtype, tile.dtype))
