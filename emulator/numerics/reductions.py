"""Folds over the last axis, in an order that is written out.

XLA's own float reductions are not used. Its sum adds in another order for another number of rows, CPU or version, and
its maximum and minimum lose NaNs in large CPU arrays (jaxlib 0.10, through YNNPACK).

The engines' order is not public. What each fold means as an operator of an instruction is in
`trnlab.emulator.numerics.elementwise`.
"""

from __future__ import annotations

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from trnlab.emulator.numerics.sealing import seal, sealed_beside

Reduction = Callable[[Array], Array]


def halving(operator: Callable[[Array, Array], Array]) -> Reduction:
    """Fold by halves: x[i] with x[i + n // 2], a last odd element kept, until one is left.

    An f32 sum of n elements is within gamma_(ceil(log2 n)) * sum |x| of the exact one.
    """

    def reduce(x: Array) -> Array:
        folded = _folded(operator, x)
        if x.dtype != jnp.float32:
            return folded
        return _apart(folded, _folded(lambda low, high: operator(high, low), x))

    return reduce


def _folded(operator: Callable[[Array, Array], Array], x: Array) -> Array:
    while (count := x.shape[-1]) > 1:
        half = count // 2
        folded = operator(x[..., :half], x[..., half : 2 * half])
        x = jnp.concatenate([folded, x[..., 2 * half :]], axis=-1) if count % 2 else folded
    return x[..., 0]


def _apart(value: Array, again: Array) -> Array:
    """The value, computed before whoever uses it: XLA repeats the end of a fold for every element it is spread over.

    What XLA on the CPU does not repeat is a reduction, so here is one: of the same number twice, computed in two ways
    that are equal because the operator commutes.
    """
    words = lax.bitcast_convert_type(jnp.stack([value, again], axis=-1), jnp.uint32)
    joined = lax.reduce(words, np.uint32(0), lax.bitwise_or, (words.ndim - 1,))
    return lax.bitcast_convert_type(joined, jnp.float32)


total = halving(jnp.add)
product = halving(jnp.multiply)
maximum = halving(jnp.maximum)
minimum = halving(jnp.minimum)


def difference(x: Array) -> Array:
    """`x[0] - x[1] - x[2] ...`, as numpy.subtract.reduce (assumed); added up in the order of `total`."""
    signs = np.where(np.arange(x.shape[-1]) == 0, 1, -1).astype(np.float32)
    return total(x * signs)


def mean(x: Array) -> Array:
    """The sum divided by the number of elements; the sealed divisor keeps XLA from multiplying by its reciprocal."""
    added = seal(total(x))
    return lax.div(added, sealed_beside(jnp.full_like(added, x.shape[-1]), added))


def every(x: Array) -> Array:
    """1 where no element is zero, else 0, in the dtype of x."""
    return (x != 0).all(axis=-1).astype(x.dtype)


def some(x: Array) -> Array:
    """1 where an element is not zero, else 0, in the dtype of x."""
    return (x != 0).any(axis=-1).astype(x.dtype)


def parity(x: Array) -> Array:
    """1 where an odd number of elements is not zero, else 0, in the dtype of x."""
    ones: Array = (x != 0).sum(axis=-1, dtype=jnp.int32)
    return (ones & 1).astype(x.dtype)


def _last_extreme(argument: Callable[..., Array]) -> Reduction:
    def reduce(x: Array) -> Array:
        backwards = x[..., ::-1]
        position = argument(jnp.abs(backwards), axis=-1, keepdims=True)
        return jnp.take_along_axis(backwards, position, axis=-1)[..., 0]

    return reduce


# The last element of extreme magnitude, with its sign, is what folding the published formula leaves. A NaN anywhere is
# returned (assumed), although that formula would drop it again.
abs_max = _last_extreme(jnp.argmax)
abs_min = _last_extreme(jnp.argmin)


def bits(operator: Callable[[Array, Array], Array], identity: int) -> Reduction:
    """Fold of a bitwise operator over integers of any width."""

    def reduce(x: Array) -> Array:
        start = np.array(identity).astype(x.dtype)
        folded: Array = lax.reduce(x, start, operator, (x.ndim - 1,))
        return folded

    return reduce
