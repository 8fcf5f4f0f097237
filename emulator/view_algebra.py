"""Pure arithmetic on (shape, strides): contiguity, reshaping without a copy, reinterpretation, reach.

Every function takes and returns plain integers; a request that cannot be met returns None or the rule as text,
and the caller, who knows the tensor and the line, raises.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from math import prod
from operator import mul
from typing import Any

Shape = tuple[int, ...]


def row_major(shape: Shape) -> Shape:
    """Strides of a dense row-major array: stride[i] = prod(shape[i+1:])."""
    return tuple(accumulate(shape[:0:-1], mul, initial=1))[::-1] if shape else ()


def is_contiguous(shape: Shape, strides: Shape) -> bool:
    """Whether every dimension of size above 1 has its row-major stride."""
    return all(n == 1 or s == dense for n, s, dense in zip(shape, strides, row_major(shape), strict=True))


def reach(shape: Shape, strides: Shape, offset: int) -> tuple[int, int]:
    """(lowest, highest) element that offset + sum(i*stride) takes over the shape."""
    low = high = offset
    for count, stride in zip(shape, strides, strict=True):
        span = (count - 1) * stride
        low, high = (low + span, high) if span < 0 else (low, high + span)
    return low, high


def reaches_twice(shape: Shape, strides: Shape) -> bool:
    """Whether two indices of the view lead to the same element."""
    span = 0
    for stride, count in sorted((abs(s), n) for s, n in zip(strides, shape, strict=True) if n > 1):
        if stride <= span:
            return _counted_twice(shape, strides)
        span += (count - 1) * stride
    return False


def _counted_twice(shape: Shape, strides: Shape) -> bool:
    """The exact answer where dimensions interleave: count the elements reached."""
    reached = {0}
    for count, stride in zip(shape, strides, strict=True):
        steps = {element + index * stride for element in reached for index in range(count)}
        if len(steps) < len(reached) * count:
            return True
        reached = steps
    return False


def infer_shape(shape: Shape, total: int) -> Shape | None:
    """The shape with its one -1 resolved so that its product is `total`; None when that is impossible."""
    known = prod(n for n in shape if n != -1)
    if shape.count(-1) > 1 or any(n < 1 and n != -1 for n in shape) or not known or total % known:
        return None
    sizes = tuple(total // known if n == -1 else int(n) for n in shape)
    return sizes if prod(sizes) == total else None


def reshape_strides(shape: Shape, strides: Shape, to: Shape) -> Shape | None:
    """Strides under which `to` walks the same elements in the same order, or None when only a copy could.

    Dimensions are matched in groups of equal product; inside a group the old strides must be mergeable.
    """
    old = [(n, s) for n, s in zip(shape, strides, strict=True) if n != 1]
    result: list[int] = []
    position = 0
    group_left, stride = 1, 0
    for index, size in enumerate(to):
        if size == 1:
            result.append(0)
            continue
        if group_left == 1:
            group = _mergeable_group(old, position, to[index:])
            if group is None:
                return None
            position, group_left, stride = group
        group_left //= size
        result.append(stride * group_left)
    return _stride_of_unit_dims(to, result)


def _mergeable_group(old: list[tuple[int, int]], position: int, wanted: Shape) -> tuple[int, int, int] | None:
    """The shortest run of old dimensions whose product some prefix of `wanted` has, if it merges into one."""
    have, stride = old[position]
    position += 1
    prefixes = set(accumulate(wanted, mul))
    while have not in prefixes:
        if position == len(old) or stride != old[position][0] * old[position][1]:
            return None
        have, stride = have * old[position][0], old[position][1]
        position += 1
    return position, have, stride


def _stride_of_unit_dims(shape: Shape, strides: list[int]) -> Shape:
    """Give dimensions of size 1 the stride a dense layout would, so that patterns read naturally."""
    following = 1
    for index in reversed(range(len(shape))):
        if shape[index] == 1:
            strides[index] = following
        following = strides[index] * shape[index]
    return tuple(strides)


def reinterpret(shape: Shape, strides: Shape, offset: int, old: int, new: int) -> tuple[Shape, Shape, int] | str:
    """(shape, strides, offset) of the same bytes as items of `new` bytes, or the rule that forbids it."""
    if old == new:
        return shape, strides, offset
    if shape[-1] != 1 and strides[-1] != 1:
        return "a last dimension that is contiguous in memory"
    *outer, last = shape
    if (last * old) % new:
        return f"a last dimension whose bytes are a multiple of {new}"
    scaled = [s * old for s in strides[:-1]] + [offset * old]
    if any(b % new for b, n in zip(scaled, [*outer, 2], strict=True) if n > 1):
        return f"outer strides and an offset that are multiples of {new} bytes"
    return (*outer, last * old // new), (*(b // new for b in scaled[:-1]), 1), scaled[-1] // new


@dataclass(frozen=True, slots=True)
class Rearrangement:
    """A rearrange as steps: split every source dimension, permute, then merge ranges of dimensions."""

    splits: tuple[Shape, ...]
    order: Shape
    merges: tuple[tuple[int, int], ...]


def plan_rearrange(
    shape: Shape, source: tuple[Any, ...], target: tuple[Any, ...], fixed: dict[str, int]
) -> Rearrangement | str:
    """The steps of an einops-style rearrange, or the rule that its patterns break."""
    groups = [g if isinstance(g, (tuple, list)) else (g,) for g in source]
    names = [name for group in groups for name in group]
    outcome = [g if isinstance(g, (tuple, list)) else (g,) for g in target]
    wanted = [name for group in outcome for name in group]
    if len(groups) != len(shape):
        return f"a source pattern of {len(shape)} dimensions"
    if len(set(names)) != len(names) or sorted(names) != sorted(wanted):
        return "the same names, each once, on both sides"
    splits = []
    for size, group in zip(shape, groups, strict=True):
        known = infer_shape(tuple(fixed.get(n, size if len(group) == 1 else -1) for n in group), size)
        if known is None:
            return f"sizes of {tuple(group)} whose product is {size}, at most one of them unknown"
        splits.append(known)
    merges = []
    position = 0
    for group in outcome:
        if len(group) > 1:
            merges.append((position, position + len(group) - 1))
        position += len(group)
    return Rearrangement(tuple(splits), tuple(names.index(n) for n in wanted), tuple(merges))
