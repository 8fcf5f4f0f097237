"""Shape-and-stride arithmetic against NumPy's own views."""

from math import prod

import numpy as np
import pytest
from hypothesis import given, strategies as st
from numpy.lib.stride_tricks import as_strided

from trnlab.emulator import view_algebra as algebra

shapes = st.lists(st.integers(1, 5), min_size=1, max_size=4).map(tuple)


@st.composite
def views(draw: st.DrawFn) -> np.ndarray:
    """A NumPy view of a dense int64 array of element numbers: sliced, permuted, with repeated dimensions."""
    shape = draw(shapes)
    array = np.arange(prod(shape)).reshape(shape)
    keys = []
    for size in shape:
        start = draw(st.integers(0, size - 1))
        keys.append(slice(start, draw(st.integers(start + 1, size)), draw(st.integers(1, 3))))
    array = array[tuple(keys)]
    array = array.transpose(draw(st.permutations(range(array.ndim))))
    if draw(st.booleans()):
        array = np.broadcast_to(array[:, None], (array.shape[0], draw(st.integers(1, 3)), *array.shape[1:]))
    return array


def strides_of(array: np.ndarray) -> tuple[int, ...]:
    return tuple(stride // array.itemsize for stride in array.strides)


@given(shapes)
def test_row_major_strides_are_numpys(shape: tuple[int, ...]) -> None:
    assert algebra.row_major(shape) == strides_of(np.empty(shape, np.int64))
    assert algebra.is_contiguous(shape, algebra.row_major(shape))


@given(views())
def test_contiguity_is_numpys(view: np.ndarray) -> None:
    # NumPy ignores the strides of dimensions of size 1, as the published rule does.
    assert algebra.is_contiguous(view.shape, strides_of(view)) == view.flags.c_contiguous


@given(views())
def test_reach_is_the_range_of_elements(view: np.ndarray) -> None:
    assert algebra.reach(view.shape, strides_of(view), int(view.flat[0])) == (view.min(), view.max())


def test_reach_of_negative_strides() -> None:
    assert algebra.reach((3, 2), (-4, 1), 8) == (0, 9)


@given(views())
def test_reaches_twice_counts_distinct_elements(view: np.ndarray) -> None:
    assert algebra.reaches_twice(view.shape, strides_of(view)) == (len(np.unique(view)) < view.size)


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(-6, 6)), min_size=1, max_size=4))
def test_reaches_twice_on_any_pattern(pattern: list[tuple[int, int]]) -> None:
    shape, strides = (tuple(side) for side in zip(*pattern, strict=True))
    elements = np.zeros(shape, np.int64)
    for dim, (count, stride) in enumerate(pattern):
        elements = elements + (np.arange(count) * stride).reshape((-1,) + (1,) * (len(shape) - dim - 1))
    assert algebra.reaches_twice(shape, strides) == (len(np.unique(elements)) < elements.size)


@given(views(), st.data())
def test_reshape_without_a_copy_agrees_with_numpy(view: np.ndarray, data: st.DataObject) -> None:
    to = data.draw(st.sampled_from(_factorisations(view.size)))
    strides = algebra.reshape_strides(view.shape, strides_of(view), to)
    try:
        expected = view.reshape(to, copy=False)
    except ValueError:
        assert strides is None
        return
    assert strides is not None
    base = np.arange(view.max() + 1)
    walked = as_strided(base[int(view.flat[0]) :], to, [s * base.itemsize for s in strides])
    np.testing.assert_array_equal(walked, expected)


def _factorisations(size: int) -> list[tuple[int, ...]]:
    """Every shape of at most three dimensions with that many elements, and some with dimensions of size 1."""
    divisors = [d for d in range(1, size + 1) if size % d == 0]
    return [(a, b, size // a // b) for a in divisors for b in divisors if size % (a * b) == 0] + [(size,), (1, size, 1)]


@given(shapes, st.integers(0, 3))
def test_infer_shape_fills_the_one_unknown(shape: tuple[int, ...], hole: int) -> None:
    hole %= len(shape)
    asked = (*shape[:hole], -1, *shape[hole + 1 :])
    assert algebra.infer_shape(asked, prod(shape)) == shape
    assert algebra.infer_shape(shape, prod(shape)) == shape
    assert algebra.infer_shape(shape, prod(shape) + 1) is None


@pytest.mark.parametrize("shape", [(-1, -1), (0, 4), (4, -2), (5, -1)])
def test_infer_shape_refuses(shape: tuple[int, ...]) -> None:
    assert algebra.infer_shape(shape, 4) is None


@given(st.integers(1, 4), st.integers(1, 8), st.sampled_from([1, 2, 4]), st.sampled_from([1, 2, 4]), st.integers(0, 8))
def test_reinterpret_is_numpys_view(rows: int, columns: int, old: int, new: int, start: int) -> None:
    """[rows, columns] of a wider dense array of `old`-byte items, from column `start` on, seen as `new`-byte items."""
    base = np.arange(rows * 16 * old, dtype=np.uint8).view(f"u{old}").reshape(rows, 16)
    view = base[:, start : start + columns]
    found = algebra.reinterpret(view.shape, strides_of(view), start, old, new)
    misaligned = (start * old) % new or (rows > 1 and (16 * old) % new)
    if (view.shape[1] * old) % new or misaligned:
        assert isinstance(found, str)
        return
    assert not isinstance(found, str)
    shape, strides, offset = found
    words = base.reshape(-1).view(f"u{new}")
    walked = as_strided(words[offset:], shape, [s * new for s in strides])
    np.testing.assert_array_equal(walked, view.view(f"u{new}"))


def test_reinterpret_needs_a_contiguous_last_dimension() -> None:
    assert "contiguous" in str(algebra.reinterpret((4, 4), (8, 2), 0, 4, 2))


@pytest.mark.parametrize(
    ("source", "target", "fixed", "rule"),
    [
        (("a",), ("a",), {}, "2 dimensions"),
        (("a", "b"), ("a", "c"), {}, "same names"),
        (("a", "a"), ("a", "a"), {}, "each once"),
        (("a", ("b", "c")), ("a", "b", "c"), {}, "at most one of them unknown"),
        (("a", ("b", "c")), ("a", "b", "c"), {"b": 5}, "product is 6"),
        (("a", "b"), ("a", "b"), {"b": 5}, "product is 6"),
    ],
)
def test_rearrangements_that_are_refused(source: tuple, target: tuple, fixed: dict, rule: str) -> None:
    plan = algebra.plan_rearrange((4, 6), source, target, fixed)
    assert isinstance(plan, str)
    assert rule in plan


def test_a_rearrangement_as_steps() -> None:
    plan = algebra.plan_rearrange((4, 6), ("a", ("b", "c")), ("c", ("a", "b")), {"b": 2})
    assert plan == algebra.Rearrangement(splits=((4,), (2, 3)), order=(2, 0, 1), merges=((1, 2),))
