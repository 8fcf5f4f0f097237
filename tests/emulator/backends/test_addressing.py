"""Windows on memory with run-time offsets, against the definition element by element."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st

from trnlab.emulator.backends.addressing import element_grid, flat_words, place
from trnlab.emulator.backends.reference import Reference
from trnlab.emulator.errors import BoundsError
from trnlab.emulator.target import get_target
from trnlab.emulator.tensor import NkiTensor
from trnlab.emulator.trace import Trace

TRN3 = get_target("trn3")


@contextmanager
def kernel() -> Iterator[Trace]:
    with Trace("test", TRN3, Reference(TRN3, lambda *_: None)).opened() as trace:
        yield trace


def index(trace: Trace, *values: int, dtype: str = "int32") -> NkiTensor:
    tensor = trace.allocate((len(values), 1), dtype, "sbuf")
    tensor.numpy_view()[:, 0] = values
    return tensor


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(-5, 9)), min_size=1, max_size=4))
def test_the_grid_of_elements(pattern: list[tuple[int, int]]) -> None:
    shape, strides = (tuple(side) for side in zip(*pattern, strict=True))
    grid = element_grid(shape, strides)
    assert grid.shape == shape
    for place_of in np.ndindex(*shape):
        assert grid[place_of] == sum(i * s for i, s in zip(place_of, strides, strict=True))


def test_words_are_the_buffers_bytes() -> None:
    with kernel() as trace:
        tensor = trace.allocate((4, 6), "float32", "sbuf")
        tensor.numpy_view()[...] = 1.0
        assert flat_words(tensor).tolist() == [0x3F800000] * 24
        assert flat_words(tensor.view("uint8"))[:4].tolist() == [0, 0, 0x80, 0x3F]


def test_a_vector_of_indices_places_every_row() -> None:
    with kernel() as trace:
        table = trace.allocate((10, 6), "float32", "private_hbm")
        view = table.vector_select(0, index(trace, 7, 0, 7))[:, 1:5:2]
        found = place(view, skip_out_of_bounds=False, subject="test")
        assert found.valid is None
        assert found.elements.tolist() == [[43, 45], [1, 3], [43, 45]]


def test_an_index_matrix_is_walked_column_by_column() -> None:
    with kernel() as trace:
        table = trace.allocate((10, 6), "float32", "private_hbm")
        rows = trace.allocate((2, 2), "int32", "sbuf")
        rows.numpy_view()[...] = [[1, 3], [2, 4]]
        view = table.ap([[6, 4], [1, 1]], vector_offset=rows)
        assert place(view, skip_out_of_bounds=False, subject="test").elements[:, 0].tolist() == [6, 12, 18, 24]


def test_a_scalar_index_moves_the_view() -> None:
    with kernel() as trace:
        table = trace.allocate((10, 6), "float32", "private_hbm")
        view = table.ap([[6, 2], [2, 2]], 3, scalar_offset=index(trace, 4))
        assert place(view, skip_out_of_bounds=False, subject="test").elements.tolist() == [[27, 29], [33, 35]]


def test_indices_out_of_bounds() -> None:
    with kernel() as trace:
        table = trace.allocate((10, 6), "float32", "private_hbm", name="table")
        view = table.vector_select(0, index(trace, 3, 10, -1))
        with pytest.raises(
            BoundsError, match=r"nisa.x: table: float32\[3, 6\].*run-time index 10.*0 to 9, or oob_mode"
        ):
            place(view, skip_out_of_bounds=False, subject="nisa.x")
        found = place(view, skip_out_of_bounds=True, subject="nisa.x")
        assert found.valid is not None
        assert found.valid.tolist() == [True, False, False]
        assert found.elements[1:].tolist() == [[0, 1, 2, 3, 4, 5]] * 2  # safe, and not used


def test_large_unsigned_indices_do_not_wrap() -> None:
    with kernel() as trace:
        table = trace.allocate((10, 6), "float32", "private_hbm")
        view = table.vector_select(0, index(trace, 2**32 - 1, dtype="uint32"))
        with pytest.raises(BoundsError, match="run-time index 4294967295"):
            place(view, skip_out_of_bounds=False, subject="test")


@pytest.mark.parametrize("skip", [True, False])
def test_an_index_in_bounds_may_still_lead_out_of_the_buffer(skip: bool) -> None:
    with kernel() as trace:
        table = trace.allocate((10, 6), "float32", "private_hbm")
        view: Any = table.ap([[6, 4], [1, 6]], scalar_offset=index(trace, 7))
        with pytest.raises(BoundsError, match=r"elements 42 to 65.*0 to 59"):
            place(view, skip_out_of_bounds=skip, subject="test")
