"""Values of nc_matmul_mx against float64, with MX data and scales packed and placed by hand."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from tests.emulator.isa.harness import load, psum, run, store, wide, words
from trnlab.emulator.nki import isa as nisa, language as nl

E5M2, E4M3FN, BF16 = ml_dtypes.float8_e5m2, ml_dtypes.float8_e4m3fn, ml_dtypes.bfloat16
ELEMENTS = {nl.float8_e5m2_x4: E5M2, nl.float8_e4m3fn_x4: E4M3FN, nl.float4_e2m1fn_x4: ml_dtypes.float4_e2m1fn}


def mx_operand(partitions, columns, packed, seed):
    """(words [P, F], element values [P, F, 4], dense codes [P/8, F]) of random MX data, packed by hand."""
    rng = np.random.default_rng(seed)
    values = (rng.standard_normal((partitions, columns, 4)) * 2).astype(np.float32).astype(ELEMENTS[packed])
    codes = rng.integers(120, 134, (partitions // 8, columns), dtype=np.uint8)
    width = 4 if packed == nl.float4_e2m1fn_x4 else 8
    bits = values.view(np.uint8).astype(np.uint64) & (2**width - 1)
    lanes = sum(bits[..., lane] << np.uint64(width * lane) for lane in range(4))
    return lanes.astype(f"u{width // 2}"), wide(values), codes


def mx_product(left, left_codes, right, right_codes):
    a = left * np.repeat(2.0 ** (left_codes.astype(np.float64) - 127), 8, axis=0)[..., None]
    b = right * np.repeat(2.0 ** (right_codes.astype(np.float64) - 127), 8, axis=0)[..., None]
    bound = 4 * len(left) * 2.0**-24 * np.einsum("pml,pnl->mn", abs(a), abs(b))
    return np.einsum("pml,pnl->mn", a, b), bound


def placed(codes, partitions, offset=0):
    """Codes at their places in a tile of full height whose other rows hold 255, the scale that makes NaN."""
    tile = np.full((partitions, codes.shape[1]), 255, np.uint8)
    for group, row in enumerate(codes):
        tile[32 * (group // 4) + group % 4 + offset] = row
    return tile


@pytest.mark.parametrize(
    ("partitions", "left", "right"),
    [
        (32, nl.float8_e4m3fn_x4, nl.float8_e4m3fn_x4),
        (96, nl.float8_e5m2_x4, nl.float4_e2m1fn_x4),
        (128, nl.float4_e2m1fn_x4, nl.float8_e4m3fn_x4),
    ],
)
def test_mx_matmul_reads_scales_at_the_head_of_each_quadrant_only(partitions, left, right):
    a_words, a, a_codes = mx_operand(partitions, 16, left, 30)
    b_words, b, b_codes = mx_operand(partitions, 24, right, 31)

    def kernel(a, b, s, t):
        result = psum((16, 24))
        nisa.nc_matmul_mx(result, load(a).view(left), load(b).view(right), load(s), load(t))
        return store(result)

    exact, bound = mx_product(a, a_codes, b, b_codes)
    result = run(kernel, a_words, b_words, placed(a_codes, partitions), placed(b_codes, partitions))
    assert (abs(result - exact) <= bound).all()


def test_mx_scales_of_one_quadrant_may_be_dense_and_of_either_dtype():
    a_words, a, a_codes = mx_operand(32, 8, nl.float8_e4m3fn_x4, 32)
    b_words, b, b_codes = mx_operand(32, 12, nl.float8_e4m3fn_x4, 33)

    def kernel(a, b, s, t):
        result = psum((8, 12))
        words = (load(a).view(nl.float8_e4m3fn_x4), load(b).view(nl.float8_e4m3fn_x4))
        nisa.nc_matmul_mx(result, *words, load(s), load(t).view(nl.float8_e8m0fnu))
        return store(result)

    exact, bound = mx_product(a, a_codes, b, b_codes)
    assert (abs(run(kernel, a_words, b_words, a_codes, b_codes) - exact) <= bound).all()


def test_mx_scales_packed_into_one_tile_are_told_apart_by_their_offset():
    a_words, a, a_codes = mx_operand(128, 8, nl.float8_e4m3fn_x4, 34)
    b_words, b, b_codes = mx_operand(128, 16, nl.float8_e4m3fn_x4, 35)
    tile = placed(b_codes, 128, offset=4)
    live = placed(np.pad(a_codes, ((0, 0), (0, 8))), 128)
    tile = np.where(live != 255, live, tile)

    def kernel(a, b, scales):
        result, packed = psum((8, 16)), load(scales)
        words = (load(a).view(nl.float8_e4m3fn_x4), load(b).view(nl.float8_e4m3fn_x4))
        nisa.nc_matmul_mx(result, *words, packed[0:, :8], packed[4:, :])
        return store(result)

    exact, bound = mx_product(a, a_codes, b, b_codes)
    assert (abs(run(kernel, a_words, b_words, tile) - exact) <= bound).all()


def test_mx_matmul_accumulates_into_bfloat16():
    a_words, a, a_codes = mx_operand(32, 8, nl.float4_e2m1fn_x4, 36)
    b_words, b, b_codes = mx_operand(32, 8, nl.float4_e2m1fn_x4, 37)
    a_codes[:], b_codes[:] = 127, 128  # equal scales: FP4 products are multiples of 1/2, their sums exact

    def kernel(a, b, s, t):
        result = psum((8, 8), nl.bfloat16)
        operands = (load(a).view(nl.float4_e2m1fn_x4), load(b).view(nl.float4_e2m1fn_x4), load(s), load(t))
        for _ in range(3):
            nisa.nc_matmul_mx(result, *operands)
        return store(result)

    product = mx_product(a, a_codes, b, b_codes)[0].astype(np.float32)
    expected = product.astype(BF16)
    for _ in range(2):
        expected = (expected.astype(np.float32) + product).astype(BF16)
    result = run(kernel, a_words, b_words, a_codes, b_codes)
    assert (words(result) == words(expected)).all()


def test_mx_row_tiles_compute_the_same_product():
    a_words, a, a_codes = mx_operand(64, 8, nl.float8_e5m2_x4, 38)
    b_words, b, b_codes = mx_operand(64, 8, nl.float8_e5m2_x4, 39)

    def kernel(a, b, s, t):
        result = psum((8, 8))
        words = (load(a).view(nl.float8_e5m2_x4), load(b).view(nl.float8_e5m2_x4))
        nisa.nc_matmul_mx(result, *words, load(s), load(t), tile_position=(64, 0), tile_size=(64, 128))
        return store(result)

    exact, bound = mx_product(a, a_codes, b, b_codes)
    result = run(kernel, a_words, b_words, placed(a_codes, 64), placed(b_codes, 64), target="trn4")
    assert (abs(result - exact) <= bound).all()
