"""The instruction on the emulated core and the functions on the host are one quantiser: same words, same codes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from numpy.typing import NDArray

from tests.emulator.isa.harness import load, sbuf, store
from tests.emulator.numerics.mx_blocks import BFLOAT16, finite
from trnlab.emulator import dtypes, launch
from trnlab.emulator.dtypes import DType
from trnlab.emulator.nki import isa as nisa, language as nl
from trnlab.emulator.numerics.microscaling_host import pack_operand, quantize_mx_host, unpack_operand
from trnlab.emulator.numerics.microscaling_layout import LaneOrder, gather_scales, interleave
from trnlab.emulator.numerics.microscaling_policies import BLOCK_POLICIES, ScaleRule

FP8 = [dtypes.float8_e4m3fn_x4, dtypes.float8_e5m2_x4]
K, F = 256, 8


def on_core(dtype: DType) -> Any:
    def kernel(source: Any) -> Any:
        words, scales = sbuf((K // 4, F), dtype), sbuf((K // 4, F), nl.uint8)
        nisa.memset(scales, 99)
        nisa.quantize_mx(words, load(source), scales)
        return store(words.view(nl.uint32)), store(scales)

    return kernel


KERNELS = {dtype: on_core(dtype) for dtype in FP8}


def matrix(seed: int, spread: int, raw: bool) -> NDArray[Any]:
    """[K, F] bfloat16: any finite bits, or values whose magnitudes spread over that many binades."""
    generator = np.random.default_rng(seed)
    if raw:
        return finite(generator.integers(0, 2**16, (K, F)).astype(np.uint16))
    return np.ldexp(generator.standard_normal((K, F)), generator.integers(-spread, spread + 1, (K, F))).astype(BFLOAT16)


@pytest.mark.parametrize("rule", ScaleRule)
@pytest.mark.parametrize("dtype", FP8, ids=str)
@settings(max_examples=15)
@given(seed=st.integers(0, 2**32 - 1), spread=st.integers(0, 40), raw=st.booleans(), order=st.sampled_from(LaneOrder))
def test_core_and_host(dtype: DType, rule: ScaleRule, seed: int, spread: int, raw: bool, order: LaneOrder) -> None:
    x = matrix(seed, spread, raw)
    stored = np.ascontiguousarray(interleave(x, order)).reshape(K // 4, 4 * F)
    words, scales = launch.run(KERNELS[dtype], stored, target="trn3", mx_scale_rule=rule.value).outputs
    expected, codes = quantize_mx_host(x, dtype, rule, order=order)
    np.testing.assert_array_equal(np.asarray(words), expected)
    np.testing.assert_array_equal(gather_scales(np.asarray(scales), K // 4), codes)


@pytest.mark.parametrize("policy", BLOCK_POLICIES)
@pytest.mark.parametrize("rule", ScaleRule)
def test_core_and_host_under_every_policy_for_open_blocks(rule: ScaleRule, policy: str) -> None:
    """Any bits at all: zeros, tiny blocks, NaN and infinities. The kernel's own option and the run's are the same."""
    dtype = dtypes.float8_e4m3fn_x4
    bits = np.random.default_rng(7).integers(0, 2**16, (K, F)).astype(np.uint16)
    bits[:, 0], bits[:, 1], bits[5, 2], bits[9, 3] = 0, bits[:, 1] & 0x01FF, 0x7FC0, 0xFF80
    x = bits.view(BFLOAT16)
    stored = np.ascontiguousarray(interleave(x)).reshape(K // 4, 4 * F)
    options = {"mx_scale_rule": rule.value, "mx_block_policy": policy}
    expected, codes = quantize_mx_host(x, dtype, rule, policy=BLOCK_POLICIES[policy])
    words, scales = launch.run(KERNELS[dtype], stored, target="trn3", **options).outputs
    np.testing.assert_array_equal(np.asarray(words), expected)
    np.testing.assert_array_equal(gather_scales(np.asarray(scales), K // 4), codes)
    simulated = launch.simulate(launch.jit(KERNELS[dtype], **options))(stored)
    np.testing.assert_array_equal(np.asarray(simulated[0]), expected)


@settings(max_examples=20)
@given(seed=st.integers(0, 2**32 - 1), raw=st.booleans())
def test_wider_sources_of_the_same_values(seed: int, raw: bool) -> None:
    """bfloat16 and the float32 of the same values quantise alike; so do float16 values."""
    x = matrix(seed, 8, raw)
    for dtype in FP8:
        for narrow in (x, np.clip(x.astype(np.float32), -65504, 65504).astype(np.float16)):
            one, other = (quantize_mx_host(values, dtype) for values in (narrow, narrow.astype(np.float32)))
            np.testing.assert_array_equal(one[0], other[0])
            np.testing.assert_array_equal(one[1], other[1])


@settings(max_examples=20)
@given(seed=st.integers(0, 2**32 - 1), fortran=st.booleans(), order=st.sampled_from(LaneOrder))
def test_memory_order_and_transposition_of_the_input_do_not_matter(seed: int, fortran: bool, order: LaneOrder) -> None:
    x = matrix(seed, 8, raw=False)
    given_order = np.asfortranarray(x) if fortran else x[::-1][::-1]
    expected = pack_operand(x, FP8[0], order=order)
    for found in (
        pack_operand(given_order, FP8[0], order=order),
        pack_operand(given_order.T, FP8[0], transposed=True, order=order),
        pack_operand(x, FP8[0], role="stationary", order=order),
    ):
        np.testing.assert_array_equal(found[0], expected[0])
        np.testing.assert_array_equal(found[1], expected[1])
    assert unpack_operand(*expected, FP8[0], rows=100, columns=3, order=order).shape == (100, 3)
