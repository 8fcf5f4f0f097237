"""x4 words against the documented order, by arithmetic on integers."""

from __future__ import annotations

from typing import Any

import jax
import ml_dtypes
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.emulator.numerics.patterns import bits, canonical
from trnlab.emulator import dtypes
from trnlab.emulator.dtypes import DTYPES, DType, element_of
from trnlab.emulator.errors import DtypeError, ShapeError
from trnlab.emulator.numerics.x4_words import decode_x4, pack_x4, packed_of, unpack_x4

PACKED = [d for d in DTYPES if d.is_packed]


def all_words(dtype: DType) -> NDArray[Any]:
    """Words that together hold every element code in every lane."""
    if dtype.storage == np.uint16:
        return np.arange(2**16, dtype=np.uint16).reshape(64, -1)
    codes = np.arange(256, dtype=np.uint32)
    lanes = [codes, codes[::-1], np.roll(codes, 17), np.roll(codes, 101)]
    return (
        np.asarray(sum(lane << (8 * position) for position, lane in enumerate(lanes))).astype(np.uint32).reshape(8, -1)
    )


def element_codes(words: NDArray[Any], dtype: DType) -> NDArray[np.uint8]:
    """The documented order, by arithmetic: lane l holds bits [l * width, (l + 1) * width)."""
    width = element_of(dtype).format.bits
    lanes = [(words.astype(np.uint32) >> (lane * width)) & (2**width - 1) for lane in range(4)]
    return np.stack(lanes, axis=-1).astype(np.uint8)


@pytest.mark.parametrize("dtype", PACKED, ids=str)
def test_x4_words_are_little_endian_and_round_trip(dtype: DType) -> None:
    words = all_words(dtype)
    codes = element_codes(words, dtype)
    unpacked = jax.jit(unpack_x4, static_argnums=1)(words, dtype)
    assert unpacked.shape == (*words.shape[:-1], 4 * words.shape[-1])
    assert unpacked.dtype == element_of(dtype).storage
    np.testing.assert_array_equal(bits(unpacked).reshape(codes.shape), codes)
    packed = jax.jit(pack_x4)(unpacked)
    assert packed.dtype == dtype.storage
    np.testing.assert_array_equal(np.asarray(packed), words)


@pytest.mark.parametrize("dtype", PACKED, ids=str)
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_decode_gives_the_value_of_every_code(dtype: DType) -> None:
    words = all_words(dtype)
    expected = element_codes(words, dtype).view(element_of(dtype).storage).astype(np.float32)
    found = np.asarray(jax.jit(decode_x4, static_argnums=1)(words, dtype))
    np.testing.assert_array_equal(bits(canonical(found)), bits(canonical(expected)))


def test_x4_errors() -> None:
    assert packed_of(dtypes.float8_e4m3fn) == dtypes.float8_e4m3fn_x4
    with pytest.raises(DtypeError, match="float8_e4m3"):
        pack_x4(np.zeros(4, ml_dtypes.float8_e4m3))
    with pytest.raises(ShapeError, match="multiple of 4"):
        pack_x4(np.zeros(6, ml_dtypes.float8_e5m2))
    with pytest.raises(DtypeError, match="uint16"):
        decode_x4(np.zeros(4, np.uint32), dtypes.float4_e2m1fn_x4)
    with pytest.raises(DtypeError, match="float8_e5m2_x4"):
        unpack_x4(np.zeros(4, np.uint32), dtypes.uint32)
