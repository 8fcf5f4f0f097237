"""Keys of values: equal for equal values of equal types, different for everything that can be told apart."""

from __future__ import annotations

import copy
import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, strategies as st

import trnlab.emulator.nki.isa as nisa
import trnlab.emulator.nki.language as nl
from trnlab.emulator.fingerprint import static_key

numbers = st.integers(-2, 2) | st.sampled_from([0.0, -0.0, 1.0, 2.0, math.nan, math.inf, 1j, 0j, complex(0.0, -0.0)])
plain = st.none() | st.booleans() | numbers | st.sampled_from(["", "a", "1", b"", b"a", ..., nl.float32, nl.bfloat16])
values = st.recursive(
    plain,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.sampled_from(["a", "b", 1]), inner, max_size=2)
    ),
    max_leaves=5,
)


def written(value: Any) -> Any:
    """The value as text, with every type and every bit of every float."""
    if isinstance(value, dict):
        return type(value).__name__, [(written(key), written(item)) for key, item in value.items()]
    if isinstance(value, (list, tuple)):
        return type(value).__name__, [written(item) for item in value]
    if isinstance(value, (float, complex)):
        return type(value).__name__, struct.pack("<dd", value.real, value.imag)
    return type(value).__name__, repr(value)


@given(values)
def test_a_copy_has_the_same_key(value: Any) -> None:
    assert static_key(copy.deepcopy(value)) == static_key(value)
    assert hash(static_key(copy.deepcopy(value))) == hash(static_key(value))


@given(values, values)
def test_equal_keys_mean_equal_values_of_equal_types(one: Any, other: Any) -> None:
    if static_key(one) == static_key(other):
        assert written(one) == written(other)
    elif written(one) == written(other):
        # Only objects that are shared in one of them and not in the other tell them apart.
        assert written(one)[0] in ("list", "tuple", "dict")


SCALARS = [1, True, 1.0, np.float64(1), np.float32(1), np.int8(1), ml_dtypes.bfloat16(1), 1 + 0j, "1", b"1", (1,), [1]]


def test_every_type_of_one_has_a_key_of_its_own() -> None:
    assert len({static_key(value) for value in SCALARS}) == len(SCALARS)


@dataclass(frozen=True)
class Config:
    rows: int
    dtype: Any = nl.bfloat16


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Config(1), Config(2)),
        (Config(1), Config(True)),
        (Config(1), Config(1, nl.float32)),
        (nl.NKIObject(rows=1), nl.NKIObject(rows=2)),
        (nl.NKIObject(rows=1), nl.NKIObject(columns=1)),
        (nl.NKIObject(rows=1), Config(1)),
        (nisa.engine.vector, nisa.engine.scalar),
        (nl.add, nl.multiply),
        (nl.ds(0, 4), nl.ds(0, 5)),
        (lambda: 1, lambda: 2),
    ],
    ids=range(10),
)
def test_static_arguments_by_value(one: Any, other: Any) -> None:
    assert static_key(one) == static_key(one)
    assert static_key(one) != static_key(other)


@pytest.mark.parametrize("make", [lambda: Config(3), lambda: nl.NKIObject(rows=3), lambda: {"a": [nl.float32]}])
def test_static_arguments_made_anew_have_the_same_key(make: Callable[[], Any]) -> None:
    assert static_key(make()) == static_key(make())
