"""matmul and matmul_fp8: any shape, against float64, within the bound of float32 accumulation."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from tests.kernels.bounds import assert_within, matmul_bound
from trnlab.emulator import run
from trnlab.emulator.errors import GenerationError, KernelError
from trnlab.kernels import oracles
from trnlab.kernels.matmul import matmul, matmul_fp8

Array = np.ndarray[Any, Any]
SHAPES = [(128, 128, 512), (1, 1, 1), (130, 5, 7), (200, 130, 520), (256, 64, 2100)]


def operands(K: int, M: int, N: int, dtype: Any, seed: int = 0) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((K, M)).astype(dtype), rng.standard_normal((K, N)).astype(dtype)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [ml_dtypes.bfloat16, np.float32])
def test_matmul_is_within_the_accumulation_bound(shape: tuple[int, int, int], dtype: Any) -> None:
    lhs, rhs = operands(*shape, dtype)
    found = run(matmul, lhs, rhs, target="trn2").outputs
    assert found.dtype == dtype
    bound = matmul_bound(lhs, rhs, np.dtype(dtype).name)
    assert_within(found, oracles.matmul(lhs, rhs, xp=np), bound)


def test_matmul_accumulates_in_sbuf_when_k_does_not_fit() -> None:
    K = 16 * 128 + 40  # one block of 16 K tiles, and a rest
    lhs, rhs = operands(K, 32, 48, ml_dtypes.bfloat16)
    found = run(matmul, lhs, rhs, out_dtype="float32").outputs
    assert_within(found, oracles.matmul(lhs, rhs, xp=np), matmul_bound(lhs, rhs, "float32"))


@pytest.mark.parametrize("shape", [(256, 128, 512), (300, 70, 33), (1, 3, 2)])
@pytest.mark.parametrize("dtype", [ml_dtypes.float8_e4m3, ml_dtypes.float8_e5m2])
def test_fp8_double_row_is_within_the_accumulation_bound(shape: tuple[int, int, int], dtype: Any) -> None:
    lhs, rhs = operands(*shape, dtype)
    found = run(matmul_fp8, lhs, rhs, out_dtype="float32", target="trn2").outputs
    bound = matmul_bound(lhs, rhs, "float32")
    assert_within(found, oracles.matmul(lhs, rhs, xp=np), bound)


def test_fp8_scale_multiplies_the_result_exactly() -> None:
    lhs, rhs = operands(256, 16, 16, ml_dtypes.float8_e4m3)
    plain = run(matmul_fp8, lhs, rhs, out_dtype="float32").outputs
    scaled = run(matmul_fp8, lhs, rhs, scale=0.25, out_dtype="float32").outputs
    np.testing.assert_array_equal(scaled, plain * np.float32(0.25))


def test_fp8_double_row_needs_neuroncore_v3() -> None:
    lhs, rhs = operands(256, 16, 16, ml_dtypes.float8_e4m3)
    with pytest.raises(GenerationError, match=r"nc_matmul.*NeuronCore-v2"):
        run(matmul_fp8, lhs, rhs, target="trn1")


def test_mixed_dtypes_are_refused_with_the_kernel_line() -> None:
    lhs, rhs = operands(128, 16, 16, np.float32)
    with pytest.raises(KernelError, match=r"(?s)nc_matmul.*float32.*bfloat16.*matmul\.py"):
        run(matmul, lhs, rhs.astype(ml_dtypes.bfloat16))


integers = st.integers(-8, 8)


@st.composite
def integer_operands(draw: st.DrawFn) -> tuple[Array, Array]:
    """Small integers: every product and sum is exact in float32, so results are exact too."""
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    high = draw(st.integers(1, 16))
    lhs = rng.integers(-high, high + 1, (130, 5)).astype(ml_dtypes.bfloat16)
    return lhs, rng.integers(-high, high + 1, (130, 7)).astype(ml_dtypes.bfloat16)


@settings(max_examples=25)
@given(integer_operands())
def test_integer_matrices_multiply_exactly(pair: tuple[Array, Array]) -> None:
    lhs, rhs = pair
    found = run(matmul, lhs, rhs, out_dtype="float32").outputs
    np.testing.assert_array_equal(found, oracles.matmul(lhs, rhs, xp=np))


@settings(max_examples=25)
@given(seed=st.integers(0, 2**32 - 1), exponent=st.integers(-20, 20))
def test_scaling_an_operand_by_a_power_of_two_scales_the_result_exactly(seed: int, exponent: int) -> None:
    lhs, rhs = operands(130, 5, 7, ml_dtypes.bfloat16, seed)
    scaled = (lhs.astype(np.float32) * np.float32(2.0**exponent)).astype(ml_dtypes.bfloat16)
    plain = run(matmul, lhs, rhs, out_dtype="float32").outputs
    np.testing.assert_array_equal(
        run(matmul, scaled, rhs, out_dtype="float32").outputs, plain * np.float32(2.0**exponent)
    )
