"""Views of NkiTensor against NumPy's, and the rules of on-chip tensors.

Every test holds a tensor whose int32 elements are 0, 1, 2, ... beside a NumPy array of the same elements, applies an
operation to both, and compares what the tensor reaches with the array.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import prod
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import assume, given, settings, strategies as st
from numpy.lib.stride_tricks import as_strided

from trnlab.emulator import errors
from trnlab.emulator.backends.reference import Reference
from trnlab.emulator.target import get_target
from trnlab.emulator.tensor import DynamicSlice, NkiTensor
from trnlab.emulator.trace import Trace

TARGET = get_target("trn3")
Array = np.ndarray[Any, Any]


class Pair(NamedTuple):
    """A tensor and the NumPy array it must agree with."""

    tensor: NkiTensor
    array: Array

    def check(self) -> None:
        assert self.tensor.shape == self.array.shape
        np.testing.assert_array_equal(self.tensor.numpy_view(), self.array)


@contextmanager
def kernel() -> Iterator[Trace]:
    with Trace("test", TARGET, Reference(TARGET, lambda *_: None)).opened() as trace:
        yield trace


def numbered(trace: Trace, shape: tuple[int, ...], region: str = "sbuf", dtype: str = "int32") -> Pair:
    tensor = trace.allocate(shape, dtype, region)
    tensor.numpy_view()[...] = np.arange(prod(shape)).reshape(shape)
    return Pair(tensor, np.arange(prod(shape), dtype=dtype).reshape(shape))


shapes = st.lists(st.integers(1, 6), min_size=2, max_size=4).map(tuple)
regions = st.sampled_from(["sbuf", "psum", "private_hbm", "shared_hbm"])


# -- one operation at a time, as a step of a random chain --------------------------------------------------------------


def _getitem(pair: Pair, data: st.DataObject) -> Pair:
    """Integers, slices and nl.ds on the first dimensions, with an ellipsis anywhere."""
    ours: list[Any] = []
    numpys: list[Any] = []
    ndim = pair.array.ndim
    for dim, size in enumerate(pair.array.shape[: data.draw(st.integers(0, ndim))]):
        start = data.draw(st.integers(0, size - 1))
        stop, step = data.draw(st.integers(start + 1, size)), data.draw(st.integers(1, 3))
        kind = data.draw(st.sampled_from(["index", "negative", "slice", "ds", "all"]))
        keeps = pair.tensor.on_chip and dim == 0
        index = slice(start, start + 1) if keeps else start
        forms = {
            "index": (start, index),
            "negative": (start - size, index),
            "slice": (slice(start, stop, step), slice(start, stop, step)),
            "ds": (DynamicSlice(start, stop - start), slice(start, stop)),
            "all": (slice(None), slice(None)),
        }
        ours.append(forms[kind][0])
        numpys.append(forms[kind][1])
    if data.draw(st.booleans()):
        ours.append(...)
    array = pair.array[tuple(numpys)]
    while array.ndim < (2 if pair.tensor.on_chip else 1):
        array = array[..., None]
    return Pair(pair.tensor[tuple(ours)], array)


def _select(pair: Pair, data: st.DataObject) -> Pair:
    dim = data.draw(st.integers(1 if pair.tensor.on_chip else 0, pair.array.ndim - 1))
    index = data.draw(st.integers(0, pair.array.shape[dim] - 1))
    array = pair.array.take(index, dim)
    while array.ndim < (2 if pair.tensor.on_chip else 1):
        array = array[..., None]
    return Pair(pair.tensor.select(dim, index), array)


def _slice(pair: Pair, data: st.DataObject) -> Pair:
    dim = data.draw(st.integers(0, pair.array.ndim - 1))
    size = pair.array.shape[dim]
    start = data.draw(st.integers(0, size - 1))
    end, step = data.draw(st.integers(start + 1, size)), data.draw(st.integers(1, 3))
    return Pair(pair.tensor.slice(dim, start, end, step), pair.array[(slice(None),) * dim + (slice(start, end, step),)])


def _permute(pair: Pair, data: st.DataObject) -> Pair:
    first = 1 if pair.tensor.on_chip else 0
    order = (*range(first), *data.draw(st.permutations(range(first, pair.array.ndim))))
    return Pair(pair.tensor.permute(order), pair.array.transpose(order))


def _expand_and_broadcast(pair: Pair, data: st.DataObject) -> Pair:
    assume(pair.array.ndim < 6)
    dim = data.draw(st.integers(1 if pair.tensor.on_chip else 0, pair.array.ndim))
    times = data.draw(st.integers(1, 3))
    array = np.expand_dims(pair.array, dim)
    shape = (*array.shape[:dim], times, *array.shape[dim + 1 :])
    return Pair(pair.tensor.expand_dim(dim).broadcast(dim, times), np.broadcast_to(array, shape))


def _squeeze(pair: Pair, data: st.DataObject) -> Pair:
    first = 1 if pair.tensor.on_chip else 0
    units = [dim for dim in range(first, pair.array.ndim) if pair.array.shape[dim] == 1]
    assume(units and pair.array.ndim > (2 if pair.tensor.on_chip else 1))
    dim = data.draw(st.sampled_from(units))
    return Pair(pair.tensor.squeeze_dim(dim), pair.array.squeeze(dim))


def _divisors(size: int) -> list[int]:
    return [d for d in range(1, size + 1) if size % d == 0]


def _reshape_dim(pair: Pair, data: st.DataObject) -> Pair:
    dim = data.draw(st.integers(1 if pair.tensor.on_chip else 0, pair.array.ndim - 1))
    size = pair.array.shape[dim]
    outer = data.draw(st.sampled_from(_divisors(size)))
    split = (outer, -1 if data.draw(st.booleans()) else size // outer)
    shape = (*pair.array.shape[:dim], outer, size // outer, *pair.array.shape[dim + 1 :])
    return Pair(pair.tensor.reshape_dim(dim, split), pair.array.reshape(shape, copy=False))


def _reshaped(pair: Pair, shape: tuple[int, ...], reshape: Callable[[], NkiTensor]) -> Pair:
    """Both reshaped, or the pair as it was where NumPy too would need a copy."""
    try:
        array = pair.array.reshape(shape, copy=False)
    except ValueError:
        with pytest.raises(errors.ShapeError, match="no copy"):
            reshape()
        return pair
    return Pair(reshape(), array)


def _flatten_dims(pair: Pair, data: st.DataObject) -> Pair:
    first = 1 if pair.tensor.on_chip else 0
    start = data.draw(st.integers(first, pair.array.ndim - 1))
    end = data.draw(st.integers(start, pair.array.ndim - 1))
    shape = pair.array.shape
    merged = (*shape[:start], prod(shape[start : end + 1]), *shape[end + 1 :])
    return _reshaped(pair, merged, lambda: pair.tensor.flatten_dims(start, end))


def _reshape(pair: Pair, data: st.DataObject) -> Pair:
    first = 1 if pair.tensor.on_chip else 0
    total = prod(pair.array.shape[first:])
    outer = data.draw(st.sampled_from(_divisors(total)))
    shape = (*pair.array.shape[:first], outer, total // outer)
    return _reshaped(pair, shape, lambda: pair.tensor.reshape(shape))


def _rearrange(pair: Pair, data: st.DataObject) -> Pair:
    """(a, b, ...) to (a, ..., b) with the last dimension split: what einops writes as `a b (c d) -> a d c b`."""
    first = 1 if pair.tensor.on_chip else 0
    names = [f"n{dim}" for dim in range(pair.array.ndim - 1)]
    size = pair.array.shape[-1]
    inner = data.draw(st.sampled_from(_divisors(size)))
    source = (*names, ("x", "y"))
    order = [*names, "x", "y"]
    wanted = (*order[:first], *data.draw(st.permutations(order[first:])))
    array = pair.array.reshape((*pair.array.shape[:-1], size // inner, inner), copy=False)
    array = array.transpose([order.index(name) for name in wanted])
    return Pair(pair.tensor.rearrange(source, wanted, {"y": inner}), array)


def _view(pair: Pair, data: st.DataObject) -> Pair:
    dtype = data.draw(st.sampled_from(["int32", "uint32", "int16", "uint8"]))
    to = np.dtype(dtype)
    try:
        array = pair.array.view(to)
    except ValueError:
        with pytest.raises(errors.ShapeError, match=r"contiguous|multiple"):
            pair.tensor.view(dtype)
        return pair
    if pair.array.strides[-1] == 0:  # NumPy lets a repeated last element of size 1 pass as any dtype
        return pair
    return Pair(pair.tensor.view(dtype), array)


def _ap(pair: Pair, data: st.DataObject) -> Pair:
    """The view's own pattern, given by hand."""
    return Pair(pair.tensor.ap(pair.tensor.get_pattern()), pair.array)


