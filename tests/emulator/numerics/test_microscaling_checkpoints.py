"""Checkpoints of contiguous blocks against the decoding that their publishers describe, and back without a bit lost."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from numpy.typing import NDArray

from tests.kernels.bounds import assert_within, matmul_bound
from trnlab.emulator import dtypes, run
from trnlab.emulator.dtypes import DType, element_of
from trnlab.emulator.errors import ArgumentError, DtypeError, ShapeError
from trnlab.emulator.numerics.microscaling_checkpoints import pack_checkpoint, unpack_checkpoint
from trnlab.emulator.numerics.microscaling_host import quantize_mx_host, unpack_operand
from trnlab.emulator.numerics.microscaling_layout import LaneOrder
from trnlab.kernels.matmul_mx import matmul_mxfp8_weights

E4M3, E5M2, E2M1 = dtypes.float8_e4m3fn_x4, dtypes.float8_e5m2_x4, dtypes.float4_e2m1fn_x4
Array = NDArray[Any]

FP4_VALUES = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, -0.0, -0.5, -1.0, -1.5, -2.0, -3.0, -4.0, -6.0]


def checkpoint(seed: int, dtype: DType, *shape: int) -> tuple[Array, Array]:
    """Random blocks [*shape, bytes] and scales [*shape] in the middle of the range."""
    generator = np.random.default_rng(seed)
    size = 32 * element_of(dtype).format.bits // 8
    return (
        generator.integers(0, 256, (*shape, size)).astype(np.uint8),
        generator.integers(110, 125, shape).astype(np.uint8),
    )


def decoded(blocks: Array, scales: Array) -> Array:
    """W[..., N, K] of MXFP4 blocks as gpt-oss has them: a table of 16 values, low nibble first, times 2**(s - 127)."""
    table = np.array(FP4_VALUES)
    values = np.empty((*blocks.shape[:-1], 32))
    values[..., 0::2] = table[blocks & 0x0F]
    values[..., 1::2] = table[blocks >> 4]
    return np.ldexp(values, scales.astype(np.int32)[..., None] - 127).reshape(*scales.shape[:-1], -1)


@pytest.mark.parametrize(("n", "blocks_of_k"), [(6, 4), (5, 1), (2, 19)])
def test_mxfp4_stands_for_what_the_checkpoint_does(n: int, blocks_of_k: int) -> None:
    blocks, scales = checkpoint(n, E2M1, n, blocks_of_k)
    words, codes = pack_checkpoint(blocks, scales)
    rows = -(-blocks_of_k // 4) * 128
    assert (words.shape, codes.shape) == ((rows // 4, n), (rows // 32, n))
    assert words.flags.c_contiguous
    found = unpack_operand(words, codes, E2M1, rows=32 * blocks_of_k, order=LaneOrder.CONSECUTIVE)
    np.testing.assert_array_equal(found, decoded(blocks, scales).T)


@pytest.mark.parametrize(("dtype", "storage"), [(E4M3, ml_dtypes.float8_e4m3fn), (E5M2, ml_dtypes.float8_e5m2)])
def test_mxfp8_keeps_every_byte(dtype: DType, storage: Any) -> None:
    blocks, scales = checkpoint(1, dtype, 3, 8)
    words, codes = pack_checkpoint(blocks, scales.view(ml_dtypes.float8_e8m0fnu), dtype)
    found = unpack_operand(words, codes, dtype, order=LaneOrder.CONSECUTIVE)
    scale = np.ldexp(1.0, scales.astype(np.int32) - 127)[..., None]
    np.testing.assert_array_equal(found, (blocks.view(storage).astype(np.float64) * scale).reshape(3, 256).T)


@settings(max_examples=25)
@given(
    seed=st.integers(0, 2**32 - 1),
    dtype=st.sampled_from([E4M3, E5M2, E2M1]),
    shape=st.sampled_from([(4, 3), (2, 3, 5), (2, 2, 1, 4)]),
)
def test_there_and_back(seed: int, dtype: DType, shape: tuple[int, ...]) -> None:
    """Experts and other leading axes are kept; each is packed as it would be alone."""
    blocks, scales = checkpoint(seed, dtype, *shape)
    words, codes = pack_checkpoint(blocks, scales, dtype)
    again, scales_again = unpack_checkpoint(words, codes, 32 * shape[-1], dtype)
    np.testing.assert_array_equal(again, blocks)
    np.testing.assert_array_equal(scales_again, scales)
    if len(shape) > 2:
        alone = pack_checkpoint(blocks[0], scales[0], dtype)
        np.testing.assert_array_equal(words[0], alone[0])
        np.testing.assert_array_equal(codes[0], alone[1])


def test_quantising_in_consecutive_order_makes_a_checkpoint() -> None:
    """Blocks of 32 consecutive K and their scales: floor(log2 amax) - 2, elements rounded and clipped at 6."""
    w = np.random.default_rng(2).standard_normal((64, 5)).astype(np.float32)
    blocks, scales = unpack_checkpoint(*quantize_mx_host(w, E2M1, order=LaneOrder.CONSECUTIVE), 64)
    grouped = w.T.reshape(5, 2, 32).astype(np.float64)
    exponent = np.frexp(np.abs(grouped).max(axis=-1))[1] - 1 - 2
    np.testing.assert_array_equal(scales, exponent + 127)
    scaled = np.clip(np.ldexp(grouped, -exponent[..., None]), -6, 6)
    expected = np.ldexp(scaled.astype(np.float32).astype(ml_dtypes.float4_e2m1fn).astype(float), exponent[..., None])
    np.testing.assert_array_equal(decoded(blocks, scales), expected.reshape(5, 64))


def activations_as_quantised(x: Array) -> Array:
    """float64 of x[K, M] in MXFP8 E4M3 by the NKI rule, blocks of 32 consecutive K, written out from the rule."""
    rows = -(-len(x) // 32) * 32
    padded = np.zeros((rows, x.shape[1]))
    padded[: len(x)] = x
    grouped = padded.reshape(rows // 32, 32, -1)
    amax = np.abs(grouped).max(axis=1, keepdims=True)
    scale = 2.0 ** (np.frexp(np.where(amax > 0, amax, 1))[1] - 1 - 7)
    rounded = (grouped / scale).astype(np.float32).astype(ml_dtypes.float8_e4m3fn).astype(np.float64)
    return (rounded * scale).reshape(rows, -1)[: len(x)]


@pytest.mark.parametrize("k", [608, 32])
def test_the_kernel_multiplies_a_checkpoint_as_it_lies(k: int) -> None:
    blocks, scales = checkpoint(3, E2M1, 48, k // 32)
    x = np.random.default_rng(4).standard_normal((k, 34)).astype(ml_dtypes.bfloat16)
    words, codes = pack_checkpoint(blocks, scales)
    found = run(matmul_mxfp8_weights, x, words, codes, out_dtype="float32", lanes="consecutive").outputs
    left, right = activations_as_quantised(x), decoded(blocks, scales).T
    assert_within(found, left.T @ right, matmul_bound(left, right, "float32"))


BLOCKS, SCALES = checkpoint(0, E2M1, 2, 4)
WORDS, CODES = pack_checkpoint(BLOCKS, SCALES)
SPOILT = np.where(np.arange(4) == 2, np.uint8(255), SCALES)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: pack_checkpoint(BLOCKS, SPOILT), ArgumentError, r"2 NaN \(code 255\), the first at \(0, 2\)"),
        (lambda: pack_checkpoint(BLOCKS, SCALES.T), ShapeError, r"\(4, 2\)"),
        (lambda: pack_checkpoint(BLOCKS[..., :8], SCALES), ShapeError, "16"),
        (lambda: pack_checkpoint(BLOCKS, SCALES, E4M3), ShapeError, "32"),
        (lambda: pack_checkpoint(BLOCKS[0, 0], SCALES[0, 0]), ShapeError, "blocks"),
        (lambda: pack_checkpoint(BLOCKS[:0], SCALES[:0]), ShapeError, "none of them 0"),
        (lambda: pack_checkpoint(BLOCKS.astype(np.int8), SCALES), DtypeError, "int8"),
        (lambda: pack_checkpoint(BLOCKS, SCALES.astype(np.float32)), DtypeError, "float32"),
        (lambda: pack_checkpoint(BLOCKS, SCALES, dtypes.float8_e5m2), DtypeError, "packed"),
        (lambda: unpack_checkpoint(WORDS, CODES, 33), ShapeError, "multiple of 32"),
        (lambda: unpack_checkpoint(WORDS, CODES, 160), ShapeError, "at most 128"),
        (lambda: unpack_checkpoint(WORDS, CODES[:2], 128), ShapeError, "scales"),
        (lambda: unpack_checkpoint(WORDS, CODES, 128, E4M3), DtypeError, "uint16 for float8_e4m3fn_x4"),
    ],
)
def test_what_is_refused(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
