"""Every kernel computes the same bits compiled as instruction by instruction, on its own and inside `jax.jit`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import ml_dtypes
import numpy as np
import pytest

from tests.repetition import everyday
from trnlab.emulator import dtypes, run
from trnlab.kernels.attention import flash_attention
from trnlab.kernels.attention_decode import decode_attention
from trnlab.kernels.matmul import matmul, matmul_fp8
from trnlab.kernels.matmul_mx import matmul_mxfp8, matmul_mxfp8_weights
from trnlab.kernels.packing import pack_weights

Array = np.ndarray[Any, Any]


def normal(*shape: int, dtype: Any = ml_dtypes.bfloat16) -> Array:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(dtype)


def packed(rows: int, columns: int) -> tuple[Array, Array]:
    return pack_weights(normal(rows, columns, dtype=np.float32), dtypes.float4_e2m1fn_x4)


CASES: dict[str, tuple[Any, Callable[[], tuple[Array, ...]]]] = {
    "matmul": (matmul, lambda: (normal(200, 130), normal(200, 70))),
    "matmul_mxfp8_weights": (matmul_mxfp8_weights, lambda: (normal(140, 6), *packed(140, 10))),
    "flash_attention": (flash_attention, lambda: (normal(2, 150, 32), normal(1, 600, 32), normal(1, 600, 32))),
    "decode_attention": (decode_attention, lambda: (normal(2, 8, 32), normal(2, 2, 32, 300), normal(2, 2, 300, 32))),
    "matmul_float32": (matmul, lambda: (normal(130, 20, dtype=np.float32), normal(130, 30, dtype=np.float32))),
    "matmul_fp8": (
        matmul_fp8,
        lambda: (normal(300, 40, dtype=ml_dtypes.float8_e4m3), normal(300, 50, dtype=ml_dtypes.float8_e4m3)),
    ),
    "matmul_mxfp8": (matmul_mxfp8, lambda: (normal(140, 6), normal(140, 10))),
}


def bits(array: Any) -> Array:
    values = np.asarray(array)
    return values.view(f"u{values.dtype.itemsize}")


# Slow: other element types of kernels that the first four show.
@pytest.mark.parametrize("name", everyday(4, CASES))
def test_compiled_kernels_have_the_reference_bits(name: str) -> None:
    kernel, make = CASES[name]
    arguments = make()
    expected = run(kernel, *arguments, mode="reference").outputs
    np.testing.assert_array_equal(bits(run(kernel, *arguments, mode="compiled").outputs), bits(expected))


@pytest.mark.parametrize("name", ["matmul", "flash_attention"])
def test_kernels_inside_a_jitted_function_have_the_reference_bits(name: str) -> None:
    kernel, make = CASES[name]
    arguments = make()
    expected = run(kernel, *arguments, mode="reference").outputs
    found = jax.jit(kernel)(*arguments)
    np.testing.assert_array_equal(bits(found), bits(expected))