OPERATIONS = [
    _getitem,
    _select,
    _slice,
    _permute,
    _expand_and_broadcast,
    _squeeze,
    _reshape_dim,
    _flatten_dims,
    _reshape,
    _rearrange,
    _view,
    _ap,
]


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.__name__[1:])
@given(shape=shapes, region=regions, data=st.data())
def test_an_operation_agrees_with_numpy(
    operation: Any, shape: tuple[int, ...], region: str, data: st.DataObject
) -> None:
    with kernel() as trace:
        operation(numbered(trace, shape, region), data).check()


@settings(max_examples=300)
@given(shape=shapes, region=regions, data=st.data())
def test_chains_of_operations_agree_with_numpy(shape: tuple[int, ...], region: str, data: st.DataObject) -> None:
    with kernel() as trace:
        pair = numbered(trace, shape, region)
        for _ in range(data.draw(st.integers(1, 6))):
            pair = data.draw(st.sampled_from(OPERATIONS))(pair, data)
            pair.check()


@given(data=st.data())
def test_ap_is_as_strided(data: st.DataObject) -> None:
    pattern = data.draw(st.lists(st.tuples(st.integers(-3, 9), st.integers(1, 4)), min_size=1, max_size=4))
    offset = data.draw(st.integers(0, 60))
    low = offset + sum(min(0, stride * (count - 1)) for stride, count in pattern)
    high = offset + sum(max(0, stride * (count - 1)) for stride, count in pattern)
    with kernel() as trace:
        tensor, array = numbered(trace, (8, 8))
        if low < 0 or high > 63:
            view = tensor.ap([list(pair) for pair in pattern], offset)  # kernels may make such a view, but not use it
            with pytest.raises(errors.BoundsError, match=f"elements {low} to {high}.*0 to 63"):
                view.numpy_view()
            return
        shape, strides = [c for _, c in pattern], [4 * s for s, _ in pattern]
        expected = as_strided(array.reshape(-1)[offset:], shape, strides)
        Pair(tensor.ap([list(pair) for pair in pattern], offset), expected).check()


def test_ap_with_a_dtype_counts_in_its_elements() -> None:
    with kernel() as trace:
        tensor, array = numbered(trace, (4, 8))
        halves = array.view(np.int16)
        Pair(tensor.ap([[16, 4], [2, 8]], dtype="int16"), halves[:, ::2]).check()
        Pair(tensor[1:3, 2:].ap([[16, 2], [1, 4]], dtype="int16"), halves[1:3, 4:8]).check()
        Pair(tensor[1:3, 2:].ap([[16, 2], [1, 4]], 3, dtype="int16"), halves[1:3, 7:11]).check()
