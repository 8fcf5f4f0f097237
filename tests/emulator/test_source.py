"""Source lines and values as messages show them."""

from __future__ import annotations

import functools
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import trnlab.emulator.nki.isa as nisa
import trnlab.emulator.nki.language as nl
from trnlab.emulator import errors, launch
from trnlab.emulator.source import definition_of, shown

X = np.zeros((128, 8), np.float32)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (np.zeros((128, 64), np.int8), "ndarray int8[128, 64]"),
        (jnp.zeros((3,)), "ArrayImpl float32[3]"),
        (np.float32(3.5), "float32 np.float32(3.5)"),
        (np.zeros(()), "ndarray array(0.)"),  # no dimensions: it is its value
        (None, "NoneType None"),
        ("two\nlines", r"str 'two\nlines'"),
        ([1, 2], "list [1, 2]"),
        (list(range(100)), "list " + str(list(range(100)))[:77] + "..."),
    ],
)
def test_a_value_is_shown_on_one_line(value: object, text: str) -> None:
    assert shown(value) == text


def test_arrays_inside_containers_stay_on_one_line() -> None:
    assert "\n" not in shown([np.zeros((3, 3))])


def below(function: Any) -> Any:
    return function


@below
def decorated(x: Any) -> Any:
    return nl.load(x)


def test_the_line_of_a_definition() -> None:
    where = definition_of(decorated)
    assert where is not None
    assert where.text == "def decorated(x: Any) -> Any:"
    assert where.line == decorated.__code__.co_firstlineno + 1
    assert definition_of(functools.partial(decorated, X)) is None
    assert definition_of(len) is None


def forgets_to_return(x: Any) -> None:
    nl.load(x)


def returns_an_array(x: Any) -> Any:
    return np.zeros((200, 200))


@pytest.mark.parametrize(
    ("kernel", "error", "found"),
    [
        (forgets_to_return, errors.UnwrittenOutputError, "no tensor returned and no argument written"),
        (decorated, errors.BufferError, "t1: float32[128, 8] in sbuf"),
        (returns_an_array, errors.ArgumentError, "ndarray float64[200, 200]"),
    ],
)
def test_what_is_wrong_with_a_result_points_at_the_kernel(kernel: Any, error: Any, found: str) -> None:
    with pytest.raises(error) as caught:
        launch.run(kernel, X)
    violation = caught.value.violation
    assert violation.found == found
    assert violation.location.function == kernel.__name__
    assert violation.location.text.startswith(f"def {kernel.__name__}(")


def test_an_array_where_a_tensor_belongs_is_named_by_dtype_and_shape() -> None:
    def kernel(x: Any) -> Any:
        tile = nl.load(x)
        nisa.tensor_tensor(tile, tile, np.ones((128, 8), np.float32), nl.add)
        return x

    with pytest.raises(errors.ArgumentError, match=r"data2: found ndarray float32\[128, 8\]; allowed: a tensor"):
        launch.run(kernel, X)


def test_an_array_as_an_index_is_named_by_dtype_and_shape() -> None:
    with pytest.raises(errors.ArgumentError, match=r"found ndarray bool\[128\] on dimension 0"):
        launch.run(lambda x: x[np.ones(128, bool)], X)
