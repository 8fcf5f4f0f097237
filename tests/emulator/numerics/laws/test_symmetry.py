"""Laws of quantise-dequantise that hold exactly: sign, powers of two, order within a block, padding, monotonicity."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, strategies as st
from numpy.typing import NDArray

from tests.emulator.numerics.mx_blocks import (
    BFLOAT16,
    ELEMENTS,
    any_block,
    dequantize,
    every_case,
    middle_block,
    quantize,
)
from trnlab.emulator.dtypes import DType
from trnlab.emulator.numerics.microscaling_host import pack_operand, quantize_mx_host, unpack_operand
from trnlab.emulator.numerics.microscaling_layout import LaneOrder
from trnlab.emulator.numerics.microscaling_policies import ScaleRule
from trnlab.emulator.numerics.x4_words import packed_of

Block = NDArray[Any]
PACKED = [packed_of(element) for element in ELEMENTS[1:]]


@every_case
@given(x=any_block)
def test_sign_symmetry(element: DType, rule: ScaleRule, x: Block) -> None:
    """q(-x) = -q(x) to the bit: sign bits flip, scales stay."""
    elements, codes = quantize(x, element, rule)
    negated, negated_codes = quantize(-x, element, rule)
    np.testing.assert_array_equal(negated, elements ^ (1 << (element.format.bits - 1)))
    np.testing.assert_array_equal(negated_codes, codes)


@every_case
@given(x=middle_block, k=st.integers(-60, 60))
def test_power_of_two_equivariance(element: DType, rule: ScaleRule, x: Block, k: int) -> None:
    """q(2**k x): the same elements, the scale code k more, away from the clamp."""
    elements, codes = quantize(x, element, rule)
    scaled, scaled_codes = quantize(np.ldexp(x.astype(np.float32), k).astype(BFLOAT16), element, rule)
    np.testing.assert_array_equal(scaled, elements)
    np.testing.assert_array_equal(scaled_codes.astype(int), codes.astype(int) + k)


@every_case
@given(x=any_block, order=st.permutations(range(32)))
def test_permutation_within_a_block(element: DType, rule: ScaleRule, x: Block, order: list[int]) -> None:
    """q(P x) = P q(x), and the scale does not see the order."""
    elements, codes = quantize(x, element, rule)
    permuted, permuted_codes = quantize(x[:, order], element, rule)
    np.testing.assert_array_equal(permuted, elements[:, order])
    np.testing.assert_array_equal(permuted_codes, codes)


@every_case
@given(x=any_block)
def test_monotonicity_within_a_block(element: DType, rule: ScaleRule, x: Block) -> None:
    """x_i <= x_j implies q(x_i) <= q(x_j)."""
    found = dequantize(*quantize(x, element, rule), element)[0]
    order = np.argsort(x[0].astype(np.float64), kind="stable")
    assert (np.diff(found[order]) >= 0).all()


@every_case
@given(x=any_block)
def test_zeros_stay_zeros(element: DType, rule: ScaleRule, x: Block) -> None:
    """Signed zeros keep sign and value under every scale, so they may pad a contraction."""
    x[0, ::3] = np.copysign(np.zeros(1, BFLOAT16), x[0, ::3])
    elements, _ = quantize(x, element, rule)
    sign = np.signbit(x[0, ::3]).astype(np.uint8) << (element.format.bits - 1)
    np.testing.assert_array_equal(elements[0, ::3], sign)


@given(
    seed=st.integers(0, 2**32 - 1), blocks=st.sampled_from([1, 5]), dtype=st.sampled_from(PACKED), columns=st.just(2)
)
def test_zero_padding_along_k(seed: int, blocks: int, dtype: DType, columns: int) -> None:
    """In consecutive order, rows of zeros after K add words of zeros and codes of 0, and change nothing before."""
    x = np.random.default_rng(seed).standard_normal((32 * blocks, columns)).astype(np.float32)
    words, codes = pack_operand(x, dtype, order=LaneOrder.CONSECUTIVE)
    alone = [quantize_mx_host(part, dtype, order=LaneOrder.CONSECUTIVE) for part in np.split(x, blocks)]
    np.testing.assert_array_equal(words[: 8 * blocks], np.concatenate([part for part, _ in alone]))
    np.testing.assert_array_equal(codes[:blocks], np.concatenate([part for _, part in alone]))
    assert not words[8 * blocks :].any()
    assert not codes[blocks:].any()
    assert words.shape == (-(-blocks // 4) * 32, columns)


@given(seed=st.integers(0, 2**32 - 1), dtype=st.sampled_from(PACKED), order=st.sampled_from(LaneOrder))
def test_columns_do_not_see_each_other(seed: int, dtype: DType, order: LaneOrder) -> None:
    """Packing some columns of a matrix gives those columns of the packed matrix."""
    generator = np.random.default_rng(seed)
    x, kept = generator.standard_normal((160, 8)).astype(np.float32), generator.permutation(8)[:4]
    whole, part = pack_operand(x, dtype, order=order), pack_operand(x[:, kept], dtype, order=order)
    for all_columns, some in zip(whole, part, strict=True):
        np.testing.assert_array_equal(all_columns[:, kept], some)
    np.testing.assert_array_equal(
        unpack_operand(*part, dtype, rows=160, order=order), unpack_operand(*whole, dtype, order=order)[:160, kept]
    )
