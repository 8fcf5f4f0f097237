"""An instruction run for all iterations of merged repeats at once: nested `jax.vmap` over the dimensions they added.

Which axis of an array stands for which repeat follows from its view's arrangement, so that nothing is transposed only
to be brought into a common form.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from trnlab.emulator.nest import Block

Function = Callable[..., Sequence[Array]]


class Axes(NamedTuple):
    """What every axis of an array stands for: a merged repeat, or (None) the instruction itself."""

    names: tuple[Block | None, ...]

    def is_permuted(self, other: Axes) -> bool:
        """Whether both have the same axes in different orders."""
        return self != other and sorted(map(id, self.names)) == sorted(map(id, other.names))

    def peel(self, loops: Sequence[Block]) -> list[int | None]:
        """The axis of each repeat at the time when those before it are gone; None where the array has no such axis."""
        left = list(self.names)
        found: list[int | None] = []
        for loop in loops:
            found.append(left.index(loop) if loop in left else None)
            if loop in left:
                left.remove(loop)
        return found


def aligned(array: Array, axes: Axes, like: Axes) -> Array:
    """The array with the repeats' axes where another one has them, if it has the same."""
    if not axes.is_permuted(like):
        return array
    left = list(range(len(axes.names)))
    order = []
    for name in like.names:
        order.append(next(axis for axis in left if axes.names[axis] is name))
        left.remove(order[-1])
    return lax.transpose(array, order)


def widened(
    function: Function,
    loops: Sequence[tuple[Block, int]],
    arguments: Sequence[Sequence[Axes]],
    results: Sequence[Axes],
) -> Function:
    """The function for all iterations of the repeats together.

    loops:     the merged repeats around the instruction, outermost first, and their iterations
    arguments: for every list that the function takes, the axes of each array in it
    results:   the axes of the arrays that it returns; every repeat is among them
    """
    blocks = [block for block, _ in loops]
    taken = [[axes.peel(blocks) for axes in group] for group in arguments]
    given = [axes.peel(blocks) for axes in results]
    for level in reversed(range(len(loops))):
        into = [[axes[level] for axes in group] for group in taken]
        out = [axes[level] for axes in given]
        function = _one_level(function, loops[level][1], into, out)
    return function


def _one_level(function: Function, count: int, into: list[list[int | None]], out: list[int | None]) -> Function:
    if any(axis is not None for group in into for axis in group):
        return jax.vmap(function, in_axes=tuple(into), out_axes=list(out), axis_size=count)

    def repeated(*groups: Any) -> list[Array]:
        """No argument depends on the iteration, so no result does."""
        results = []
        for result, axis in zip(function(*groups), out, strict=True):
            assert axis is not None
            shape = [*result.shape[:axis], count, *result.shape[axis:]]
            results.append(jnp.broadcast_to(jnp.expand_dims(result, axis), shape))
        return results

    return repeated
