"""Casts against torch's, an implementation of its own: where they agree, and exactly where they do not, and how."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.emulator.numerics.patterns import bits, structured
from trnlab.emulator import dtypes
from trnlab.emulator.dtypes import DType, as_dtype
from trnlab.emulator.numerics.casts import narrow
from trnlab.emulator.target import OverflowPolicy

torch = pytest.importorskip("torch")

compiled = jax.jit(narrow, static_argnums=(1, 2))
AGREEING = ("float8_e5m2", "bfloat16", "float16")


@pytest.fixture(scope="module")
def x() -> NDArray[np.float32]:
    """2**22 float32 but for the NaNs: torch keeps parts of their payloads, `narrow` none."""
    values = structured(64)
    return values[~np.isnan(values)]


def by_torch(x: NDArray[np.float32], dtype: DType) -> NDArray[Any]:
    cast = torch.from_numpy(x).to(getattr(torch, dtype))
    as_integers = cast.view(torch.uint8 if dtype.itemsize == 1 else torch.int16).numpy()
    codes: NDArray[Any] = as_integers.view(f"u{dtype.itemsize}")
    return codes


@pytest.mark.parametrize("name", AGREEING)
def test_torch_casts_every_number_alike(name: str, x: NDArray[np.float32]) -> None:
    dtype = as_dtype(name)
    np.testing.assert_array_equal(by_torch(x, dtype), bits(compiled(x, dtype)))


@pytest.mark.parametrize("name", [*AGREEING, "float8_e4m3fn", "float8_e8m0fnu"])
def test_torch_makes_nan_of_nan(name: str) -> None:
    dtype = as_dtype(name)
    nans = np.array([0x7FC00000, 0xFFC00000, 0x7F800001, 0xFFFFFFFF], np.uint32).view(np.float32)
    for codes in (by_torch(nans, dtype), bits(compiled(nans, dtype))):
        assert np.isnan(codes.view(dtype.storage).astype(np.float32)).all()


def test_torch_saturates_what_overflows_float8_e4m3fn(x: NDArray[np.float32]) -> None:
    """Beyond 464, halfway to the next value that there would be, torch gives 448 and ml_dtypes NaN; nowhere else."""
    dtype = dtypes.float8_e4m3fn
    theirs, ours = by_torch(x, dtype), bits(compiled(x, dtype))
    np.testing.assert_array_equal(theirs != ours, np.abs(x) > 464)
    np.testing.assert_array_equal(theirs, bits(compiled(x, dtype, OverflowPolicy.SATURATE)))


def test_torch_takes_magnitudes_for_float8_e8m0fnu(x: NDArray[np.float32]) -> None:
    """Of zero torch makes code 0, of a negative number the code of its magnitude; ml_dtypes makes NaN of both."""
    dtype = dtypes.float8_e8m0fnu
    theirs, ours = by_torch(x, dtype), bits(compiled(x, dtype))
    rounds_to_nan = np.abs(x) >= np.float32(1.5 * 2.0**127)
    np.testing.assert_array_equal(theirs != ours, (x <= 0) & ~rounds_to_nan)
    assert (ours[x <= 0] == 255).all()
    is_negative = x < 0
    np.testing.assert_array_equal(theirs[is_negative], bits(compiled(-x, dtype))[is_negative])
    assert (theirs[x == 0] == 0).all()
