"""Order and equality keys of float32 values: against NumPy's comparisons, for every kind of value."""

from __future__ import annotations

import jax
import numpy as np
from hypothesis import given, strategies as st

from trnlab.emulator.numerics.ordering import LOWEST, NAN, equality_key, is_nan, order_key, value_of

SPECIALS = [0x00000000, 0x80000000, 0x00000001, 0x80000001, 0x7F800000, 0xFF800000, 0x7F800001, 0xFFFFFFFF, 0x7FFFFFFF]
LONGEST = 64
BITS = st.lists(st.one_of(st.integers(0, 2**32 - 1), st.sampled_from(SPECIALS)), min_size=2, max_size=LONGEST)


def floats(bits):
    return np.array(bits, np.uint32).view(np.float32)


def compiled(function):
    """The function of up to `LONGEST` values, compiled for one shape."""
    jitted = jax.jit(function)
    return lambda values: np.asarray(jitted(np.resize(values, LONGEST)))[: len(values)]


missing_of, key_of, equality_of = map(compiled, (is_nan, order_key, equality_key))
there_and_back = compiled(lambda x: value_of(order_key(x)))


@given(BITS)
def test_keys_sort_as_the_values_do(bits):
    values = floats(bits)
    keys = key_of(values)
    missing = np.isnan(values)
    assert (missing_of(values) == missing).all()
    assert (keys[missing] == NAN).all()
    assert (keys > LOWEST).all()
    values, keys = values[~missing], keys[~missing]
    wide = values.astype(np.float64)  # NumPy compares subnormals as they are
    for a, first, key in zip(wide, values, keys, strict=True):
        for b, second, other in zip(wide, values, keys, strict=True):
            below = a < b or (a == b and np.signbit(first) > np.signbit(second))
            assert (key < other) == below


@given(BITS)
def test_values_come_back(bits):
    values = floats(bits)
    back = there_and_back(values)
    missing = np.isnan(values)
    assert np.isnan(back[missing]).all()
    assert (back.view(np.uint32)[~missing] == values.view(np.uint32)[~missing]).all()


@given(BITS)
def test_equality_keys_are_equal_where_the_values_are(bits):
    values = floats(bits)
    keys = equality_of(values)
    present = ~np.isnan(values)
    wide, keys = values[present].astype(np.float64), keys[present]
    assert ((keys[:, None] == keys[None]) == (wide[:, None] == wide[None])).all()
