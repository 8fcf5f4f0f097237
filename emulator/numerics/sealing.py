"""Seals: float32 results of instructions that XLA cannot look through, with every NaN canonical.

Instructions compiled together are simplified and contracted across their boundary; a seal stops that. Measured with
jax 0.10 on the CPU.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

barrier: Final[Callable[[Array], Array]] = lax.optimization_barrier
"""The value, as one that XLA's simplifier cannot look through."""


def seal(x: Array) -> Array:
    """`x`, with every NaN canonical and as a value that XLA cannot look through.

    Executors apply it to each f32 result of an instruction, so that the bits do not depend on what is compiled around.
    Two rewrites are stopped, by one half of the expression each: the select keeps LLVM from contracting a multiply
    with the next instruction's add, and the barrier keeps XLA's algebraic simplifier from merging operations
    (a / b into a * (1 / b), exp(a) * exp(b) into exp(a + b)).
    """
    return barrier(canonical_nan(x))


def canonical_nan(x: Array) -> Array:
    """`x` with every NaN the positive quiet one, 0x7FC00000; all other bits are kept."""
    # Made of x, so that `jax.vmap` finds the new dimension at the same place in all operands and transposes none.
    nothing = lax.bitcast_convert_type(x, jnp.uint32) & np.uint32(0)
    nan = lax.bitcast_convert_type(nothing | np.uint32(0x7FC00000), jnp.float32)
    return jnp.where(x == x, x, nan)  # noqa: PLR0124 - x != x is the NaN test


def sealed_beside(x: Array, other: Array) -> Array:
    """`x` sealed in the shape of `other`, along the axes that `jax.vmap` adds to `other` too.

    XLA sees through the broadcast of a sealed value of fewer axes: it would still divide by multiplying.
    """
    return seal(jnp.where(other == other, x, x))  # noqa: PLR0124 - only ties the axes together
