"""MX matmuls: any shape, error split into what quantisation loses and what accumulation loses."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from tests.kernels.bounds import assert_within, matmul_bound
from tests.repetition import everyday
from trnlab.emulator import ScaleRule, dtypes, pack_operand, run
from trnlab.emulator.errors import GenerationError
from trnlab.kernels.matmul_mx import matmul_mxfp8, matmul_mxfp8_weights
from trnlab.kernels.packing import pack_weights, unpack_weights

Array = np.ndarray[Any, Any]
PACKED = [dtypes.float4_e2m1fn_x4, dtypes.float8_e4m3fn_x4, dtypes.float8_e5m2_x4]


def gaussian(rows: int, columns: int, seed: int) -> Array:
    return np.random.default_rng(seed).standard_normal((rows, columns)).astype(ml_dtypes.bfloat16)


def nki_quantised(x: Array, lanes: int = 4) -> Array:
    """float64 of x[K, F] after quantize_mx to MXFP8 E4M3 by the documented rule, written out from the rule.

    Per 512 rows: row k in partition k % P, lane k // P; groups of 8 partitions x 4 lanes share 2**(floor(log2 amax) -
    7).
    """
    rows = -(-len(x) // 128) * 128
    padded = np.zeros((rows, x.shape[1]))
    padded[: len(x)] = x
    pieces = []
    for start in range(0, rows, 512):
        piece = padded[start : start + 512]
        partitions = len(piece) // lanes
        grouped = piece.reshape(lanes, partitions // 8, 8, -1)
        amax = np.abs(grouped).max((0, 2), keepdims=True)
        exponent = np.where(amax > 0, np.floor(np.log2(np.where(amax > 0, amax, 1))) - 7, -127)
        scale = 2.0**exponent
        rounded = (grouped / scale).astype(np.float32).astype(ml_dtypes.float8_e4m3fn).astype(np.float64)
        pieces.append((rounded * scale).reshape(piece.shape))
    return np.concatenate(pieces)[: len(x)]


@pytest.mark.parametrize(("K", "M", "N"), everyday(3, [(512, 128, 512), (128, 2, 8), (640, 130, 17), (520, 33, 40)]))
def test_mxfp8_loses_nothing_beyond_quantisation_and_accumulation(K: int, M: int, N: int) -> None:
    lhs, rhs = gaussian(K, M, 1), gaussian(K, N, 2)
    left, right = nki_quantised(lhs), nki_quantised(rhs)
    found = run(matmul_mxfp8, lhs, rhs, out_dtype="float32", target="trn3").outputs
    assert_within(found, left.T @ right, matmul_bound(left, right, "float32"))


@pytest.mark.parametrize(("dtype", "K"), [(PACKED[0], 600), *((dtype, 140) for dtype in PACKED[1:])])
def test_host_packed_weights_multiply_as_what_they_stand_for(dtype: Any, K: int) -> None:
    lhs, weights = gaussian(K, 34, 3), gaussian(K, 48, 4).astype(np.float32)
    words, scales = pack_weights(weights, dtype)
    left, right = nki_quantised(lhs), unpack_weights(words, scales, dtype, K).astype(np.float64)
    found = run(matmul_mxfp8_weights, lhs, words, scales, weight_dtype=dtype, out_dtype="float32").outputs
    assert_within(found, left.T @ right, matmul_bound(left, right, "float32"))


def test_weights_packed_by_the_host_are_those_quantised_on_the_core() -> None:
    """The same rule, words and scales on both sides: bit-equal results."""
    lhs, rhs = gaussian(140, 6, 5), gaussian(140, 10, 6)
    element = dtypes.float8_e4m3fn_x4
    words, scales = pack_operand(rhs, element, rule=ScaleRule.NKI)
    found = run(matmul_mxfp8_weights, lhs, words, scales, weight_dtype=element, out_dtype="float32").outputs
    np.testing.assert_array_equal(found, run(matmul_mxfp8, lhs, rhs, out_dtype="float32").outputs)


def test_lanes_are_named() -> None:
    lhs = gaussian(128, 2, 1)
    words, scales = pack_weights(gaussian(128, 8, 2).astype(np.float32), dtypes.float4_e2m1fn_x4)
    with pytest.raises(AssertionError, match="strided"):
        run(matmul_mxfp8_weights, lhs, words, scales, lanes="interleaved")


def test_mx_needs_neuroncore_v4() -> None:
    lhs, rhs = gaussian(128, 2, 1), gaussian(128, 8, 2)
    with pytest.raises(GenerationError, match=r"(?s)quantize_mx.*NeuronCore-v3.*matmul_mx\.py"):
        run(matmul_mxfp8, lhs, rhs, target="trn2")


@settings(max_examples=20)
@given(seed=st.integers(0, 2**32 - 1), exponent=st.integers(-30, 30))
def test_scaling_the_activations_by_a_power_of_two_scales_the_result_exactly(seed: int, exponent: int) -> None:
    lhs, rhs = gaussian(130, 4, seed), gaussian(130, 8, seed + 1)
    scaled = (lhs.astype(np.float32) * np.float32(2.0**exponent)).astype(ml_dtypes.bfloat16)
    plain = run(matmul_mxfp8, lhs, rhs, out_dtype="float32").outputs
    np.testing.assert_array_equal(
        run(matmul_mxfp8, scaled, rhs, out_dtype="float32").outputs, plain * np.float32(2.0**exponent)
    )


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1))
def test_negating_the_activations_negates_the_result(seed: int) -> None:
    lhs, rhs = gaussian(130, 4, seed), gaussian(130, 8, seed + 1)
    plain = run(matmul_mxfp8, lhs, rhs, out_dtype="float32").outputs
    np.testing.assert_array_equal(run(matmul_mxfp8, -lhs, rhs, out_dtype="float32").outputs, -plain)


@pytest.mark.parametrize("dtype", PACKED)
def test_packing_round_trips_weights_the_format_represents(dtype: Any) -> None:
    codes = np.array(
        [-4.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0, 4.0], np.float32
    )  # in every format, with amax 4 in each group
    weights = np.random.default_rng(0).choice(codes, (300, 8))
    weights[::8] = 4.0
    words, scales = pack_weights(weights, dtype)
    assert words.shape == (384 // 4, 8)
    assert scales.shape == (384 // 32, 8)
    np.testing.assert_array_equal(unpack_weights(words, scales, dtype, 300), weights)
